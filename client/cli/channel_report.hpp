// Channels as text for people, from the JSON that the broker answers with. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace baton::cli {

/// How wide a name is shown, which is UTF-8: its characters. (Those that take two columns, or none, are not known here.)
[[nodiscard]] std::size_t columns_of(std::string_view text) noexcept;
/// With spaces behind it, for a table.
[[nodiscard]] std::string padded(std::string text, std::size_t width);
/// "queue, memory, at most 1000 messages, 512m, 64m each".
[[nodiscard]] std::string settings_text(const nlohmann::json& channel);
/// "; lease 5s, overflow reject": the other settings, as far as they are not what a channel has by default.
[[nodiscard]] std::string unusual_text(const nlohmann::json& channel);
/// A line per channel under a heading.
[[nodiscard]] std::string table_text(const nlohmann::json& channels);
/// A line per subscription under a heading.
[[nodiscard]] std::string subscriptions_text(const nlohmann::json& subscriptions);
/// The reply of `channel.explain`, a line for each who waits.
[[nodiscard]] std::string explanation_text(const nlohmann::json& reply);
/// What waits for nobody but an administrator, of what `channel.show` says, and what to do about it; a line for the channel
/// and each subscription, or nothing.
[[nodiscard]] std::string quarantine_text(const nlohmann::json& channel);
/// A message as `channel.peek` says it, with "body" in place of "body_base64" if it is text.
[[nodiscard]] nlohmann::json with_readable_body(nlohmann::json message);
/// What `channel.peek` says of a message besides its body: "offset 7: quarantined at …, attempt 3, reason attempts".
[[nodiscard]] std::string message_text(const nlohmann::json& message);
/// Everything `channel.show` knows.
[[nodiscard]] std::string report_text(const nlohmann::json& channel);

}  // namespace baton::cli
