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
        protocol.settle(link, epoch_, range, ends_delivery(range.outcome) ? std::exchange(bytes, 0) : 0);
    }
    for (const Noted& noted : std::exchange(noted_, {})) {
        protocol.settle(link, epoch_, noted.range, std::exchange(bytes, 0), noted.note);
    }
    if (lost_count_ != 0) {
        protocol.give_room(link, epoch_, std::exchange(lost_count_, 0), std::exchange(lost_bytes_, 0));
    }
    for (auto& [id, receipt] : receipts_) {
        if (!receipt.is_handed_over && !receipt.result) {
            receipt.is_handed_over = true;
            // If it is of another epoch, on_deliveries_lost has the answer already or will have it soon.
            protocol.settle_with_receipt(link, receipt.epoch, receipt.range, receipt.region_bytes, id, receipt.note);
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
    const auto slice = std::make_shared<const DeliveredSlice>(std::move(batch), self);
    const BatchHeader& header = slice->batch.header;
    const std::lock_guard lock{mutex_};
    if (is_closing_ || end_) {
        return;  // DETACH gives it back.
    }
    BATON_ASSERT(slice->batch.epoch >= epoch_);
    epoch_ = slice->batch.epoch;
    slice->place = held_.insert(held_.end(), slice);
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
        notify();
    }
}

void ReceiverEndpoint::on_deliveries_lost(Completions& completions) {
    std::deque<Queued> lost;  // Ends after the lock.
    const std::lock_guard lock{mutex_};
    ++epoch_;
    lost.swap(queue_);
    queued_ = 0;
    unsettled_ = 0;
    forget_held();
    settlements_.clear();
    noted_.clear();
    settled_bytes_ = 0;
    settled_count_ = 0;
    is_pending_ = false;
    for (auto at = receipts_.begin(); at != receipts_.end();) {
        at = resolve(at, SettleResult::lost_lease, completions);
    }
    notify();
}

void ReceiverEndpoint::forget_held() noexcept {
    held_.clear();
    extended_until_.clear();
    lost_count_ = 0;
    lost_bytes_ = 0;
}

// A receipt covers all earlier ones, and exceptions may be about any of them, or about what nobody waits for.
void ReceiverEndpoint::on_settled(const std::shared_ptr<ReceiverEndpoint>& self, std::uint64_t receipt,
                                  wire::RecordReader<wire::SettleException> exceptions, Completions& completions) {
    const std::lock_guard lock{mutex_};
    for (wire::SettleException exception; exceptions.next(exception);) {
        for (auto& [id, waiting] : receipts_) {
            const wire::Settlement& range = waiting.range;
            waiting.is_lost |= waiting.is_handed_over && range.attempt == exception.attempt &&
                               range.first >= exception.first && range.first - exception.first < exception.count;
        }
        if (exception.status == wire::Status::lost_lease && !is_closing_ && !end_) {
            lose(exception);
        }
    }
    for (auto at = receipts_.begin(); at != receipts_.end() && at->first <= receipt;) {
        const bool is_answered = at->second.is_handed_over && !at->second.result;
        const auto result = at->second.is_lost ? SettleResult::lost_lease : SettleResult::settled;
        at = is_answered ? resolve(at, result, completions) : std::next(at);
    }
    if (lost_count_ != 0) {
        mark_for_turn(self);
    }
    notify();
}

// The broker has given these to somebody else, or will: nobody gets them here any more, and settling them is in vain.
void ReceiverEndpoint::lose(const wire::SettleException& lost) {
    std::vector<std::shared_ptr<const DeliveredSlice>> hit;
    for (const auto& place : held_) {
        auto slice = place.lock();
        if (slice && slice->batch.attempt == lost.attempt) {
            hit.push_back(std::move(slice));
        }
    }
    for (const auto& slice : hit) {
        const BatchHeader& header = slice->batch.header;
        const std::uint64_t begin = std::max(lost.first, header.base_offset);
        const std::uint64_t end = std::min(lost.first + lost.count, header.base_offset + header.count);
        const auto queued = std::ranges::find(queue_, slice, &Queued::slice);
        for (std::uint64_t offset = begin; offset < end; ++offset) {
            const auto index = static_cast<std::uint32_t>(offset - header.base_offset);
            if (!close_message(*slice, index)) {
                continue;
            }
            const bool is_waiting = queued != queue_.end() && index >= queued->next && index < queued->end;
            --(is_waiting ? queued_ : unsettled_);
            const Bytes region = slice->batch.messages.bytes();
            ++lost_count_;
            lost_bytes_ += messages_prefix_size(region, index + 1) - messages_prefix_size(region, index);
        }
    }
}

// --- Leases
// ------------------------------------------------------------------------------------------------------------

void ReceiverEndpoint::on_attached(const ReceiverTerms& terms) {
    const std::lock_guard lock{mutex_};
    lease_ = terms.lease;
    lease_max_ = std::max(terms.lease, terms.lease_max);
}

// Looked at six times in a lease; extended when a quarter of it has passed. So a third on average, and never less than
// half of it is left when the broker hears of it.
Duration ReceiverEndpoint::renewal_interval() const {
    const std::lock_guard lock{mutex_};
    return lease_ == Duration{} ? Duration{} : std::max<Duration>(lease_ / 6, std::chrono::milliseconds{5});
}

bool ReceiverEndpoint::renew_leases(const std::shared_ptr<ReceiverEndpoint>& self, ClientProtocol& protocol,
                                    MonotonicTime now) {
    std::vector<std::shared_ptr<const DeliveredSlice>> due;  // Ends after the lock.
    const std::lock_guard lock{mutex_};
    if (is_closing_ || end_ || lease_ == Duration{}) {
        return false;
    }
    return_old(self, now);
    for (const auto& place : held_) {
        auto slice = place.lock();
        if (slice && now - slice->renewed_at >= lease_ / 4 && now - slice->batch.arrived < lease_max_) {
            due.push_back(std::move(slice));
        }
    }
    for (const auto& slice : due) {
        renew(*slice, protocol, now);
    }
    return !held_.empty();
}

void ReceiverEndpoint::renew(const DeliveredSlice& slice, ClientProtocol& protocol, MonotonicTime now) {
    slice.renewed_at = now;
    const std::uint64_t base = slice.batch.header.base_offset;
    const auto extend = [&](std::uint64_t first, std::uint64_t end) {
        if (first < end) {
            protocol.settle(link, epoch_,
                            {.first = first,
                             .count = static_cast<std::uint32_t>(end - first),
                             .attempt = slice.batch.attempt,
                             .outcome = static_cast<std::uint8_t>(Outcome::extend),
                             .argument = 0},
                            0);
        }
    };
    slice.open.visit_runs(0, slice.batch.header.count, [&](std::uint32_t index, std::uint32_t count) {
        std::uint64_t first = base + index;
        const std::uint64_t end = first + count;
        for (auto at = extended_until_.lower_bound(first); at != extended_until_.end() && at->first < end; ++at) {
            if (at->second - now > lease_ * 3 / 4) {
                extend(first, at->first);
                first = at->first + 1;
            }
        }
        extend(first, end);
    });
}

// What waits here and cannot be extended for much longer. It has not been started.
void ReceiverEndpoint::return_old(const std::shared_ptr<Endpoint>& self, MonotonicTime now) {
    while (!queue_.empty()) {
        Queued& front = queue_.front();
        const DeliveredSlice& slice = *front.slice;
        if (front.next != front.end && now - slice.batch.arrived < lease_max_ - lease_ / 2) {
            return;
        }
        const Bytes region = slice.batch.messages.bytes();
        slice.open.visit_runs(front.next, front.end, [&](std::uint32_t first, std::uint32_t count) {
            for (std::uint32_t index = first; index < first + count; ++index) {
                close_message(slice, index);
            }
            queued_ -= count;
            decide(self,
                   {.first = slice.batch.header.base_offset + first,
                    .count = count,
                    .attempt = slice.batch.attempt,
                    .outcome = static_cast<std::uint8_t>(Outcome::give_back),
                    .argument = 0},
                   messages_prefix_size(region, first + count) - messages_prefix_size(region, first));
        });
        queue_.pop_front();
    }
}

// --- Answers
// -----------------------------------------------------------------------------------------------------------

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

void ReceiverEndpoint::on_state(const wire::State& state) {
    const std::lock_guard lock{mutex_};
    ++answers_;
    last_state_ = state;
    notify();
}

void ReceiverEndpoint::end(ClientError error, Completions& completions) {
    std::deque<Queued> lost;  // Ends after the lock.
    const std::lock_guard lock{mutex_};
    if (end_) {
        return;
    }
    end_ = std::move(error);
    forget_held();
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
    notify();
}

}  // namespace baton::client
