// The form of administrative requests and replies (docs/protocol.md, section 11): reading arguments with errors that
// say what is allowed, and what an error looks like. Control path. Pure functions. Next files: channel_admin.cpp,
// backups.cpp.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "common/base/clock.hpp"

namespace baton::runtime {

using Json = nlohmann::json;

/// Of a reply, for what is around the lists in it.
inline constexpr std::size_t frame_of_reply = 1000;

/// What is wrong with a request; becomes an error reply.
struct Refusal {
    std::string code;
    std::string text;
    Json diff{};  ///< Of incompatible options: name -> {"is", "wanted"}.
};

/// A parsed request, or nothing: too deep, not JSON, not an object.
[[nodiscard]] std::optional<Json> parse_object(std::string_view text);
/// The operation that a request asks for; empty if it is not a request.
[[nodiscard]] std::string operation_in(const std::optional<Json>& request);
[[nodiscard]] inline std::string operation_of(std::string_view json) { return operation_in(parse_object(json)); }
[[nodiscard]] std::string dump(const Json& json);
[[nodiscard]] std::string refusal_json(const Refusal& refusal);

/// As times stand in JSON; not negative.
[[nodiscard]] std::uint64_t milliseconds(Duration duration);

// These throw Refusal.
void refuse_unknown_keys(const Json& request, std::initializer_list<std::string_view> known);
[[nodiscard]] std::uint64_t number_of(const Json& request, const char* key, std::uint64_t low, std::uint64_t high,
                                      std::uint64_t fallback);
[[nodiscard]] std::string text_of(const Json& request, const char* key, const std::string& fallback);
/// False if it is not there.
[[nodiscard]] bool flag_of(const Json& request, const char* key);

}  // namespace baton::runtime
