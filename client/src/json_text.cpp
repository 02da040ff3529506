// See json_text.hpp.
#include "client/src/json_text.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <nlohmann/json.hpp>

namespace baton::client {

namespace {

using Json = nlohmann::json;

// Printable ASCII without a backslash, eight at a time: of a byte below ' ' the subtraction sets the highest bit, and of one that
// is not ASCII it is set. (Quotes are not looked for: they end the string.)
bool is_plain(std::string_view text) noexcept {
    constexpr std::uint64_t spaces = 0x2020202020202020;
    constexpr std::uint64_t highest_bits = 0x8080808080808080;
    if (text.contains('\\')) {
        return false;
    }
    while (text.size() >= sizeof(std::uint64_t)) {
        std::uint64_t eight = 0;
        std::memcpy(&eight, text.data(), sizeof eight);
        if (((eight | (eight - spaces)) & highest_bits) != 0) {
            return false;
        }
        text.remove_prefix(sizeof eight);
    }
    return std::ranges::all_of(text, [](char c) { return c >= ' '; });
}

// Where the string that begins at `at`, behind its quote, has its other quote; the end of the text if it has none.
std::size_t end_of_string(std::string_view json, std::size_t at) noexcept {
    for (std::size_t from = at;;) {
        const std::size_t quote = json.find('"', from);
        if (quote == std::string_view::npos) {
            return json.size();
        }
        std::size_t backslashes = 0;
        while (quote - backslashes > at && json[quote - backslashes - 1] == '\\') {
            ++backslashes;
        }
        if (backslashes % 2 == 0) {
            return quote;
        }
        from = quote + 1;
    }
}

}  // namespace

std::string without_long_strings(std::string_view json) {
    std::string text;
    for (std::size_t at = 0; at < json.size();) {
        const std::size_t content_at = std::min(json.find('"', at), json.size() - 1) + 1;
        text.append(json.substr(at, content_at - at));
        const std::size_t end = end_of_string(json, content_at);
        const auto content = json.substr(content_at, end - content_at);
        if (content.size() < long_string || !is_plain(content)) {
            text.append(content);
        }
        at = std::min(end + 1, json.size());
        text.append(json.substr(end, at - end));
    }
    return text;
}

std::optional<std::string> request_text(std::string_view operation, std::string_view arguments) {
    const auto shape = arguments.empty() ? Json::object() : Json::parse(without_long_strings(arguments), nullptr, false);
    if (!shape.is_object()) {
        return std::nullopt;
    }
    if (shape.contains("op")) {  // Nobody should; it is replaced.
        auto request = Json::parse(arguments, nullptr, false);
        request["op"] = std::string{operation};
        return request.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    std::string text = R"({"op":)";
    text += Json(std::string{operation}).dump(-1, ' ', false, Json::error_handler_t::replace);
    if (shape.empty()) {
        return text += '}';
    }
    text += ',';
    return text += arguments.substr(arguments.find('{') + 1);
}

}  // namespace baton::client
