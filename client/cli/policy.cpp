// `baton policy list|show|set|apply|delete`: what channels get that are created without settings of their own.
#include <algorithm>

#include "client/cli/admin.hpp"
#include "client/cli/channel_report.hpp"
#include "client/cli/channel_settings.hpp"
#include "common/base/text_form.hpp"

namespace baton::cli {

namespace {

struct PolicyOptions {
    std::string pattern;
    bool durable = false;
    bool memory = false;
    bool first = false;
    bool apply = false;
    ChannelFlags flags;
};

std::string number(const Json& json, const char* key) { return std::to_string(json.value(key, std::uint64_t{0})); }

std::string channels(const Json& json) { return counted(json.value("channels", std::uint64_t{0}), "channel"); }

/// "durable, attempts_max 5": everything but the pattern and where it is from.
std::string settings_of(const Json& policy) {
    std::string text;
    for (const auto& [key, value] : policy.items()) {
        if (key == "match" || key == "origin" || key == "hidden") {
            continue;
        }
        const auto shown = value.is_string() ? value.get<std::string>() : value.dump();
        text += (text.empty() ? "" : ", ") + (key == "storage" ? shown : key + " " + shown);
    }
    return text.empty() ? "-" : text;
}

std::string policies_text(const Json& policies) {
    std::size_t width = 7;
    for (const auto& policy : policies) {
        width = std::max(width, columns_of(policy.at("match").get<std::string>()));
    }
    auto text = padded("PATTERN", width) + "  ORIGIN         SETTINGS\n";
    for (const auto& policy : policies) {
        const bool is_set = policy.at("origin") == "set";
        text += padded(policy.at("match").get<std::string>(), width) + (is_set ? "  set            " : "  configuration  ") +
                settings_of(policy) + (policy.contains("hidden") ? " (does not count: one with this pattern was set)" : "") +
                "\n";
    }
    return text;
}

/// What the policy means for the channels that are there.
std::string channels_text(const Json& reply) {
    std::string text;
    if (reply.contains("changed")) {
        text = channels(reply) + ", " + number(reply, "changed") + " changed";
    } else {
        const auto is_one = [&](const char* key) { return reply.value(key, std::uint64_t{0}) == 1; };
        text = "in effect for " + channels(reply) + (is_one("channels") ? " that exists" : " that exist") + ", of which " +
               number(reply, "different") +
               (is_one("different") ? " has other settings and keeps them" : " have other settings and keep them") +
               " (baton policy apply changes them)";
    }
    text += "\n";
    for (const auto& refusal : reply.at("refusals")) {
        text += "  " + refusal.at("name").get<std::string>() + " cannot have them: " +
                refusal.at("text").get<std::string>() + "\n";
    }
    const auto refused = reply.at("refused").get<std::uint64_t>();
    if (const auto shown = reply.at("refusals").size(); refused > shown) {
        text += "  and " + std::to_string(refused - shown) + " more\n";
    }
    return text;
}

Json match_of(const PolicyOptions& options) { return {{"match", name_text(as_bytes(options.pattern))}}; }

int apply_exit(const Json& reply) {
    return reply.contains("changed") && reply.at("refused").get<std::uint64_t>() > 0 ? exit_partly : exit_done;
}

int set(const Program& program, const PolicyOptions& options) {
    auto arguments = finished_settings(options.flags);
    arguments.update(match_of(options));
    if (options.durable || options.memory) {
        arguments["storage"] = options.durable ? "durable" : "memory";
    }
    if (options.first) {
        arguments["first"] = true;
    }
    Client client{question_options(program.global)};
    auto reply = ask(program, client, "policy.set", "", arguments);
    const auto channels = ask(program, client, options.apply ? "policy.apply" : "policy.show", "", match_of(options));
    const std::string done = reply.at("created").get<bool>() ? ": set" : ": replaced";
    const std::string until = reply.at("durable").get<bool>() ? "" : ", until the broker ends (it has no data directory)";
    const auto text = reply.at("policy").at("match").get<std::string>() + done + until + "; " + channels_text(channels);
    reply.update(channels);
    print(program, reply, text);
    return apply_exit(channels);
}

int apply(const Program& program, const PolicyOptions& options) {
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, "policy.apply", "", match_of(options));
    print(program, reply, channels_text(reply));
    return apply_exit(reply);
}

int list(const Program& program, const PolicyOptions&) {
    Client client{question_options(program.global)};
    auto policies = Json::array();
    for (std::uint64_t from = 0;;) {
        auto reply = ask(program, client, "policy.list", "", {{"from", from}});
        for (auto& policy : reply.at("policies")) {
            policies.push_back(std::move(policy));
        }
        if (!reply.at("more").get<bool>()) {
            break;
        }
        from = reply.at("next").get<std::uint64_t>();
    }
    print_list(program, policies, policies_text(policies));
    return exit_done;
}

int show(const Program& program, const PolicyOptions& options) {
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, "policy.show", "", match_of(options));
    const auto& policy = reply.at("policy");
    print(program, reply,
          policy.at("match").get<std::string>() + ": " + settings_of(policy) + "\n  " +
              (policy.at("origin") == "set" ? "set while the broker ran" : "from the configuration") + ", " + channels_text(reply));
    return exit_done;
}

int remove(const Program& program, const PolicyOptions& options) {
    Client client{question_options(program.global)};
    const auto reply = ask(program, client, "policy.delete", "", match_of(options));
    const auto configured = reply.find("policy");
    print(program, reply,
          name_text(as_bytes(options.pattern)) + ": deleted; channels keep their settings" +
              (configured != reply.end() ? "; that of the configuration counts again: " + settings_of(*configured) : "") + "\n");
    return exit_done;
}

CLI::App* add_verb(CLI::App& parent, Program& program, const std::string& name, const std::string& help,
                   const std::string& example, const std::shared_ptr<PolicyOptions>& options,
                   int (*run)(const Program&, const PolicyOptions&)) {
    auto* verb = parent.add_subcommand(name, help);
    verb->footer("Example: " + example);
    verb->fallthrough();
    if (name != "list") {
        add_channel_name(*verb, "PATTERN", options->pattern,
                         "Names of channels: * is any run of bytes, ? is one byte, everything else itself.");
    }
    verb->final_callback(
        [&program, options, run] { program.run = [&program, options, run] { return run(program, *options); }; });
    return verb;
}

}  // namespace

void add_policy(Program& program) {
    auto* verb = program.app.add_subcommand(
        "policy", "What channels get that are created without settings of their own, by a pattern of their names.");
    verb->footer("Example: baton policy set 'jobs.*' --durable --attempts-max 5");
    verb->require_subcommand(1);
    const auto options = std::make_shared<PolicyOptions>();
    add_verb(*verb, program, "list",
             "All policies, in the order in which they are tried: the first that matches counts, alone.", "baton policy list",
             options, list);
    add_verb(*verb, program, "show", "One policy, and how many channels it is in effect for.",
             "baton policy show 'jobs.*'", options, show);
    auto* setting = add_verb(*verb, program, "set",
                             "Set a policy, or replace the one with this pattern. It counts before those of the "
                             "configuration, and for channels that are created from now on.",
                             "baton policy set 'prices.*' --kind stream --compact --durable", options, set);
    auto* durable = setting->add_flag("--durable", options->durable, "Messages are on the broker's disk and survive it.");
    setting->add_flag("--memory", options->memory, "Messages live in the broker's memory and end with it.")->excludes(durable);
    setting->add_flag("--first", options->first,
                      "It is tried before all others; a new one without this behind those that were set.");
    setting->add_flag("--apply", options->apply,
                      "Also give these settings to the channels that exist; exit 9 if some cannot have them.");
    add_channel_settings(*setting, options->flags);
    add_verb(*verb, program, "apply", "Give its settings to the channels that exist; exit 9 if some cannot have them.",
             "baton policy apply 'jobs.*'", options, apply);
    add_verb(*verb, program, "delete", "Delete a policy that was set; one of the configuration with its pattern counts again.",
             "baton policy delete 'jobs.*'", options, remove);
}

}  // namespace baton::cli
