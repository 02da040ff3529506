// `baton channel create|list|show|delete|purge`.
#include <cstdio>
#include <functional>

#include "client/cli/admin.hpp"
#include "client/cli/channel_report.hpp"
#include "client/cli/channel_settings.hpp"

namespace baton::cli {

namespace {

struct ChannelOptions {
    std::string name;
    bool durable = false;
    bool memory = false;
    bool force = false;
    ChannelFlags flags;
};

int create(const Program& program, const ChannelOptions& options) {
    auto arguments = finished_settings(options.flags);
    if (options.durable || options.memory) {
        arguments["storage"] = options.durable ? "durable" : "memory";
    }
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, "channel.create", options.name, arguments);
    const auto& channel = reply.at("channel");
    print(program, reply,
          channel.at("name").get<std::string>() + what_was_done(reply) + ", " + settings_text(channel) +
              unusual_text(channel) + "\n");
    return exit_done;
}

int list(const Program& program) {
    Client client{question_options(program.global)};
    auto channels = Json::array();
    for (std::string after;;) {
        auto reply = ask(program, client, "channel.list", "", {{"after", after}});
        for (auto& channel : reply.at("channels")) {
            channels.push_back(std::move(channel));
        }
        if (!reply.at("more").get<bool>() || channels.empty()) {
            break;
        }
        after = channels.back().at("name").get<std::string>();
    }
    print_list(program, channels, table_text(channels));
    return exit_done;
}

int show(const Program& program, const ChannelOptions& options) {
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, "channel.show", options.name, Json::object());
    print(program, reply.at("channel"), report_text(reply.at("channel")));
    if (reply.value("more", false)) {
        say(program.global, "only the first subscriptions, senders and receivers are shown; `baton subscription list` has all "
                            "subscriptions");
    }
    return exit_done;
}

int drop(const Program& program, const ChannelOptions& options, const std::string& operation, const char* done) {
    auto arguments = Json::object();
    if (options.force) {
        arguments["force"] = true;
    }
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, operation, options.name, arguments);
    print(program, reply,
          std::string{done} + ", " + counted(reply.at("messages").get<std::uint64_t>(), "message") + " dropped\n");
    return exit_done;
}

CLI::App* add_verb(CLI::App& parent, Program& program, const std::string& name, const std::string& help,
                   const std::string& example, const std::shared_ptr<ChannelOptions>& options,
                   const std::function<int(const Program&, const ChannelOptions&)>& run) {
    auto* verb = parent.add_subcommand(name, help);
    verb->footer("Example: " + example);
    verb->fallthrough();
    if (name != "list") {
        add_channel_name(*verb, "NAME", options->name, "Channel.");
    }
    verb->final_callback(
        [&program, options, run] { program.run = [&program, options, run] { return run(program, *options); }; });
    return verb;
}

}  // namespace

void add_channel(Program& program) {
    auto* verb = program.app.add_subcommand("channel", "Create, list, show, delete and purge channels.");
    verb->footer("Example: baton channel create jobs --messages-max 1000");
    verb->require_subcommand(1);
    const auto options = std::make_shared<ChannelOptions>();
    auto* creation = add_verb(*verb, program, "create", "Make it so: create the channel, or apply new settings to it.",
                              "baton channel create jobs --durable --attempts-max 5 --retry-first 2s --overflow reject",
                              options, create);
    auto* durable =
        creation->add_flag("--durable", options->durable,
                           "Messages are on the broker's disk and survive it. With neither this nor "
                           "--memory a new channel gets the broker's default, an existing one keeps its own.");
    creation->add_flag("--memory", options->memory, "Messages live in the broker's memory and end with it.")
        ->excludes(durable);
    add_channel_settings(*creation, options->flags);
    add_verb(*verb, program, "list", "All channels, by name.", "baton channel list --output jsonl", options,
             [](const Program& called, const ChannelOptions&) { return list(called); });
    add_verb(*verb, program, "show", "Settings, counters, links, and what everybody waits for.",
             "baton channel show jobs", options, show);
    add_verb(*verb, program, "delete", "Delete the channel and all that is in it; exit 7 while somebody uses it.",
             "baton channel delete jobs", options,
             [](const Program& called, const ChannelOptions& given) {
                 return drop(called, given, "channel.delete", "deleted");
             })
        ->add_flag("--force", options->force, "Also while senders or receivers are attached; their links end.");
    add_verb(*verb, program, "purge", "Drop all ready messages.", "baton channel purge jobs", options,
             [](const Program& called, const ChannelOptions& given) {
                 return drop(called, given, "channel.purge", "purged");
             });
}

}  // namespace baton::cli
