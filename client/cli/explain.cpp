// `baton explain`: who waits for what in a channel, and what is the matter with one message.
#include <cstdio>

#include "client/cli/admin.hpp"
#include "client/cli/channel_report.hpp"
#include "client/cli/selection.hpp"
#include "common/base/text_form.hpp"

namespace baton::cli {

namespace {

struct ExplainOptions {
    std::string channel;
    std::string offset;
    std::string subscription;
};

/// As retry, move and drop end when they are about a message that is not there.
[[noreturn]] void throw_missing(const Program& program, const ExplainOptions& options, const Json& reply) {
    if (program.global.output != OutputFormat::text) {
        print_json(reply);
    }
    throw Failure{exit_not_found,
                  "explain \"" + name_text(as_bytes(options.channel)) + "\" at " + program.global.url + ": " +
                      reply.value("text", "there is no message " + options.offset),
                  "not_found"};
}

int explain(const Program& program, const ExplainOptions& options) {
    auto arguments = Json::object();
    if (!options.offset.empty()) {
        arguments["offset"] = offset_of(options.offset);
    }
    if (!options.subscription.empty()) {
        if (options.offset.empty()) {
            throw usage("--subscription is about one message: give its offset, too");
        }
        arguments["subscription"] = name_text(as_bytes(options.subscription));
    }
    Client client{question_options(program.global)};
    auto reply = ask(program, client, "channel.explain", options.channel, arguments);
    reply.erase("ok");
    if (const auto message = reply.find("message"); message != reply.end()) {
        *message = with_readable_body(std::move(*message));
    }
    if (!options.offset.empty() && !reply.contains("message")) {
        throw_missing(program, options, reply);
    }
    auto text = explanation_text(reply);
    if (options.offset.empty() && program.global.output == OutputFormat::text) {
        const auto shown = ask(program, client, "channel.show", options.channel, Json::object());
        if (const auto quarantined = quarantine_text(shown.at("channel")); !quarantined.empty()) {
            text = (reply.at("waits").empty() ? std::string{} : text) + quarantined;
        }
    }
    print(program, reply, text);
    return exit_done;
}

}  // namespace

void add_explain(Program& program) {
    auto* verb =
        program.app.add_subcommand("explain", "Say who waits for what, and what is the matter with a message.");
    verb->footer("Example: baton explain jobs\n         baton explain jobs 17\n"
        "         baton explain orders 17 --subscription billing");
    const auto options = std::make_shared<ExplainOptions>();
    add_channel_name(*verb, "CHANNEL", options->channel, "Channel.");
    verb->add_option("OFFSET", options->offset, "A message.");
    add_subscription_name(*verb, options->subscription, "Of a topic or stream: what the message waits for in this subscription.");
    verb->final_callback(
        [&program, options] { program.run = [&program, options] { return explain(program, *options); }; });
}

}  // namespace baton::cli
