// The verbs of baton-inspect, one file each: list.cpp, verify.cpp, dump_files.cpp (log, segments, checkpoints),
// dump_channel.cpp, restore.cpp. Each prints and returns the exit code (output.hpp). Next file: list.cpp.
#pragma once

#include <string>
#include <vector>

#include "server/inspect/directory.hpp"
#include "server/inspect/output.hpp"

namespace baton::inspect {

/// What is in the directory.
int list(Directory& directory, Format format);
/// Reads everything and says what is wrong.
int verify(Directory& directory, Format format);
/// Records, blocks, sections of the named files; of all if none is named.
int dump_wal(Directory& directory, Format format, const std::vector<std::string>& names);
int dump_segments(Directory& directory, Format format, const std::vector<std::string>& names);
int dump_checkpoints(Directory& directory, Format format, const std::vector<std::string>& names);
/// Living messages of the named channels, as far as they can be read.
int dump_channels(Directory& directory, Format format, const std::vector<std::string>& names);
/// Copies a directory that is sound to `target`, which does not exist or is empty.
int restore(Directory& directory, const std::string& target);

}  // namespace baton::inspect
