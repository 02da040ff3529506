// Layout of segment files, version 1; normative text: docs/storage.md, section 4. Constants and the encoding of
// headers, used by segment.cpp. Not responsible for bodies, which are opaque. Any thread; nothing here allocates.
//
// Before you change anything: raise the version, keep the old reader, add golden files.
// Next file: segment.hpp.
#pragma once

#include <cstdint>

#include "common/base/bytes.hpp"
#include "server/storage/wal_format.hpp"

namespace baton::storage {

inline constexpr std::uint32_t segment_version = 1;
inline constexpr std::size_t segment_header_size = 64;
inline constexpr std::size_t block_header_size = 64;
inline constexpr std::size_t block_alignment = 64;  ///< Where blocks begin.
inline constexpr std::uint64_t block_body_size_max = UINT32_MAX;

struct SegmentHeader {
    StreamId stream{0};
    std::uint32_t number = 0;  ///< Of the file within the stream, from 1.
    friend bool operator==(const SegmentHeader&, const SegmentHeader&) = default;
};

struct BlockHeader {
    StreamId stream{0};
    std::uint64_t first = 0;
    std::uint64_t end = 0;        ///< Behind `first`.
    std::uint64_t body_size = 0;  ///< Below 4 GiB, although there is room for more.
    std::uint32_t entries = 0;
    std::uint32_t body_crc = 0;
    friend bool operator==(const BlockHeader&, const BlockHeader&) = default;
};

/// `out` has the size of the header. The pairs of decode.
void encode(const SegmentHeader& header, MutableBytes out) noexcept;
void encode(const BlockHeader& header, MutableBytes out) noexcept;

/// Check magic, checksum, version and reserved zeros, in this order: a flipped bit is never taken for a newer version.
/// `bytes` is at least as long as the header. Whether the sizes fit the file is for the caller to check.
[[nodiscard]] HeaderCheck decode(Bytes bytes, SegmentHeader& header) noexcept;
[[nodiscard]] HeaderCheck decode(Bytes bytes, BlockHeader& header) noexcept;

[[nodiscard]] bool is_zero(Bytes bytes) noexcept;

[[nodiscard]] constexpr std::uint64_t block_aligned(std::uint64_t size) noexcept {
    return (size + block_alignment - 1) / block_alignment * block_alignment;
}

}  // namespace baton::storage
