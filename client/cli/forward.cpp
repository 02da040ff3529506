#include "client/cli/forward.hpp"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "client/cli/interrupt.hpp"
#include "common/base/text_form.hpp"

namespace baton::cli {

namespace {

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
    if (added) {
        step_.done(std::move(delivery));
    } else if (step_.empty()) {
        reject(std::move(delivery), "it cannot be forwarded: ", added.error().text());
    }
    return added.has_value() || delivery.is_settled();
}

void Forwarder::reject(Delivery&& delivery, const std::string& before, const std::string& cause) {
    say(program_.global, cause + ": message " + std::to_string(delivery.offset()) + " is quarantined");
    delivery.reject(before + cause);
}

void Forwarder::add_output(Delivery&& delivery, const std::string& output) {
    if (output.size() > output_bytes_max) {
        reject(std::move(delivery), "", "the command wrote more than " + std::to_string(output_bytes_max) + " bytes");
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
    is_output_ = true;
    step_.done(std::move(delivery));
}

bool Forwarder::takes_more() const {
    return step_.deliveries() < messages_max_ && step_.size_bytes() < bytes_max;
}

Forwarder::End Forwarder::commit() {
    while (true) {
        left_ = step_.deliveries();
        const auto done = step_.commit({program_.stop}, std::nothrow);
        if (done) {
            left_ = 0;
            messages_max_ = std::min(2 * messages_max_, messages_most);
            return End::done;
        }
        const ClientError& error = done.error();
        const bool does_not_fit = error.status_name() == "full" || error.code() == ClientErrc::message_too_large;
        if (does_not_fit && !is_output_ && step_.deliveries() > 1) {
            return commit_parts();
        }
        if (error.code() == ClientErrc::message_too_large && step_.deliveries() == 1) {
            reject(std::move(step_.take_deliveries().front()), "it cannot be forwarded: ", error.text());
            step_ = client_.step();
            left_ = 0;
            return End::done;
        }
        // A broker that is going down waits for us to settle what we hold, and takes no step: so it goes back.
        if (error.code() == ClientErrc::lost_lease || error.code() == ClientErrc::draining) {
            if (error.code() == ClientErrc::lost_lease || !std::exchange(has_said_draining_, true)) {
                say(program_.global, error.text() + ": nothing of it was forwarded, it will come again");
            }
            step_ = client_.step();
            return End::lost;
        }
        if (const End end = wait(error); end != End::done) {
            step_ = client_.step();
            return end;
        }
    }
}

// Two halves, each of which may be halved in turn.
Forwarder::End Forwarder::commit_parts() {
    std::vector<Delivery> all = step_.take_deliveries();
    step_ = client_.step();
    messages_max_ = (all.size() + 1) / 2;
    const std::size_t part = messages_max_;
    std::size_t next = 0;
    while (next < all.size()) {
        for (std::size_t i = 0; i < part && next < all.size() && add(std::move(all[next])); ++i) {
            ++next;
        }
        if (const End end = commit(); end != End::done) {
            left_ += all.size() - next;  // Those go back, too.
            return end;
        }
        messages_max_ = std::min(messages_max_, part);
    }
    return End::done;
}

// Done: it is to be tried again.
Forwarder::End Forwarder::wait(const ClientError& error) {
    const bool will_pass = error.status_name() == "full" || error.status_name() == "disk_full" ||
                           error.code() == ClientErrc::interrupted;
    if (!will_pass) {
        throw error;
    }
    if (program_.interrupt->is_requested()) {
        return End::interrupted;
    }
    if (error.code() != ClientErrc::interrupted && !std::exchange(has_said_full_, true)) {
        say(program_.global, error.text());
    }
    program_.interrupt->pause(full_poll);
    return End::done;
}

}  // namespace baton::cli
