// Sets up the log: spdlog to stderr, asynchronous, one line per event, text or JSON. Never a payload.
// Start-up only; spdlog's calls are for any thread.
#pragma once

#include <string>

namespace baton::app {

void start_logging(const std::string& level, const std::string& format);
/// SIGHUP.
void set_log_level(const std::string& level);
/// Writes what is queued. Before exit.
void stop_logging();

}  // namespace baton::app
