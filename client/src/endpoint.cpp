// See endpoint.hpp.
#include "client/src/endpoint.hpp"

#include <utility>

#include "common/base/text_form.hpp"

namespace baton::client {

Endpoint::Endpoint(std::shared_ptr<Shared> shared, std::string channel)
    : shared_{std::move(shared)}, channel_{std::move(channel)} {}

bool Endpoint::is_over() const {
    const std::lock_guard lock{mutex_};
    return is_closing_ || end_.has_value();
}

void Endpoint::close_in_background(const std::shared_ptr<Endpoint>& self) {
    const std::lock_guard lock{mutex_};
    if (!std::exchange(is_closing_, true)) {
        on_closing();
        mark(self);
        shared_->inbox.wake();
        notify_from_outside();
    }
}

std::string Endpoint::what() const {
    return "channel " + name_text(as_bytes(channel_));
}

ClientError Endpoint::wait_error(const Waited& waited, const std::string& doing, const std::string& blocked) const {
    if (waited.error) {
        return {waited.error->code(), what() + ": " + doing + ": " + waited.error->text(), waited.error->retryable()};
    }
    std::string text = what() + ": " + doing;
    if (waited.end == WaitEnd::interrupted) {
        return {ClientErrc::interrupted, text + ": interrupted", true};
    }
    const std::string connection = shared_->board.connection_text();
    if (connection.empty() && !blocked.empty()) {
        return {ClientErrc::blocked, text + " in time; blocked: " + blocked, true};
    }
    return {ClientErrc::timed_out, text + " in time" + connection, true};
}

}  // namespace baton::client
