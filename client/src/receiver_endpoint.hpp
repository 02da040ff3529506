// Where user threads receive and settle: what has been delivered and not handed out, who waits, what was decided.
// Not responsible for credit and frames: receiver_link.hpp. See endpoint.hpp for threads.
// Next file: engine.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/src/delivered_slice.hpp"
#include "client/src/endpoint.hpp"
#include "client/src/hand.hpp"
#include "client/src/receiver_link.hpp"
#include "client/src/settlements.hpp"
#include <baton/receiver.hpp>

namespace baton::client {

// What is decided about one message.
struct Decision {
    Outcome outcome = Outcome::done;
    std::uint32_t argument = 0;
    std::string note{};
};
inline constexpr std::uint32_t argument_back_off = 0xffff'ffff;  // Of a retry: as the channel says.
[[nodiscard]] Decision retry_decision(std::optional<std::chrono::milliseconds> after, std::string_view note);
[[nodiscard]] Decision extend_decision(std::chrono::milliseconds lease);

// Settlements go out at the end of the I/O thread's turn. The first after a pause wakes that thread at once; after it
// those of one `pace` are collected, unless half the window waits for them: a stream of acks costs a frame and a system
// call per pace, not per message.
//
// What was handed out and what is done is read from the slices then: those on the list `dirty_`, on which a slice comes
// with the first message that is handed out or done after a collection. An ack finds it there in the usual case and
// takes no lock (delivered_slice.hpp). Other decisions are rare and noted at once. When deliveries are lost as a whole
// (a new connection, close, the end) all their messages are closed, so that an ack has nothing else to look at.
//
// If we die, the broker counts an attempt for what it was told is started. So for a message that was delivered before, and may be
// the one that kills whoever works on it, that is written before it is handed out; for others within a pace.
//
// The slice that is handed out now is in a hand (hand.hpp): the next of its messages is taken without the mutex, as long as
// it is on that list. Whoever works on slices or counts with the mutex closes the hand first; receive() opens it.
//
// Leases. Whatever is here and not decided is extended by the I/O thread before its lease ends, whether the application
// works on it or has not asked for it yet, until lease_max has passed since its delivery. What still waits here shortly
// before that goes back, so that nobody is handed a message that is not ours any more; it counts no attempt.
class ReceiverEndpoint final : public Endpoint {
public:
    static constexpr auto pace = std::chrono::milliseconds{1};

    using ReceiveDone = std::move_only_function<void(Expected<Delivery>)>;
    using SettleDone = std::move_only_function<void(Expected<SettleResult>)>;

    ReceiverEndpoint(std::shared_ptr<Shared> shared, std::string channel, const ReceiverWindow& window);

    // --- User threads. `self` is this.
    // The usual case of a receive, in a small function of its own: the next message is at hand. False: it is not, and `next` is
    // as it was.
    [[nodiscard]] bool take_from_hand(std::optional<Delivery>& next) noexcept {
        DeliveredSlice* slice = hand_.take();
        if (slice == nullptr) {
            return false;
        }
        const bool is_there = take_next(*slice, next);
        hand_.give_back(slice);
        return is_there;
    }
    // Nothing: the limit was reached.
    [[nodiscard]] Expected<std::optional<Delivery>> receive(const std::shared_ptr<ReceiverEndpoint>& self,
                                                            const WaitLimit& limit);
    // Returns the number under which cancel_receive finds it; 0 if `done` has been called already.
    std::uint64_t receive_async(const std::shared_ptr<ReceiverEndpoint>& self, ReceiveDone done);
    void cancel_receive(const std::shared_ptr<ReceiverEndpoint>& self, std::uint64_t id);
    [[nodiscard]] Expected<bool> is_empty(const std::shared_ptr<ReceiverEndpoint>& self, const WaitLimit& limit);

    // False: lost.
    static bool ack(DeliveredSlice& slice, std::uint32_t index) {
        if (!slice.open.close(index)) {
            return false;
        }
        if (!slice.is_dirty.load() || slice.is_milestone(index)) {
            slice.owner->on_acked(slice, index);
        }
        return true;
    }
    // What is not an ack. False: lost. `slice.owner` is this.
    bool settle(DeliveredSlice& slice, std::uint64_t offset, const Decision& decision);
    [[nodiscard]] Expected<SettleResult> settle_and_wait(DeliveredSlice& slice, std::uint64_t offset,
                                                         const Decision& decision, const WaitLimit& limit);
    // Returns the number under which cancel_settle finds it; 0 if `done` has been called already.
    std::uint64_t settle_async(DeliveredSlice& slice, std::uint64_t offset, const Decision& decision, SettleDone done);
    void cancel_settle(std::uint64_t receipt);

    // A step has settled it.
    void settled_by_step(DeliveredSlice& slice, std::uint64_t offset);

    [[nodiscard]] bool close_and_wait(const std::shared_ptr<ReceiverEndpoint>& self, const WaitLimit& limit);
    [[nodiscard]] std::size_t waiting();
    [[nodiscard]] std::size_t unsettled();

    // --- The I/O thread. `self` is this.
    void hand_over(ClientProtocol& protocol, Completions& completions) override;
    void end(ClientError error, Completions& completions) override;
    void on_delivered(const std::shared_ptr<ReceiverEndpoint>& self, DeliveredBatch&& batch, Completions& completions);
    void on_deliveries_lost(Completions& completions);
    void on_attached(const ReceiverTerms& terms);
    void on_settled(const std::shared_ptr<ReceiverEndpoint>& self, std::uint64_t receipt,
                    wire::RecordReader<wire::SettleException> exceptions, Completions& completions);
    void on_state(const wire::State& state);
    // Extends what is due. False: nothing is held here that could be extended.
    bool renew_leases(ClientProtocol& protocol, MonotonicTime now);
    // How often to call that while something is held; zero: never.
    [[nodiscard]] Duration renewal_interval() const;
    // A pace has passed since hand_over. True: settlements have gathered meanwhile; hand over again.
    [[nodiscard]] bool end_pace();

private:
    // What is given up as a whole; to be destroyed without the mutex.
    struct Lost {
        std::deque<QueuedSlice> queue;
        std::list<SliceRef> held;
        std::vector<SliceRef> finished;
    };
    struct Receipt {  // A settlement that somebody waits for.
        wire::Settlement range;
        std::string note;
        std::uint64_t epoch = 0;
        std::uint64_t room = 0;
        bool is_handed_over = false;
        bool is_lost = false;  // Named by an exception; the answer itself is still to come.
        std::optional<Expected<SettleResult>> result;
        SettleDone done;  // Empty: a thread waits.
    };
    [[nodiscard]] Expected<SettleResult> without_answer(const Receipt& receipt) const;
    struct Noted {
        wire::Settlement range;
        std::string note;
    };
    struct Waiter {
        std::uint64_t id = 0;
        ReceiveDone done;
    };

    [[nodiscard]] static wire::Settlement range_of(const DeliveredSlice& slice, std::uint32_t first,
                                                   std::uint32_t count, Outcome outcome) noexcept;
    void on_closing() override;
    void on_acked(DeliveredSlice& slice, std::uint32_t index);
    // The next hand_over has to look at it.
    void touch(DeliveredSlice& slice);
    void gather(const std::shared_ptr<ReceiverEndpoint>& self, std::uint64_t count, std::uint64_t bytes);
    void collect(DeliveredSlice& slice);
    void announce(DeliveredSlice& slice, std::uint32_t end);
    // False for a message that is decided or lost. Then account() for it.
    bool close_message(DeliveredSlice& slice, std::uint32_t index) noexcept;
    // Returns the bytes of the window that are free again. The slice may be one of `finished_` then.
    [[nodiscard]] std::uint64_t account(DeliveredSlice& slice, std::uint32_t count) noexcept;
    void lose_all(Lost& lost) noexcept;
    [[nodiscard]] std::uint32_t stride_of(const BatchHeader& header) const noexcept;
    [[nodiscard]] Expected<std::optional<Delivery>> receive_one(const std::shared_ptr<ReceiverEndpoint>& self,
                                                                const WaitLimit& limit);
    [[nodiscard]] std::optional<Delivery> take();
    // Without the mutex, behind take(): see above.
    void write_started(const Delivery& delivery);
    // The same without the mutex, from what was in the hand. False: it takes more than that.
    [[nodiscard]] static bool take_next(DeliveredSlice& slice, std::optional<Delivery>& next) noexcept;
    void count_taken(DeliveredSlice& slice, std::uint32_t count) noexcept;
    void open_hand() noexcept;
    void close_hand() noexcept;
    // For all that works on slices or counts: the mutex, with the hand closed.
    [[nodiscard]] std::unique_lock<std::mutex> lock_all();
    // Closed ones, from the front or the back of the queue.
    void give_back(DeliveredSlice& slice, std::uint32_t first, std::uint32_t count);
    void decide(const std::shared_ptr<ReceiverEndpoint>& self, const wire::Settlement& range, std::uint64_t room,
                std::string_view note = {});
    // Closes the message or notes its extension; returns what to send, and in `room` what is free again.
    [[nodiscard]] wire::Settlement close_or_extend(DeliveredSlice& slice, std::uint64_t offset,
                                                   const Decision& decision, std::uint64_t& room);
    std::uint64_t add_receipt(DeliveredSlice& slice, std::uint64_t offset, const Decision& decision, SettleDone done);
    using Receipts = std::map<std::uint64_t, Receipt>;
    Receipts::iterator resolve(Receipts::iterator at, Expected<SettleResult> result, Completions& completions);
    // On demand: how many messages are wanted that are not here, and what is here that nobody wants.
    [[nodiscard]] std::uint64_t wanted() const noexcept;
    void return_unwanted();
    void wants_changed(const std::shared_ptr<ReceiverEndpoint>& self);
    void lose(const wire::SettleException& lost);
    void renew(DeliveredSlice& slice, ClientProtocol& protocol, MonotonicTime now);
    void return_old(MonotonicTime now);
    // Returns the argument to be sent.
    [[nodiscard]] std::uint32_t note_extension(std::uint64_t offset, std::uint32_t argument);

    const ReceiverWindow window_;

    Hand<DeliveredSlice> hand_;  // The first of queue_, or closed.

    // Guarded by the mutex:
    std::uint32_t hand_from_ = 0;  // `next` of the slice when the hand was opened.
    std::deque<QueuedSlice> queue_;
    std::uint64_t queued_ = 0;     // Messages in it that are still ours.
    std::uint64_t unsettled_ = 0;  // Handed out in this epoch and not decided, or done and not collected yet.
    std::uint64_t epoch_ = 0;      // Of the last delivery; settlements of others are lost.
    std::uint64_t threads_waiting_ = 0;
    std::deque<Waiter> waiters_;
    std::uint64_t last_waiter_ = 0;

    Duration lease_{};  // Zero: not known, and then nothing is extended.
    Duration lease_max_{};
    std::list<SliceRef> held_;            // In the order of arrival; those with messages not accounted for.
    std::vector<DeliveredSlice*> dirty_;  // Of these. hand_over collects from them.
    std::vector<SliceRef> finished_;      // Were held until now; hand_over lets them go, behind the mutex,
    std::vector<SliceRef> letting_go_;    // from here: the I/O thread's own.
    std::map<std::uint64_t, MonotonicTime> extended_until_;  // What the user has extended beyond a lease, by offset.
    std::uint64_t lost_count_ = 0;                           // Of these two the next hand_over tells the link.
    std::uint64_t lost_bytes_ = 0;

    Settlements settlements_;
    std::vector<Noted> noted_;
    std::uint64_t settled_bytes_ = 0;   // The next hand_over tells the link.
    std::uint64_t gathered_count_ = 0;  // About so much is decided since the last one.
    std::uint64_t gathered_bytes_ = 0;
    bool is_paced_ = false;    // Recently handed over: the next settlements can wait for end_pace().
    bool is_pending_ = false;  // Some do.
    Receipts receipts_;
    std::uint64_t last_receipt_ = 0;

    std::uint64_t questions_ = 0;  // Asked by threads, handed over, answered.
    std::uint64_t questions_handed_over_ = 0;
    std::uint64_t answers_ = 0;
    std::uint64_t returned_ = 0;  // Messages that went back without having been handed out.
    wire::State last_state_;
};

}  // namespace baton::client
