// Reads the write-ahead log files of one shard and tells a torn tail from damage (docs/storage.md, section 3).
// Not responsible for what records mean or for which streams a hole concerns. Blocking; at the start and in tools.
// Changes nothing on the disk. Next file: segment.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "server/storage/file_system.hpp"
#include "server/storage/wal_format.hpp"

namespace baton::storage {

struct WalRecord {
    Index index = 0;
    StreamId stream{0};
    std::uint64_t number = 0;
    Bytes body;  ///< Valid until the visitor returns.
    std::uint64_t file_number = 0;
    std::uint64_t position = 0;  ///< Of the record header in its file.
};

/// Something durable that cannot be read.
struct WalDamage {
    std::uint64_t file_number = 0;
    std::uint64_t position = 0;
    Index first_index = 0;  ///< Of what is missing: first_index .. end_index - 1. 0: nobody knows where it began.
    Index end_index = 0;
    /// A single record with a wrong checksum: the stream that it names, which may itself be wrong. Otherwise a hole,
    /// which may concern any stream.
    bool is_hole = false;
    StreamId stream{0};
    std::string text;  ///< For people: file, position, what is wrong.
};

struct WalReport {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;       ///< Read.
    std::uint64_t records = 0;     ///< Visited.
    Index last_index = 0;          ///< Of the last whole record; 0: none.
    std::uint64_t torn_bytes = 0;  ///< Of an unfinished tail that was cut off.
    std::string torn_text;         ///< For people; empty if there was none.
    /// Also what is wrong but lost nothing (first_index == end_index), which on_damage is not told.
    std::vector<WalDamage> damage;
};

class WalVisitor {
public:
    WalVisitor() = default;
    WalVisitor(const WalVisitor&) = delete;
    WalVisitor& operator=(const WalVisitor&) = delete;
    virtual ~WalVisitor() = default;
    virtual void on_record(const WalRecord& record) = 0;
    /// In its place between the records.
    virtual void on_damage(const WalDamage& damage) = 0;
    /// After each file or so: bytes read and bytes in all.
    virtual void on_progress(std::uint64_t, std::uint64_t) {}
};

struct WalSource {
    std::string directory;
    std::uint64_t generation = 0;
    std::uint32_t shard = 0;
    std::uint64_t first_file = 1;  ///< Files with a lower number are passed over.
};

/// Visits every record from the first file on, in order. Errors: io_error and its like if a file cannot be read,
/// newer_version. Damage is no error: it is in the report. A first file that is missing is damage (a hole).
[[nodiscard]] Result<WalReport> read_wal(FileSystem& files, const WalSource& source, WalVisitor& visitor);

}  // namespace baton::storage
