#include "client/cli/selection.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <set>

#include "client/cli/arguments.hpp"
#include "common/base/text_form.hpp"

namespace baton::cli {

namespace {

constexpr std::size_t offsets_max = 1'000;  // Of one request.

std::uint64_t ask_for(const Program& program, Client& client, const Selection& selection, const std::string& operation,
                      const Json& arguments) {
    return ask(program, client, operation, selection.channel, arguments).at("messages").get<std::uint64_t>();
}

}  // namespace

void add_selection(CLI::App& verb, Selection& selection) {
    verb.add_option("OFFSET", selection.offset_words, "Offsets, as `baton peek --output jsonl` shows them.")
        ->expected(0, -1);
    verb.add_flag("--all", selection.all, "All of them.");
    add_subscription_name(verb, selection.subscription, "Of a topic or stream: the subscription.");
}

void add_state(CLI::App& verb, Selection& selection, const std::string& help) {
    verb.add_option("--state", selection.state, help)
        ->check(one_of({"ready", "delayed", "quarantined"}))
        ->type_name("STATE");
}

std::uint64_t offset_of(const std::string& word) {
    std::uint64_t offset = 0;
    const auto* end = word.data() + word.size();
    const auto parsed = std::from_chars(word.data(), end, offset);
    if (parsed.ec != std::errc{} || parsed.ptr != end) {
        throw usage("\"" + word + "\" is not an offset: a whole number, as `baton peek --output jsonl` shows it");
    }
    return offset;
}

int run_on(const Program& program, const Selection& selection, const std::string& operation, Json arguments,
           const std::string& done) {
    std::set<std::uint64_t> offsets;
    for (const auto& word : selection.offset_words) {
        offsets.insert(offset_of(unguarded(word)));
    }
    if (selection.all == !offsets.empty()) {
        throw usage(selection.all ? "--all and offsets exclude each other"
                                  : "which messages? Give offsets, or --all for all of them");
    }
    if (!selection.state.empty()) {
        arguments["state"] = selection.state;
    }
    if (!selection.subscription.empty()) {
        arguments["subscription"] = name_text(as_bytes(selection.subscription));
    }
    Client client{question_options(program.global)};
    std::uint64_t messages = 0;
    if (selection.all) {
        arguments["all"] = true;
        messages = ask_for(program, client, selection, operation, arguments);
    }
    for (auto at = offsets.begin(); at != offsets.end();) {
        auto some = Json::array();
        for (; at != offsets.end() && some.size() < offsets_max; ++at) {
            some.push_back(*at);
        }
        arguments["offsets"] = std::move(some);
        messages += ask_for(program, client, selection, operation, arguments);
    }
    if (program.global.output == OutputFormat::text) {
        std::printf("%s %s\n", counted(messages, "message").c_str(), done.c_str());
    } else {
        print_json({{"messages", messages}});
    }
    if (messages >= offsets.size()) {
        return exit_done;
    }
    throw Failure{messages == 0 ? exit_not_found : exit_partly,
                  std::to_string(offsets.size() - messages) + " of " + counted(offsets.size(), "offset") +
                      " of \"" + name_text(as_bytes(selection.channel)) +
                      "\" are not there in the right state; `baton explain` says what is the matter with one",
                  "not_found"};
}

}  // namespace baton::cli
