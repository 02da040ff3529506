// `baton receive --exec`: a shell command per message, with the body on its stdin.
#pragma once

#include <stop_token>
#include <string>

#include <baton/delivery.hpp>

namespace baton::cli {

/// Runs `command` and waits for it. Returns its exit code, or 128 + signal. The environment tells it BATON_CHANNEL,
/// BATON_OFFSET, BATON_ATTEMPT and BATON_KEY. A command that does not read its stdin is fine.
/// It runs in a process group of its own; a stop sends SIGTERM to that, and its end is awaited all the same.
[[nodiscard]] int run_command(const std::string& command, const Delivery& delivery, const std::stop_token& stop);

}  // namespace baton::cli
