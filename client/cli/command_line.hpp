// From the words of the command line to an exit code: parses, runs one verb, reports what failed.
// Main thread. Next file: command.hpp.
#pragma once

#include <span>

#include "client/cli/command.hpp"

namespace baton::cli {

/// Registers the global options and every verb.
void define(Program& program);

/// Parses the words behind the program's name and leaves the chosen verb in program.run. Nothing: go on. An exit code:
/// help was printed, or an error was reported.
[[nodiscard]] std::optional<int> parse(Program& program, std::span<const char* const> arguments);

/// Everything. Returns the exit code.
[[nodiscard]] int run(std::span<const char* const> arguments);

}  // namespace baton::cli
