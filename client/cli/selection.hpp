// Which messages of a channel `baton retry`, `move` and `drop` are about, and the requests that this takes.
// Next files: retry.cpp, move.cpp, drop.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/cli/admin.hpp"

namespace baton::cli {

struct Selection {
    std::string channel;
    std::vector<std::string> offset_words;
    bool all = false;
    std::string state;
    std::string subscription;
};

/// OFFSET..., --all and --subscription.
void add_selection(CLI::App& verb, Selection& selection);
/// --state, for verbs that are about more than quarantine.
void add_state(CLI::App& verb, Selection& selection, const std::string& help);

/// As a number; throws a usage failure that names the word.
[[nodiscard]] std::uint64_t offset_of(const std::string& word);

/// Asks as often as it takes, prints the sum as "N messages DONE", and says with the exit code whether that were all
/// that were named: 9 if only some were, 5 if none. Neither offsets nor --all: a usage failure.
int run_on(const Program& program, const Selection& selection, const std::string& operation, Json arguments,
           const std::string& done);

}  // namespace baton::cli
