#include "client/cli/inputs.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include "client/cli/times.hpp"
#include "common/base/base64.hpp"
#include "common/base/bytes.hpp"
#include "common/base/units.hpp"

namespace baton::cli {

void Splitter::feed(std::string_view bytes, const std::function<void(std::string_view)>& take) {
    for (auto end = bytes.find(separator_); end != std::string_view::npos; end = bytes.find(separator_)) {
        if (rest_.empty()) {
            take(bytes.substr(0, end));
        } else {
            rest_.append(bytes.substr(0, end));
            take(rest_);
            rest_.clear();
        }
        bytes.remove_prefix(end + 1);
    }
    rest_.append(bytes);
}

void Splitter::finish(const std::function<void(std::string_view)>& take) {
    if (!rest_.empty()) {
        take(rest_);
        rest_.clear();
    }
}

namespace {

using Json = nlohmann::json;

std::string text_at(const Json& json, const char* key) {
    const auto found = json.find(key);
    if (found == json.end()) {
        return {};
    }
    if (!found->is_string()) {
        throw BadLine{std::string{"\""} + key + "\" is not a text"};
    }
    return found->get<std::string>();
}

std::string bytes_of(const Json& text, const std::string& what) {
    const auto bytes = text.is_string() ? base64_decode(text.get<std::string>()) : std::nullopt;
    if (!bytes) {
        throw BadLine{"\"" + what + "\" is not base64"};
    }
    return std::string{as_text(*bytes)};
}

/// "key_base64" counts where it is there: "key" cannot show all bytes. `place` stays what it is if there is neither.
void read_text(std::string& place, const Json& json, const std::string& key) {
    if (const auto bytes = json.find(key + "_base64"); bytes != json.end()) {
        place = bytes_of(*bytes, key + "_base64");
    } else if (json.contains(key)) {
        place = text_at(json, key.c_str());
    }
}

constexpr std::array<std::string_view, 21> property_keys{
    "key",        "key_base64",        "content_type",   "content_type_base64",   "reply_to",      "reply_to_base64",
    "id",         "id_base64",         "correlation_id", "correlation_id_base64", "trace_context", "trace_context_base64",
    "headers",    "headers_base64",    "priority",       "ttl",                   "delay",         "at",
    "ttl_us",     "delay_us",          "not_before_us"};
constexpr std::array<std::string_view, 3> own_keys{"body", "body_base64", "properties"};
// What the lines of `receive --jsonl`, `peek` and baton-inspect say besides: so that they can be sent again as they are.
constexpr std::array<std::string_view, 14> ignored_keys{
    "channel", "offset", "attempt", "redelivered", "time",    "time_us",        "state",
    "size",    "due_us", "reason",  "note",        "receiver", "session",       "quarantined_us"};
constexpr std::uint64_t priority_max = 9;

template <class... Lists>
void refuse_unknown_keys(const Json& json, const Lists&... known) {
    for (const auto& [key, value] : json.items()) {
        if (!((std::ranges::find(known, key) != known.end()) || ...)) {
            throw BadLine{
                "unknown key \"" + key +
                "\"; known are body, key, headers, content_type, reply_to, correlation_id, trace_context, id (each also with "
                "_base64), ttl, delay, at, ttl_us, delay_us, not_before_us, priority, properties"};
        }
    }
}

void refuse_truncated(const Json& json) {
    if (json.contains("truncated")) {
        throw BadLine{"its body is truncated"};
    }
    if (json.contains("properties_truncated")) {
        throw BadLine{"its properties are truncated"};
    }
}

void add_header(MessageProperties& properties, const std::string& name, const Json& value) {
    if (!value.is_string()) {
        throw BadLine{"the header \"" + name + "\" is not a text"};
    }
    properties.headers.emplace_back(name, value.get<std::string>());
}

std::optional<std::chrono::microseconds> duration_at(const Json& json, const char* key) {
    if (!json.contains(key)) {
        return std::nullopt;
    }
    const auto text = text_at(json, key);
    const auto duration = parse_duration(text);
    if (!duration) {
        throw BadLine{std::string{"\""} + key + "\": " + duration_problem(text)};
    }
    return std::chrono::duration_cast<std::chrono::microseconds>(*duration);
}

std::optional<std::int64_t> us_at(const Json& json, const char* key) {
    const auto found = json.find(key);
    if (found == json.end()) {
        return std::nullopt;
    }
    if (!found->is_number_integer() || found->get<std::int64_t>() < 0) {
        throw BadLine{std::string{"\""} + key + "\" is " + found->dump() + ", not a whole number of microseconds"};
    }
    return found->get<std::int64_t>();
}

/// As `peek` and baton-inspect say them: `not_before_us` since 1970 UTC.
void read_life_in_us(MessageProperties& properties, const Json& json) {
    if (const auto ttl = us_at(json, "ttl_us")) {
        properties.ttl = std::chrono::microseconds{*ttl};
    }
    if (const auto delay = us_at(json, "delay_us")) {
        properties.delay = std::chrono::microseconds{*delay};
    }
    if (const auto not_before = us_at(json, "not_before_us")) {
        properties.not_before = WallMicroseconds{std::chrono::microseconds{*not_before}};
    }
}

void read_life(MessageProperties& properties, const Json& json) {
    if (const auto ttl = duration_at(json, "ttl")) {
        properties.ttl = ttl;
    }
    if (const auto delay = duration_at(json, "delay")) {
        properties.delay = delay;
    }
    if (const auto at = json.find("at"); at != json.end()) {
        properties.not_before = parse_time(at->is_string() ? at->get<std::string>() : at->dump());
        if (!properties.not_before) {
            throw BadLine{"\"at\" is " + at->dump() +
                          ", not a time such as \"2026-01-31T12:00:00Z\" or seconds since 1970"};
        }
    }
    if (const auto priority = json.find("priority"); priority != json.end()) {
        if (!priority->is_number_unsigned() || priority->get<std::uint64_t>() > priority_max) {
            throw BadLine{"\"priority\" is " + priority->dump() + ", not a whole number from 0 to 9"};
        }
        properties.priority = priority->get<std::uint8_t>();
    }
}

/// All headers, where one of them is no text.
void read_headers_base64(MessageProperties& properties, const Json& list) {
    const auto is_pair = [](const Json& pair) { return pair.is_array() && pair.size() == 2; };
    if (!list.is_array() || !std::ranges::all_of(list, is_pair)) {
        throw BadLine{"\"headers_base64\" is not a list of [name, value]"};
    }
    for (const auto& pair : list) {
        properties.headers.emplace_back(bytes_of(pair[0], "headers_base64"), bytes_of(pair[1], "headers_base64"));
    }
}

void read_headers(MessageProperties& properties, const Json& json) {
    if (const auto list = json.find("headers_base64"); list != json.end()) {
        return read_headers_base64(properties, *list);
    }
    const auto headers = json.find("headers");
    if (headers == json.end()) {
        return;
    }
    if (!headers->is_object()) {
        throw BadLine{"\"headers\" is not an object"};
    }
    for (const auto& [name, value] : headers->items()) {
        if (!value.is_array()) {
            add_header(properties, name, value);
            continue;
        }
        for (const auto& repeated : value) {
            add_header(properties, name, repeated);
        }
    }
}

void read_properties(MessageProperties& properties, const Json& json) {
    read_text(properties.key, json, "key");
    read_text(properties.content_type, json, "content_type");
    read_text(properties.message_id, json, "id");
    read_text(properties.reply_to, json, "reply_to");
    read_text(properties.correlation_id, json, "correlation_id");
    read_text(properties.trace_context, json, "trace_context");
    read_life_in_us(properties, json);
    read_life(properties, json);  // What people write counts where both are there.
    read_headers(properties, json);
}

/// The position helps in a line that is longer than a screen.
Json parse_object(std::string_view line) {
    Json json;
    try {
        json = Json::parse(line);
    } catch (const Json::parse_error& error) {
        throw BadLine{"it is not JSON, see byte " + std::to_string(error.byte)};
    }
    if (json.is_array()) {
        throw BadLine{
            "it is a JSON array, not an object: --output jsonl prints a message a line, --output json all of them as one"};
    }
    if (!json.is_object()) {
        throw BadLine{"it is not a JSON object"};
    }
    return json;
}

}  // namespace

InputMessage parse_json_line(std::string_view line) {
    const auto json = parse_object(line);
    refuse_truncated(json);
    refuse_unknown_keys(json, own_keys, property_keys, ignored_keys);
    if (json.contains("body") == json.contains("body_base64")) {
        throw BadLine{"it needs either \"body\" or \"body_base64\""};
    }
    InputMessage message;
    read_text(message.body, json, "body");
    MessageProperties properties;
    if (const auto peeked = json.find("properties"); peeked != json.end()) {
        if (!peeked->is_object()) {
            throw BadLine{"\"properties\" is not an object"};
        }
        refuse_unknown_keys(*peeked, property_keys);
        read_properties(properties, *peeked);
    }
    read_properties(properties, json);
    if (!properties.empty()) {
        message.properties = std::move(properties);
    }
    return message;
}

bool read_all(int descriptor, const Interrupt& interrupt, const std::function<void(std::string_view)>& take) {
    std::vector<char> buffer(128 * 1024);
    for (;;) {
        if (!interrupt.wait_ready(descriptor, POLLIN)) {
            return false;
        }
        const auto size = ::read(descriptor, buffer.data(), buffer.size());
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0) {
            throw std::system_error{errno, std::generic_category(), "cannot read the input"};
        }
        if (size == 0) {
            return true;
        }
        take({buffer.data(), static_cast<std::size_t>(size)});
    }
}

}  // namespace baton::cli
