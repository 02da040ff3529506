// ReceiverOptions as the broker hears of them: the JSON of ATTACH (docs/protocol.md, section 5).
// Pure functions; any thread. Next file: core.hpp.
#pragma once

#include <string>

#include <baton/error.hpp>
#include <baton/options.hpp>

namespace baton::client {

// The text of a JSON object, empty if there is nothing to say. bad_argument for what cannot work anywhere.
[[nodiscard]] Expected<std::string> attach_options(const ReceiverOptions& options);

}  // namespace baton::client
