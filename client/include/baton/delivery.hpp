// A message that was delivered to us, and our decision about it.
// Not responsible for getting it (receiver.hpp).
// One thread at a time per Delivery; different deliveries may be used, and settled, on different threads.
// Next file: receiver.hpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <baton/error.hpp>
#include <baton/message.hpp>
#include <baton/wait_limit.hpp>

namespace baton {

namespace client {
struct DeliveredSlice;
struct Decision;
}  // namespace client

// What became of a settlement.
enum class SettleResult : std::uint8_t {
    settled,     // The broker has done it.
    lost_lease,  // The message is no longer ours: it has been given, or will be given, to somebody again. (Or, with a
                 // broker that does not know the decision: nothing has happened.)
};

// A guard. It leaves scope in one of these ways:
//
//   ack()               the work is done: the message is forgotten.
//   give_back()         somebody else shall have it: it returns to its old place, and the attempt counts.
//   retry()             the work failed: again later, after the channel's back-off or a time of our choice. When the
//                       channel's attempts_max is reached, it is quarantined.
//   reject()            nobody can do this: it is quarantined, until an administrator retries, moves or drops it.
//   without a decision  as give_back().
//   by an exception     as retry(): after the channel's back-off. (The text of the exception is not known here; who
//   wants
//                       it as the note catches the exception and says retry({}, e.what()).)
//
// It belongs to us for a lease (ReceiverOptions::lease), which the library's I/O thread extends in good time as long as
// the delivery is undecided, until the channel's lease_max has passed since it was delivered. When a lease ends all the
// same (this process was stopped; lease_max) the message is lost to us and comes again, to us or to others: every
// decision then says false or lost_lease.
//
// Movable, not copyable. The bytes stay valid as long as the Delivery lives, also when it is settled, and also when
// receiver and client are gone. It counts against its receiver's window until it is settled.
class Delivery {
public:
    Delivery() noexcept = default;  // An empty one, settled already; what remains of one that was moved from.
    Delivery(Delivery&& other) noexcept
        : slice_{std::exchange(other.slice_, nullptr)},
          body_{std::exchange(other.body_, {})},
          properties_{std::exchange(other.properties_, {})},
          offset_{other.offset_},
          exceptions_at_birth_{other.exceptions_at_birth_},
          is_settled_{other.is_settled_} {}
    Delivery& operator=(Delivery&& other) noexcept;  // Gives back what it held, if that is undecided.
    Delivery(const Delivery&) = delete;
    Delivery& operator=(const Delivery&) = delete;
    ~Delivery() {
        if (slice_ != nullptr) {
            let_go();
        }
    }

    [[nodiscard]] Bytes body() const noexcept { return body_; }
    [[nodiscard]] std::string_view text() const noexcept { return as_text(body_); }
    [[nodiscard]] bool has_properties() const noexcept { return !properties_.empty(); }
    [[nodiscard]] MessageProperties properties() const;  // Decoded by each call.

    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }  // Position in its channel; never reused.
    [[nodiscard]] std::uint32_t attempt() const noexcept;                    // From 1; counts starts, not deliveries.
    [[nodiscard]] bool redelivered() const noexcept;  // Was delivered before, perhaps not started.
    [[nodiscard]] std::chrono::system_clock::time_point time() const noexcept;  // When the broker accepted it.
    [[nodiscard]] std::string_view channel() const noexcept;                    // Its name, raw bytes.

    [[nodiscard]] bool is_settled() const noexcept { return slice_ == nullptr || is_settled_; }

    // Does not wait: the settlement goes out with others at once. False if the message is known to be lost: the
    // connection it came with is gone, the receiver is closed, or it is settled already. That is no error: it will be
    // delivered again.
    bool ack() noexcept;
    bool give_back() noexcept;
    // Not before `after` has passed: rounded down to milliseconds, at most 49 days; nothing: the channel's back-off.
    // The note says why, for people: UTF-8, cut at 1,024 bytes; it is kept if the message is quarantined.
    bool retry(std::optional<std::chrono::milliseconds> after = std::nullopt, std::string_view note = {}) noexcept;
    bool reject(std::string_view note = {}) noexcept;
    // The lease ends so long from now (1ms to 49 days; the broker cuts it at lease_max), even if this process is
    // stopped meanwhile. Zero, and what is shorter than a lease: as long as a new one. No decision; may be called any
    // number of times. Only for who wants a longer time than the library keeps by itself.
    bool extend(std::chrono::milliseconds lease) noexcept;

    // Waits until the broker has done it: on a durable channel until that is on the disk, so that not even a crash
    // brings the message back. (Without waiting, a crash can bring back what was settled in the last 50 ms.)
    // Throws timed_out, blocked, interrupted, closed, and disconnected when the connection broke before the answer; then
    // the outcome is unknown: the broker may have done it, and otherwise the message is given again.
    SettleResult ack(const WaitLimit& limit);
    Expected<SettleResult> ack(const WaitLimit& limit, std::nothrow_t) noexcept;
    SettleResult give_back(const WaitLimit& limit);
    Expected<SettleResult> give_back(const WaitLimit& limit, std::nothrow_t) noexcept;
    SettleResult retry(std::optional<std::chrono::milliseconds> after, std::string_view note, const WaitLimit& limit);
    Expected<SettleResult> retry(std::optional<std::chrono::milliseconds> after, std::string_view note,
                                 const WaitLimit& limit, std::nothrow_t) noexcept;
    SettleResult reject(std::string_view note, const WaitLimit& limit);
    Expected<SettleResult> reject(std::string_view note, const WaitLimit& limit, std::nothrow_t) noexcept;
    // `settled`: the lease is extended.
    SettleResult extend(std::chrono::milliseconds lease, const WaitLimit& limit);
    Expected<SettleResult> extend(std::chrono::milliseconds lease, const WaitLimit& limit, std::nothrow_t) noexcept;

private:
    friend class client_access;

    Delivery(client::DeliveredSlice& slice, std::uint64_t offset, Bytes body, Bytes properties) noexcept;
    void abandon() noexcept;
    void let_go() noexcept;
    bool decide(const client::Decision& decision) noexcept;
    Expected<SettleResult> decide(const client::Decision& decision, const WaitLimit& limit) noexcept;

    client::DeliveredSlice* slice_ = nullptr;  // Kept by a count in it, of which one is ours.
    Bytes body_;
    Bytes properties_;  // Encoded.
    std::uint64_t offset_ = 0;
    int exceptions_at_birth_ = 0;
    bool is_settled_ = false;
};

}  // namespace baton
