// `baton subscription create|list|delete`: the named subscriptions of topics and streams.
#include "client/cli/admin.hpp"
#include "client/cli/channel_report.hpp"
#include "client/cli/times.hpp"
#include "common/base/text_form.hpp"

namespace baton::cli {

namespace {

struct SubscriptionOptions {
    std::string channel;
    std::string name;
    bool force = false;
    Json settings = Json::object();
};

int create(const Program& program, const SubscriptionOptions& options) {
    auto arguments = options.settings;
    arguments["subscription"] = name_text(as_bytes(options.name));
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, "subscription.create", options.channel, arguments);
    const bool is_new = reply.at("created").get<bool>();
    print(program, reply, name_text(as_bytes(options.name)) + what_was_done(reply) + "\n");
    if (!is_new && options.settings.contains("from")) {
        say(program.global, from_is_late_text(options.name));
    }
    const auto shown = reply.value("subscription", Json::object());
    if (options.settings.contains("overflow") && shown.contains("backlog_max") && shown["backlog_max"] == 0) {
        say(program.global, "--overflow has no effect without --backlog-max: the subscription may have any number waiting");
    }
    return exit_done;
}

int list(const Program& program, const SubscriptionOptions& options) {
    Client client{question_options(program.global)};
    auto subscriptions = Json::array();
    for (Json question = Json::object();;) {
        auto reply = ask(program, client, "subscription.list", options.channel, question);
        for (auto& subscription : reply.at("subscriptions")) {
            subscriptions.push_back(std::move(subscription));
        }
        if (!reply.value("more", false)) {
            break;
        }
        question["after"] = reply.at("next");
    }
    print_list(program, subscriptions, subscriptions_text(subscriptions));
    return exit_done;
}

int remove(const Program& program, const SubscriptionOptions& options) {
    Json arguments{{"subscription", name_text(as_bytes(options.name))}};
    if (options.force) {
        arguments["force"] = true;
    }
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, "subscription.delete", options.channel, arguments);
    print(program, reply,
          "deleted, " + counted(reply.at("messages").get<std::uint64_t>(), "message") + " forgotten\n");
    return exit_done;
}

CLI::App* add_verb(CLI::App& parent, Program& program, const std::string& name, const std::string& help,
                   const std::string& example, const std::shared_ptr<SubscriptionOptions>& options,
                   int (*run)(const Program&, const SubscriptionOptions&)) {
    auto* verb = parent.add_subcommand(name, help);
    verb->footer("Example: " + example);
    verb->fallthrough();
    add_channel_name(*verb, "CHANNEL", options->channel, "Topic or stream.");
    if (name != "list") {
        add_channel_name(*verb, "NAME", options->name, "Subscription.");
    }
    verb->final_callback(
        [&program, options, run] { program.run = [&program, options, run] { return run(program, *options); }; });
    return verb;
}

void add_settings(CLI::App& verb, Json& settings) {
    add_start(
        verb, "--from",
        "Where it begins: first (default for a stream), last, new, an offset, a time, or 5m for that long ago. Of a topic: new "
        "only.",
        [&settings](const StartFrom& from) { settings["from"] = Json::parse(from.json()); });
    add_filter(verb, [&settings](const std::string& pattern) { settings["filter"] = pattern; });
    verb.add_option_function<std::string>(
            "--overflow", [&settings](const std::string& overflow) { settings["overflow"] = overflow; },
            "What happens when it lags behind by more than --backlog-max: block, drop-oldest, drop-newest, disconnect.")
        ->check(one_of({"block", "drop-oldest", "drop-newest", "disconnect"}))
        ->type_name("POLICY");
    add_number(verb, "--backlog-max", "Messages that it may have waiting.", 1, 1'000'000'000'000'000,
               [&settings](std::uint64_t count) { settings["backlog_max"] = count; });
}

}  // namespace

void add_subscription(Program& program) {
    auto* verb = program.app.add_subcommand("subscription", "Create, list and delete subscriptions.");
    verb->footer("Example: baton subscription create orders billing --filter 'order.paid.>'");
    verb->require_subcommand(1);
    const auto options = std::make_shared<SubscriptionOptions>();
    add_settings(*add_verb(*verb, program, "create", "Make it so: from now on it gets what is published.",
                           "baton subscription create orders billing --from first", options, create),
                 options->settings);
    add_verb(*verb, program, "list", "Subscriptions of a channel, and how far behind they are.",
             "baton subscription list orders", options, list);
    add_verb(*verb, program, "delete", "Delete a subscription; its messages are forgotten unless others need them.",
             "baton subscription delete orders billing", options, remove)
        ->add_flag("--force", options->force, "Also while receivers are attached; their links end.");
}

}  // namespace baton::cli
