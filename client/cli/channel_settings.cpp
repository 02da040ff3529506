#include "client/cli/channel_settings.hpp"

#include <charconv>
#include <cmath>
#include <optional>

#include "common/base/units.hpp"

namespace baton::cli {

namespace {

using std::chrono::milliseconds;

constexpr std::int64_t day_ms = 86'400'000;

/// For an error: "--messages-max (--max-messages)", since nobody knows which one was typed.
std::string flag_names(const std::string& flags) {
    const auto comma = flags.find(',');
    return comma == std::string::npos ? flags : flags.substr(0, comma) + " (" + flags.substr(comma + 1) + ")";
}

void add_size(CLI::App& verb, Json& settings, const std::string& flags, const std::string& key,
              const std::string& help, const std::string& allowed = "a size of at least 1, such as 1000, 64k, 10m or 1g") {
    const auto flag = flag_names(flags);
    verb.add_option_function<std::string>(
            flags,
            [&settings, flag, key, allowed](const std::string& text) {
                const auto size = parse_size(text);
                if (!size || *size == 0) {
                    throw CLI::ValidationError{flag, "\"" + text + "\" is not " + allowed};
                }
                settings[key] = *size;
            },
            help)
        ->type_name("N");
}

void add_ms(CLI::App& verb, Json& settings, const std::string& flags, const std::string& key, std::int64_t low,
            std::int64_t high, const std::string& help) {
    const auto flag = flag_names(flags);
    verb.add_option_function<std::string>(
            flags,
            [&settings, flag, key, low, high](const std::string& text) {
                const auto duration = parse_duration(text);
                const auto ms = duration ? std::chrono::duration_cast<milliseconds>(*duration).count() : -1;
                if (ms < low || ms > high || milliseconds{ms} != *duration) {
                    throw CLI::ValidationError{flag, "\"" + text + "\" is not a duration from " +
                                                         format_duration(milliseconds{low}) + " to " +
                                                         format_duration(milliseconds{high}) +
                                                         " in whole milliseconds, such as 250ms, 5s, 2m or 1h"};
                }
                settings[key] = ms;
            },
            help)
        ->type_name("DURATION");
}

void add_count(CLI::App& verb, Json& settings, const std::string& flags, const std::string& key, std::uint64_t low,
               std::uint64_t high, const std::string& help) {
    add_number(verb, flags, help, low, high, [&settings, key](std::uint64_t count) { settings[key] = count; });
}

void add_choice(CLI::App& verb, Json& settings, const std::string& flag, const std::string& key,
                const std::vector<std::string>& choices, const std::string& help) {
    verb.add_option_function<std::string>(
            flag, [&settings, key](const std::string& choice) { settings[key] = choice; }, help)
        ->check(one_of(choices))
        ->type_name("CHOICE");
}

/// And --no-...: absent means that it stays as it is.
void add_switch(CLI::App& verb, Json& settings, const std::string& name, const std::string& key,
                const std::string& help) {
    verb.add_flag_function(
        "--" + name + ",!--no-" + name,
        [&settings, key, name](std::int64_t count) {
            if (count == 0) {
                throw CLI::ValidationError{"--" + name, "and --no-" + name + " exclude each other"};
            }
            settings[key] = count > 0;
        },
        help);
}

/// A number with at most two decimals, behind which '%' may stand, in percent. Nothing: it is not one.
std::optional<std::int64_t> percent_of(std::string_view text, double without_sign) {
    const bool has_sign = text.ends_with('%');
    if (has_sign) {
        text.remove_suffix(1);
    }
    double number = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() || number < 0 ||
        number > 1e6) {
        return std::nullopt;
    }
    const double percent = has_sign ? number : number * without_sign;
    const double whole = std::round(percent);
    return std::abs(percent - whole) < 1e-6 ? std::optional{static_cast<std::int64_t>(whole)} : std::nullopt;
}

void add_percent(CLI::App& verb, Json& settings, const std::string& flag, const std::string& key, double without_sign,
                 std::int64_t low, std::int64_t high, const std::string& range, const std::string& help) {
    verb.add_option_function<std::string>(
            flag,
            [&settings, flag, key, without_sign, low, high, range](const std::string& text) {
                const auto percent = percent_of(text, without_sign);
                if (!percent || *percent < low || *percent > high) {
                    throw CLI::ValidationError{flag, "\"" + text + "\" is not " + range};
                }
                settings[key] = *percent;
            },
            help)
        ->type_name("N");
}

void add_limits(CLI::App& verb, Json& settings) {
    add_size(verb, settings, "--messages-max,--max-messages", "messages_max",
             "Stored messages (1k is 1,024, as for bytes); --overflow says what happens beyond.",
             "a number of at least 1, such as 1000 or 10k");
    add_size(verb, settings, "--bytes-max,--max-bytes", "bytes_max",
             "Stored bytes; --overflow says what happens beyond.");
    add_size(verb, settings, "--message-size-max,--max-message-size", "message_size_max", "Bytes of one message.");
    add_ms(verb, settings, "--max-age,--age-max", "age_max_ms", 0, day_ms * 36'500,
           "Messages that are older are expired, in a stream forgotten; 0: never.");
    add_choice(verb, settings, "--overflow", "overflow", {"block", "reject", "drop-oldest", "drop-newest"},
               "When it is full: block senders (default), reject what they send, drop-oldest or drop-newest.");
}

void add_delivery(CLI::App& verb, Json& settings) {
    add_ms(verb, settings, "--lease", "lease_ms", 100, day_ms,
           "How long a delivery belongs to its receiver without being extended: 100ms to 1d (default 30s).");
    add_ms(verb, settings, "--lease-max", "lease_max_ms", 100, 7 * day_ms,
           "How long one delivery can be extended: --lease to 7d (default 12h).");
    add_count(verb, settings, "--attempts-max,--max-attempts", "attempts_max", 0, 1'000'000,
              "Attempts after which a message is quarantined (default 10; 0: no limit).");
    add_ms(verb, settings, "--retry-first", "retry_first_ms", 0, 7 * day_ms,
           "Wait before the second attempt (default 1s).");
    add_ms(verb, settings, "--retry-max", "retry_max_ms", 0, 7 * day_ms,
           "Longest wait between two attempts (default 5m).");
    add_percent(verb, settings, "--retry-factor", "retry_factor_percent", 100, 100, 10'000,
                "a factor from 1 to 100, such as 2, 1.5 or 150%",
                "Each wait is so many times as long as the one before: 1 to 100, or 100% to 10000% (default 2).");
    add_percent(verb, settings, "--retry-jitter", "retry_jitter_percent", 1, 0, 100, "a percentage from 0 to 100",
                "Percent of each wait that chance may take off: 0 to 100 (default 10).");
}

void add_order(CLI::App& verb, ChannelFlags& flags) {
    auto& settings = flags.settings;
    add_switch(verb, settings, "ordered-by-key", "ordered_by_key",
               "At most one message of a key is with receivers, in order.");
    add_switch(verb, settings, "exclusive", "exclusive", "One receiver gets everything, the next one when it ends.");
    verb.add_option_function<std::string>(
            "--fair-by", [&settings](const std::string& by) { settings["fair_by"] = by == "none" ? "" : by; },
            "Tenants take turns: key (up to its first '.'), header:NAME, or none (default).")
        ->check(CLI::Validator{[](const std::string& by) -> std::string {
                                   return by == "key" || by == "none" || (by.starts_with("header:") && by.size() > 7)
                                              ? ""
                                              : "\"" + by + "\" is neither key nor header:NAME nor none";
                               },
                               ""})
        ->type_name("BY");
    verb.add_option(
            "--fair-weight", flags.fair_weights,
            "TENANT=N, 1 to 1000: so many messages in a turn (default 1); may be repeated. What is given replaces "
            "all weights.")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->type_name("TENANT=N");
}

}  // namespace

void add_channel_settings(CLI::App& verb, ChannelFlags& flags) {
    auto& settings = flags.settings;
    add_choice(verb, settings, "--kind", "kind", {"queue", "topic", "stream"},
               "queue (default): each message for one receiver. topic: for each subscription that exists then. stream: "
               "kept for subscriptions until it is too old or too much.");
    add_limits(verb, settings);
    add_delivery(verb, settings);
    add_choice(verb, settings, "--expired", "expired", {"drop", "quarantine"},
               "Messages that are too old: drop (default) forgets them, quarantine keeps them for who looks.");
    add_choice(verb, settings, "--late", "late", {"fire", "drop"},
               "Delayed messages whose time came while the broker was down: fire (default) gives them, drop forgets them.");
    add_order(verb, flags);
    add_ms(verb, settings, "--dedupe-window", "dedupe_window_ms", 0, 7 * day_ms,
           "Messages with an --id that was seen in this time are not stored again (default 0: off).");
    add_switch(verb, settings, "compact", "compact", "Stream: only the newest message of each key is kept.");
    add_ms(verb, settings, "--tombstone-age", "tombstone_age_ms", 0, day_ms * 36'500,
           "With --compact: so long a newest message with an empty body stays, which says that its key is gone (default 24h).");
}

Json finished_settings(const ChannelFlags& flags) {
    auto settings = flags.settings;
    if (settings.contains("retry_first_ms") && settings.contains("retry_max_ms") &&
        settings["retry_first_ms"] > settings["retry_max_ms"]) {
        const auto text = [&](const char* key) { return format_duration(milliseconds{settings[key].get<std::int64_t>()}); };
        throw usage("--retry-first \"" + text("retry_first_ms") + "\" is longer than --retry-max \"" + text("retry_max_ms") +
                    "\", the longest wait");
    }
    for (const auto& given : flags.fair_weights) {
        const auto equals = given.rfind('=');
        unsigned weight = 0;
        if (equals != std::string::npos) {
            const auto* end = given.data() + given.size();
            const auto parsed = std::from_chars(given.data() + equals + 1, end, weight);
            weight = parsed.ec == std::errc{} && parsed.ptr == end ? weight : 0;
        }
        if (weight < 1 || weight > 1000) {
            throw usage("--fair-weight \"" + given + "\" is not TENANT=N with N from 1 to 1000");
        }
        settings["fair_weights"][given.substr(0, equals)] = weight;
    }
    return settings;
}

}  // namespace baton::cli
