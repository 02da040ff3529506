// Tells whoever started the broker that it accepts connections: the ready file, and systemd's notification socket.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/base/result.hpp"

namespace baton::app {

/// What was written and which file it is, so that it is known again.
struct ReadyFile {
    std::string path;
    std::string text;
    dev_t device = 0;
    ino_t number = 0;
};

/// Whether the file can be written later, as far as that can be known now; touches nothing. Only a regular file is
/// replaced: a device, a FIFO or a link is somebody's, and would be gone.
[[nodiscard]] Result<void> check_ready_file(const std::string& path);
/// One that a broker left that is gone would be taken for ours. What is no regular file stays.
void remove_ready_file(const std::string& path);
/// Writes `{"pid":…, "listen":[…]}` to a temporary file beside `path` and renames it.
[[nodiscard]] Result<ReadyFile> write_ready_file(const std::string& path, const std::vector<std::string>& listen);
/// Only if it is still there: the next broker, or anybody else, may have put something in its place meanwhile. The number
/// of the process does not say so: brokers in containers share it.
void remove_own_ready_file(const ReadyFile& written);

/// Sends `state` ("READY=1", "STOPPING=1") if NOTIFY_SOCKET is set; the protocol of sd_notify(3).
void notify_service_manager(const std::string& state);

}  // namespace baton::app
