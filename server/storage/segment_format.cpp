#include "server/storage/segment_format.hpp"

#include <algorithm>

#include "common/base/assert.hpp"
#include "common/base/crc32c.hpp"

namespace baton::storage {

namespace {

// Offsets in the file header.
constexpr std::size_t version_at = 4;
constexpr std::size_t stream_at = 8;  // In the block header too.
constexpr std::size_t number_at = 16;
constexpr std::size_t segment_zeros_at = 20;
constexpr std::size_t segment_crc_at = 60;

// Offsets in the block header.
constexpr std::size_t block_crc_at = 4;
constexpr std::size_t block_crc_from = 8;
constexpr std::size_t first_at = 16;
constexpr std::size_t end_at = 24;
constexpr std::size_t body_size_at = 32;
constexpr std::size_t entries_at = 40;
constexpr std::size_t body_crc_at = 44;
constexpr std::size_t block_zeros_at = 48;

constexpr std::string_view segment_magic = "BSEG";
constexpr std::string_view block_magic = "BBLK";

bool has_magic(Bytes bytes, std::string_view magic) noexcept {
    return equal(bytes.first(magic.size()), as_bytes(magic));
}

}  // namespace

bool is_zero(Bytes bytes) noexcept {
    return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

void encode(const SegmentHeader& header, MutableBytes out) noexcept {
    BATON_ASSERT(out.size() == segment_header_size && header.number > 0);
    std::ranges::fill(out, std::byte{0});
    copy_bytes(out.data(), as_bytes(segment_magic));
    store_u32(out.data() + version_at, segment_version);
    store_u64(out.data() + stream_at, header.stream.value());
    store_u32(out.data() + number_at, header.number);
    store_u32(out.data() + segment_crc_at, crc32c(out.first(segment_crc_at)));
}

HeaderCheck decode(Bytes bytes, SegmentHeader& header) noexcept {
    BATON_ASSERT(bytes.size() >= segment_header_size);
    bytes = bytes.first(segment_header_size);
    if (!has_magic(bytes, segment_magic) || load_u32(&bytes[segment_crc_at]) != crc32c(bytes.first(segment_crc_at))) {
        return HeaderCheck::wrong;
    }
    if (load_u32(&bytes[version_at]) > segment_version) {
        return HeaderCheck::newer_version;
    }
    header = {.stream = StreamId{load_u64(&bytes[stream_at])}, .number = load_u32(&bytes[number_at])};
    const Bytes zeros = bytes.subspan(segment_zeros_at, segment_crc_at - segment_zeros_at);
    const bool is_right = load_u32(&bytes[version_at]) == segment_version && header.number > 0 && is_zero(zeros);
    return is_right ? HeaderCheck::ok : HeaderCheck::wrong;
}

void encode(const BlockHeader& header, MutableBytes out) noexcept {
    BATON_ASSERT(out.size() == block_header_size);
    BATON_ASSERT(header.first < header.end && header.body_size <= block_body_size_max);
    std::ranges::fill(out, std::byte{0});
    copy_bytes(out.data(), as_bytes(block_magic));
    store_u64(out.data() + stream_at, header.stream.value());
    store_u64(out.data() + first_at, header.first);
    store_u64(out.data() + end_at, header.end);
    store_u64(out.data() + body_size_at, header.body_size);
    store_u32(out.data() + entries_at, header.entries);
    store_u32(out.data() + body_crc_at, header.body_crc);
    store_u32(out.data() + block_crc_at, crc32c(out.subspan(block_crc_from)));
}

HeaderCheck decode(Bytes bytes, BlockHeader& header) noexcept {
    BATON_ASSERT(bytes.size() >= block_header_size);
    bytes = bytes.first(block_header_size);
    if (!has_magic(bytes, block_magic) || load_u32(&bytes[block_crc_at]) != crc32c(bytes.subspan(block_crc_from))) {
        return HeaderCheck::wrong;
    }
    header = {.stream = StreamId{load_u64(&bytes[stream_at])},
              .first = load_u64(&bytes[first_at]),
              .end = load_u64(&bytes[end_at]),
              .body_size = load_u64(&bytes[body_size_at]),
              .entries = load_u32(&bytes[entries_at]),
              .body_crc = load_u32(&bytes[body_crc_at])};
    const bool is_right =
        header.first < header.end && header.body_size <= block_body_size_max && is_zero(bytes.subspan(block_zeros_at));
    return is_right ? HeaderCheck::ok : HeaderCheck::wrong;
}

}  // namespace baton::storage
