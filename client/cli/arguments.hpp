// Protects arguments from the parser. CLI11 gives some words a meaning that a message must not have: "[1,2]" would
// become two values, "{}" none, "++" the end of a verb. Such words get a mark in front, which is taken off again when
// their value is read. What stands behind "--" is never an option.
// Any thread. Next file: command_line.cpp.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace baton::cli {

/// In the order of the command line, without the name of the program.
[[nodiscard]] std::vector<std::string> guarded(std::span<const char* const> arguments);
/// The word as it was typed.
[[nodiscard]] std::string unguarded(const std::string& word);

}  // namespace baton::cli
