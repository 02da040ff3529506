// `batond manual`: the page batond(8), made from what --help is made from. docs/man/batond.8 is its output.
#pragma once

#include <string>

namespace baton::app {

inline constexpr const char* description =
    "batond, the broker of Baton: queues messages in named channels and pushes them to receivers.";
inline constexpr const char* footer =
    "Example: batond --listen tcp://127.0.0.1:22866 --listen unix:///tmp/baton.sock\n"
    "Every option can also be set as BATON_<NAME> in the environment and, all but --config and --memory, in the\n"
    "--config file. A flag counts before the environment, and that before the file.\n"
    "Exit codes: 0 after a drain, 1 the ready file could not be written, 2 usage or configuration, 3 cannot listen,\n"
    "11 the data directory is damaged, locked by another broker, or cannot be written.";

/// Of the two that are no settings, but can be in the environment as well.
inline constexpr const char* config_help = "Configuration file: JSON, comments allowed. Environment: BATON_CONFIG.";
inline constexpr const char* memory_help =
    "The same as --default-storage memory. Environment: BATON_MEMORY, which is true or false.";

[[nodiscard]] std::string manual_page();

}  // namespace baton::app
