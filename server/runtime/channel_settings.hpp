// The settings of a channel as JSON (docs/protocol.md, section 11): checked and applied, and shown. One table for channel.create,
// for policies and for what is printed. Control path. Any thread. Next file: channel_admin.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/channel/channel_options.hpp"
#include "server/runtime/admin_json.hpp"

namespace baton::runtime {

/// Whether `key` is a setting that apply_settings() knows: all but `storage`.
[[nodiscard]] bool is_channel_setting(std::string_view key) noexcept;
/// Their names, for people.
[[nodiscard]] std::string channel_setting_list();

/// Changes what the request names; other keys are passed over. Throws Refusal: "bad_request" with the key, the value and
/// what is allowed.
void apply_settings(channel::ChannelOptions& options, const Json& request, std::uint64_t message_size_limit);

/// All settings but the name and `storage`.
[[nodiscard]] Json channel_settings_json(const channel::ChannelOptions& options);

[[nodiscard]] const char* kind_name(channel::Kind kind) noexcept;
[[nodiscard]] const char* overflow_name(channel::Overflow overflow) noexcept;
/// Throws Refusal.
[[nodiscard]] channel::Overflow overflow_of(const Json& request, channel::Overflow fallback, bool is_subscription);

}  // namespace baton::runtime
