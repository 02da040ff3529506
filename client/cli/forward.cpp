#include "client/cli/forward.hpp"

#include <chrono>
#include <utility>

#include "client/cli/interrupt.hpp"

namespace baton::cli {

namespace {

constexpr std::size_t messages_max = 256;
constexpr std::size_t bytes_max = 128 * 1024;
/// Between attempts while the other channel is full.
constexpr auto full_poll = std::chrono::milliseconds{200};

}  // namespace

bool Forwarder::add(Delivery&& delivery) {
    MessageProperties properties = delivery.properties();
    properties.delay.reset();
    properties.not_before.reset();
    const auto added = step_.send(channel_, {delivery.body(), properties}, true, std::nothrow);
    if (!added && step_.empty()) {
        throw added.error();
    }
    if (added) {
        step_.done(std::move(delivery));
    }
    return added.has_value();
}

void Forwarder::add_output(Delivery&& delivery, const std::string& output) {
    if (output.size() > output_bytes_max) {
        delivery.reject("the command wrote more than " + std::to_string(output_bytes_max) + " bytes");
        return;
    }
    const MessageProperties all = delivery.properties();
    MessageProperties properties;
    properties.key = all.key;
    properties.correlation_id = all.correlation_id;
    properties.trace_context = all.trace_context;
    properties.headers = all.headers;
    if (!output.empty()) {
        step_.send(channel_, {std::string_view{output}, properties});
    }
    step_.done(std::move(delivery));
}

bool Forwarder::takes_more() const {
    return step_.deliveries() < messages_max && step_.size_bytes() < bytes_max;
}

Forwarder::End Forwarder::commit() {
    while (true) {
        const auto done = step_.commit({program_.stop}, std::nothrow);
        if (done) {
            return End::done;
        }
        const ClientError& error = done.error();
        if (error.code() == ClientErrc::lost_lease) {
            say(program_.global, error.text() + ": nothing of it was forwarded, it will come again");
            step_ = client_.step();
            return End::lost;
        }
        if (error.status_name() != "full" && error.code() != ClientErrc::interrupted) {
            throw error;
        }
        if (program_.interrupt->is_requested()) {
            step_ = client_.step();
            return End::interrupted;
        }
        if (!std::exchange(has_said_full_, true)) {
            say(program_.global, error.text());
        }
        program_.interrupt->pause(full_poll);
    }
}

}  // namespace baton::cli
