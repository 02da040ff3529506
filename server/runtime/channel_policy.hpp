// Policies: what a channel gets that is created without settings of its own, by a pattern of its name. They come from
// the configuration file; the first one that matches counts, alone.
// Pure functions; any thread. Next file: limits.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "server/channel/channel.hpp"
#include "server/runtime/limits.hpp"

namespace baton::runtime {

struct ChannelPolicy {
    std::string match;  ///< Bytes: `*` is any run of bytes, `?` is one byte, "%2A" such a byte itself, every other byte itself.
    std::optional<bool> is_durable{};
    std::optional<std::uint64_t> messages_max{};
    std::optional<std::uint64_t> bytes_max{};
    std::optional<std::uint64_t> message_size_max{};
    std::string settings{};  ///< The others: a JSON object that apply_settings() takes; empty: none.
    friend bool operator==(const ChannelPolicy&, const ChannelPolicy&) = default;
};

[[nodiscard]] bool matches(std::string_view pattern, std::string_view name) noexcept;

/// The first policy that matches; null: none.
[[nodiscard]] const ChannelPolicy* policy_for(std::string_view name, std::span<const ChannelPolicy> policies) noexcept;

/// The settings of a channel that is created without settings of its own. Absent `is_durable` of the policy: as
/// `default_is_durable`. Absent limits: `limits.durable_defaults` for a durable channel, else
/// `limits.channel_defaults`.
[[nodiscard]] channel::ChannelOptions options_for(std::string_view name, const Limits& limits, bool default_is_durable,
                                                  std::span<const ChannelPolicy> policies);

/// The same, when somebody has said where the messages shall be: the limits still come from the policy.
[[nodiscard]] channel::ChannelOptions options_with_storage(std::string_view name, const Limits& limits, bool is_durable,
                                                           std::span<const ChannelPolicy> policies);

/// Options of a channel that is there, under a policy: what that names, the others as they are. Throws Refusal (admin_json.hpp) if
/// they do not fit together.
[[nodiscard]] channel::ChannelOptions with_policy(channel::ChannelOptions options, const ChannelPolicy& policy,
                                                  const Limits& limits);

}  // namespace baton::runtime
