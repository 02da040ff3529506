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

// What the envelopes of `receive --jsonl` say besides: so that they can be sent again as they are.
constexpr std::array<std::string_view, 9> ignored_keys{"channel", "offset", "attempt", "redelivered", "time",
                                                       "time_us", "state",  "size",    "truncated"};
constexpr std::array<std::string_view, 12> known_keys{"body",     "body_base64",    "key", "headers", "content_type",
                                                      "reply_to", "correlation_id", "id",  "ttl",     "delay",
                                                      "at",       "priority"};
constexpr std::uint64_t priority_max = 9;

void refuse_unknown_keys(const Json& json) {
    for (const auto& [key, value] : json.items()) {
        if (std::ranges::find(known_keys, key) == known_keys.end() &&
            std::ranges::find(ignored_keys, key) == ignored_keys.end()) {
            throw BadLine{
                "unknown key \"" + key +
                "\"; known are body, body_base64, key, headers, content_type, reply_to, correlation_id, id, ttl, "
                "delay, at, priority"};
        }
    }
    if (json.contains("truncated")) {
        throw BadLine{"its body is truncated"};
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
        throw BadLine{std::string{"\""} + key + "\" is \"" + text +
                      "\", not a duration such as \"250ms\", \"5s\" or \"2m\""};
    }
    return std::chrono::duration_cast<std::chrono::microseconds>(*duration);
}

void add_life(const Json& json, MessageProperties& properties) {
    properties.ttl = duration_at(json, "ttl");
    properties.delay = duration_at(json, "delay");
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

}  // namespace

InputMessage parse_json_line(std::string_view line) {
    const auto json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) {
        throw BadLine{"it is not a JSON object"};
    }
    refuse_unknown_keys(json);
    if (json.contains("body") == json.contains("body_base64")) {
        throw BadLine{"it needs either \"body\" or \"body_base64\""};
    }
    InputMessage message;
    message.body = text_at(json, "body");
    if (json.contains("body_base64")) {
        const auto bytes = base64_decode(text_at(json, "body_base64"));
        if (!bytes) {
            throw BadLine{"\"body_base64\" is not base64"};
        }
        message.body = as_text(*bytes);
    }
    MessageProperties properties;
    properties.key = text_at(json, "key");
    properties.content_type = text_at(json, "content_type");
    properties.message_id = text_at(json, "id");
    properties.reply_to = text_at(json, "reply_to");
    properties.correlation_id = text_at(json, "correlation_id");
    add_life(json, properties);
    if (const auto headers = json.find("headers"); headers != json.end()) {
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
