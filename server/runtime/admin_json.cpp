#include "server/runtime/admin_json.hpp"

#include <algorithm>
#include <chrono>

#include "server/runtime/channel_admin.hpp"

namespace baton::runtime {

namespace {

constexpr std::size_t json_depth_max = 8;
/// An error quotes the request, which may be as long as a frame.
constexpr std::size_t refusal_text_max = 500;

}  // namespace

std::optional<Json> parse_object(std::string_view text) {
    const auto callback = [](int depth, Json::parse_event_t, Json&) {
        return depth <= static_cast<int>(json_depth_max);
    };
    auto parsed = Json::parse(text, callback, /*allow_exceptions=*/false);
    if (!parsed.is_object()) {
        return std::nullopt;
    }
    return parsed;
}

std::string operation_in(const std::optional<Json>& request) {
    const auto op = request ? request->value("op", Json{}) : Json{};
    return op.is_string() ? op.get<std::string>() : std::string{};
}

std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string admin_error(std::string_view code, const std::string& text, bool is_retryable) {
    return dump({{"ok", false}, {"error", {{"code", code}, {"text", text}, {"retryable", is_retryable}}}});
}

std::string refusal_json(const Refusal& refusal) {
    auto text = refusal.text;
    if (text.size() > refusal_text_max) {
        text.resize(refusal_text_max);  // A character that is cut in half is replaced when it is written.
        text += "...";
    }
    auto error = Json::parse(admin_error(refusal.code, text, refusal.code == "disk_full"));
    if (!refusal.diff.is_null()) {
        error["error"]["diff"] = refusal.diff;
    }
    return dump(error);
}

std::uint64_t milliseconds(Duration duration) {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

void refuse_unknown_keys(const Json& request, std::initializer_list<std::string_view> known) {
    for (const auto& [key, value] : request.items()) {
        if (key != "op" && std::ranges::find(known, key) == known.end()) {
            throw Refusal{"unsupported", "this broker does not know the argument \"" + key + "\"", {}};
        }
    }
}

std::uint64_t number_of(const Json& request, const char* key, std::uint64_t low, std::uint64_t high,
                        std::uint64_t fallback) {
    const auto found = request.find(key);
    if (found == request.end()) {
        return fallback;
    }
    if (!found->is_number_unsigned() || found->get<std::uint64_t>() < low || found->get<std::uint64_t>() > high) {
        throw Refusal{"bad_request",
                      std::string{key} + " is " + dump(*found) + ", allowed are whole numbers from " +
                          std::to_string(low) + " to " + std::to_string(high),
                      {}};
    }
    return found->get<std::uint64_t>();
}

std::string text_of(const Json& request, const char* key, const std::string& fallback) {
    const auto found = request.find(key);
    if (found == request.end()) {
        return fallback;
    }
    if (!found->is_string()) {
        throw Refusal{"bad_request", std::string{key} + " is " + dump(*found) + ", a text is needed", {}};
    }
    return found->get<std::string>();
}

bool flag_of(const Json& request, const char* key) {
    const auto found = request.find(key);
    if (found != request.end() && !found->is_boolean()) {
        throw Refusal{"bad_request", std::string{key} + " is " + dump(*found) + ", allowed are true and false", {}};
    }
    return found != request.end() && found->get<bool>();
}

}  // namespace baton::runtime
