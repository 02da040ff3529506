// The key `policies` of the configuration file, to and from JSON; it has neither a flag nor an environment name.
// Not responsible for what a policy does (server/runtime/channel_policy.hpp). Start-up only. Next file: options.hpp.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/base/result.hpp"
#include "server/runtime/channel_policy.hpp"

namespace baton::app {

using Json = nlohmann::ordered_json;

/// An error says in `where`, at which index, which key and value, and what is allowed.
[[nodiscard]] Result<std::vector<runtime::ChannelPolicy>> policies_from(const Json& json, const std::string& where);

/// What policies_from reads.
[[nodiscard]] Json policies_json(std::span<const runtime::ChannelPolicy> policies);

}  // namespace baton::app
