// Administrative requests for the verbs that look at channels or change them.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "client/cli/command.hpp"

namespace baton::cli {

using Json = nlohmann::json;

/// Connects, asks, and returns the reply; throws Failure with the exit code that fits the broker's answer.
[[nodiscard]] Json ask(const Program& program, Client& client, const std::string& operation, const std::string& channel,
                       const Json& arguments);
/// The same in texts, of objects both of them: for what is so large that a parser should not look at it.
[[nodiscard]] std::string ask_text(const Program& program, Client& client, const std::string& operation,
                                   const std::string& channel, const std::string& arguments);

/// One object or value per line on stdout.
void print_json(const Json& json);
/// The text for people, or the object for programs, as --output says.
void print(const Program& program, const Json& json, const std::string& text);
/// The same of an array; with --output jsonl its entries are a line each.
void print_list(const Program& program, const Json& list, const std::string& text);
/// ": created", ": changed" or ": exists": the broker's answer to a question that creates something.
[[nodiscard]] const char* what_was_done(const Json& reply);

}  // namespace baton::cli
