// The user threads' side of receiver_endpoint.hpp. The I/O thread's: receiver_endpoint_io.cpp.
#include "client/src/receiver_endpoint.hpp"

#include <algorithm>
#include <utility>

#include "client/src/access.hpp"
#include "client/src/errors.hpp"
#include "common/base/assert.hpp"

namespace baton::client {

ReceiverEndpoint::ReceiverEndpoint(std::shared_ptr<Shared> shared, std::string channel, const ReceiverWindow& window)
    : Endpoint{std::move(shared), std::move(channel)}, window_{window} {}

// --- Receiving
// -----------------------------------------------------------------------------------------------------------

Expected<std::optional<Delivery>> ReceiverEndpoint::receive(const std::shared_ptr<ReceiverEndpoint>& self,
                                                            const WaitLimit& limit) {
    WaitScope scope{shared_->board, mutex_, changed_, limit, &shared_->loop};
    if (auto delivery = take(self)) {
        return delivery;
    }
    ++threads_waiting_;
    wants_changed(self);
    const Waited waited = scope.wait([this] { return queued_ != 0 || is_closing_ || end_; });
    --threads_waiting_;
    auto delivery = take(self);
    wants_changed(self);
    if (delivery) {
        return delivery;
    }
    if (end_) {
        return std::unexpected{*end_};
    }
    if (is_closing_) {
        return std::unexpected{closed_error(what())};
    }
    if (waited.end == WaitEnd::unreachable) {
        return std::unexpected{wait_error(waited, "nothing received", {})};
    }
    return std::nullopt;
}

// Handing out is what `started` means: if we die now, this message is the one that was being worked on.
std::optional<Delivery> ReceiverEndpoint::take(const std::shared_ptr<ReceiverEndpoint>& self) {
    if (queued_ == 0 || is_closing_) {
        return std::nullopt;
    }
    MessageView message;
    for (bool is_found = false; !is_found;) {
        BATON_ASSERT(!queue_.empty());
        Queued& first = queue_.front();
        if (first.next == first.end) {
            queue_.pop_front();
            continue;
        }
        const bool has_next = first.cursor.next(message);
        BATON_ASSERT(has_next);
        is_found = first.slice->open.contains(first.next++);  // Else it was lost while it waited here.
    }
    Queued& front = queue_.front();
    const DeliveredBatch& batch = front.slice->batch;
    const std::uint64_t offset = batch.header.base_offset + front.next - 1;
    auto delivery = client_access::delivery(front.slice, offset, message.payload, message.properties);
    --queued_;
    ++unsettled_;
    decide(self,
           {.first = offset,
            .count = 1,
            .attempt = batch.attempt,
            .outcome = static_cast<std::uint8_t>(Outcome::started),
            .argument = 0},
           0);
    if (front.next == front.end) {
        queue_.pop_front();
    }
    return delivery;
}

std::uint64_t ReceiverEndpoint::receive_async(const std::shared_ptr<ReceiverEndpoint>& self, ReceiveDone done) {
    std::optional<Delivery> delivery;
    std::optional<ClientError> error;
    {
        const std::lock_guard lock{mutex_};
        if (end_) {
            error = *end_;
        } else if (is_closing_) {
            error = closed_error(what());
        } else if (delivery = waiters_.empty() ? take(self) : std::nullopt; !delivery) {
            waiters_.push_back({.id = ++last_waiter_, .done = std::move(done)});
            wants_changed(self);
            return last_waiter_;
        }
    }
    if (error) {
        done(std::unexpected{std::move(*error)});
    } else {
        done(std::move(*delivery));
    }
    return 0;
}

void ReceiverEndpoint::cancel_receive(const std::shared_ptr<ReceiverEndpoint>& self, std::uint64_t id) {
    ReceiveDone done;
    {
        const std::lock_guard lock{mutex_};
        const auto found = std::ranges::find(waiters_, id, &Waiter::id);
        if (found == waiters_.end()) {
            return;  // It has its message already; nothing is lost.
        }
        done = std::move(found->done);
        waiters_.erase(found);
        wants_changed(self);
    }
    done(std::unexpected{ClientError{ClientErrc::interrupted, what() + ": receive cancelled", true}});
}

Expected<bool> ReceiverEndpoint::is_empty(const std::shared_ptr<ReceiverEndpoint>& self, const WaitLimit& limit) {
    WaitScope scope{shared_->board, mutex_, changed_, limit, &shared_->loop};
    if (queued_ != 0) {
        return false;
    }
    const std::uint64_t question = ++questions_;
    mark_for_turn(self);
    const Waited waited = scope.wait([&] { return answers_ >= question || is_closing_ || end_; });
    if (answers_ >= question) {
        return queued_ == 0 && last_state_.ready == 0 && last_state_.delayed == 0;
    }
    if (end_) {
        return std::unexpected{*end_};
    }
    if (is_closing_) {
        return std::unexpected{closed_error(what())};
    }
    return std::unexpected{wait_error(waited, "no answer whether it is empty", {})};
}

std::uint64_t ReceiverEndpoint::wanted() const noexcept {
    const std::uint64_t asking = threads_waiting_ + waiters_.size();
    return asking > queued_ ? asking - queued_ : 0;
}

void ReceiverEndpoint::wants_changed(const std::shared_ptr<Endpoint>& self) {
    if (!window_.is_on_demand) {
        return;
    }
    return_unwanted(self);
    mark_for_turn(self);
}

// What came too late for whoever had asked for it. It was not started, so it goes back as if it had never left.
void ReceiverEndpoint::return_unwanted(const std::shared_ptr<Endpoint>& self) {
    const std::uint64_t asking = threads_waiting_ + waiters_.size();
    while (queued_ > asking) {
        Queued& back = queue_.back();
        if (back.next == back.end) {
            queue_.pop_back();
            continue;
        }
        const DeliveredBatch& batch = back.slice->batch;
        const std::uint32_t last = --back.end;
        if (close_message(*back.slice, last)) {
            --queued_;
            const Bytes region = batch.messages.bytes();
            decide(self,
                   {.first = batch.header.base_offset + last,
                    .count = 1,
                    .attempt = batch.attempt,
                    .outcome = static_cast<std::uint8_t>(Outcome::give_back),
                    .argument = 0},
                   messages_prefix_size(region, last + 1) - messages_prefix_size(region, last));
        }
    }
}

// --- Settling
// ------------------------------------------------------------------------------------------------------------

// There is nothing to settle any more, but there is room again.
void ReceiverEndpoint::settled_by_step(const std::shared_ptr<ReceiverEndpoint>& self, const DeliveredSlice& slice,
                                       std::uint64_t offset, std::size_t region_bytes) {
    const std::lock_guard lock{mutex_};
    if (!is_ours(slice, offset)) {
        return;
    }
    close_message(slice, offset - slice.batch.header.base_offset);
    --unsettled_;
    ++lost_count_;
    lost_bytes_ += region_bytes;
    mark_for_turn(self);
    changed_.notify_all();
    shared_->loop.interrupt();
}

bool ReceiverEndpoint::is_ours(const DeliveredSlice& slice, std::uint64_t offset) const noexcept {
    return slice.batch.epoch == epoch_ && !is_closing_ && !end_ &&
           slice.open.contains(offset - slice.batch.header.base_offset);
}

bool ReceiverEndpoint::close_message(const DeliveredSlice& slice, std::uint64_t index) noexcept {
    if (!slice.open.close(index)) {
        return false;
    }
    if (slice.open.empty()) {
        held_.erase(slice.place);
    }
    if (!extended_until_.empty()) {
        extended_until_.erase(slice.batch.header.base_offset + index);
    }
    return true;
}

void ReceiverEndpoint::decide(const std::shared_ptr<Endpoint>& self, const wire::Settlement& range,
                              std::size_t region_bytes, std::string_view note) {
    if (note.empty()) {
        settlements_.add(range);
    } else {
        noted_.push_back({.range = range, .note = std::string{note}});
    }
    settled_bytes_ += region_bytes;
    if (ends_delivery(range.outcome)) {
        settled_count_ += range.count;
    }
    const bool is_urgent = settled_count_ >= std::max<std::uint64_t>(1, window_.messages / 2) ||
                           settled_bytes_ >= std::max<std::uint64_t>(1, window_.bytes / 2);
    is_pending_ = true;
    if (!is_paced_ || is_urgent) {
        mark_for_turn(self);
    }
}

namespace {

wire::Settlement range_of(const DeliveredSlice& slice, std::uint64_t offset, const Decision& decision) noexcept {
    return {.first = offset,
            .count = 1,
            .attempt = slice.batch.attempt,
            .outcome = static_cast<std::uint8_t>(decision.outcome),
            .argument = decision.argument};
}

}  // namespace

// What the user wants to hold for longer than a lease is left alone until then.
std::uint32_t ReceiverEndpoint::note_extension(std::uint64_t offset, std::uint32_t argument) {
    const Duration wished = std::chrono::milliseconds{argument};
    if (wished > lease_) {
        extended_until_[offset] = SystemClock{}.now() + wished;
        return argument;
    }
    extended_until_.erase(offset);
    return 0;  // Never less than what we keep by ourselves.
}

bool ReceiverEndpoint::settle(const DeliveredSlice& slice, std::uint64_t offset, const Decision& decision,
                              std::size_t region_bytes) {
    const std::lock_guard lock{mutex_};
    if (!is_ours(slice, offset)) {
        return false;
    }
    wire::Settlement range = range_of(slice, offset, decision);
    if (ends_delivery(range.outcome)) {
        close_message(slice, offset - slice.batch.header.base_offset);
        --unsettled_;
    } else {
        range.argument = note_extension(offset, decision.argument);
        region_bytes = 0;
    }
    decide(slice.owner, range, region_bytes, decision.note);
    return true;
}

std::uint64_t ReceiverEndpoint::add_receipt(const DeliveredSlice& slice, std::uint64_t offset, const Decision& decision,
                                            std::size_t region_bytes, SettleDone done) {
    wire::Settlement range = range_of(slice, offset, decision);
    if (ends_delivery(range.outcome)) {
        close_message(slice, offset - slice.batch.header.base_offset);
        --unsettled_;
    } else {
        range.argument = note_extension(offset, decision.argument);
    }
    const std::uint64_t receipt = ++last_receipt_;
    receipts_.emplace(receipt, Receipt{.range = range,
                                       .note = decision.note,
                                       .epoch = slice.batch.epoch,
                                       .region_bytes = region_bytes,
                                       .result = {},
                                       .done = std::move(done)});
    mark_for_turn(slice.owner);
    return receipt;
}

Expected<SettleResult> ReceiverEndpoint::settle_and_wait(const DeliveredSlice& slice, std::uint64_t offset,
                                                         const Decision& decision, std::size_t region_bytes,
                                                         const WaitLimit& limit) {
    WaitScope scope{shared_->board, mutex_, changed_, limit, &shared_->loop};
    if (!is_ours(slice, offset)) {
        return SettleResult::lost_lease;
    }
    const std::uint64_t receipt = add_receipt(slice, offset, decision, region_bytes, {});
    const Waited waited = scope.wait([&] { return receipts_.at(receipt).result.has_value() || end_; });
    const std::optional<SettleResult> result = receipts_.at(receipt).result;
    if (result) {
        receipts_.erase(receipt);
        return *result;
    }
    if (end_) {
        receipts_.erase(receipt);
        return std::unexpected{*end_};
    }
    if (receipts_.at(receipt).is_handed_over) {
        receipts_.erase(receipt);
    } else {
        receipts_.at(receipt).done = [](const Expected<SettleResult>&) {};  // Still to be sent; nobody waits for it.
    }
    return std::unexpected{wait_error(waited, "settlement not confirmed", {})};
}

std::uint64_t ReceiverEndpoint::settle_async(const DeliveredSlice& slice, std::uint64_t offset,
                                             const Decision& decision, std::size_t region_bytes, SettleDone done) {
    {
        const std::lock_guard lock{mutex_};
        if (is_ours(slice, offset)) {
            return add_receipt(slice, offset, decision, region_bytes, std::move(done));
        }
    }
    done(SettleResult::lost_lease);
    return 0;
}

void ReceiverEndpoint::cancel_settle(std::uint64_t receipt) {
    SettleDone done;
    {
        const std::lock_guard lock{mutex_};
        const auto found = receipts_.find(receipt);
        if (found == receipts_.end()) {
            return;
        }
        done = std::exchange(found->second.done, [](const Expected<SettleResult>&) {});
    }
    done(std::unexpected{ClientError{ClientErrc::interrupted, what() + ": no longer waiting for a settlement", true}});
}

bool ReceiverEndpoint::close_and_wait(const std::shared_ptr<ReceiverEndpoint>& self, const WaitLimit& limit) {
    close_in_background(self);
    WaitScope scope{shared_->board, mutex_, changed_, limit, &shared_->loop};
    return scope.wait([this] { return end_.has_value(); }).end == WaitEnd::ready;
}

std::size_t ReceiverEndpoint::waiting() const {
    const std::lock_guard lock{mutex_};
    return static_cast<std::size_t>(queued_);
}

std::size_t ReceiverEndpoint::unsettled() const {
    const std::lock_guard lock{mutex_};
    return static_cast<std::size_t>(unsettled_);
}

}  // namespace baton::client
