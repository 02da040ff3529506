#include "client/cli/channel_report.hpp"

#include <algorithm>
#include <vector>

#include "common/base/units.hpp"

namespace baton::cli {

namespace {

using Json = nlohmann::json;

std::string number(const Json& json, const char* key) {
    return std::to_string(json.at(key).get<std::uint64_t>());
}
std::string size(const Json& json, const char* key) {
    return format_size(json.at(key).get<std::uint64_t>());
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

std::string padded(std::string text, std::size_t width) {
    text.resize(std::max(width, text.size()), ' ');
    return text;
}

std::string link_line(const Json& link) {
    const bool is_sender = link.at("role") == "sender";
    const auto held = is_sender ? "parked " + number(link, "parked")
                                : "in flight " + number(link, "in_flight") + ", started " + number(link, "started");
    const auto& wait = link.at("wait");
    const bool is_blocked = is_sender && wait.at("reason") != "none";
    return "  " + padded(link.at("role").get<std::string>(), 9) + "session " + number(link, "session") + " link " +
           number(link, "link") + ": " + number(link, "messages") + " messages, " + held + ", credit " +
           number(link.at("credit"), "messages") + " messages " + size(link.at("credit"), "bytes") + ", " +
           (is_blocked ? "blocked: " : "waits: ") + wait_text(wait) + "\n";
}

}  // namespace

std::string settings_text(const Json& channel) {
    return channel.at("kind").get<std::string>() + ", " + channel.at("storage").get<std::string>() + ", at most " +
           number(channel, "messages_max") + " messages, " + size(channel, "bytes_max") + " in all, " +
           size(channel, "message_size_max") + " each";
}

std::string table_text(const Json& channels) {
    std::size_t width = 4;
    for (const auto& channel : channels) {
        width = std::max(width, channel.at("name").get<std::string>().size());
    }
    auto text = padded("NAME", width) + "  STORAGE        READY  IN FLIGHT       BYTES  RECEIVERS  SENDERS\n";
    const auto right = [](const std::string& value, std::size_t columns) {
        return std::string(columns > value.size() ? columns - value.size() : 0, ' ') + value;
    };
    for (const auto& channel : channels) {
        text += padded(channel.at("name").get<std::string>(), width) + "  " +
                padded(channel.at("storage").get<std::string>(), 8) + right(number(channel, "ready"), 12) +
                right(number(channel, "in_flight"), 11) + right(size(channel, "bytes"), 12) +
                right(number(channel, "receivers"), 11) + right(number(channel, "senders"), 9) + "\n";
    }
    return text;
}

std::string report_text(const Json& channel) {
    std::string text = channel.at("name").get<std::string>() + ": " + settings_text(channel) + "\n";
    text += "  ready " + number(channel, "ready") + ", in flight " + number(channel, "in_flight") + ", parked " +
            number(channel, "parked") + ", stored " + size(channel, "bytes") + "\n";
    text += "  published " + number(channel, "published") + ", delivered " + number(channel, "delivered") +
            ", redelivered " + number(channel, "redelivered") + ", settled " + number(channel, "settled") +
            ", duplicates " + number(channel, "duplicates") + ", refused " + number(channel, "refused") + ", purged " +
            number(channel, "purged") + "\n";
    text += "  messages wait: " + wait_text(channel.at("wait")) + "\n";
    for (const auto& link : channel.at("links")) {
        text += link_line(link);
    }
    return text;
}

}  // namespace baton::cli
