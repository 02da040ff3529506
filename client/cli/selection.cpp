#include "client/cli/selection.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <future>
#include <optional>
#include <set>
#include <utility>

#include "client/cli/arguments.hpp"
#include "client/cli/progress.hpp"
#include "common/base/text_form.hpp"

namespace baton::cli {

namespace {

constexpr std::size_t offsets_max = 1'000;  // Of one request.
/// As many are asked for one by one: only so the broker's answers say which of them are not there.
constexpr std::size_t asked_alone_max = 100;
constexpr std::size_t named_max = 20;  // In an error.
constexpr auto look_again = std::chrono::milliseconds{500};

/// Its counters; nothing if they cannot be had.
std::optional<Json> shown(const Program& program, Client& client, const std::string& channel) {
    const auto reply = client.admin("channel.show", channel, {}, {program.stop}, std::nothrow);
    const auto json = reply ? Json::parse(*reply, nullptr, false) : Json{};
    return json.is_object() && json.contains("channel") ? std::optional{json["channel"]} : std::nullopt;
}

/// How many messages of this channel a move will be about; 0: not known. Which of them a subscription has, its channel does
/// not say.
std::uint64_t total_of(const Json& channel, const Selection& selection) {
    std::uint64_t total = 0;
    for (const char* state : {"ready", "delayed", "quarantined"}) {
        const bool is_meant = selection.state.empty() || selection.state == state;
        total += is_meant && selection.subscription.empty() ? channel.value(state, std::uint64_t{0}) : 0;
    }
    return total;
}

/// A move of everything takes seconds where there are millions, and is answered when it is done: meanwhile the channel's
/// counter tells how far it has come.
Json ask_with_progress(const Program& program, Client& client, const Selection& selection, const std::string& operation,
                       const Json& arguments) {
    const bool is_wanted = operation == "channel.move" && Progress{program.global, "moved", 0}.is_on();
    const auto before = is_wanted ? shown(program, client, selection.channel) : std::nullopt;
    if (!before) {
        return ask(program, client, operation, selection.channel, arguments);
    }
    Progress progress{program.global, "moved", total_of(*before, selection)};
    auto answer = std::async(std::launch::async,
                             [&] { return ask(program, client, operation, selection.channel, arguments); });
    while (answer.wait_for(look_again) == std::future_status::timeout) {
        if (const auto now = shown(program, client, selection.channel)) {
            progress.tick(now->value("moved", std::uint64_t{0}) - before->value("moved", std::uint64_t{0}));
        }
    }
    progress.clear();
    return answer.get();
}

class Work {
public:
    Work(const Program& program, const Selection& selection, const std::string& operation, const std::string& done,
         Json arguments)
        : program_{program},
          selection_{selection},
          operation_{operation},
          done_{done},
          arguments_(std::move(arguments)),
          client_{question_options(program.global)} {}

    void on_all() {
        arguments_["all"] = true;
        messages_ = ask_with_progress(program_, client_, selection_, operation_, arguments_).at("messages").get<std::uint64_t>();
    }
    void on(const std::set<std::uint64_t>& offsets);

    [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }
    /// Those that are known not to be there.
    [[nodiscard]] const std::vector<std::uint64_t>& missing() const noexcept { return missing_; }

private:
    [[nodiscard]] std::uint64_t ask_for(const std::vector<std::uint64_t>& some);

    const Program& program_;
    const Selection& selection_;
    const std::string& operation_;
    const std::string& done_;
    Json arguments_;
    Client client_;
    std::uint64_t messages_ = 0;
    std::vector<std::uint64_t> missing_;
};

void Work::on(const std::set<std::uint64_t>& offsets) {
    const std::size_t at_once = offsets.size() <= asked_alone_max ? 1 : offsets_max;
    std::vector<std::uint64_t> some;
    for (const auto offset : offsets) {
        some.push_back(offset);
        if (some.size() < at_once && offset != *offsets.rbegin()) {
            continue;
        }
        const auto count = ask_for(some);
        messages_ += count;
        if (count == 0) {
            missing_.insert(missing_.end(), some.begin(), some.end());
        }
        some.clear();
    }
}

/// A failure in the middle says what was done before.
std::uint64_t Work::ask_for(const std::vector<std::uint64_t>& some) {
    arguments_["offsets"] = some;
    try {
        return ask(program_, client_, operation_, selection_.channel, arguments_).at("messages").get<std::uint64_t>();
    } catch (const Failure& failure) {
        if (messages_ == 0) {
            throw;
        }
        Failure whole{failure.exit_code(),
                      std::string{failure.what()} + "; " + counted(messages_, "message") + " before it " +
                          (messages_ == 1 ? "was " : "were ") + done_,
                      failure.code(), failure.is_retryable()};
        auto details = Json::parse(failure.details(), nullptr, false);
        if (details.is_object() && details.contains("messages")) {
            details["messages"] = messages_ + details["messages"].get<std::uint64_t>();
        }
        whole.set_details(details.is_object() ? details.dump() : failure.details());
        throw whole;
    }
}

/// "offset 7 of "jobs" is", "2 of 300 offsets of "jobs" are".
std::string missing_text(const Work& work, const Selection& selection, std::size_t wanted) {
    const auto count = wanted - work.messages();
    const auto channel = " of \"" + name_text(as_bytes(selection.channel)) + "\"";
    if (work.missing().size() != count) {
        return std::to_string(count) + " of " + counted(wanted, "offset") + channel + (count == 1 ? " is" : " are");
    }
    std::string list;
    for (std::size_t i = 0; i < std::min(count, named_max); ++i) {
        list += (i == 0 ? " " : ", ") + std::to_string(work.missing()[i]);
    }
    const auto rest = count > named_max ? " and " + std::to_string(count - named_max) + " more" : std::string{};
    return (count == 1 ? "offset" : "offsets") + list + rest + channel + (count == 1 ? " is" : " are");
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
    Work work{program, selection, operation, done, std::move(arguments)};
    selection.all ? work.on_all() : work.on(offsets);
    const auto messages = work.messages();
    if (program.global.output == OutputFormat::text) {
        std::printf("%s %s\n", counted(messages, "message").c_str(), done.c_str());
    } else {
        print_json({{"messages", messages}});
    }
    if (messages >= offsets.size()) {
        return exit_done;
    }
    throw Failure{messages == 0 ? exit_not_found : exit_partly,
                  missing_text(work, selection, offsets.size()) +
                      " not there in the right state; `baton explain` says what is the matter with one",
                  "not_found"};
}

}  // namespace baton::cli
