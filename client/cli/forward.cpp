#include "client/cli/forward.hpp"

#include <chrono>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "client/cli/interrupt.hpp"
#include "common/base/text_form.hpp"

namespace baton::cli {

namespace {

constexpr std::size_t messages_max = 256;
constexpr std::size_t bytes_max = 128 * 1024;
/// Between attempts while the other channel is full.
constexpr auto full_poll = std::chrono::milliseconds{200};

}  // namespace

void check_target(const Program& program, Client& client, const std::string& channel) {
    for (std::string_view operation = "channel.show";;) {
        const auto reply = client.admin(operation, channel, {}, {program.stop}, std::nothrow);
        if (!reply && reply.error().code() == ClientErrc::not_found && operation == "channel.show") {
            operation = "channel.create";  // A policy may make a topic of it.
            continue;
        }
        if (!reply && reply.error().code() == ClientErrc::disconnected) {
            continue;  // Asks the next connection.
        }
        if (!reply) {
            throw reply.error();
        }
        const auto shown = nlohmann::json::parse(*reply).at("channel");
        if (shown.at("kind") != "topic" || !shown.value("subscriptions", nlohmann::json::array()).empty()) {
            return;
        }
        const auto name = name_text(as_bytes(channel));
        throw Failure{exit_refused,
                      "cannot forward to \"" + name + "\" at " + program.global.url +
                          ": it is a topic without subscriptions: nobody would get the messages; `baton subscription "
                          "create " + name + " NAME` makes one",
                      "not_found"};
    }
}

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
