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
    auto received = receive_one(self, limit);
    if (received && *received) {
        write_started(**received);
    }
    return received;
}

void ReceiverEndpoint::write_started(const Delivery& delivery) {
    if (delivery.redelivered() && !shared_->loop.take_turn()) {
        shared_->inbox.wake();
    }
}

Expected<std::optional<Delivery>> ReceiverEndpoint::receive_one(const std::shared_ptr<ReceiverEndpoint>& self,
                                                                const WaitLimit& limit) {
    WaitScope scope{shared_->board, mutex_, changed_, limit, &shared_->loop};
    if (auto delivery = take()) {
        open_hand();
        return delivery;
    }
    ++threads_waiting_;
    wants_changed(self);
    const Waited waited = scope.wait([this] {
        close_hand();
        return queued_ != 0 || is_closing_ || end_;
    });
    --threads_waiting_;
    auto delivery = take();
    wants_changed(self);
    if (delivery) {
        open_hand();
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

// What has been taken out of it is counted now.
void ReceiverEndpoint::close_hand() noexcept {
    DeliveredSlice* slice = hand_.close();
    if (slice != nullptr) {
        BATON_ASSERT(&*queue_.front() == slice);
        count_taken(*slice, slice->next - hand_from_);
    }
}

std::unique_lock<std::mutex> ReceiverEndpoint::lock_all() {
    std::unique_lock lock{mutex_};
    close_hand();
    return lock;
}

void ReceiverEndpoint::open_hand() noexcept {
    if (queued_ == 0 || window_.is_on_demand || !waiters_.empty() || is_closing_ || end_) {
        return;
    }
    DeliveredSlice& slice = *queue_.front();
    if (slice.batch.is_redelivered) {
        return;  // Each of its messages is told of.
    }
    hand_from_ = slice.next;
    hand_.open(slice);
}

bool ReceiverEndpoint::take_next(DeliveredSlice& slice, std::optional<Delivery>& next) noexcept {
    if (slice.next == slice.end || !slice.is_dirty.load(std::memory_order_relaxed) || !slice.open.contains(slice.next)) {
        return false;
    }
    MessageView message;
    const bool has_next = slice.cursor.next(message);
    BATON_ASSERT(has_next);
    const std::uint32_t index = slice.next++;
    next = client_access::delivery(slice, slice.batch.header.base_offset + index, message.payload, message.properties);
    return true;
}

// Handing out is what `started` means: if we die now, this message is the one that was being worked on.
std::optional<Delivery> ReceiverEndpoint::take() {
    close_hand();
    if (queued_ == 0) {
        return std::nullopt;
    }
    for (;;) {
        BATON_ASSERT(!queue_.empty());
        DeliveredSlice& slice = *queue_.front();
        if (slice.next == slice.end) {
            queue_.pop_front();
        } else if (!slice.open.contains(slice.next)) {  // It was lost while it waited here, and is not started.
            announce(slice, slice.next);
            MessageView lost;
            const bool has_next = slice.cursor.next(lost);
            BATON_ASSERT(has_next);
            slice.announced = ++slice.next;
        } else {
            touch(slice);
            slice.batch.is_redelivered ? static_cast<void>(mark(slice.owner)) : void();
            std::optional<Delivery> next;
            const bool is_taken = take_next(slice, next);
            BATON_ASSERT(is_taken);
            count_taken(slice, 1);
            return next;
        }
    }
}

// Of the first of queue_, which ends with its last one.
void ReceiverEndpoint::count_taken(DeliveredSlice& slice, std::uint32_t count) noexcept {
    slice.given += count;
    queued_ -= count;
    unsettled_ += count;
    if (slice.next == slice.end) {
        queue_.pop_front();
    }
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
        } else if (delivery = waiters_.empty() ? take() : std::nullopt; !delivery) {
            waiters_.push_back({.id = ++last_waiter_, .done = std::move(done)});
            wants_changed(self);
            return last_waiter_;
        }
    }
    if (error) {
        done(std::unexpected{std::move(*error)});
    } else {
        write_started(*delivery);
        done(std::move(*delivery));
    }
    return 0;
}

void ReceiverEndpoint::cancel_receive(const std::shared_ptr<ReceiverEndpoint>& self, std::uint64_t id) {
    ReceiveDone done;
    {
        const auto lock = lock_all();
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
    close_hand();
    if (queued_ != 0) {
        return false;
    }
    const std::uint64_t question = ++questions_;
    const std::uint64_t returned = returned_;
    mark_for_turn(self);
    const Waited waited = scope.wait([&] { return answers_ >= question || is_closing_ || end_; });
    if (answers_ >= question) {
        close_hand();
        // What came in front of the answer and went back is ready again, which the answer could not know.
        return queued_ == 0 && returned == returned_ && last_state_.ready == 0 && last_state_.delayed == 0;
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

void ReceiverEndpoint::wants_changed(const std::shared_ptr<ReceiverEndpoint>& self) {
    if (!window_.is_on_demand) {
        return;
    }
    return_unwanted();
    mark_for_turn(self);
}

// What came too late for whoever had asked for it. It was not started, so it goes back as if it had never left.
void ReceiverEndpoint::return_unwanted() {
    const std::uint64_t asking = threads_waiting_ + waiters_.size();
    while (queued_ > asking) {
        DeliveredSlice& slice = *queue_.back();
        if (slice.next == slice.end) {
            queue_.pop_back();
        } else if (close_message(slice, --slice.end)) {
            give_back(slice, slice.end, 1);
        }
    }
}

wire::Settlement ReceiverEndpoint::range_of(const DeliveredSlice& slice, std::uint32_t first, std::uint32_t count,
                                            Outcome outcome) noexcept {
    return {.first = slice.batch.header.base_offset + first,
            .count = count,
            .attempt = slice.batch.attempt,
            .outcome = static_cast<std::uint8_t>(outcome),
            .argument = 0};
}

// These are closed. They were not started: no attempt counts.
void ReceiverEndpoint::give_back(DeliveredSlice& slice, std::uint32_t first, std::uint32_t count) {
    queued_ -= count;
    returned_ += count;
    decide(slice.owner, range_of(slice, first, count, Outcome::give_back), account(slice, count));
}

// --- Settling
// ------------------------------------------------------------------------------------------------------------

// The rare half of ack(): nobody looks at the slice yet, or the window may run dry.
void ReceiverEndpoint::on_acked(DeliveredSlice& slice, std::uint32_t index) {
    const std::lock_guard lock{mutex_};
    if (!slice.is_held) {
        return;  // The I/O thread has collected it meanwhile, or all of them are lost.
    }
    touch(slice);
    if (slice.is_milestone(index)) {
        const std::uint32_t count = slice.milestone_size(index);
        gather(slice.owner, count, count * slice.room_each());
    }
}

// There is nothing to settle any more, but there is room again.
void ReceiverEndpoint::settled_by_step(DeliveredSlice& slice, std::uint64_t offset) {
    const auto lock = lock_all();
    if (!close_message(slice, slice.index_of(offset))) {
        return;
    }
    --unsettled_;
    ++lost_count_;
    lost_bytes_ += account(slice, 1);
    mark_for_turn(slice.owner);
    notify_from_outside();
}

bool ReceiverEndpoint::close_message(DeliveredSlice& slice, std::uint32_t index) noexcept {
    if (!slice.open.close_and_account(index)) {
        return false;
    }
    if (!extended_until_.empty()) {
        extended_until_.erase(slice.batch.header.base_offset + index);
    }
    return true;
}

// A dirty one is finished when it has been collected.
std::uint64_t ReceiverEndpoint::account(DeliveredSlice& slice, std::uint32_t count) noexcept {
    const std::uint64_t room = slice.account(count);
    if (slice.unaccounted == 0 && !slice.is_dirty.load() && slice.is_held) {
        slice.is_held = false;
        finished_.push_back(std::move(*slice.place));
        held_.erase(slice.place);
    }
    return room;
}

// While a slice is dirty the I/O thread is on its way, or will look when the pace has passed.
void ReceiverEndpoint::touch(DeliveredSlice& slice) {
    if (slice.is_dirty.load(std::memory_order_relaxed)) {
        return;
    }
    slice.is_dirty.store(true);
    dirty_.push_back(&slice);
    gather(slice.owner, 0, 0);
}

void ReceiverEndpoint::gather(const std::shared_ptr<ReceiverEndpoint>& self, std::uint64_t count, std::uint64_t bytes) {
    gathered_count_ += count;
    gathered_bytes_ += bytes;
    const bool is_urgent = gathered_count_ >= std::max<std::uint64_t>(1, window_.messages / 2) ||
                           gathered_bytes_ >= std::max<std::uint64_t>(1, window_.bytes / 2);
    is_pending_ = true;
    if (!is_paced_ || is_urgent) {
        mark_for_turn(self);
    }
}

void ReceiverEndpoint::decide(const std::shared_ptr<ReceiverEndpoint>& self, const wire::Settlement& range,
                              std::uint64_t room, std::string_view note) {
    if (note.empty()) {
        settlements_.add(range);
    } else {
        noted_.push_back({.range = range, .note = std::string{note}});
    }
    settled_bytes_ += room;
    gather(self, ends_delivery(range.outcome) ? range.count : 0, room);
}

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

wire::Settlement ReceiverEndpoint::close_or_extend(DeliveredSlice& slice, std::uint64_t offset,
                                                   const Decision& decision, std::uint64_t& room) {
    const std::uint32_t index = slice.index_of(offset);
    wire::Settlement range = range_of(slice, index, 1, decision.outcome);
    if (ends_delivery(range.outcome)) {
        range.argument = decision.argument;
        close_message(slice, index);
        --unsettled_;
        room = account(slice, 1);
    } else {
        range.argument = note_extension(offset, decision.argument);
        room = 0;
    }
    return range;
}

bool ReceiverEndpoint::settle(DeliveredSlice& slice, std::uint64_t offset, const Decision& decision) {
    const auto lock = lock_all();
    if (!slice.open.contains(slice.index_of(offset))) {
        return false;
    }
    std::uint64_t room = 0;
    const wire::Settlement range = close_or_extend(slice, offset, decision, room);
    decide(slice.owner, range, room, decision.note);
    return true;
}

std::uint64_t ReceiverEndpoint::add_receipt(DeliveredSlice& slice, std::uint64_t offset, const Decision& decision,
                                            SettleDone done) {
    std::uint64_t room = 0;
    const wire::Settlement range = close_or_extend(slice, offset, decision, room);
    const std::uint64_t receipt = ++last_receipt_;
    receipts_.emplace(receipt, Receipt{.range = range,
                                       .note = decision.note,
                                       .epoch = slice.batch.epoch,
                                       .room = room,
                                       .result = {},
                                       .done = std::move(done)});
    mark_for_turn(slice.owner);
    return receipt;
}

Expected<SettleResult> ReceiverEndpoint::settle_and_wait(DeliveredSlice& slice, std::uint64_t offset,
                                                         const Decision& decision, const WaitLimit& limit) {
    WaitScope scope{shared_->board, mutex_, changed_, limit, &shared_->loop};
    close_hand();
    if (!slice.open.contains(slice.index_of(offset))) {
        return SettleResult::lost_lease;
    }
    const std::uint64_t receipt = add_receipt(slice, offset, decision, {});
    const Waited waited = scope.wait([&] { return receipts_.at(receipt).result.has_value() || end_; });
    if (std::optional<Expected<SettleResult>> result = receipts_.at(receipt).result) {
        receipts_.erase(receipt);
        return std::move(*result);
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

std::uint64_t ReceiverEndpoint::settle_async(DeliveredSlice& slice, std::uint64_t offset, const Decision& decision,
                                             SettleDone done) {
    {
        const auto lock = lock_all();
        if (slice.open.contains(slice.index_of(offset))) {
            return add_receipt(slice, offset, decision, std::move(done));
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

std::size_t ReceiverEndpoint::waiting() {
    const auto lock = lock_all();
    return static_cast<std::size_t>(queued_);
}

std::size_t ReceiverEndpoint::unsettled() {
    const auto lock = lock_all();
    std::uint64_t done = 0;
    for (const DeliveredSlice* slice : dirty_) {
        done += slice->open.count_closed(slice->next);
    }
    return static_cast<std::size_t>(unsettled_ - done);
}

}  // namespace baton::client
