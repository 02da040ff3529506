// The command line of batond: what is asked for, and the configuration that results from flags, environment and file.
// Start-up only. Next file: application.hpp.
#pragma once

#include <optional>
#include <string>

#include "server/app/options.hpp"

namespace baton::app {

/// Exit codes of batond (a contract: people script against it).
enum ExitCode : int { exit_done = 0, exit_failed = 1, exit_usage = 2, exit_cannot_listen = 3, exit_data_dir = 11 };

enum class Command : std::uint8_t { serve, config_check, config_show, manual };

struct CommandLine {
    Command command = Command::serve;
    bool with_origin = false;
    std::string config_file;  ///< By flag or BATON_CONFIG. Empty: none.
    Configuration configuration;
};

/// Either a command line or the code to exit with at once; what there is to say has been printed then.
struct ParsedCommandLine {
    std::optional<CommandLine> command_line;
    int exit_code = exit_done;
};
/// To stdout; the code to exit with. What was asked for must have arrived.
[[nodiscard]] int print(const std::string& text);

[[nodiscard]] ParsedCommandLine parse_command_line(int argc, const char* const* argv);

/// `batond config check` of a configuration whose values are right: whether the start would take it; the code to exit with.
[[nodiscard]] int check_configuration(const Options& options);

/// Reads file and environment again under the same flags, for SIGHUP.
[[nodiscard]] Result<Configuration> reload(const CommandLine& command_line);

}  // namespace baton::app
