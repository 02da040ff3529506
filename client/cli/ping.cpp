// `baton ping`: one round trip; the health check of the container.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "client/cli/command.hpp"

namespace baton::cli {

namespace {

constexpr auto ping_timeout = std::chrono::seconds{2};

int ping(const Program& program) {
    auto global = program.global;
    if (!global.has_connect_timeout) {
        global.connect_timeout = ping_timeout;  // A health check wants an answer, not patience.
    }
    auto options = client_options(global);
    options.on_event = {};
    Client client{std::move(options)};
    const auto round_trip = client.ping({global.connect_timeout, program.stop});
    const auto info = client.broker_info();
    if (info && info->draining) {
        throw Failure{exit_unhealthy, "the broker at " + global.url + " is draining: it takes no new messages",
                      "draining", true};
    }
    const auto us = std::chrono::duration<double, std::micro>(round_trip).count();
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
    auto* verb = program.app.add_subcommand("ping", "One round trip to the broker; prints the time.");
    verb->footer("Example: baton ping\nExit code 10: the broker is not ready (draining).");
    verb->final_callback([&program] {
        program.run = [&program] {
            try {
                return ping(program);
            } catch (const ClientError& error) {
                if (error.code() == ClientErrc::timed_out) {
                    throw Failure{exit_cannot_connect, "no answer from " + program.global.url + ": " + error.text(),
                                  "cannot_connect", true};
                }
                throw;
            }
        };
    });
}

}  // namespace baton::cli
