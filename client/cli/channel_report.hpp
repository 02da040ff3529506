// Channels as text for people, from the JSON that the broker answers with. Pure functions.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace baton::cli {

/// "queue, memory, at most 1000 messages, 512m, 64m each".
[[nodiscard]] std::string settings_text(const nlohmann::json& channel);
/// A line per channel under a heading.
[[nodiscard]] std::string table_text(const nlohmann::json& channels);
/// Everything `channel.show` knows.
[[nodiscard]] std::string report_text(const nlohmann::json& channel);

}  // namespace baton::cli
