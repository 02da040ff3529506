// The I/O thread's side of receiver_endpoint.hpp.
#include <algorithm>
#include <bit>
#include <utility>

#include "client/src/client_protocol.hpp"
#include "client/src/receiver_endpoint.hpp"
#include "common/base/assert.hpp"

namespace baton::client {

void ReceiverEndpoint::hand_over(ClientProtocol& protocol, Completions&) {
    auto lock = lock_all();
    is_marked_ = false;
    is_pending_ = false;
    is_paced_ = true;
    for (DeliveredSlice* slice : dirty_) {
        collect(*slice);
    }
    dirty_.clear();
    finished_.swap(letting_go_);
    // The link asserts that no more is returned than was received, so bytes go with the first range that returns any.
    std::uint64_t bytes = std::exchange(settled_bytes_, 0);
    gathered_count_ = 0;
    gathered_bytes_ = 0;
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
            protocol.settle_with_receipt(link, receipt.epoch, receipt.range, receipt.room, id, receipt.note);
        }
    }
    for (; questions_handed_over_ < questions_; ++questions_handed_over_) {
        protocol.ask_state(link);
    }
    if (window_.is_on_demand) {
        protocol.ask(link, wanted());
    }
    const bool is_closing = is_closing_;
    lock.unlock();
    letting_go_.clear();
    if (is_closing) {
        protocol.close(link);
    }
}

// The flag first: see DeliveredSlice.
void ReceiverEndpoint::collect(DeliveredSlice& slice) {
    slice.is_dirty.store(false);
    announce(slice, slice.next);
    std::uint32_t done = 0;
    slice.open.take_closed(slice.next, [&](std::uint32_t first, std::uint32_t count) {
        const wire::Settlement range = range_of(slice, first, count, Outcome::done);
        settlements_.add(range);
        extended_until_.erase(extended_until_.lower_bound(range.first),
                              extended_until_.lower_bound(range.first + range.count));
        done += count;
    });
    unsettled_ -= done;
    settled_bytes_ += account(slice, done);
}

// What was handed out since it was said last. Not what is done already: that has nothing to say any more.
void ReceiverEndpoint::announce(DeliveredSlice& slice, std::uint32_t end) {
    slice.open.visit_others(slice.announced, end, [&](std::uint32_t first, std::uint32_t count) {
        settlements_.add(range_of(slice, first, count, Outcome::started));
    });
    slice.announced = end;
}

bool ReceiverEndpoint::end_pace() {
    const std::lock_guard lock{mutex_};
    is_paced_ = false;
    return is_pending_ && !is_marked_;
}

void ReceiverEndpoint::on_delivered(const std::shared_ptr<ReceiverEndpoint>& self, DeliveredBatch&& batch,
                                    Completions& completions) {
    const std::uint32_t stride = stride_of(batch.header);
    SliceRef slice{*new DeliveredSlice{std::move(batch), self, stride}};
    const auto lock = lock_all();
    if (is_closing_ || end_) {
        return;  // DETACH gives it back.
    }
    BATON_ASSERT(slice->batch.epoch >= epoch_);
    epoch_ = slice->batch.epoch;
    queued_ += slice->batch.header.count;
    queue_.emplace_back(*slice);
    slice->is_held = true;
    slice->place = held_.insert(held_.end(), slice);
    while (!waiters_.empty() && queued_ != 0) {
        completions.emplace_back([done = std::move(waiters_.front().done), delivery = std::move(*take())]() mutable {
            done(std::move(delivery));
        });
        waiters_.pop_front();
        slice->batch.is_redelivered ? shared_->inbox.wake() : void();
    }
    if (window_.is_on_demand) {
        return_unwanted();
    }
    if (threads_waiting_ != 0) {
        notify();
    }
}

// A power of two, such that half the window has some: of messages and, as these have them on average, of bytes.
std::uint32_t ReceiverEndpoint::stride_of(const BatchHeader& header) const noexcept {
    constexpr std::uint64_t stride_max = 16;
    constexpr std::uint64_t strides_per_window = 8;
    const std::uint64_t each = std::max<std::uint64_t>(1, header.messages_size / header.count);
    const std::uint64_t fitting = std::min(window_.messages, window_.bytes / each) / strides_per_window;
    return static_cast<std::uint32_t>(std::bit_floor(std::clamp<std::uint64_t>(fitting, 1, stride_max)));
}

void ReceiverEndpoint::on_deliveries_lost(Completions& completions) {
    Lost lost;  // Ends after the lock.
    const auto lock = lock_all();
    ++epoch_;
    lose_all(lost);
    settlements_.clear();
    noted_.clear();
    settled_bytes_ = 0;
    gathered_count_ = 0;
    gathered_bytes_ = 0;
    is_pending_ = false;
    for (auto at = receipts_.begin(); at != receipts_.end();) {
        at = resolve(at, at->second.result ? *at->second.result : without_answer(at->second), completions);
    }
    notify();
}

// What the broker was told it may have done.
Expected<SettleResult> ReceiverEndpoint::without_answer(const Receipt& receipt) const {
    if (!receipt.is_handed_over || receipt.is_lost) {
        return SettleResult::lost_lease;
    }
    return std::unexpected{ClientError{
        ClientErrc::disconnected,
        what() + ": the connection broke before the broker said that the message is settled: if it is not, it is given again"}};
}

void ReceiverEndpoint::lose_all(Lost& lost) noexcept {
    for (const SliceRef& slice : held_) {
        slice->open.close_and_account_all();
        slice->is_held = false;
    }
    dirty_.clear();
    lost.queue.swap(queue_);
    lost.held.swap(held_);
    lost.finished.swap(finished_);
    extended_until_.clear();
    queued_ = 0;
    unsettled_ = 0;
    lost_count_ = 0;
    lost_bytes_ = 0;
}

// What has been decided by now goes out before DETACH. The rest is not ours any more; how much of it had been handed
// out can still be asked.
void ReceiverEndpoint::on_closing() {
    close_hand();
    for (const SliceRef& slice : held_) {
        slice->open.close_and_account_all();
        touch(*slice);
    }
    queued_ = 0;
}

// A receipt covers all earlier ones, and exceptions may be about any of them, or about what nobody waits for.
void ReceiverEndpoint::on_settled(const std::shared_ptr<ReceiverEndpoint>& self, std::uint64_t receipt,
                                  wire::RecordReader<wire::SettleException> exceptions, Completions& completions) {
    const auto lock = lock_all();
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
    std::vector<SliceRef> hit;
    for (const SliceRef& slice : held_) {
        if (slice->batch.attempt == lost.attempt) {
            hit.push_back(slice);
        }
    }
    for (const SliceRef& slice : hit) {
        const BatchHeader& header = slice->batch.header;
        const std::uint64_t begin = std::max(lost.first, header.base_offset);
        const std::uint64_t end = std::min(lost.first + lost.count, header.base_offset + header.count);
        for (std::uint64_t offset = begin; offset < end; ++offset) {
            const std::uint32_t index = slice->index_of(offset);
            if (close_message(*slice, index)) {
                --(index >= slice->next && index < slice->end ? queued_ : unsettled_);
                ++lost_count_;
                lost_bytes_ += account(*slice, 1);
            }
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

bool ReceiverEndpoint::renew_leases(ClientProtocol& protocol, MonotonicTime now) {
    std::vector<SliceRef> due;  // Ends after the lock.
    const auto lock = lock_all();
    if (is_closing_ || end_ || lease_ == Duration{}) {
        return false;
    }
    return_old(now);
    for (const SliceRef& slice : held_) {
        if (now - slice->renewed_at >= lease_ / 4 && now - slice->batch.arrived < lease_max_) {
            due.push_back(slice);
        }
    }
    for (const SliceRef& slice : due) {
        renew(*slice, protocol, now);
    }
    return std::ranges::any_of(held_, [](const SliceRef& slice) { return !slice->open.empty(); });
}

void ReceiverEndpoint::renew(DeliveredSlice& slice, ClientProtocol& protocol, MonotonicTime now) {
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
    slice.open.visit_open(0, slice.batch.header.count, [&](std::uint32_t index, std::uint32_t count) {
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
void ReceiverEndpoint::return_old(MonotonicTime now) {
    while (!queue_.empty()) {
        DeliveredSlice& slice = *queue_.front();
        if (slice.next != slice.end && now - slice.batch.arrived < lease_max_ - lease_ / 2) {
            return;
        }
        slice.open.visit_open(slice.next, slice.end, [&](std::uint32_t first, std::uint32_t count) {
            for (std::uint32_t index = first; index < first + count; ++index) {
                close_message(slice, index);
            }
            give_back(slice, first, count);
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
        receipt.result = std::move(result);
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
    Lost lost;  // Ends after the lock.
    const auto lock = lock_all();
    if (end_) {
        return;
    }
    end_ = std::move(error);
    lose_all(lost);
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
