#include "server/storage/wal_format.hpp"

#include <algorithm>
#include <array>

#include "common/base/crc32c.hpp"
#include "server/storage/numbered_name.hpp"

namespace baton::storage {

namespace {

constexpr std::uint32_t file_magic = 0x4c415742;   // "BWAL"
constexpr std::uint32_t group_magic = 0x50524742;  // "BGRP"

// Positions in the file header.
constexpr std::size_t file_crc_at = 52;
// Positions in the group header.
constexpr std::size_t group_crc_at = 4;
constexpr std::size_t group_fields_at = 8;  // What the checksum covers begins here.

constexpr std::uint64_t body_size_max = 1ULL << 62;  // So that sums of it do not overflow.
constexpr std::string_view file_prefix = "wal-";
constexpr std::size_t file_digits = 16;

}  // namespace

void encode(const WalFileHeader& header, MutableBytes out) noexcept {
    BATON_ASSERT(out.size() >= wal_file_header_size);
    std::byte* at = out.data();
    store_u32(at, file_magic);
    store_u32(at + 4, wal_version);
    store_u64(at + 8, header.generation);
    store_u32(at + 16, header.shard);
    store_u32(at + 20, 0);
    store_u64(at + 24, header.file_number);
    store_u64(at + 32, header.first_index);
    store_u64(at + 40, header.salt);
    store_u32(at + 48, 0);
    store_u32(at + file_crc_at, crc32c(Bytes{out}.first(file_crc_at)));
}

HeaderCheck decode(Bytes bytes, WalFileHeader& header) noexcept {
    BATON_ASSERT(bytes.size() >= wal_file_header_size);
    const std::byte* at = bytes.data();
    if (load_u32(at) != file_magic || load_u32(at + file_crc_at) != crc32c(bytes.first(file_crc_at))) {
        return HeaderCheck::wrong;
    }
    if (load_u32(at + 4) > wal_version) {
        return HeaderCheck::newer_version;
    }
    if (load_u32(at + 4) != wal_version || load_u32(at + 20) != 0 || load_u32(at + 48) != 0) {
        return HeaderCheck::wrong;
    }
    header = {.generation = load_u64(at + 8),
              .shard = load_u32(at + 16),
              .file_number = load_u64(at + 24),
              .first_index = load_u64(at + 32),
              .salt = load_u64(at + 40)};
    return HeaderCheck::ok;
}

void encode(const GroupHeader& header, MutableBytes out) noexcept {
    BATON_ASSERT(out.size() >= group_header_size);
    std::byte* at = out.data();
    store_u32(at, group_magic);
    store_u64(at + 8, header.file_number);
    store_u64(at + 16, header.first_index);
    store_u64(at + 24, header.synced_index);
    store_u64(at + 32, header.body_size);
    store_u32(at + 40, header.records);
    store_u32(at + 44, 0);
    store_u64(at + 48, header.epoch);
    store_u64(at + 56, header.salt);
    store_u32(at + group_crc_at, crc32c({at + group_fields_at, group_header_size - group_fields_at}));
}

HeaderCheck decode(Bytes bytes, GroupHeader& header) noexcept {
    BATON_ASSERT(bytes.size() >= group_header_size);
    const std::byte* at = bytes.data();
    if (load_u32(at) != group_magic || load_u32(at + 44) != 0 ||
        load_u32(at + group_crc_at) != crc32c({at + group_fields_at, group_header_size - group_fields_at})) {
        return HeaderCheck::wrong;
    }
    header = {.file_number = load_u64(at + 8),
              .first_index = load_u64(at + 16),
              .synced_index = load_u64(at + 24),
              .body_size = load_u64(at + 32),
              .records = load_u32(at + 40),
              .epoch = load_u64(at + 48),
              .salt = load_u64(at + 56)};
    const bool is_possible = header.records > 0 && header.first_index > 0 &&
                             header.body_size / record_header_size >= header.records &&
                             header.body_size <= body_size_max && header.first_index <= UINT64_MAX - header.records;
    return is_possible ? HeaderCheck::ok : HeaderCheck::wrong;
}

void encode(const RecordHeader& header, MutableBytes out) noexcept {
    BATON_ASSERT(out.size() >= record_header_size);
    store_u32(out.data(), header.body_size);
    store_u32(out.data() + 4, header.crc);
    store_u64(out.data() + 8, header.stream.value());
    store_u64(out.data() + 16, header.number);
}

RecordHeader decode_record_header(Bytes bytes) noexcept {
    BATON_ASSERT(bytes.size() >= record_header_size);
    return {.body_size = load_u32(bytes.data()),
            .crc = load_u32(bytes.data() + 4),
            .stream = StreamId{load_u64(bytes.data() + 8)},
            .number = load_u64(bytes.data() + 16)};
}

// Four words, so that the processor's instruction takes them without a rest.
std::uint32_t record_crc(std::uint64_t salt, Index index, const RecordHeader& header, Bytes first,
                         Bytes second) noexcept {
    std::array<std::byte, 32> fields;
    store_u64(fields.data(), salt ^ index);
    store_u64(fields.data() + 8, header.stream.value());
    store_u64(fields.data() + 16, header.number);
    store_u64(fields.data() + 24, header.body_size);
    return crc32c(second, crc32c(first, crc32c(fields)));
}

std::string wal_file_name(std::uint64_t number) {
    return numbered_name(file_prefix, number, file_digits);
}

std::optional<std::uint64_t> wal_file_number(std::string_view name) noexcept {
    return number_in_name(name, file_prefix, file_digits);
}

}  // namespace baton::storage
