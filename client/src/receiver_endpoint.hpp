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

#include "client/src/endpoint.hpp"
#include "client/src/open_messages.hpp"
#include "client/src/receiver_link.hpp"
#include "client/src/settlements.hpp"
#include "common/base/batch.hpp"
#include <baton/receiver.hpp>

namespace baton::client {

class ReceiverEndpoint;

// One DELIVER: shared by the deliveries made of it.
struct DeliveredSlice {
    DeliveredSlice(DeliveredBatch&& delivered, std::shared_ptr<ReceiverEndpoint> receiver)
        : batch{std::move(delivered)},
          owner{std::move(receiver)},
          open{batch.header.count},
          renewed_at{batch.arrived} {}

    DeliveredBatch batch;
    std::shared_ptr<ReceiverEndpoint> owner;

    // Guarded by the owner's mutex; means nothing any more when the epoch has gone.
    mutable OpenMessages open;  // Not decided by us, nor lost.
    mutable MonotonicTime renewed_at;
    mutable std::list<std::weak_ptr<const DeliveredSlice>>::iterator place;  // In the owner's `held_`.
};

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
    // Nothing: the limit was reached.
    [[nodiscard]] Expected<std::optional<Delivery>> receive(const std::shared_ptr<ReceiverEndpoint>& self,
                                                            const WaitLimit& limit);
    // Returns the number under which cancel_receive finds it; 0 if `done` has been called already.
    std::uint64_t receive_async(const std::shared_ptr<ReceiverEndpoint>& self, ReceiveDone done);
    void cancel_receive(const std::shared_ptr<ReceiverEndpoint>& self, std::uint64_t id);
    [[nodiscard]] Expected<bool> is_empty(const std::shared_ptr<ReceiverEndpoint>& self, const WaitLimit& limit);

    // False: lost. `slice.owner` is this.
    bool settle(const DeliveredSlice& slice, std::uint64_t offset, const Decision& decision, std::size_t region_bytes);
    [[nodiscard]] Expected<SettleResult> settle_and_wait(const DeliveredSlice& slice, std::uint64_t offset,
                                                         const Decision& decision, std::size_t region_bytes,
                                                         const WaitLimit& limit);
    // Returns the number under which cancel_settle finds it; 0 if `done` has been called already.
    std::uint64_t settle_async(const DeliveredSlice& slice, std::uint64_t offset, const Decision& decision,
                               std::size_t region_bytes, SettleDone done);
    void cancel_settle(std::uint64_t receipt);

    // A step has settled it.
    void settled_by_step(const std::shared_ptr<ReceiverEndpoint>& self, const DeliveredSlice& slice,
                         std::uint64_t offset, std::size_t region_bytes);

    [[nodiscard]] bool close_and_wait(const std::shared_ptr<ReceiverEndpoint>& self, const WaitLimit& limit);
    [[nodiscard]] std::size_t waiting() const;
    [[nodiscard]] std::size_t unsettled() const;

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
    bool renew_leases(const std::shared_ptr<ReceiverEndpoint>& self, ClientProtocol& protocol, MonotonicTime now);
    // How often to call that while something is held; zero: never.
    [[nodiscard]] Duration renewal_interval() const;
    // A pace has passed since hand_over. True: settlements have gathered meanwhile; hand over again.
    [[nodiscard]] bool end_pace();

private:
    // Delivered, and in part perhaps handed out.
    struct Queued {
        std::shared_ptr<const DeliveredSlice> slice;
        MessageCursor cursor;
        std::uint32_t next = 0;  // Index in the slice of the next message to hand out.
        std::uint32_t end = 0;   // Behind the last one.
    };
    struct Receipt {  // A settlement that somebody waits for.
        wire::Settlement range;
        std::string note;
        std::uint64_t epoch = 0;
        std::size_t region_bytes = 0;
        bool is_handed_over = false;
        bool is_lost = false;  // Named by an exception; the answer itself is still to come.
        std::optional<SettleResult> result;
        SettleDone done;  // Empty: a thread waits.
    };
    struct Noted {
        wire::Settlement range;
        std::string note;
    };
    struct Waiter {
        std::uint64_t id = 0;
        ReceiveDone done;
    };

    // Also false for a message that is decided or lost.
    [[nodiscard]] bool is_ours(const DeliveredSlice& slice, std::uint64_t offset) const noexcept;
    bool close_message(const DeliveredSlice& slice, std::uint64_t index) noexcept;
    [[nodiscard]] std::optional<Delivery> take(const std::shared_ptr<ReceiverEndpoint>& self);
    void decide(const std::shared_ptr<Endpoint>& self, const wire::Settlement& range, std::size_t region_bytes,
                std::string_view note = {});
    std::uint64_t add_receipt(const DeliveredSlice& slice, std::uint64_t offset, const Decision& decision,
                              std::size_t region_bytes, SettleDone done);
    using Receipts = std::map<std::uint64_t, Receipt>;
    Receipts::iterator resolve(Receipts::iterator at, Expected<SettleResult> result, Completions& completions);
    // On demand: how many messages are wanted that are not here, and what is here that nobody wants.
    [[nodiscard]] std::uint64_t wanted() const noexcept;
    void return_unwanted(const std::shared_ptr<Endpoint>& self);
    void wants_changed(const std::shared_ptr<Endpoint>& self);
    void lose(const wire::SettleException& lost);
    void renew(const DeliveredSlice& slice, ClientProtocol& protocol, MonotonicTime now);
    void return_old(const std::shared_ptr<Endpoint>& self, MonotonicTime now);
    // Returns the argument to be sent.
    [[nodiscard]] std::uint32_t note_extension(std::uint64_t offset, std::uint32_t argument);
    void forget_held() noexcept;

    const ReceiverWindow window_;

    // Guarded by the mutex:
    std::deque<Queued> queue_;
    std::uint64_t queued_ = 0;     // Messages in it that are still ours.
    std::uint64_t unsettled_ = 0;  // Handed out in this epoch and not decided.
    std::uint64_t epoch_ = 0;      // Of the last delivery; settlements of others are lost.
    std::uint64_t threads_waiting_ = 0;
    std::deque<Waiter> waiters_;
    std::uint64_t last_waiter_ = 0;

    Duration lease_{};  // Zero: not known, and then nothing is extended.
    Duration lease_max_{};
    std::list<std::weak_ptr<const DeliveredSlice>> held_;    // In the order of arrival; those with open messages.
    std::map<std::uint64_t, MonotonicTime> extended_until_;  // What the user has extended beyond a lease, by offset.
    std::uint64_t lost_count_ = 0;                           // Of these two the next hand_over tells the link.
    std::uint64_t lost_bytes_ = 0;

    Settlements settlements_;
    std::vector<Noted> noted_;
    std::uint64_t settled_bytes_ = 0;  // Of these two the next hand_over tells the link.
    std::uint64_t settled_count_ = 0;
    bool is_paced_ = false;    // Recently handed over: the next settlements can wait for end_pace().
    bool is_pending_ = false;  // Some do.
    Receipts receipts_;
    std::uint64_t last_receipt_ = 0;

    std::uint64_t questions_ = 0;  // Asked by threads, handed over, answered.
    std::uint64_t questions_handed_over_ = 0;
    std::uint64_t answers_ = 0;
    wire::State last_state_;
};

}  // namespace baton::client
