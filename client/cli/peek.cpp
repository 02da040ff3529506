// `baton peek`: looks at messages without taking or changing anything.
#include <cstdio>

#include "client/cli/admin.hpp"
#include "client/cli/channel_report.hpp"
#include "common/base/base64.hpp"
#include "common/base/bytes.hpp"
#include "common/base/text_form.hpp"

namespace baton::cli {

namespace {

struct PeekOptions {
    std::string channel;
    std::uint64_t count = 10;
    bool has_count = false;
    std::string state;
    std::string subscription;
};

/// The body; for what waits for its time or for an administrator a line in front, on stderr.
void print_text(const GlobalOptions& global, const Json& message) {
    if (const auto state = message.value("state", ""); state == "delayed" || state == "quarantined") {
        std::fflush(stdout);
        say(global, message_text(message));
    }
    const auto bytes = base64_decode(message.at("body_base64").get<std::string>()).value();
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    std::fputc('\n', stdout);
}

int peek(const Program& program, const PeekOptions& options) {
    Client client{question_options(program.global)};
    auto collected = Json::array();
    std::uint64_t from = 0;
    bool has_more = true;
    for (std::uint64_t left = options.count; left > 0;) {
        Json arguments{{"count", std::min<std::uint64_t>(left, 1000)}, {"from", from}};
        if (!options.state.empty()) {
            arguments["state"] = options.state;
        }
        if (!options.subscription.empty()) {
            arguments["subscription"] = name_text(as_bytes(options.subscription));
        }
        const auto reply = ask(program, client, "channel.peek", options.channel, arguments);
        for (const auto& message : reply.at("messages")) {
            --left;
            if (program.global.output == OutputFormat::text) {
                print_text(program.global, message);
            } else if (program.global.output == OutputFormat::jsonl) {
                print_json(with_readable_body(message));
            } else {
                collected.push_back(with_readable_body(message));
            }
        }
        has_more = reply.at("more").get<bool>();
        if (!has_more) {
            break;
        }
        from = reply.at("next").get<std::uint64_t>();
    }
    if (program.global.output == OutputFormat::json) {
        print_json(collected);
    }
    if (has_more && !options.has_count) {
        std::fflush(stdout);
        say(program.global, "there are more than " + std::to_string(options.count) + ": -n shows them");
    }
    return exit_done;
}

}  // namespace

void add_peek(Program& program) {
    auto* verb = program.app.add_subcommand("peek", "Look at messages without taking them.");
    verb->footer("Example: baton peek jobs -n 5 --state quarantined --output jsonl");
    const auto options = std::make_shared<PeekOptions>();
    add_channel_name(*verb, "CHANNEL", options->channel, "Channel.");
    add_number(*verb, "-n,--count", "At most so many, 1 to 1000000000 (default 10).", 1, 1'000'000'000,
               [options](std::uint64_t count) {
                   options->count = count;
                   options->has_count = true;
               });
    verb->add_option(
            "--state", options->state,
            "ready, delayed, in-flight or quarantined; without it all. Of delayed and quarantined ones stderr says "
            "when and why.")
        ->check(one_of({"ready", "delayed", "in-flight", "quarantined"}))
        ->type_name("STATE");
    add_subscription_name(*verb, options->subscription,
                          "Of a topic or stream: as this subscription has them; without it as they are stored.");
    verb->final_callback(
        [&program, options] { program.run = [&program, options] { return peek(program, *options); }; });
}

}  // namespace baton::cli
