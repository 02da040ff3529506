#include "server/runtime/policy_json.hpp"

#include <algorithm>

#include "common/base/text_form.hpp"
#include "common/base/units.hpp"
#include "server/runtime/admin_json.hpp"
#include "server/runtime/channel_settings.hpp"

namespace baton::runtime {

namespace {

constexpr std::size_t pattern_size_max = 4'000;
constexpr auto limit_max = std::uint64_t{1} << 62U;

constexpr const char* allowed_list =
    "a list of at most 1000 objects such as {\"match\": \"jobs.*\", \"storage\": \"durable\"}";
std::string allowed_keys() { return "match, storage, " + channel_setting_list(); }
constexpr const char* allowed_match =
    "a pattern of 1 to 4000 bytes: * is any run of bytes, ? is one, %XX a certain one";
constexpr const char* allowed_storage = "memory or durable";
constexpr const char* allowed_count = "a whole number of at least 1";
constexpr const char* allowed_size = "a size of at least 1, such as 64k, 10m or 1g";

// How a byte is written that would mean something else in a pattern; empty: as itself.
std::string_view escape_of(char byte) {
    switch (byte) {
        case '*':
            return "%2A";
        case '?':
            return "%3F";
        case '%':
            return "%25";
        default:
            return {};
    }
}

bool set_match(ChannelPolicy& policy, const OrderedJson& value) {
    if (!value.is_string()) {
        return false;
    }
    auto pattern = pattern_from_text(value.get<std::string>());
    if (!pattern || pattern->empty() || pattern->size() > pattern_size_max) {
        return false;
    }
    policy.match = std::move(*pattern);
    return true;
}

bool set_storage(ChannelPolicy& policy, const OrderedJson& value) {
    if (value != "memory" && value != "durable") {
        return false;
    }
    policy.is_durable = value == "durable";
    return true;
}

/// Numbers as such or as text; with units only where they are bytes.
bool set_number(std::optional<std::uint64_t>& place, const OrderedJson& value, bool is_size) {
    std::optional<std::uint64_t> number;
    if (value.is_number_unsigned()) {
        number = value.get<std::uint64_t>();
    } else if (value.is_string()) {
        const auto text = value.get<std::string>();
        const bool has_unit = text.find_first_not_of("0123456789") != std::string::npos;
        if (const auto parsed = parse_size(text); parsed && (is_size || !has_unit)) {
            number = *parsed;
        }
    }
    if (!number || *number == 0 || *number > limit_max) {
        return false;
    }
    place = number;
    return true;
}

/// What is allowed instead; null: it has been set.
const char* set(ChannelPolicy& policy, const std::string& key, const OrderedJson& value) {
    if (key == "match") {
        return set_match(policy, value) ? nullptr : allowed_match;
    }
    if (key == "storage") {
        return set_storage(policy, value) ? nullptr : allowed_storage;
    }
    if (key == "messages_max") {
        return set_number(policy.messages_max, value, false) ? nullptr : allowed_count;
    }
    if (key == "bytes_max") {
        return set_number(policy.bytes_max, value, true) ? nullptr : allowed_size;
    }
    return set_number(policy.message_size_max, value, true) ? nullptr : allowed_size;
}

bool has_own_place(const std::string& key) {
    return key == "match" || key == "storage" || key == "messages_max" || key == "bytes_max" ||
           key == "message_size_max";
}

/// The error's text; empty: they are right.
std::string check_settings(const OrderedJson& settings) {
    try {
        channel::ChannelOptions options;
        apply_settings(options, settings, limit_max);
        return {};
    } catch (const Refusal& refusal) {
        return refusal.text;
    }
}

std::unexpected<Error> invalid(const std::string& text) {
    return fail(std::make_error_code(std::errc::invalid_argument), text);
}

std::string shown(const OrderedJson& value) {
    return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

bool is_key(const std::string& key) {
    return key == "match" || key == "storage" || key == "messages_max" || key == "bytes_max" ||
           is_channel_setting(key);
}

}  // namespace

Result<ChannelPolicy> policy_from(const OrderedJson& json, const std::string& place) {
    if (!json.is_object()) {
        return invalid(place + " is " + shown(json) + ", allowed is an object with the keys " + allowed_keys());
    }
    ChannelPolicy policy;
    OrderedJson settings = OrderedJson::object();
    for (const auto& [key, value] : json.items()) {
        if (!is_key(key)) {
            return invalid(place + ": the key \"" + key + "\" is unknown, allowed are " + allowed_keys());
        }
        if (!has_own_place(key)) {
            settings[key] = value;
        } else if (const char* allowed = set(policy, key, value)) {
            return invalid(place + "." + key + " is " + shown(value) + ", allowed is " + allowed);
        }
    }
    if (const auto wrong = check_settings(settings); !wrong.empty()) {
        return invalid(place + ": " + wrong);
    }
    policy.settings = settings.empty() ? std::string{} : settings.dump();
    if (policy.match.empty()) {
        return invalid(place + ": match is missing, allowed is " + allowed_match);
    }
    return policy;
}

Result<std::vector<ChannelPolicy>> policies_from(const OrderedJson& json, const std::string& where) {
    if (!json.is_array() || json.size() > policies_max) {
        return invalid(where + ": policies is " +
                       (json.is_array() ? std::to_string(json.size()) + " long" : shown(json)) + ", allowed is " +
                       allowed_list);
    }
    std::vector<ChannelPolicy> policies;
    for (const auto& item : json) {
        const auto place = where + ": policies[" + std::to_string(policies.size()) + "]";
        auto policy = policy_from(item, place);
        if (!policy) {
            return std::unexpected{policy.error()};
        }
        policies.push_back(std::move(*policy));
    }
    return policies;
}

std::optional<std::string> pattern_from_text(std::string_view text) {
    std::string pattern;
    for (std::size_t at = 0; at < text.size();) {
        const std::string_view one = text.substr(at, text[at] == '%' ? 3 : 1);
        const auto byte = name_from_text(one);
        if (!byte) {
            return std::nullopt;
        }
        const std::string_view escape = one.size() == 1 ? "" : escape_of((*byte)[0]);
        pattern += escape.empty() ? *byte : escape;
        at += one.size();
    }
    return pattern;
}

std::string pattern_text(std::string_view pattern) {
    std::string text;
    while (!pattern.empty()) {
        const std::size_t plain = std::min(pattern.find('%'), pattern.size());
        const std::string_view kept = pattern.substr(plain, 3);
        text += name_text(as_bytes(pattern.substr(0, plain)));
        text += kept;
        pattern.remove_prefix(plain + kept.size());
    }
    return text;
}

OrderedJson policy_json(const ChannelPolicy& policy) {
    OrderedJson json{{"match", pattern_text(policy.match)}};
    if (policy.is_durable) {
        json["storage"] = *policy.is_durable ? "durable" : "memory";
    }
    if (policy.messages_max) {
        json["messages_max"] = *policy.messages_max;
    }
    if (policy.bytes_max) {
        json["bytes_max"] = format_size(*policy.bytes_max);
    }
    if (policy.message_size_max) {
        json["message_size_max"] = format_size(*policy.message_size_max);
    }
    if (!policy.settings.empty()) {
        json.update(OrderedJson::parse(policy.settings));
    }
    return json;
}

OrderedJson policies_json(std::span<const ChannelPolicy> policies) {
    auto list = OrderedJson::array();
    for (const auto& policy : policies) {
        list.push_back(policy_json(policy));
    }
    return list;
}

}  // namespace baton::runtime
