// `baton receive --exec`: a shell command per message, with the body on its stdin.
#pragma once

#include <baton/delivery.hpp>
#include <string>

namespace baton::cli {

/// Runs `command` and waits for it. Returns its exit code, or 128 + signal. The environment tells it BATON_CHANNEL,
/// BATON_OFFSET, BATON_ATTEMPT and BATON_KEY. A command that does not read its stdin is fine.
[[nodiscard]] int run_command(const std::string& command, const Delivery& delivery);

}  // namespace baton::cli
