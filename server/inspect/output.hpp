// What baton-inspect prints: rows on stdout, as text or as JSON lines, and one line of complaint on stderr.
// Next file: directory.hpp.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

namespace baton::inspect {

using Json = nlohmann::ordered_json;

/// A contract, as those of batond and baton.
enum ExitCode : int {
    exit_sound = 0,
    exit_damaged = 1,
    exit_usage = 2,
    exit_unreadable = 3,  ///< The directory, or a running broker has it.
};

enum class Format : std::uint8_t { text, json };

/// JSON without line breaks; bytes that are no text are replaced.
[[nodiscard]] std::string dump(const Json& json);
/// `key=value key=value` of an object, with the values in JSON where they would not be clear.
[[nodiscard]] std::string row_text(const Json& object);
void print_line(const std::string& line);
void print_row(Format format, const Json& object);
/// "baton-inspect: ..." on stderr.
void complain(const std::string& text);

}  // namespace baton::inspect
