// The delivery guard.
#include <exception>
#include <utility>

#include "client/src/access.hpp"
#include "client/src/receiver_endpoint.hpp"
#include <baton/delivery.hpp>

namespace baton {

namespace {

// Should be `retry`, which no broker knows yet. Giving back a message that was started counts the attempt, too.
constexpr client::Outcome outcome_of_failure = client::Outcome::give_back;

SettleResult value_of(Expected<SettleResult>&& result) {
    if (!result) {
        throw std::move(result.error());
    }
    return *result;
}

Expected<SettleResult> settle_and_wait(const client::DeliveredSlice& slice, const Delivery& delivery,
                                       client::Outcome outcome, const WaitLimit& limit) {
    return slice.owner->settle_and_wait(slice, delivery.offset(), outcome, client_access::region_bytes(delivery),
                                        limit);
}

}  // namespace

std::size_t client_access::region_bytes(const Delivery& delivery) noexcept {
    constexpr std::size_t length_size = 4;
    constexpr std::size_t properties_size_size = 2;
    const bool has_blocks = delivery.slice_->batch.header.has_properties();
    return length_size + (has_blocks ? properties_size_size + delivery.properties_.size() : 0) + delivery.body_.size();
}

Delivery::Delivery(std::shared_ptr<const client::DeliveredSlice> slice, std::uint64_t offset, Bytes body,
                   Bytes properties) noexcept
    : slice_{std::move(slice)},
      body_{body},
      properties_{properties},
      offset_{offset},
      exceptions_at_birth_{std::uncaught_exceptions()} {}

Delivery::Delivery(Delivery&& other) noexcept
    : slice_{std::move(other.slice_)},
      body_{std::exchange(other.body_, {})},
      properties_{std::exchange(other.properties_, {})},
      offset_{other.offset_},
      exceptions_at_birth_{other.exceptions_at_birth_},
      is_settled_{other.is_settled_} {}

Delivery& Delivery::operator=(Delivery&& other) noexcept {
    if (this != &other) {
        abandon();
        slice_ = std::move(other.slice_);
        body_ = std::exchange(other.body_, {});
        properties_ = std::exchange(other.properties_, {});
        offset_ = other.offset_;
        exceptions_at_birth_ = other.exceptions_at_birth_;
        is_settled_ = other.is_settled_;
    }
    return *this;
}

Delivery::~Delivery() {
    abandon();
}

// An exception that began after the message was handed out means that the work on it failed.
void Delivery::abandon() noexcept {
    if (is_settled()) {
        return;
    }
    const bool has_failed = std::uncaught_exceptions() > exceptions_at_birth_;
    is_settled_ = true;
    slice_->owner->settle(*slice_, offset_, has_failed ? outcome_of_failure : client::Outcome::give_back,
                          client_access::region_bytes(*this));
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

bool Delivery::ack() noexcept {
    return !is_settled() && !std::exchange(is_settled_, true) &&
           slice_->owner->settle(*slice_, offset_, client::Outcome::done, client_access::region_bytes(*this));
}

bool Delivery::give_back() noexcept {
    return !is_settled() && !std::exchange(is_settled_, true) &&
           slice_->owner->settle(*slice_, offset_, client::Outcome::give_back, client_access::region_bytes(*this));
}

Expected<SettleResult> Delivery::ack(const WaitLimit& limit, std::nothrow_t) noexcept {
    if (is_settled()) {
        return SettleResult::lost_lease;
    }
    is_settled_ = true;
    return settle_and_wait(*slice_, *this, client::Outcome::done, limit);
}

Expected<SettleResult> Delivery::give_back(const WaitLimit& limit, std::nothrow_t) noexcept {
    if (is_settled()) {
        return SettleResult::lost_lease;
    }
    is_settled_ = true;
    return settle_and_wait(*slice_, *this, client::Outcome::give_back, limit);
}

SettleResult Delivery::ack(const WaitLimit& limit) {
    return value_of(ack(limit, std::nothrow));
}

SettleResult Delivery::give_back(const WaitLimit& limit) {
    return value_of(give_back(limit, std::nothrow));
}

}  // namespace baton
