// Layout of write-ahead log files, version 1; normative text: docs/storage.md, section 3. Constants and the encoding of
// headers, shared by wal_writer.hpp and wal_reader.hpp.
//
// Before you change anything: raise the version, keep the old reader, add golden files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/base/bytes.hpp"
#include "common/base/strong_id.hpp"

namespace baton::storage {

/// A series of records that belong together: a channel. 0 is the shard's own.
using StreamId = StrongId<struct StreamIdTag>;
/// Number of a record in its shard's log, from 1.
using Index = std::uint64_t;

inline constexpr std::uint32_t wal_version = 1;
inline constexpr std::size_t wal_alignment = 4096;  ///< File header, and where groups begin.
inline constexpr std::size_t wal_file_header_size = 56;
inline constexpr std::size_t group_header_size = 64;
inline constexpr std::size_t record_header_size = 24;

struct WalFileHeader {
    std::uint64_t generation = 0;
    std::uint32_t shard = 0;
    std::uint64_t file_number = 0;
    Index first_index = 0;
    std::uint64_t salt = 0;  ///< Of the log: WalSettings::salt.
    friend bool operator==(const WalFileHeader&, const WalFileHeader&) = default;
};

struct GroupHeader {
    std::uint64_t file_number = 0;
    Index first_index = 0;
    Index synced_index = 0;
    std::uint64_t body_size = 0;  ///< Bytes of all records.
    std::uint32_t records = 0;
    std::uint64_t epoch = 0;
    std::uint64_t salt = 0;
    friend bool operator==(const GroupHeader&, const GroupHeader&) = default;

    [[nodiscard]] Index end_index() const noexcept { return first_index + records; }
};

struct RecordHeader {
    std::uint32_t body_size = 0;
    std::uint32_t crc = 0;
    StreamId stream{0};
    std::uint64_t number = 0;
    friend bool operator==(const RecordHeader&, const RecordHeader&) = default;
};

enum class HeaderCheck : std::uint8_t { ok, wrong, newer_version };

/// `out` has the size of the header. The pairs of decode_*.
void encode(const WalFileHeader& header, MutableBytes out) noexcept;
void encode(const GroupHeader& header, MutableBytes out) noexcept;
void encode(const RecordHeader& header, MutableBytes out) noexcept;

/// Check magic, version, reserved zeros and checksum. `bytes` is at least as long as the header.
[[nodiscard]] HeaderCheck decode(Bytes bytes, WalFileHeader& header) noexcept;
[[nodiscard]] HeaderCheck decode(Bytes bytes, GroupHeader& header) noexcept;
/// Does not check the checksum, which needs the body: record_crc.
[[nodiscard]] RecordHeader decode_record_header(Bytes bytes) noexcept;
/// Of a record whose body is given in two parts; `second` may be empty. The index is in it so that what a recycled file
/// held before is never taken for a record of a group that was torn, and the salt so that nobody can send such a
/// record.
[[nodiscard]] std::uint32_t record_crc(std::uint64_t salt, Index index, const RecordHeader& header, Bytes first,
                                       Bytes second = {}) noexcept;

[[nodiscard]] constexpr std::uint64_t wal_aligned(std::uint64_t size) noexcept {
    return (size + wal_alignment - 1) / wal_alignment * wal_alignment;
}

/// "wal-0000000000000001"
[[nodiscard]] std::string wal_file_name(std::uint64_t number);
[[nodiscard]] std::optional<std::uint64_t> wal_file_number(std::string_view name) noexcept;

}  // namespace baton::storage
