// The I/O thread's side of receiver_endpoint.hpp.
#include <algorithm>
#include <utility>

#include "client/src/client_protocol.hpp"
#include "client/src/receiver_endpoint.hpp"
#include "common/base/assert.hpp"

namespace baton::client {

void ReceiverEndpoint::hand_over(ClientProtocol& protocol, Completions&) {
    std::unique_lock lock{mutex_};
    is_marked_ = false;
    is_pending_ = false;
    is_paced_ = true;
    // The link asserts that no more is returned than was received, so bytes go with the first range that returns any.
    std::uint64_t bytes = std::exchange(settled_bytes_, 0);
    settled_count_ = 0;
    for (const wire::Settlement& range : settlements_.take()) {
        const bool is_start = range.outcome == static_cast<std::uint8_t>(Outcome::started);
        protocol.settle(link, epoch_, range, is_start ? 0 : std::exchange(bytes, 0));
    }
    for (auto& [id, receipt] : receipts_) {
        if (!receipt.is_handed_over && !receipt.result) {
            receipt.is_handed_over = true;
            // If it is of another epoch, on_deliveries_lost has the answer already or will have it soon.
            protocol.settle_with_receipt(link, receipt.epoch, receipt.range, receipt.region_bytes, id);
        }
    }
    for (; questions_handed_over_ < questions_; ++questions_handed_over_) {
        protocol.ask_state(link);
    }
    if (window_.is_on_demand) {
        protocol.ask(link, wanted());
    }
    if (is_closing_) {
        lock.unlock();
        protocol.close(link);
    }
}

bool ReceiverEndpoint::end_pace() {
    const std::lock_guard lock{mutex_};
    is_paced_ = false;
    return is_pending_ && !is_marked_;
}

void ReceiverEndpoint::on_delivered(const std::shared_ptr<ReceiverEndpoint>& self, DeliveredBatch&& batch,
                                    Completions& completions) {
    auto slice = std::make_shared<const DeliveredSlice>(DeliveredSlice{.batch = std::move(batch), .owner = self});
    const BatchHeader& header = slice->batch.header;
    const std::lock_guard lock{mutex_};
    if (is_closing_ || end_) {
        return;  // DETACH gives it back.
    }
    BATON_ASSERT(slice->batch.epoch >= epoch_);
    epoch_ = slice->batch.epoch;
    queued_ += header.count;
    queue_.push_back({.slice = slice,
                      .cursor = MessageCursor{slice->batch.messages.bytes(), header.has_properties()},
                      .next = 0,
                      .end = header.count});
    while (!waiters_.empty() && queued_ != 0) {
        completions.emplace_back([done = std::move(waiters_.front().done),
                                  delivery = std::move(*take(self))]() mutable { done(std::move(delivery)); });
        waiters_.pop_front();
    }
    if (window_.is_on_demand) {
        return_unwanted(self);
    }
    if (threads_waiting_ != 0) {
        changed_.notify_all();
    }
}

void ReceiverEndpoint::on_deliveries_lost(Completions& completions) {
    std::deque<Queued> lost;  // Ends after the lock.
    const std::lock_guard lock{mutex_};
    ++epoch_;
    lost.swap(queue_);
    queued_ = 0;
    unsettled_ = 0;
    settlements_.clear();
    settled_bytes_ = 0;
    settled_count_ = 0;
    is_pending_ = false;
    for (auto at = receipts_.begin(); at != receipts_.end();) {
        at = resolve(at, SettleResult::lost_lease, completions);
    }
    changed_.notify_all();
}

void ReceiverEndpoint::on_settled(std::uint64_t receipt, bool is_done, Completions& completions) {
    const std::lock_guard lock{mutex_};
    const auto found = receipts_.find(receipt);
    if (found == receipts_.end()) {
        return;
    }
    resolve(found, is_done ? SettleResult::settled : SettleResult::lost_lease, completions);
    changed_.notify_all();
}

// A thread that waits takes its receipt away itself.
ReceiverEndpoint::Receipts::iterator ReceiverEndpoint::resolve(Receipts::iterator at, Expected<SettleResult> result,
                                                               Completions& completions) {
    Receipt& receipt = at->second;
    if (!receipt.done) {
        if (result) {
            receipt.result = *result;
        }
        return std::next(at);
    }
    completions.emplace_back(
        [done = std::move(receipt.done), outcome = std::move(result)]() mutable { done(std::move(outcome)); });
    return receipts_.erase(at);
}

void ReceiverEndpoint::on_state(std::uint64_t ready) {
    const std::lock_guard lock{mutex_};
    ++answers_;
    last_ready_ = ready;
    changed_.notify_all();
}

void ReceiverEndpoint::end(ClientError error, Completions& completions) {
    std::deque<Queued> lost;  // Ends after the lock.
    const std::lock_guard lock{mutex_};
    if (end_) {
        return;
    }
    end_ = std::move(error);
    lost.swap(queue_);
    queued_ = 0;
    unsettled_ = 0;
    for (Waiter& waiter : waiters_) {
        completions.emplace_back(
            [done = std::move(waiter.done), reason = *end_]() mutable { done(std::unexpected{std::move(reason)}); });
    }
    waiters_.clear();
    for (auto at = receipts_.begin(); at != receipts_.end();) {
        at = resolve(at, std::unexpected{*end_}, completions);
    }
    changed_.notify_all();
}

}  // namespace baton::client
