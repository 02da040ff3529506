// See sender_endpoint.hpp.
#include "client/src/sender_endpoint.hpp"

#include <algorithm>
#include <utility>

#include "client/src/client_protocol.hpp"
#include "client/src/errors.hpp"
#include "client/src/outgoing.hpp"
#include "common/base/assert.hpp"
#include "common/base/properties.hpp"
#include "common/wire/bodies.hpp"

namespace baton::client {

SenderEndpoint::SenderEndpoint(std::shared_ptr<Shared> shared, std::string channel, const SendWindow& window)
    : Endpoint{std::move(shared), std::move(channel)}, window_{window} {}

// --- User threads
// ------------------------------------------------------------------------------------------------------

Expected<SenderEndpoint::Encoded> SenderEndpoint::encode(const Message& message) const {
    auto properties = encoded_properties(message);
    if (!properties) {
        const ClientError& error = properties.error();
        return std::unexpected{ClientError{error.code(), what() + ": " + error.text()}};
    }
    return Encoded{.body = message.body(), .properties = std::move(*properties)};
}

std::uint64_t SenderEndpoint::size_max() const noexcept {
    const std::uint64_t limit = shared_->board.message_size_max();
    return message_size_max_ != 0 ? std::min(limit, message_size_max_) : limit;
}

std::optional<ClientError> SenderEndpoint::check_size(const Encoded& message) const {
    const std::uint64_t limit = size_max();
    const std::uint64_t size = message.body.size() + message.properties.size();
    if (limit == 0 || size <= limit) {
        return std::nullopt;
    }
    return ClientError{
        ClientErrc::message_too_large,
        what() + ": the message has " + std::to_string(size) + " bytes, the limit is " + std::to_string(limit), false,
        static_cast<std::uint32_t>(wire::Status::message_too_large)};
}

// The limit is known once we have been connected. Only for a large message it is worth waiting for that.
std::optional<ClientError> SenderEndpoint::check_size_with_limits(const Encoded& message, WaitScope& scope) const {
    if (message.size() > batch_size_max && shared_->board.message_size_max() == 0) {
        const Waited waited = scope.wait([this] { return end_ || shared_->board.message_size_max() != 0; });
        if (waited.end != WaitEnd::ready) {
            return wait_error(waited, "not sent", {});
        }
    }
    return check_size(message);
}

bool SenderEndpoint::has_room(std::size_t size) const noexcept {
    const std::uint64_t count = accepted_ - confirmed_;
    return count == 0 || (count < window_.messages && weight_ + size <= window_.bytes);
}

std::uint64_t SenderEndpoint::accept(const std::shared_ptr<SenderEndpoint>& self, const Encoded& message) {
    append(message);
    ++accepted_;
    add_weight(message.size());
    if (mark(self)) {
        departure_ = departure_of_first();
    }
    return accepted_;
}

// Of the messages up to the last one that was accepted.
void SenderEndpoint::add_weight(std::size_t bytes) {
    weight_ += bytes;
    // One entry for many small messages: the window is released a batch at a time anyway.
    constexpr std::size_t entry_bytes_max = 16 * 1024;
    if (!weights_.empty() && weights_.back().last > confirmed_ && weights_.back().bytes + bytes <= entry_bytes_max) {
        weights_.back().last = accepted_;
        weights_.back().bytes += bytes;
    } else {
        weights_.push_back({.last = accepted_, .bytes = bytes});
    }
}

std::uint64_t SenderEndpoint::accept_with_others(Bytes body, Bytes properties) noexcept {
    Filling* filling = hand_.take();
    if (filling == nullptr) {
        return 0;
    }
    const std::size_t size = size_of(body, properties);
    std::uint64_t sequence = 0;
    if (filling->count < filling->count_max && filling->bytes + size <= filling->bytes_max &&
        body.size() + properties.size() <= filling->size_max) {
        filling->batch->append(body, properties);
        sequence = filling->first + filling->count++;
        filling->bytes += size;
    }
    hand_.give_back(filling);
    return sequence;
}

std::unique_lock<std::mutex> SenderEndpoint::lock_all() {
    std::unique_lock lock{mutex_};
    close_hand();
    return lock;
}

// Behind accept(): so there is a batch that is not full, or no room.
void SenderEndpoint::open_hand() noexcept {
    const std::uint64_t limit = size_max();
    const std::uint64_t unconfirmed = accepted_ - confirmed_;
    if (!is_marked_ || batches_.empty() || limit == 0 || unconfirmed >= window_.messages || weight_ >= window_.bytes) {
        return;
    }
    BatchBuilder& batch = batches_.back();
    if (batch.count() >= window_.batch_messages || batch.size() >= batch_size_max) {
        return;
    }
    filling_ = {.batch = &batch,
                .first = accepted_ + 1,
                .count_max = std::min<std::uint64_t>(window_.messages - unconfirmed, window_.batch_messages - batch.count()),
                .bytes_max = std::min(window_.bytes - weight_, batch_size_max - batch.size()),
                .size_max = limit};
    hand_.open(filling_);
}

// What was accepted with it is counted now.
void SenderEndpoint::close_hand() {
    if (hand_.close() == nullptr || filling_.count == 0) {
        return;
    }
    accepted_ += filling_.count;
    add_weight(filling_.bytes);
}

// Decided for the first of those that leave together.
SenderEndpoint::Departure SenderEndpoint::departure_of_first() {
    const SteadyTime now = WaitLimit::Clock::now();
    pace_.add(accepted_ - marked_count_, now - marked_at_);
    marked_at_ = now;
    marked_count_ = accepted_;
    if (pace_.interval() >= write_time) {
        return Departure::now;
    }
    const bool will_wait = waited_at_ != 0 && accepted_ - waited_at_ <= windows_remembered * window_.messages;
    return will_wait ? Departure::with_wait : Departure::soon;
}

// Without the mutex.
void SenderEndpoint::depart(Departure departure) {
    switch (departure) {
        case Departure::taken_care_of:
            return;
        case Departure::now:
            leave();
            return;
        case Departure::soon:
            if (!shared_->loop.ask_for_turn()) {
                shared_->inbox.wake();
            }
            return;
        case Departure::with_wait:
            if (!shared_->loop.is_free() && !shared_->loop.ask_for_loop()) {
                shared_->inbox.wake();
            }
            return;
    }
}

void SenderEndpoint::leave() {
    if (!shared_->loop.try_turn()) {
        shared_->inbox.wake();
    }
}

void SenderEndpoint::append(const Encoded& message) {
    if (batches_.empty() || batches_.back().count() >= window_.batch_messages ||
        (!batches_.back().empty() && batches_.back().size() + message.size() > batch_size_max)) {
        if (gathered_bytes() >= write_size && shared_->loop.is_free()) {
            departure_ = Departure::now;  // There may be nobody else to write it.
        }
        begin_batch();
    }
    batches_.back().append(message.body, message.properties);
}

std::size_t SenderEndpoint::gathered_bytes() const noexcept {
    std::size_t bytes = 0;
    for (const BatchBuilder& batch : batches_) {
        bytes += batch.size();
    }
    return bytes;
}

void SenderEndpoint::begin_batch() {
    if (spares_.empty()) {
        batches_.emplace_back(chunks_);
        return;
    }
    batches_.push_back(std::move(spares_.back()));
    spares_.pop_back();
}

Expected<std::uint64_t> SenderEndpoint::post(const std::shared_ptr<SenderEndpoint>& self, const Message& message,
                                             const WaitLimit& limit) {
    Departure departure{};
    auto sequence = accept_when_there_is_room(self, message, limit, departure);
    depart(departure);
    return sequence;
}

Expected<std::uint64_t> SenderEndpoint::accept_when_there_is_room(const std::shared_ptr<SenderEndpoint>& self,
                                                                  const Message& message, const WaitLimit& limit,
                                                                  Departure& departure) {
    const auto encoded = encode(message);
    if (!encoded) {
        return std::unexpected{encoded.error()};
    }
    if (const std::uint64_t sequence = accept_with_others(encoded->body, encoded->properties); sequence != 0) {
        return sequence;
    }
    const std::size_t size = encoded->size();
    WaitScope scope{shared_->board, mutex_, changed_, limit, &shared_->loop};
    close_hand();
    if (auto error = check_size_with_limits(*encoded, scope)) {
        return std::unexpected{std::move(*error)};
    }
    if (!has_room(size)) {
        waited_at_ = accepted_;
        await_confirms(self);
    }
    const Waited waited = scope.wait([&] {
        close_hand();
        return end_ || is_closing_ || is_disk_full() || has_room(size);
    });
    if (end_) {
        return std::unexpected{*end_};
    }
    if (is_closing_) {
        return std::unexpected{closed_error(what())};
    }
    if (is_disk_full()) {
        return std::unexpected{refusal(wire::Status::disk_full)};
    }
    if (waited.end != WaitEnd::ready) {
        return std::unexpected{wait_error(waited, "no room in the send window", blocked_text())};
    }
    const std::uint64_t sequence = accept(self, *encoded);
    departure = std::exchange(departure_, Departure::taken_care_of);
    open_hand();
    return sequence;
}

Expected<SendReceipt> SenderEndpoint::send(const std::shared_ptr<SenderEndpoint>& self, const Message& message,
                                           const WaitLimit& limit) {
    Departure departure{};
    const auto sequence = accept_when_there_is_room(self, message, limit, departure);
    if (!sequence) {
        return std::unexpected{sequence.error()};
    }
    auto receipt = await_receipt(self, *sequence, departure, limit);
    if (!receipt && receipt.error().code() == ClientErrc::message_too_large) {
        // The first one of a link: the channel's limit is known only now.
        const auto encoded = encode(message);
        const std::lock_guard lock{mutex_};
        if (auto error = encoded ? check_size(*encoded) : std::nullopt) {
            return std::unexpected{std::move(*error)};
        }
    }
    return receipt;
}

Expected<SendReceipt> SenderEndpoint::await_receipt(const std::shared_ptr<SenderEndpoint>& self, std::uint64_t sequence,
                                                    Departure departure, const WaitLimit& limit) {
    if (departure != Departure::taken_care_of && !shared_->loop.is_free()) {
        leave();  // Otherwise the wait below begins with that.
    }
    WaitScope scope{shared_->board, mutex_, changed_, limit, &shared_->loop};
    close_hand();
    await_confirms(self);
    const Waited waited = scope.wait([&] { return end_ || is_decided(sequence); });
    if (is_decided(sequence)) {
        return outcome_of(sequence);
    }
    ClientError error = end_ ? *end_ : wait_error(waited, "not confirmed", blocked_text());
    error.set_accepted();
    return std::unexpected{std::move(error)};
}

Expected<SendReceipt> SenderEndpoint::outcome_of(std::uint64_t sequence) {
    if (auto refusal = take_refusal(sequence)) {
        return std::unexpected{std::move(*refusal)};
    }
    return SendReceipt{.sequence = sequence, .level = level_};
}

// Cuts one message out of the ranges: it is reported once.
std::optional<ClientError> SenderEndpoint::take_refusal(std::uint64_t sequence) {
    const auto found = std::ranges::find_if(refusals_, [sequence](const Refusal& refusal) {
        return sequence >= refusal.first && sequence - refusal.first < refusal.count;
    });
    if (found == refusals_.end()) {
        return std::nullopt;
    }
    ClientError error = found->error;
    const std::uint64_t behind = found->first + found->count - sequence - 1;
    found->count = sequence - found->first;
    const auto at = found->count == 0 ? refusals_.erase(found) : found + 1;
    if (behind != 0) {
        refusals_.insert(at, {.first = sequence + 1, .count = behind, .error = error});
    }
    return error;
}

std::uint64_t SenderEndpoint::send_async(const std::shared_ptr<SenderEndpoint>& self, const Message& message,
                                         SendDone done) {
    const auto encoded = encode(message);
    std::optional<ClientError> error;
    if (!encoded) {
        error = encoded.error();
    } else {
        const auto lock = lock_all();
        if (error = check_size(*encoded); error) {
            // Said below, without the lock.
        } else if (end_) {
            error = *end_;
        } else if (is_closing_) {
            error = closed_error(what());
        } else if (is_disk_full()) {
            error = refusal(wire::Status::disk_full);
        } else if (accepted_ - confirmed_ >= 2 * window_.messages ||
                   (accepted_ != confirmed_ && weight_ + encoded->size() > 2 * window_.bytes)) {
            error = ClientError{ClientErrc::refused, what() + ": more than twice the send window is unconfirmed", true};
        } else {
            const std::uint64_t sequence = accept(self, *encoded);
            if (std::exchange(departure_, Departure::taken_care_of) != Departure::taken_care_of) {
                shared_->inbox.wake();
            }
            waiters_.push_back({.sequence = sequence, .done = std::move(done)});
            return sequence;
        }
    }
    done(std::unexpected{std::move(*error)});
    return 0;
}

void SenderEndpoint::cancel_send(std::uint64_t sequence) {
    SendDone done;
    {
        const std::lock_guard lock{mutex_};
        const auto found = std::ranges::find(waiters_, sequence, &Waiter::sequence);
        if (found == waiters_.end()) {
            return;
        }
        done = std::move(found->done);
        waiters_.erase(found);
    }
    ClientError error{ClientErrc::interrupted, what() + ": send cancelled; it may still arrive", true};
    error.set_accepted();
    done(std::unexpected{std::move(error)});
}

Expected<FlushReport> SenderEndpoint::flush(const std::shared_ptr<SenderEndpoint>& self, const WaitLimit& limit) {
    WaitScope scope{shared_->board, mutex_, changed_, limit, &shared_->loop};
    close_hand();
    await_confirms(self);
    const std::uint64_t target = accepted_;
    const Waited waited = scope.wait([&] { return end_ || confirmed_ >= target; });
    if (confirmed_ >= target) {
        FlushReport report{.confirmed_up_to = confirmed_, .refused = {}, .level = level_};
        report.refused.swap(refusals_);
        return report;
    }
    if (end_) {
        return std::unexpected{*end_};
    }
    return std::unexpected{
        wait_error(waited, std::to_string(target - confirmed_) + " messages not confirmed", blocked_text())};
}

std::size_t SenderEndpoint::unconfirmed() {
    const auto lock = lock_all();
    watched_at_ = accepted_;
    return static_cast<std::size_t>(accepted_ - confirmed_);
}

std::uint64_t SenderEndpoint::confirmed_up_to() {
    const auto lock = lock_all();
    watched_at_ = accepted_;
    return confirmed_;
}

// Behind half of the window confirms are asked for in time, so that nobody has to wait for room.
bool SenderEndpoint::may_confirm_later() const noexcept {
    return accepted_ - watched_at_ >= unwatched_min && waiters_.empty() &&
           accepted_ - confirmed_ <= window_.messages / 2 && weight_ <= window_.bytes / 2;
}

// Who calls is about to wait for a confirm.
void SenderEndpoint::await_confirms(const std::shared_ptr<SenderEndpoint>& self) {
    watched_at_ = accepted_;
    if (is_confirm_later_ && accepted_ != confirmed_ && !is_awaited_) {
        is_awaited_ = true;
        mark_for_turn(self);
    }
}

std::string SenderEndpoint::blocked() const {
    const std::lock_guard lock{mutex_};
    return blocked_text();
}

std::string SenderEndpoint::blocked_text() const {
    if (!attach_trouble_.empty()) {
        return attach_trouble_;
    }
    if (blocked_reason_ == 0) {
        return {};
    }
    return std::string{wire::wait_reason_name(blocked_reason_)} + " for " +
           age_text(WaitLimit::Clock::now() - blocked_since_);
}

// --- The I/O thread
// ----------------------------------------------------------------------------------------------------

void SenderEndpoint::hand_over(ClientProtocol& protocol, Completions& completions) {
    auto lock = lock_all();
    is_marked_ = false;
    if (is_disk_full()) {
        if (const std::uint64_t next = protocol.withdraw(link); next != 0) {
            refuse_waiting(number_of(next), completions);
        }
    }
    while (!batches_.empty() && protocol.takes_messages(link)) {
        BatchBuilder batch = std::move(batches_.front());
        batches_.pop_front();
        is_confirm_later_ = may_confirm_later();
        const ConfirmWhen confirm = is_confirm_later_ ? ConfirmWhen::later : ConfirmWhen::now;
        lock.unlock();
        const bool is_small = batch.size() <= 2 * batch_size_max;
        protocol.publish(link, batch.take(*pool_, BatchBuilder::Crc::off), confirm);
        lock.lock();
        close_hand();
        if (is_small && spares_.size() < spares_max) {
            spares_.push_back(std::move(batch));
        }
    }
    const bool is_awaited = std::exchange(is_awaited_, false) && std::exchange(is_confirm_later_, false);
    const bool is_over = is_closing_ && batches_.empty();
    lock.unlock();
    if (is_awaited) {
        protocol.await_confirms(link);
    }
    if (is_over) {
        protocol.close(link);
    }
}

void SenderEndpoint::end(ClientError error, Completions& completions) {
    const auto lock = lock_all();
    if (end_) {
        return;
    }
    end_ = std::move(error);
    batches_.clear();
    for (Waiter& waiter : waiters_) {
        completions.emplace_back(
            [done = std::move(waiter.done), reason = *end_]() mutable {
                reason.set_accepted();
                done(std::unexpected{std::move(reason)});
            });
    }
    waiters_.clear();
    notify();
}

void SenderEndpoint::on_attached(std::uint64_t message_size_max) {
    const auto lock = lock_all();
    message_size_max_ = message_size_max;
    blocked_reason_ = 0;
    attach_trouble_.clear();
}

bool SenderEndpoint::on_attach_refused(const std::string& text) {
    const std::lock_guard lock{mutex_};
    return std::exchange(attach_trouble_, text) != text;
}

void SenderEndpoint::on_connection_lost() {
    const std::lock_guard lock{mutex_};
    blocked_reason_ = 0;
    attach_trouble_.clear();
}

void SenderEndpoint::on_refused(std::uint64_t first, std::uint64_t count, wire::Status status) {
    const std::lock_guard lock{mutex_};
    std::uint64_t begin = number_of(first);
    const std::uint64_t last = number_of(first + count - 1);
    for (const Gap& gap : gaps_) {
        if (gap.behind >= begin && gap.behind < last) {
            refuse(begin, gap.behind, status);
            begin = gap.behind + gap.count + 1;
        }
    }
    refuse(begin, last, status);
}

ClientError SenderEndpoint::refusal(wire::Status status) const {
    const std::string limit = status == wire::Status::message_too_large ? ": the limit is " + std::to_string(size_max()) : "";
    return error_of_status(status, wire::is_retryable(status),
                           what() + ": refused by the broker: " + refusal_text(status) + limit);
}

// Neighbours of the same kind are one range.
void SenderEndpoint::refuse(std::uint64_t first, std::uint64_t last, wire::Status status) {
    const auto is_of_kind = [status](const Refusal& refusal) {
        return refusal.error.status() == static_cast<std::uint32_t>(status);
    };
    auto at = std::ranges::upper_bound(refusals_, first, {}, &Refusal::first);
    if (at != refusals_.begin() && is_of_kind(at[-1]) && at[-1].first + at[-1].count == first) {
        at[-1].count += last - first + 1;
    } else {
        at = refusals_.insert(at, {.first = first, .count = last - first + 1, .error = refusal(status)}) + 1;
    }
    if (at != refusals_.end() && is_of_kind(*at) && at->first == last + 1) {
        at[-1].count += at->count;
        refusals_.erase(at);
    }
}

// Everything from `first` on is in no broker's hands and will not be.
void SenderEndpoint::refuse_waiting(std::uint64_t first, Completions& completions) {
    batches_.clear();
    if (first > accepted_) {
        return;
    }
    std::uint64_t begin = first;
    std::uint64_t gaps_at_end = 0;  // Refused before, and now part of the new gap.
    for (const Gap& gap : gaps_) {
        if (gap.behind >= first) {
            if (gap.behind >= begin) {
                refuse(begin, gap.behind, wire::Status::disk_full);
            }
            begin = gap.behind + gap.count + 1;
            ++gaps_at_end;
        }
    }
    if (begin <= accepted_) {
        refuse(begin, accepted_, wire::Status::disk_full);
    }
    gaps_.resize(gaps_.size() - gaps_at_end);
    gaps_.push_back({.behind = first - 1, .count = accepted_ - first + 1});
    std::erase_if(waiters_, [&](Waiter& waiter) {
        if (waiter.sequence < first) {
            return false;
        }
        completions.emplace_back([done = std::move(waiter.done), outcome = outcome_of(waiter.sequence)]() mutable {
            done(std::move(outcome));
        });
        return true;
    });
    advance(confirmed_);
    notify();
}

// The user's number of a message that has this one on the wire.
std::uint64_t SenderEndpoint::number_of(std::uint64_t on_wire) const noexcept {
    std::uint64_t number = on_wire + gaps_passed_;
    for (const Gap& gap : gaps_) {
        number += gap.behind < number ? gap.count : 0;
    }
    return number;
}

bool SenderEndpoint::is_decided(std::uint64_t sequence) const noexcept {
    return sequence <= confirmed_ || std::ranges::any_of(gaps_, [sequence](const Gap& gap) {
               return sequence > gap.behind && sequence - gap.behind <= gap.count;
           });
}

// Gaps that follow without anything undecided in between are decided, too.
void SenderEndpoint::advance(std::uint64_t up_to) {
    while (!gaps_.empty() && gaps_.front().behind <= up_to) {
        up_to = std::max(up_to, gaps_.front().behind + gaps_.front().count);
        gaps_passed_ += gaps_.front().count;
        gaps_.pop_front();
    }
    BATON_ASSERT(up_to >= confirmed_ && up_to <= accepted_);
    confirmed_ = up_to;
    while (!weights_.empty() && weights_.front().last <= up_to) {
        weight_ -= weights_.front().bytes;
        weights_.pop_front();
    }
}

void SenderEndpoint::on_confirmed(std::uint64_t up_to, std::uint8_t level, Completions& completions) {
    const auto lock = lock_all();
    level_ = static_cast<ConfirmLevel>(level);
    advance(number_of(up_to));
    while (!waiters_.empty() && waiters_.front().sequence <= confirmed_) {
        completions.emplace_back(
            [done = std::move(waiters_.front().done), outcome = outcome_of(waiters_.front().sequence)]() mutable {
                done(std::move(outcome));
            });
        waiters_.pop_front();
    }
    notify();
}

bool SenderEndpoint::on_blocked(std::uint16_t reason, Duration waiting) {
    const auto lock = lock_all();
    const bool is_news = reason != blocked_reason_;
    blocked_reason_ = reason;
    blocked_since_ = WaitLimit::Clock::now() - std::chrono::duration_cast<WaitLimit::Clock::duration>(waiting);
    if (is_disk_full()) {
        notify();
    }
    return is_news;
}

}  // namespace baton::client
