// Where user threads receive and settle: what has been delivered and not handed out, who waits, what was decided.
// Not responsible for credit and frames: receiver_link.hpp. See endpoint.hpp for threads.
// Next file: engine.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/src/endpoint.hpp"
#include "client/src/receiver_link.hpp"
#include "client/src/settlements.hpp"
#include "common/base/batch.hpp"
#include <baton/receiver.hpp>

namespace baton::client {

class ReceiverEndpoint;

// One DELIVER: shared by the deliveries made of it.
struct DeliveredSlice {
    DeliveredBatch batch;
    std::shared_ptr<ReceiverEndpoint> owner;
};

// Settlements go out at the end of the I/O thread's turn. The first after a pause wakes that thread at once; after it
// those of one `pace` are collected, unless half the window waits for them: a stream of acks costs a frame and a system
// call per pace, not per message.
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
    bool settle(const DeliveredSlice& slice, std::uint64_t offset, Outcome outcome, std::size_t region_bytes);
    [[nodiscard]] Expected<SettleResult> settle_and_wait(const DeliveredSlice& slice, std::uint64_t offset,
                                                         Outcome outcome, std::size_t region_bytes,
                                                         const WaitLimit& limit);
    // Returns the number under which cancel_settle finds it; 0 if `done` has been called already.
    std::uint64_t settle_async(const DeliveredSlice& slice, std::uint64_t offset, Outcome outcome,
                               std::size_t region_bytes, SettleDone done);
    void cancel_settle(std::uint64_t receipt);

    [[nodiscard]] bool close_and_wait(const std::shared_ptr<ReceiverEndpoint>& self, const WaitLimit& limit);
    [[nodiscard]] std::size_t waiting() const;
    [[nodiscard]] std::size_t unsettled() const;

    // --- The I/O thread. `self` is this.
    void hand_over(ClientProtocol& protocol, Completions& completions) override;
    void end(ClientError error, Completions& completions) override;
    void on_delivered(const std::shared_ptr<ReceiverEndpoint>& self, DeliveredBatch&& batch, Completions& completions);
    void on_deliveries_lost(Completions& completions);
    void on_settled(std::uint64_t receipt, bool is_done, Completions& completions);
    void on_state(std::uint64_t ready);
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
        std::uint64_t epoch = 0;
        std::size_t region_bytes = 0;
        bool is_handed_over = false;
        std::optional<SettleResult> result;
        SettleDone done;  // Empty: a thread waits.
    };
    struct Waiter {
        std::uint64_t id = 0;
        ReceiveDone done;
    };

    [[nodiscard]] bool is_ours(const DeliveredSlice& slice) const noexcept;
    [[nodiscard]] std::optional<Delivery> take(const std::shared_ptr<ReceiverEndpoint>& self);
    void decide(const std::shared_ptr<Endpoint>& self, const wire::Settlement& range, std::size_t region_bytes);
    std::uint64_t add_receipt(const DeliveredSlice& slice, std::uint64_t offset, Outcome outcome,
                              std::size_t region_bytes, SettleDone done);
    using Receipts = std::map<std::uint64_t, Receipt>;
    Receipts::iterator resolve(Receipts::iterator at, Expected<SettleResult> result, Completions& completions);
    // On demand: how many messages are wanted that are not here, and what is here that nobody wants.
    [[nodiscard]] std::uint64_t wanted() const noexcept;
    void return_unwanted(const std::shared_ptr<Endpoint>& self);
    void wants_changed(const std::shared_ptr<Endpoint>& self);

    const ReceiverWindow window_;

    // Guarded by the mutex:
    std::deque<Queued> queue_;
    std::uint64_t queued_ = 0;     // Messages in it.
    std::uint64_t unsettled_ = 0;  // Handed out in this epoch and not decided.
    std::uint64_t epoch_ = 0;      // Of the last delivery; settlements of others are lost.
    std::uint64_t threads_waiting_ = 0;
    std::deque<Waiter> waiters_;
    std::uint64_t last_waiter_ = 0;

    Settlements settlements_;
    std::uint64_t settled_bytes_ = 0;  // Of these two the next hand_over tells the link.
    std::uint64_t settled_count_ = 0;
    bool is_paced_ = false;    // Recently handed over: the next settlements can wait for end_pace().
    bool is_pending_ = false;  // Some do.
    Receipts receipts_;
    std::uint64_t last_receipt_ = 0;

    std::uint64_t questions_ = 0;  // Asked by threads, handed over, answered.
    std::uint64_t questions_handed_over_ = 0;
    std::uint64_t answers_ = 0;
    std::uint64_t last_ready_ = 0;
};

}  // namespace baton::client
