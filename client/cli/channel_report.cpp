#include "client/cli/channel_report.hpp"

#include <algorithm>
#include <vector>

#include "client/cli/columns.hpp"
#include "client/cli/command.hpp"
#include "client/cli/times.hpp"
#include "common/base/base64.hpp"
#include "common/base/bytes.hpp"
#include "common/base/units.hpp"
#include "common/base/utf8.hpp"

namespace baton::cli {

namespace {

using Json = nlohmann::json;

std::string number(const Json& json, const char* key) {
    return std::to_string(json.at(key).get<std::uint64_t>());
}
std::string size(const Json& json, const char* key) {
    return format_size(json.at(key).get<std::uint64_t>());
}
std::string messages(const Json& json, const char* key) {
    return counted(json.at(key).get<std::uint64_t>(), "message");
}
/// "64k", which says itself what it is, or "1000 bytes".
std::string bytes(const Json& json, const char* key) {
    const auto count = json.at(key).get<std::uint64_t>();
    const auto text = format_size(count);
    const bool has_unit = text.find_first_not_of("0123456789") != std::string::npos;
    return has_unit ? text : counted(count, "byte");
}

/// "full for 3.2s", or "-" for who does not wait.
std::string wait_text(const Json& wait) {
    const auto reason = wait.at("reason").get<std::string>();
    if (reason == "none") {
        return "-";
    }
    const auto waited_ms = wait.at("for_ms").get<std::uint64_t>();
    return reason + " for " + std::to_string(waited_ms / 1000) + "." + std::to_string(waited_ms % 1000 / 100) + "s";
}

std::string link_line(const Json& link) {
    const bool is_sender = link.at("role") == "sender";
    const auto held = is_sender ? "parked " + number(link, "parked")
                                : "in flight " + number(link, "in_flight") + ", started " + number(link, "started");
    const auto& wait = link.at("wait");
    const bool is_blocked = is_sender && wait.at("reason") != "none";
    return "  " + padded(link.at("role").get<std::string>(), 9) + "session " + number(link, "session") + " link " +
           number(link, "link") + ": " + messages(link, "messages") + ", " + held + ", credit " +
           messages(link.at("credit"), "messages") + " and " + bytes(link.at("credit"), "bytes") + ", " +
           (is_blocked ? "blocked: " : "waits: ") + wait_text(wait) + "\n";
}

/// ", delayed 3": nothing for a broker that does not say.
std::string counter(const Json& json, const char* label, const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_number_unsigned()
               ? std::string{", "} + label + " " + std::to_string(found->get<std::uint64_t>())
               : std::string{};
}

std::string text_or(const Json& json, const char* key, const std::string& fallback) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : fallback;
}

std::uint64_t number_or(const Json& json, const char* key, std::uint64_t fallback) {
    const auto found = json.find(key);
    return found != json.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : fallback;
}

std::string ms_text(const Json& json, const char* key) {
    constexpr std::uint64_t ms_max = std::uint64_t{1} << 40U;
    const auto ms = std::min(number_or(json, key, 0), ms_max);
    return format_duration(std::chrono::milliseconds{static_cast<std::int64_t>(ms)});
}

bool is_set(const Json& json, const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_boolean() && found->get<bool>();
}

std::string expired_text(const Json& channel) {
    const auto setting = text_or(channel, "expired", "");
    return setting.empty() ? std::string{} : ", expired " + setting;
}

/// What happens to messages that fail, wait or are too old; empty for a broker that does not say.
std::string rules_text(const Json& channel) {
    if (!channel.contains("lease_ms")) {
        return {};
    }
    const auto attempts = number_or(channel, "attempts_max", 0);
    const auto factor = number_or(channel, "retry_factor_percent", 100);
    std::string text = "  lease " + ms_text(channel, "lease_ms") + ", at most " + ms_text(channel, "lease_max_ms") +
                       "; attempts " + (attempts == 0 ? "without limit" : std::to_string(attempts)) + ", retry " +
                       (number_or(channel, "retry_first_ms", 0) < number_or(channel, "retry_max_ms", 0)
                            ? "after " + ms_text(channel, "retry_first_ms") + " to "
                            : std::string{"always after "}) +
                       ms_text(channel, "retry_max_ms") + ", each " +
                       std::to_string(factor) + "% of the one before, jitter " +
                       std::to_string(number_or(channel, "retry_jitter_percent", 0)) + "%\n";
    text += "  overflow " + text_or(channel, "overflow", "block") + expired_text(channel) + ", late " +
            text_or(channel, "late", "fire");
    if (number_or(channel, "age_max_ms", 0) != 0) {
        text += ", age at most " + ms_text(channel, "age_max_ms");
    }
    if (number_or(channel, "dedupe_window_ms", 0) != 0) {
        text += ", dedupe window " + ms_text(channel, "dedupe_window_ms");
    }
    if (const auto by = text_or(channel, "fair_by", ""); !by.empty()) {
        text += ", fair by " + by;
    }
    for (const auto& [key, label] : {std::pair{"ordered_by_key", ", ordered by key"},
                                     std::pair{"exclusive", ", exclusive"}, std::pair{"compact", ", compact"}}) {
        text += is_set(channel, key) ? label : "";
    }
    if (is_set(channel, "compact") && channel.contains("tombstone_age_ms")) {
        text += " (tombstones for " + ms_text(channel, "tombstone_age_ms") + ")";
    }
    return text + "\n";
}

}  // namespace

std::size_t columns_of(std::string_view text) noexcept {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; }));
}

std::string padded(std::string text, std::size_t width) {
    const std::size_t columns = columns_of(text);
    return text.append(width > columns ? width - columns : 0, ' ');
}

std::string subscriptions_text(const Json& subscriptions) {
    std::size_t width = 4;
    for (const auto& subscription : subscriptions) {
        width = std::max(width, columns_of(text_or(subscription, "name", "")));
    }
    auto text = padded("NAME", width) +
                "         READY     DELAYED  IN FLIGHT  QUARANTINED     DROPPED        NEXT  RECEIVERS  FILTER\n";
    for (const auto& subscription : subscriptions) {
        const auto column = [&](const char* key, std::size_t columns) {
            return right(std::to_string(number_or(subscription, key, 0)), columns);
        };
        const auto filter = text_or(subscription, "filter", "");
        text += padded(text_or(subscription, "name", ""), width) + column("ready", 14) + column("delayed", 12) +
                column("in_flight", 11) + column("quarantined", 13) + column("dropped", 12) +
                column("next_offset", 12) + column("receivers", 11) + "  " + (filter.empty() ? "-" : filter) + "\n";
    }
    return text;
}

Json with_readable_body(Json message) {
    const auto bytes = base64_decode(message.at("body_base64").get<std::string>()).value();
    if (is_valid_utf8(bytes)) {
        message.erase("body_base64");
        message["body"] = as_text(bytes);
    }
    return message;
}

std::string message_text(const Json& message) {
    const auto at = [](const Json& us) { return utc_text(us.get<std::int64_t>()); };
    std::string text =
        "offset " + std::to_string(number_or(message, "offset", 0)) + ": " + text_or(message, "state", "stored");
    if (message.contains("due_us")) {
        text += " until " + at(message["due_us"]);
    }
    if (message.contains("quarantined_us")) {
        text += " at " + at(message["quarantined_us"]);
    }
    text += ", attempt " + std::to_string(number_or(message, "attempt", 1));
    for (const char* key : {"reason", "receiver", "note"}) {
        if (const auto value = text_or(message, key, ""); !value.empty()) {
            text += std::string{", "} + key + " " + value;
        }
    }
    return text;
}

std::string explanation_text(const Json& reply) {
    std::string text;
    if (const auto message = reply.find("message"); message != reply.end() && message->is_object()) {
        text += message_text(*message) + "\n";
    }
    if (const auto words = text_or(reply, "text", ""); !words.empty()) {
        text += words + "\n";
    }
    for (const auto& wait : reply.value("waits", Json::array())) {
        const auto for_ms = number_or(wait, "for_ms", 0);
        text += text_or(wait, "who", "somebody") + ": " + text_or(wait, "text", text_or(wait, "reason", "")) + " (" +
                text_or(wait, "reason", "") + " for " + std::to_string(for_ms / 1000) + "." +
                std::to_string(for_ms % 1000 / 100) + "s)\n";
    }
    return text.empty() ? "nobody waits\n" : text;
}

std::string quarantine_text(const Json& channel) {
    const auto name = text_or(channel, "name", "");
    const auto line = [&](const Json& place, const std::string& where, const std::string& option) {
        const auto count = number_or(place, "quarantined", 0);
        return count == 0 ? std::string{}
                          : where + counted(count, "message") + (count == 1 ? " is" : " are") +
                                " quarantined: `baton peek " + name + option +
                                " --state quarantined` says why, and `baton retry`, `move` or `drop` what becomes of " +
                                (count == 1 ? "it\n" : "them\n");
    };
    const auto subscriptions = channel.find("subscriptions");
    if (subscriptions == channel.end()) {
        return line(channel, "", "");
    }
    std::string text;
    for (const auto& subscription : *subscriptions) {
        const auto subscriber = text_or(subscription, "name", "");
        text += line(subscription, "subscription \"" + subscriber + "\": ", " --subscription " + subscriber);
    }
    return text;
}

std::string settings_text(const Json& channel) {
    return channel.at("kind").get<std::string>() + ", " + channel.at("storage").get<std::string>() + ", at most " +
           messages(channel, "messages_max") + ", " + bytes(channel, "bytes_max") + " in all, " +
           bytes(channel, "message_size_max") + " each";
}

std::string unusual_text(const Json& channel) {
    std::string text;
    const auto add = [&](const std::string& setting) { text += (text.empty() ? "; " : ", ") + setting; };
    const auto add_duration = [&](const char* key, const std::string& label, std::uint64_t standard_ms) {
        if (number_or(channel, key, standard_ms) != standard_ms) {
            add(label + " " + ms_text(channel, key));
        }
    };
    const auto add_percent = [&](const char* key, const std::string& label, std::uint64_t standard) {
        if (const auto percent = number_or(channel, key, standard); percent != standard) {
            add(label + " " + std::to_string(percent) + "%");
        }
    };
    const auto add_word = [&](const char* key, const std::string& label, const std::string& standard) {
        if (const auto word = text_or(channel, key, standard); word != standard) {
            add(label + " " + word);
        }
    };
    const auto add_flag = [&](const char* key, const std::string& label) {
        if (is_set(channel, key)) {
            add(label);
        }
    };
    add_duration("age_max_ms", "age at most", 0);
    add_word("overflow", "overflow", "block");
    add_duration("lease_ms", "lease", 30'000);
    add_duration("lease_max_ms", "lease at most", 43'200'000);
    if (const auto attempts = number_or(channel, "attempts_max", 10); attempts != 10) {
        add("attempts " + (attempts == 0 ? "without limit" : std::to_string(attempts)));
    }
    add_duration("retry_first_ms", "retry after", 1'000);
    add_duration("retry_max_ms", "retry at most after", 300'000);
    add_percent("retry_factor_percent", "retry factor", 200);
    add_percent("retry_jitter_percent", "retry jitter", 10);
    add_word("expired", "expired", "drop");
    add_word("late", "late", "fire");
    add_duration("dedupe_window_ms", "dedupe window", 0);
    add_word("fair_by", "fair by", "");
    add_flag("ordered_by_key", "ordered by key");
    add_flag("exclusive", "exclusive");
    add_flag("compact", "compact");
    add_duration("tombstone_age_ms", "tombstones for", 86'400'000);
    return text;
}

std::string table_text(const Json& channels) {
    std::size_t width = 4;
    for (const auto& channel : channels) {
        width = std::max(width, columns_of(channel.at("name").get<std::string>()));
    }
    auto text = padded("NAME", width) + "  KIND    STORAGE        READY     DELAYED  IN FLIGHT  QUARANTINED       BYTES"
                                        "  RECEIVERS  SENDERS\n";
    const auto column = [](const Json& channel, const char* key, std::size_t columns) {
        const bool is_told = channel.contains(key);
        return right(is_told ? std::to_string(number_or(channel, key, 0)) : "-", columns);
    };
    for (const auto& channel : channels) {
        text += padded(channel.at("name").get<std::string>(), width) + "  " +
                padded(text_or(channel, "kind", "-"), 8) + padded(channel.at("storage").get<std::string>(), 8) +
                column(channel, "ready", 12) + column(channel, "delayed", 12) + column(channel, "in_flight", 11) +
                column(channel, "quarantined", 13) + right(size(channel, "bytes"), 12) +
                column(channel, "receivers", 11) + column(channel, "senders", 9) + "\n";
    }
    return text;
}

std::string report_text(const Json& channel) {
    std::string text = channel.at("name").get<std::string>() + ": " + settings_text(channel) + "\n";
    text += rules_text(channel);
    text += "  ready " + number(channel, "ready") + counter(channel, "delayed", "delayed") + ", in flight " +
            number(channel, "in_flight") + counter(channel, "quarantined", "quarantined") + ", parked " +
            number(channel, "parked") + counter(channel, "stored", "stored") + ", in " + bytes(channel, "bytes") + "\n";
    text += "  published " + number(channel, "published") + ", delivered " + number(channel, "delivered") +
            ", redelivered " + number(channel, "redelivered") + ", settled " + number(channel, "settled") +
            ", duplicates " + number(channel, "duplicates") + ", refused " + number(channel, "refused") + ", purged " +
            number(channel, "purged") + counter(channel, "retried", "retried") +
            counter(channel, "rejected", "rejected") + counter(channel, "expired", "expired") +
            counter(channel, "expired", "expired_messages") + counter(channel, "dropped", "dropped") +
            counter(channel, "trimmed", "trimmed") + counter(channel, "compacted", "compacted") +
            counter(channel, "moved", "moved") + counter(channel, "unwanted", "unwanted") +
            counter(channel, "leases ended", "leases_ended") + "\n";
    if (const auto dropped = channel.find("last_dropped"); dropped != channel.end() && dropped->is_object()) {
        text += "  last dropped: " + std::to_string(number_or(*dropped, "count", 0)) + " from offset " +
                std::to_string(number_or(*dropped, "first", 0)) + "\n";
    }
    text += "  messages wait: " + wait_text(channel.at("wait")) + "\n";
    for (const auto& link : channel.at("links")) {
        text += link_line(link);
    }
    if (const auto found = channel.find("subscriptions"); found != channel.end() && found->is_array()) {
        text += "subscriptions:\n" + subscriptions_text(*found);
    }
    return text;
}

}  // namespace baton::cli
