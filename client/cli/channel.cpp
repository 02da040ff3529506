// `baton channel create|list|show|delete|purge`.
#include <cstdio>
#include <functional>

#include "client/cli/admin.hpp"
#include "client/cli/channel_report.hpp"
#include "common/base/units.hpp"

namespace baton::cli {

namespace {

struct ChannelOptions {
    std::string name;
    std::string kind = "queue";
    bool durable = false;
    bool memory = false;
    Json settings = Json::object();
};

void print(const Program& program, const Json& json, const std::string& text) {
    if (program.global.output == OutputFormat::text) {
        std::fputs(text.c_str(), stdout);
    } else {
        print_json(json);
    }
}

int create(const Program& program, const ChannelOptions& options) {
    if (options.kind != "queue") {
        throw usage("--kind " + options.kind + " is not supported by this version; use queue");
    }
    auto arguments = options.settings;
    arguments["kind"] = options.kind;
    if (options.durable || options.memory) {
        arguments["storage"] = options.durable ? "durable" : "memory";
    }
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, "channel.create", options.name, arguments);
    const auto& channel = reply.at("channel");
    print(program, reply,
          channel.at("name").get<std::string>() + (reply.at("created").get<bool>() ? ": created" : ": exists") + ", " +
              settings_text(channel) + "\n");
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
    if (program.global.output == OutputFormat::jsonl) {
        for (const auto& channel : channels) {
            print_json(channel);
        }
        return exit_done;
    }
    print(program, channels, table_text(channels));
    return exit_done;
}

int show(const Program& program, const ChannelOptions& options) {
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, "channel.show", options.name, Json::object());
    print(program, reply.at("channel"), report_text(reply.at("channel")));
    return exit_done;
}

int drop(const Program& program, const ChannelOptions& options, const std::string& operation, const char* done) {
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, operation, options.name, Json::object());
    print(program, reply,
          std::string{done} + ", " + std::to_string(reply.at("messages").get<std::uint64_t>()) + " messages dropped\n");
    return exit_done;
}

void add_size(CLI::App& verb, ChannelOptions& options, const std::string& flag, const std::string& key,
              const std::string& help) {
    verb.add_option_function<std::string>(
            flag,
            [&options, flag, key](const std::string& text) {
                const auto size = parse_size(text);
                if (!size || *size == 0) {
                    throw CLI::ValidationError{flag, "\"" + text + "\" is not a size such as 1000, 64k, 10m or 1g"};
                }
                options.settings[key] = *size;
            },
            help)
        ->type_name("N");
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
    verb->footer("Example: baton channel create jobs --max-messages 1000");
    verb->require_subcommand(1);
    const auto options = std::make_shared<ChannelOptions>();
    auto* creation =
        add_verb(*verb, program, "create", "Make it so: create the channel, or apply new limits to it.",
                 "baton channel create jobs --durable --max-messages 1000 --max-bytes 64m", options, create);
    creation->add_option("--kind", options->kind, "queue.")->check(CLI::IsMember({"queue", "topic", "stream"}));
    auto* durable =
        creation->add_flag("--durable", options->durable,
                           "Messages are on the broker's disk and survive it. With neither this nor "
                           "--memory a new channel gets the broker's default, an existing one keeps its own.");
    creation->add_flag("--memory", options->memory, "Messages live in the broker's memory and end with it.")
        ->excludes(durable);
    add_size(*creation, *options, "--max-messages", "messages_max", "Stored messages; senders are blocked beyond it.");
    add_size(*creation, *options, "--max-bytes", "bytes_max", "Stored bytes; senders are blocked beyond it.");
    add_size(*creation, *options, "--max-message-size", "message_size_max", "Bytes of one message.");
    add_verb(*verb, program, "list", "All channels, by name.", "baton channel list --output jsonl", options,
             [](const Program& called, const ChannelOptions&) { return list(called); });
    add_verb(*verb, program, "show", "Settings, counters, links, and what everybody waits for.",
             "baton channel show jobs", options, show);
    add_verb(*verb, program, "delete", "Delete the channel and all that is in it.", "baton channel delete jobs",
             options, [](const Program& called, const ChannelOptions& given) {
                 return drop(called, given, "channel.delete", "deleted");
             });
    add_verb(*verb, program, "purge", "Drop all ready messages.", "baton channel purge jobs", options,
             [](const Program& called, const ChannelOptions& given) {
                 return drop(called, given, "channel.purge", "purged");
             });
}

}  // namespace baton::cli
