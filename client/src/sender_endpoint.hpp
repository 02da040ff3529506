// Where user threads send: the window, the batches that gather while the I/O thread is busy, and who waits for what.
// While the broker says `disk_full` nothing waits for credit: it is refused here. Such messages have a number for the
// user and none on the wire, so the numbers of this class run ahead of those of the link: each such stretch is a Gap.
// Not responsible for credit, numbers on the wire or resending: sender_link.hpp. See endpoint.hpp for threads.
// Next file: receiver_endpoint.hpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "client/src/endpoint.hpp"
#include "client/src/hand.hpp"
#include "common/base/batch_builder.hpp"
#include "common/base/payload.hpp"
#include "common/wire/bodies.hpp"
#include <baton/sender.hpp>

namespace baton::client {

struct SendWindow {
    std::size_t messages = 1'000;
    std::size_t bytes = 8U << 20U;
    std::uint32_t batch_messages = 4'096;  // In one PUBLISH.
};

// How fast messages have come of late: an average over about the last 32, in which a pause counts little.
class SendPace {
public:
    static constexpr auto interval_max = std::chrono::microseconds{100};

    void add(std::uint64_t messages, SteadyTime::duration elapsed) noexcept {
        constexpr std::uint64_t count_max = 32;
        elapsed_ += std::min<SteadyTime::duration>(elapsed, interval_max);
        count_ += messages;
        while (count_ > count_max) {
            elapsed_ /= 2;
            count_ /= 2;
        }
    }
    [[nodiscard]] SteadyTime::duration interval() const noexcept {
        return count_ == 0 ? interval_max : elapsed_ / static_cast<SteadyTime::rep>(count_);
    }

private:
    SteadyTime::duration elapsed_{};
    std::uint64_t count_ = 0;
};

class SenderEndpoint final : public Endpoint {
public:
    static constexpr std::size_t batch_size_max = 64 * 1024;  // Beyond it a new batch begins; a large message is alone.

    // Who fills batch after batch writes so much at once, itself if nobody else does: about what a broker reads at once.
    // With less, broker and receiver are woken more often.
    static constexpr std::size_t write_size = 4 * batch_size_max - 4 * 1024;

    // Buffers kept while nothing waits: a sender that runs ahead of the wire fills a few before the first is taken.
    static constexpr std::size_t spares_max = 8;
    // What a system call for a single message costs the sending thread, about. Who sends more often than that gathers.
    static constexpr auto write_time = std::chrono::microseconds{10};
    // After so many messages whose confirm nobody asked about, nobody is taken to wait for the next ones.
    static constexpr std::uint64_t unwatched_min = 64;

    // Whoever has found the window full fills it again, and waits again: expected for so many windows.
    static constexpr std::uint64_t windows_remembered = 4;

    using SendDone = std::move_only_function<void(Expected<SendReceipt>)>;

    SenderEndpoint(std::shared_ptr<Shared> shared, std::string channel, const SendWindow& window);

    // --- User threads. `self` is this.
    // The usual case of a post, in a small function of its own: the message has no properties, and there is room for it in the
    // batch that grows. 0: post() has to look at it.
    [[nodiscard]] std::uint64_t post_with_others(const Message& message) noexcept {
        return message.properties() == nullptr ? accept_with_others(message.body(), {}) : 0;
    }
    [[nodiscard]] Expected<std::uint64_t> post(const std::shared_ptr<SenderEndpoint>& self, const Message& message,
                                               const WaitLimit& limit);
    [[nodiscard]] Expected<SendReceipt> send(const std::shared_ptr<SenderEndpoint>& self, const Message& message,
                                             const WaitLimit& limit);
    // Does not wait. Returns the number under which cancel_send finds it; 0 if `done` has been called already.
    std::uint64_t send_async(const std::shared_ptr<SenderEndpoint>& self, const Message& message, SendDone done);
    void cancel_send(std::uint64_t sequence);
    [[nodiscard]] Expected<FlushReport> flush(const std::shared_ptr<SenderEndpoint>& self, const WaitLimit& limit);

    [[nodiscard]] std::size_t unconfirmed();
    [[nodiscard]] std::uint64_t confirmed_up_to();
    [[nodiscard]] std::string blocked() const;

    // --- The I/O thread
    void hand_over(ClientProtocol& protocol, Completions& completions) override;
    void end(ClientError error, Completions& completions) override;
    void set_pool(ChunkPool& pool) noexcept { pool_ = &pool; }
    void on_attached(std::uint64_t message_size_max);
    void on_connection_lost();  // What the broker said last is not true for ever.
    // Why the link cannot be attached now; it will be tried again. True: that was not so before.
    bool on_attach_refused(const std::string& text);
    // Both in numbers of the link.
    void on_refused(std::uint64_t first, std::uint64_t count, wire::Status status);
    void on_confirmed(std::uint64_t up_to, std::uint8_t level, Completions& completions);
    // True: it was not in this state before.
    bool on_blocked(std::uint16_t reason, Duration waiting);
    // What can be told about messages that nobody will confirm any more.
    [[nodiscard]] std::size_t unconfirmed_at_end() { return unconfirmed(); }

private:
    // In a batch, at most.
    [[nodiscard]] static std::size_t size_of(Bytes body, Bytes properties) noexcept {
        return 6 + properties.size() + body.size();
    }
    struct Encoded {  // Properties, ready to be copied into a batch; the body is still the caller's.
        Bytes body;
        std::vector<std::byte> properties;
        [[nodiscard]] std::size_t size() const noexcept { return size_of(body, properties); }
    };
    // The batch that grows, and how far it may without a look at anything else. It is in a hand (hand.hpp) as long as a
    // turn is on its way that will take it: so most messages are accepted without the mutex. Whoever works on batches or
    // counts with the mutex closes the hand first.
    struct Filling {
        BatchBuilder* batch = nullptr;
        std::uint64_t first = 0;  // Number of the next message when the hand was opened.
        std::uint64_t count = 0;  // Accepted since then, and their bytes.
        std::size_t bytes = 0;
        std::uint64_t count_max = 0;
        std::size_t bytes_max = 0;
        std::uint64_t size_max = 0;  // Of body and properties of one message.
    };
    // Bytes of the window, released when everything up to `last` is decided.
    struct Weight {
        std::uint64_t last = 0;
        std::size_t bytes = 0;
    };
    struct Waiter {
        std::uint64_t sequence = 0;
        SendDone done;
    };
    // Who writes a message that was accepted. A system call takes a while, and waking a thread takes longer, but meanwhile
    // what comes close behind gathers.
    enum class Departure : std::uint8_t {
        taken_care_of,  // Whoever takes what is before it.
        now,            // The thread that sends it.
        soon,           // The I/O thread.
        with_wait,      // This thread, when it has filled the window and waits; if it does not, the I/O thread in a moment.
    };
    // Messages (behind, behind + count] were refused here; the next one has the number of the first on the wire.
    struct Gap {
        std::uint64_t behind = 0;
        std::uint64_t count = 0;
    };

    void on_closing() override { close_hand(); }
    [[nodiscard]] Expected<Encoded> encode(const Message& message) const;
    [[nodiscard]] std::optional<ClientError> check_size(const Encoded& message) const;
    [[nodiscard]] std::optional<ClientError> check_size_with_limits(const Encoded& message, WaitScope& scope) const;
    [[nodiscard]] bool has_room(std::size_t size) const noexcept;
    std::uint64_t accept(const std::shared_ptr<SenderEndpoint>& self, const Encoded& message);
    // Without the mutex. 0: it takes more than that.
    [[nodiscard]] std::uint64_t accept_with_others(Bytes body, Bytes properties) noexcept;
    void open_hand() noexcept;
    void close_hand();
    // For all that works on batches or counts: the mutex, with the hand closed.
    [[nodiscard]] std::unique_lock<std::mutex> lock_all();
    void add_weight(std::size_t bytes);
    [[nodiscard]] std::uint64_t size_max() const noexcept;  // 0: unknown.
    void append(const Encoded& message);
    [[nodiscard]] std::size_t gathered_bytes() const noexcept;
    void begin_batch();
    [[nodiscard]] Expected<std::uint64_t> accept_when_there_is_room(const std::shared_ptr<SenderEndpoint>& self,
                                                                    const Message& message, const WaitLimit& limit,
                                                                    Departure& departure);
    [[nodiscard]] Expected<SendReceipt> await_receipt(const std::shared_ptr<SenderEndpoint>& self, std::uint64_t sequence,
                                                      Departure departure, const WaitLimit& limit);
    [[nodiscard]] Departure departure_of_first();
    void depart(Departure departure);
    void leave();
    [[nodiscard]] bool may_confirm_later() const noexcept;
    void await_confirms(const std::shared_ptr<SenderEndpoint>& self);
    [[nodiscard]] std::string blocked_text() const;
    [[nodiscard]] std::optional<ClientError> take_refusal(std::uint64_t sequence);
    [[nodiscard]] Expected<SendReceipt> outcome_of(std::uint64_t sequence);
    [[nodiscard]] bool is_disk_full() const noexcept { return blocked_reason_ == wire::wait_reason_disk_full; }
    [[nodiscard]] ClientError refusal(wire::Status status) const;
    [[nodiscard]] bool is_decided(std::uint64_t sequence) const noexcept;
    [[nodiscard]] std::uint64_t number_of(std::uint64_t on_wire) const noexcept;
    void refuse(std::uint64_t first, std::uint64_t last, wire::Status status);
    void refuse_waiting(std::uint64_t first, Completions& completions);
    void advance(std::uint64_t up_to);

    const SendWindow window_;
    ChunkPool* pool_ = nullptr;  // The I/O thread's.
    Hand<Filling> hand_;         // filling_, or closed.
    Filling filling_;

    // Guarded by the mutex:
    ChunkPool chunks_;                  // Of large batches. Allocated from with the mutex held.
    std::deque<BatchBuilder> batches_;  // Accepted and not handed over; the last one may still grow.
    std::vector<BatchBuilder> spares_;   // Empty, with buffers that have grown; at most spares_max.
    SteadyTime marked_at_{};             // When we were marked last, and accepted_ then.
    std::uint64_t marked_count_ = 0;
    SendPace pace_;
    std::uint64_t waited_at_ = 0;        // accepted_ when somebody last found the window full.
    Departure departure_ = Departure::taken_care_of;  // Of the message just accepted, for whoever accepted it.
    std::uint64_t watched_at_ = 0;  // accepted_ when somebody last waited for a confirm, or looked for one.
    bool is_confirm_later_ = false;         // The broker was told so with what was handed over last.
    bool is_awaited_ = false;               // The broker shall be told that somebody waits now.
    std::deque<Weight> weights_;
    std::size_t weight_ = 0;
    std::uint64_t accepted_ = 0;
    std::uint64_t confirmed_ = 0;
    ConfirmLevel level_ = ConfirmLevel::none;
    std::deque<Gap> gaps_;                // In order; those that confirmed_ has not passed.
    std::uint64_t gaps_passed_ = 0;       // Messages in all earlier ones.
    std::vector<Refusal> refusals_;       // In order; those that no flush or send has reported yet.
    std::deque<Waiter> waiters_;          // In order.
    std::uint64_t message_size_max_ = 0;  // Of the channel; 0: unknown.
    std::string attach_trouble_;          // Empty: none.
    std::uint16_t blocked_reason_ = 0;
    SteadyTime blocked_since_{};
};

}  // namespace baton::client
