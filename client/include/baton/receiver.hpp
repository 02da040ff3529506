// Receives messages from one channel. The broker pushes them as far as the window allows; receive() takes the next.
// A Receiver is used by one thread at a time, except close(), which any thread may call. The
// deliveries may be used and settled on any thread.
// Next file: client.hpp.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include <baton/delivery.hpp>
#include <baton/error.hpp>
#include <baton/options.hpp>
#include <baton/wait_limit.hpp>

namespace baton {

namespace client {
class ReceiverEndpoint;
}

// A message is *started* when receive() hands it out: if this process dies then, only started messages count an
// attempt. The broker is told within about a millisecond; of a message that was delivered before, sooner than you have
// it. After a broken connection the link is attached again by itself; deliveries of the old connection are lost to
// us (ack() says so) and come again, to us or to others.
// While deliveries are here, handed out or not, the I/O thread extends their leases (delivery.hpp).
//
// Destroying it closes it: what was not handed out goes back to its place without counting an attempt, and so does what
// is not settled, which is lost to us then. That does not wait.
class Receiver {
public:
    Receiver(Receiver&&) noexcept;
    Receiver& operator=(Receiver&&) noexcept;
    Receiver(const Receiver&) = delete;
    Receiver& operator=(const Receiver&) = delete;
    ~Receiver();

    // Blocks until there is a message. Throws not_found, closed, refused, protocol_error, cannot_connect.
    [[nodiscard]] Delivery receive();
    // Nothing when the limit is reached or the stop token is triggered.
    [[nodiscard]] std::optional<Delivery> receive(const WaitLimit& limit);
    [[nodiscard]] Expected<std::optional<Delivery>> receive(const WaitLimit& limit, std::nothrow_t) noexcept;
    // What is here already, without waiting.
    [[nodiscard]] std::optional<Delivery> try_receive();

    // Asks the broker: true if it has nothing ready and nothing delayed for us (a retry that
    // waits for its time is delayed, too) and nothing is waiting here to be received. Messages that we
    // or others hold unsettled do not count. Throws as receive(), and timed_out or interrupted when the limit is
    // reached.
    [[nodiscard]] bool is_empty(const WaitLimit& limit = WaitLimit::forever());
    [[nodiscard]] Expected<bool> is_empty(const WaitLimit& limit, std::nothrow_t) noexcept;

    // Received from the broker and not yet handed out.
    [[nodiscard]] std::size_t waiting() const noexcept;
    // Handed out and not settled.
    [[nodiscard]] std::size_t unsettled() const noexcept;
    [[nodiscard]] const std::string& channel() const noexcept;  // Its name, raw bytes.

    // Writes all settlements, gives everything else back and waits for the broker's answer. Idempotent. False if the
    // limit was reached; it is closed all the same.
    bool close(const WaitLimit& limit = WaitLimit::forever()) noexcept;

    // for (baton::Delivery& delivery : receiver) { ...; delivery.ack(); }      ends when the receiver is closed.
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Delivery;
        using difference_type = std::ptrdiff_t;
        using pointer = Delivery*;
        using reference = Delivery&;

        explicit Iterator(Receiver* receiver) : receiver_{receiver} { advance(); }
        [[nodiscard]] Delivery& operator*() noexcept { return *delivery_; }
        [[nodiscard]] Delivery* operator->() noexcept { return &*delivery_; }
        Iterator& operator++() {
            advance();
            return *this;
        }
        void operator++(int) { advance(); }
        [[nodiscard]] bool operator==(std::default_sentinel_t) const noexcept { return !delivery_; }

    private:
        void advance();

        Receiver* receiver_;
        std::optional<Delivery> delivery_;
    };
    [[nodiscard]] Iterator begin() { return Iterator{this}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

private:
    friend class client_access;
    explicit Receiver(std::shared_ptr<client::ReceiverEndpoint> endpoint) noexcept;

    std::shared_ptr<client::ReceiverEndpoint> endpoint_;
};

}  // namespace baton
