// Policies to and from JSON: of the key `policies` of the configuration file, of requests, of the file in the data directory.
// Not responsible for what a policy does (channel_policy.hpp). Control path. Any thread. Next file: policy_book.hpp.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/base/result.hpp"
#include "server/runtime/channel_policy.hpp"

namespace baton::runtime {

using OrderedJson = nlohmann::ordered_json;

/// So many of each origin.
inline constexpr std::size_t policies_max = 1'000;

/// An error says in `where`, at which index, which key and value, and what is allowed.
[[nodiscard]] Result<std::vector<ChannelPolicy>> policies_from(const OrderedJson& json, const std::string& where);
/// One of them. An error begins with `place`.
[[nodiscard]] Result<ChannelPolicy> policy_from(const OrderedJson& json, const std::string& place);

/// A pattern (ChannelPolicy::match) as it is written in JSON, where a byte may be "%XX", as in the text form of a name; and back.
/// A star that is written so is a star, and not any run of bytes. Nothing if a '%' is not followed by two hexadecimal digits.
[[nodiscard]] std::optional<std::string> pattern_from_text(std::string_view text);
[[nodiscard]] std::string pattern_text(std::string_view pattern);

/// What these read.
[[nodiscard]] OrderedJson policies_json(std::span<const ChannelPolicy> policies);
[[nodiscard]] OrderedJson policy_json(const ChannelPolicy& policy);

}  // namespace baton::runtime
