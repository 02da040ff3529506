// ReceiverOptions as the broker hears of them: the JSON of ATTACH (docs/protocol.md, section 5).
// Pure functions; any thread. Next file: core.hpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <baton/error.hpp>
#include <baton/options.hpp>

namespace baton::client {

// The text of a JSON object, empty if there is nothing to say. bad_argument for what cannot work anywhere.
[[nodiscard]] Expected<std::string> attach_options(const ReceiverOptions& options);
// What is wrong with a subscription's name, or its filter; both may be empty.
[[nodiscard]] std::optional<ClientError> check_subscription(std::string_view name, std::string_view filter);

}  // namespace baton::client
