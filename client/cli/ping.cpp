// `baton ping`: one round trip, then what the broker says of its health; the health check of the container.
#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "client/cli/command.hpp"

namespace baton::cli {

namespace {

constexpr auto ping_timeout = std::chrono::seconds{2};

/// It answers, but not as a broker that is ready.
Failure unhealthy(const GlobalOptions& global, const std::string& cause) {
    return Failure{exit_unhealthy, "the broker at " + global.url + " is not ready: " + cause, "not_ready", true};
}

void connect(Client& client, const GlobalOptions& global, const WaitLimit& limit) {
    const auto connected = client.wait_connected(limit, std::nothrow);
    if (connected) {
        return;
    }
    const auto& error = connected.error();
    if (error.status() != 0) {
        throw unhealthy(global, error.text());
    }
    const bool is_late = error.code() == ClientErrc::timed_out;
    throw failure_of(is_late ? ClientError{ClientErrc::cannot_connect, error.text(), true} : error,
                     "no answer from " + global.url);
}

/// What the broker says of itself; one that does not say it is in health.
void check_health(Client& client, const GlobalOptions& global, const WaitLimit& limit) {
    const auto reply = client.admin("broker.show", {}, {}, limit, std::nothrow);
    if (!reply) {
        throw reply.error().code() == ClientErrc::interrupted ? failure_of(reply.error(), "ping")
                                                              : unhealthy(global, reply.error().text());
    }
    const auto shown = nlohmann::json::parse(*reply, nullptr, false);
    if (!shown.is_object() || !shown.contains("health") || shown["health"] == "ok") {
        return;
    }
    std::string problems;
    for (const auto& problem : shown.value("problems", nlohmann::json::array())) {
        problems +=
            (problems.empty() ? ": " : "; ") + (problem.is_string() ? problem.get<std::string>() : problem.dump());
    }
    const auto health = shown["health"].is_string() ? shown["health"].get<std::string>() : shown["health"].dump();
    throw Failure{exit_unhealthy, "the broker at " + global.url + " is " + health + problems, health, true};
}

int ping(const Program& program) {
    auto global = program.global;
    if (!global.has_connect_timeout) {
        global.connect_timeout = ping_timeout;  // A health check wants an answer, not patience.
    }
    auto options = question_options(global);
    options.connect_timeout = global.connect_timeout;
    options.close_timeout = std::chrono::milliseconds{200};
    Client client{std::move(options)};
    // The library says better why it could not connect, if it is given the time to do so.
    connect(client, global, {global.connect_timeout + std::chrono::milliseconds{500}, program.stop});
    const WaitLimit limit{std::max<std::chrono::nanoseconds>(global.connect_timeout, ping_timeout), program.stop};
    const auto round_trip = client.ping(limit, std::nothrow);
    if (!round_trip) {
        throw round_trip.error().code() == ClientErrc::interrupted ? failure_of(round_trip.error(), "ping")
                                                                   : unhealthy(global, round_trip.error().text());
    }
    const auto info = client.broker_info();
    if (info && info->draining) {
        throw unhealthy(global, "it is draining and takes no new messages");
    }
    check_health(client, global, limit);
    const auto us = std::chrono::duration<double, std::micro>(*round_trip).count();
    if (global.output == OutputFormat::text) {
        std::printf("%s answered in %.3f ms\n", global.url.c_str(), us / 1000);
    } else {
        std::puts(nlohmann::json{{"url", global.url}, {"agent", info ? info->agent : ""}, {"round_trip_us", us}}
                      .dump()
                      .c_str());
    }
    return exit_done;
}

}  // namespace

void add_ping(Program& program) {
    auto* verb = program.app.add_subcommand(
        "ping", "One round trip to the broker, and whether it is in health; prints the time.");
    verb->footer(
        "Example: baton ping\nExit code 10: the broker answers but is not in health (disk full or failed, a channel damaged).\n"
        "One that drains takes no new connections: exit code 3.");
    verb->final_callback([&program] { program.run = [&program] { return ping(program); }; });
}

}  // namespace baton::cli
