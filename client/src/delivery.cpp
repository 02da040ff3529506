// The delivery guard.
#include <algorithm>
#include <exception>
#include <utility>

#include "client/src/access.hpp"
#include "client/src/receiver_endpoint.hpp"
#include <baton/delivery.hpp>

namespace baton {

namespace {

using client::Decision;
using client::Outcome;

SettleResult value_of(Expected<SettleResult>&& result) {
    if (!result) {
        throw std::move(result.error());
    }
    return *result;
}

}  // namespace

namespace client {

Decision retry_decision(std::optional<std::chrono::milliseconds> after, std::string_view note) {
    constexpr std::int64_t ms_max = argument_back_off - 1;
    const std::uint32_t argument =
        after ? static_cast<std::uint32_t>(std::clamp<std::int64_t>(after->count(), 0, ms_max)) : argument_back_off;
    return {.outcome = Outcome::retry, .argument = argument, .note = std::string{note}};
}

Decision extend_decision(std::chrono::milliseconds lease) {
    constexpr std::int64_t ms_max = 0xffff'ffff;
    return {.outcome = Outcome::extend,
            .argument = static_cast<std::uint32_t>(std::clamp<std::int64_t>(lease.count(), 0, ms_max))};
}

}  // namespace client

Delivery::Delivery(client::DeliveredSlice& slice, std::uint64_t offset, Bytes body, Bytes properties) noexcept
    : slice_{&slice},
      body_{body},
      properties_{properties},
      offset_{offset},
      exceptions_at_birth_{std::uncaught_exceptions()} {}

Delivery& Delivery::operator=(Delivery&& other) noexcept {
    if (this != &other) {
        if (slice_ != nullptr) {
            let_go();
        }
        slice_ = std::exchange(other.slice_, nullptr);
        body_ = std::exchange(other.body_, {});
        properties_ = std::exchange(other.properties_, {});
        offset_ = other.offset_;
        exceptions_at_birth_ = other.exceptions_at_birth_;
        is_settled_ = other.is_settled_;
    }
    return *this;
}

void Delivery::let_go() noexcept {
    abandon();
    slice_->release(1);
}

// An exception that began after the message was handed out means that the work on it failed.
void Delivery::abandon() noexcept {
    if (is_settled()) {
        return;
    }
    const bool has_failed = std::uncaught_exceptions() > exceptions_at_birth_;
    decide(has_failed ? client::retry_decision(std::nullopt, {}) : Decision{.outcome = Outcome::give_back});
}

MessageProperties Delivery::properties() const {
    auto decoded = decode_properties(properties_);
    return decoded ? std::move(*decoded) : MessageProperties{};
}

std::uint32_t Delivery::attempt() const noexcept {
    return slice_ != nullptr ? slice_->batch.attempt : 0;
}

bool Delivery::redelivered() const noexcept {
    return slice_ != nullptr && slice_->batch.is_redelivered;
}

std::chrono::system_clock::time_point Delivery::time() const noexcept {
    const std::int64_t us = slice_ != nullptr ? slice_->batch.header.time_us : 0;
    return std::chrono::system_clock::time_point{
        std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::microseconds{us})};
}

std::string_view Delivery::channel() const noexcept {
    return slice_ != nullptr ? std::string_view{slice_->owner->channel()} : std::string_view{};
}

bool Delivery::decide(const Decision& decision) noexcept {
    if (is_settled()) {
        return false;
    }
    is_settled_ = client::ends_delivery(static_cast<std::uint8_t>(decision.outcome));
    return slice_->owner->settle(*slice_, offset_, decision);
}

Expected<SettleResult> Delivery::decide(const Decision& decision, const WaitLimit& limit) noexcept {
    if (is_settled()) {
        return SettleResult::lost_lease;
    }
    is_settled_ = client::ends_delivery(static_cast<std::uint8_t>(decision.outcome));
    return slice_->owner->settle_and_wait(*slice_, offset_, decision, limit);
}

// The one decision that is made a million times a second.
bool Delivery::ack() noexcept {
    if (is_settled()) {
        return false;
    }
    is_settled_ = true;
    return client::ReceiverEndpoint::ack(*slice_, slice_->index_of(offset_));
}
bool Delivery::give_back() noexcept {
    return decide({.outcome = Outcome::give_back});
}
bool Delivery::retry(std::optional<std::chrono::milliseconds> after, std::string_view note) noexcept {
    return decide(client::retry_decision(after, note));
}
bool Delivery::reject(std::string_view note) noexcept {
    return decide({.outcome = Outcome::reject, .note = std::string{note}});
}
bool Delivery::extend(std::chrono::milliseconds lease) noexcept {
    return decide(client::extend_decision(lease));
}

Expected<SettleResult> Delivery::ack(const WaitLimit& limit, std::nothrow_t) noexcept {
    return decide({.outcome = Outcome::done}, limit);
}
Expected<SettleResult> Delivery::give_back(const WaitLimit& limit, std::nothrow_t) noexcept {
    return decide({.outcome = Outcome::give_back}, limit);
}
Expected<SettleResult> Delivery::retry(std::optional<std::chrono::milliseconds> after, std::string_view note,
                                       const WaitLimit& limit, std::nothrow_t) noexcept {
    return decide(client::retry_decision(after, note), limit);
}
Expected<SettleResult> Delivery::reject(std::string_view note, const WaitLimit& limit, std::nothrow_t) noexcept {
    return decide({.outcome = Outcome::reject, .note = std::string{note}}, limit);
}
Expected<SettleResult> Delivery::extend(std::chrono::milliseconds lease, const WaitLimit& limit,
                                        std::nothrow_t) noexcept {
    return decide(client::extend_decision(lease), limit);
}

SettleResult Delivery::ack(const WaitLimit& limit) {
    return value_of(ack(limit, std::nothrow));
}
SettleResult Delivery::give_back(const WaitLimit& limit) {
    return value_of(give_back(limit, std::nothrow));
}
SettleResult Delivery::retry(std::optional<std::chrono::milliseconds> after, std::string_view note,
                             const WaitLimit& limit) {
    return value_of(retry(after, note, limit, std::nothrow));
}
SettleResult Delivery::reject(std::string_view note, const WaitLimit& limit) {
    return value_of(reject(note, limit, std::nothrow));
}
SettleResult Delivery::extend(std::chrono::milliseconds lease, const WaitLimit& limit) {
    return value_of(extend(lease, limit, std::nothrow));
}

}  // namespace baton
