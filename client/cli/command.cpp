#include "client/cli/command.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <sstream>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "client/cli/times.hpp"
#include "common/base/text_form.hpp"
#include "common/base/units.hpp"

namespace baton::cli {

Failure usage(const std::string& text) {
    return Failure{exit_usage, text, "usage"};
}

int exit_code_of(ClientErrc code) noexcept {
    switch (code) {
        case ClientErrc::bad_argument:
            return exit_usage;
        case ClientErrc::cannot_connect:
            return exit_cannot_connect;
        case ClientErrc::timed_out:
            return exit_empty;
        case ClientErrc::blocked:
            return exit_empty;
        case ClientErrc::interrupted:
            return exit_interrupted;
        case ClientErrc::not_found:
            return exit_not_found;
        case ClientErrc::not_authorised:
            return exit_not_authorised;
        case ClientErrc::message_too_large:
        case ClientErrc::refused:
        case ClientErrc::superseded:
        case ClientErrc::draining:
            return exit_refused;
        case ClientErrc::closed:
        case ClientErrc::disconnected:
        case ClientErrc::lost_lease:
        case ClientErrc::protocol_error:
            return exit_failed;
    }
    return exit_failed;
}

namespace {

/// What to do about it; may be empty.
const char* next_step(ClientErrc code) noexcept {
    switch (code) {
        case ClientErrc::cannot_connect:
            return "; is batond running there? (--url or BATON_URL names another one)";
        case ClientErrc::not_found:
            return "; `baton channel list` shows what there is";
        case ClientErrc::message_too_large:
            return "; see `baton channel create --max-message-size`, and limits.message_size_max of the broker "
                   "(--limits-message-size-max)";
        case ClientErrc::timed_out:
        case ClientErrc::disconnected:
        case ClientErrc::draining:
            return "; try again";
        case ClientErrc::bad_argument:
        case ClientErrc::blocked:
        case ClientErrc::interrupted:
        case ClientErrc::closed:
        case ClientErrc::not_authorised:
        case ClientErrc::refused:
        case ClientErrc::superseded:
        case ClientErrc::lost_lease:
        case ClientErrc::protocol_error:
            return "";
    }
    return "";
}

/// Of a topic: it is there, but nothing that is sent to it would be kept.
bool is_nobody_subscribed(std::string_view text) noexcept {
    return text.contains("topic without subscriptions");
}

bool is_about_backup(std::string_view text) noexcept {
    return text.starts_with("the backup ") || text.contains(" is damaged in the backup: ");
}

/// A channel's limit that the broker's own does not allow.
bool is_above_broker_limit(std::string_view text) noexcept {
    return text.starts_with("message_size_max is ") && text.contains("allowed are whole numbers from 1 to ");
}

/// What was not found is said by the broker's text only.
const char* where_to_look(std::string_view text) noexcept {
    if (text.contains("no subscription") || text.contains("no such subscription")) {
        return "; `baton subscription list` shows those of the channel";
    }
    if (is_nobody_subscribed(text)) {
        return "; `baton subscription create` makes one";
    }
    if (text.contains("no policy")) {
        return "; `baton policy list` shows what there is";
    }
    if (text.contains("the backup has no")) {
        return "; `baton-inspect DIR list` shows what there is";
    }
    return next_step(ClientErrc::not_found);
}

}  // namespace

// What helps is said by the broker's status, which the library does not tell apart.
const char* next_step(const ClientError& error) noexcept {
    const auto status = error.status_name();
    if (status == "disk_full") {
        return "; free space on the broker's disk and try again";
    }
    if (status == "storage_failed") {
        return "; see the log of the broker, and start it again";
    }
    if (status == "channel_damaged" && is_about_backup(error.text())) {
        return "; `baton-inspect DIR verify`, with the backup here as DIR, shows all that is damaged in it";
    }
    if (status == "channel_damaged") {
        return "; see the log of the broker, and try baton-inspect there";
    }
    if (status == "in_use") {
        return error.text().contains("--force") ? "" : "; --force does it all the same";
    }
    // Of a connection that is not made, the library keeps the text only.
    if (status == "too_many_connections" || error.text().contains("limits.connections_max")) {
        return "; close some of them, or raise limits.connections_max of the broker (--limits-connections-max)";
    }
    if (is_above_broker_limit(error.text())) {
        return "; the most is limits.message_size_max of the broker (--limits-message-size-max)";
    }
    if (status == "not_found") {
        return where_to_look(error.text());
    }
    if (error.code() == ClientErrc::cannot_connect && error.text().contains("does not answer")) {
        return "; is it stopped or overloaded? Its log may say";
    }
    return next_step(error.code());
}

namespace {

/// "; overflow is block, wanted reject": what a channel has and what was asked for, unless the text says it already.
std::string diff_text(const ClientError& error) {
    const auto details = nlohmann::json::parse(error.details(), nullptr, false);
    if (!details.is_object() || !details.contains("diff") || !details["diff"].is_object()) {
        return {};
    }
    const auto shown = [](const nlohmann::json& value) {
        return value.is_string() ? value.get<std::string>()
                                 : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    };
    std::string text;
    for (const auto& [key, values] : details["diff"].items()) {
        if (values.is_object() && values.contains("is") && values.contains("wanted") && !error.text().contains(key)) {
            text += "; " + key + " is " + shown(values["is"]) + ", wanted " + shown(values["wanted"]);
        }
    }
    return text;
}

}  // namespace

Failure failure_of(const ClientError& error, const std::string& what) {
    const bool is_refusal = error.code() == ClientErrc::not_found && is_nobody_subscribed(error.text());
    Failure failure{is_refusal ? exit_refused : exit_code_of(error.code()),
                    what + ": " + error.text() + diff_text(error) + next_step(error),
                    std::string{error.status_name()}, error.retryable()};
    failure.set_details(std::string{error.details()});
    return failure;
}

void say(const GlobalOptions& global, const std::string& text) {
    if (global.quiet) {
        return;
    }
    if (global.output == OutputFormat::text) {
        std::fprintf(stderr, "baton: %s\n", one_line(text).c_str());
    } else {
        const nlohmann::json json{{"notice", {{"text", one_line(text)}}}};
        std::fprintf(stderr, "%s\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    }
}

namespace {

/// batond's ready file and flags say tcp:// and unix://; whoever pastes that means us.
std::string client_url(const std::string& url) {
    const bool is_path = url.starts_with("baton+unix:///") || url.starts_with("unix:///");
    if (const auto at = url.rfind('@'); at != std::string::npos && !is_path) {
        // The library refuses it, too, but shows the password.
        throw usage("the broker at " + url.substr(at + 1) +
                    ": user names and passwords in URLs are not supported; expected baton://HOST[:PORT] or baton+unix:///PATH");
    }
    if (url.starts_with("tcp://")) {
        return "baton://" + url.substr(6);
    }
    return url.starts_with("unix://") ? "baton+" + url : url;
}

}  // namespace

void OutageNotice::on_away(bool& is_away) {
    const std::lock_guard lock{mutex_};
    away_ += std::exchange(is_away, true) ? 0U : 1U;
}

void OutageNotice::on_back(bool& is_away) {
    const std::lock_guard lock{mutex_};
    away_ -= std::exchange(is_away, false) ? 1U : 0U;
    has_said_ = has_said_ && away_ != 0;
}

bool OutageNotice::is_news() {
    const std::lock_guard lock{mutex_};
    return !std::exchange(has_said_, true);
}

ClientOptions client_options(const GlobalOptions& global, std::shared_ptr<OutageNotice> notice) {
    ClientOptions options;
    options.url = client_url(global.url);
    options.connect_timeout = global.connect_timeout;
    notice = notice ? std::move(notice) : std::make_shared<OutageNotice>();
    options.on_event = [&global, notice, is_away = std::make_shared<bool>(false)](const ClientEvent& event) {
        switch (event.kind) {
            case ClientEvent::Kind::disconnected:
                notice->on_away(*is_away);
                break;
            case ClientEvent::Kind::connect_failed:
                notice->on_away(*is_away);
                if (notice->is_news()) {
                    say(global, "waiting for the broker at " + global.url + " (" + event.text + ")");
                }
                break;
            case ClientEvent::Kind::connected:
                notice->on_back(*is_away);
                break;
            case ClientEvent::Kind::abandoned:
                say(global, event.text);
                break;
            default:
                break;
        }
    };
    return options;
}

ClientOptions question_options(const GlobalOptions& global) {
    constexpr auto question_timeout = std::chrono::seconds{5};
    auto options = client_options(global);
    options.on_event = {};
    if (!global.has_connect_timeout) {
        options.connect_timeout = question_timeout;
    }
    return options;
}

namespace {

CLI::Validator name_validator(const std::string& what) {
    return CLI::Validator{[](std::string& text) -> std::string {
                              if (auto bytes = name_from_text(text)) {
                                  text = std::move(*bytes);
                              }
                              return text.empty() ? "\"\" is no name: it has at least one byte" : "";
                          },
                          "", what + " name"};
}

constexpr std::string_view choices_mark = "one of ";

}  // namespace

CLI::Validator one_of(const std::vector<std::string>& choices) {
    std::string name{choices_mark};
    for (const auto& choice : choices) {
        name += choice + " ";
    }
    // The help text names them in its own words.
    return CLI::IsMember(choices).description("").name(name);
}

std::vector<std::string> choices_of(const CLI::Option& option) {
    try {
        for (int index = 0;; ++index) {
            // The parser has no way to look at a validator of an option that is const, or to say how many there are.
            const auto& name = const_cast<CLI::Option&>(option).get_validator(index)->get_name();
            if (name.starts_with(choices_mark)) {
                std::istringstream words{name.substr(choices_mark.size())};
                return {std::istream_iterator<std::string>{words}, {}};
            }
        }
    } catch (const CLI::OptionNotFound&) {
        return {};
    }
}

void add_channel_name(CLI::App& verb, const std::string& placeholder, std::string& name, const std::string& help) {
    verb.add_option(placeholder, name, help)->required()->transform(name_validator("channel"));
}

void add_channel_option(CLI::App& verb, const std::string& flag, std::string& name, const std::string& help) {
    verb.add_option(flag, name, help)->transform(name_validator("channel"))->type_name("CHANNEL");
}

void add_subscription_name(CLI::App& verb, std::string& name, const std::string& help) {
    verb.add_option("--subscription", name, help)->transform(name_validator("subscription"))->type_name("NAME");
}

CLI::Validator some_path() {
    return CLI::Validator{
        [](const std::string& path) -> std::string { return path.empty() ? "\"\" is no path: it is empty" : ""; }, ""};
}

CLI::Option* add_number(CLI::App& verb, const std::string& flag, const std::string& help, std::uint64_t low,
                        std::uint64_t high, const std::function<void(std::uint64_t)>& take) {
    return verb
        .add_option_function<std::string>(
            flag,
            [flag, low, high, take](const std::string& text) {
                std::uint64_t number = 0;
                const auto* end = text.data() + text.size();
                const auto parsed = std::from_chars(text.data(), end, number);
                if (parsed.ec != std::errc{} || parsed.ptr != end || number < low || number > high) {
                    throw CLI::ValidationError{flag, "\"" + text + "\" is not a whole number from " +
                                                         std::to_string(low) + " to " + std::to_string(high)};
                }
                take(number);
            },
            help)
        ->type_name("N");
}

void add_duration(CLI::App& verb, const std::string& flag, const std::string& help,
                  const std::function<void(std::chrono::nanoseconds)>& take) {
    verb.add_option_function<std::string>(
            flag,
            [flag, take](const std::string& text) {
                const auto duration = parse_duration(text);
                if (!duration) {
                    throw CLI::ValidationError{flag, duration_problem(text)};
                }
                take(*duration);
            },
            help)
        ->type_name("DURATION");
}

void add_start(CLI::App& verb, const std::string& flag, const std::string& help,
               const std::function<void(const StartFrom&)>& take) {
    verb.add_option_function<std::string>(
            flag,
            [flag, take](const std::string& text) {
                const auto from = parse_start(text, std::chrono::system_clock::now());
                if (!from) {
                    throw CLI::ValidationError{flag,
                                               "\"" + text +
                                                   "\" is neither first, last or new nor an offset, a time such as "
                                                   "2026-01-31T12:00:00Z or a duration such as 5m"};
                }
                take(*from);
            },
            help)
        ->type_name("START");
}

std::string from_is_late_text(const std::string& subscription) {
    return "the subscription \"" + name_text(as_bytes(subscription)) + "\" exists: it goes on where it is, --from has no effect";
}

void add_filter(CLI::App& verb, const std::function<void(const std::string&)>& take) {
    verb.add_option_function<std::string>(
            "--filter",
            [take](const std::string& pattern) {
                if (!is_filter(pattern)) {
                    throw CLI::ValidationError{"--filter",
                                               "\"" + pattern + "\" is not a pattern such as order.* or order.paid.>"};
                }
                take(pattern);
            },
            "Pattern for the key: words separated by '.', * stands for one word, > at the end for one or more.")
        ->type_name("PATTERN");
}

}  // namespace baton::cli
