// Policies to and from JSON: of the key `policies` of the configuration file, of requests, of the file in the data directory.
// Not responsible for what a policy does (channel_policy.hpp). Control path. Any thread. Next file: policy_book.hpp.
#pragma once

#include <span>
#include <string>
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

/// What these read.
[[nodiscard]] OrderedJson policies_json(std::span<const ChannelPolicy> policies);
[[nodiscard]] OrderedJson policy_json(const ChannelPolicy& policy);

}  // namespace baton::runtime
