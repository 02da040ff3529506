// Tells whoever started the broker that it accepts connections: the ready file, and systemd's notification socket.
#pragma once

#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace baton::app {

/// Whether the file can be written later, as far as that can be known now; touches nothing.
[[nodiscard]] Result<void> check_ready_file(const std::string& path);
/// One that a broker left that is gone would be taken for ours.
void remove_ready_file(const std::string& path);
/// Only if it is this process's: the next broker may have written its own meanwhile.
void remove_own_ready_file(const std::string& path);
/// Writes `{"pid":…, "listen":[…]}` to a temporary file beside `path` and renames it.
[[nodiscard]] Result<void> write_ready_file(const std::string& path, const std::vector<std::string>& listen);

/// Sends `state` ("READY=1", "STOPPING=1") if NOTIFY_SOCKET is set; the protocol of sd_notify(3).
void notify_service_manager(const std::string& state);

}  // namespace baton::app
