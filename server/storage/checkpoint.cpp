#include "server/storage/checkpoint.hpp"

#include <algorithm>
#include <functional>
#include <set>
#include <string_view>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/bytes.hpp"
#include "common/base/crc32c.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/numbered_name.hpp"

namespace baton::storage {

namespace {

constexpr std::uint32_t checkpoint_version = 1;
constexpr std::string_view header_magic = "BCKP";
constexpr std::string_view end_magic = "BEND";
constexpr std::string_view name_prefix = "checkpoint-";
constexpr std::size_t name_width = 16;

// Offsets in the header.
constexpr std::size_t header_size = 48;
constexpr std::size_t version_at = 4;
constexpr std::size_t generation_at = 8;
constexpr std::size_t shard_at = 16;
constexpr std::size_t sections_at = 20;
constexpr std::size_t index_at = 24;
constexpr std::size_t first_wal_file_at = 32;
constexpr std::size_t zeros_at = 40;
constexpr std::size_t header_crc_at = 44;

// Offsets in the header of a section.
constexpr std::size_t section_header_size = 24;
constexpr std::size_t section_crc_at = 4;
constexpr std::size_t stream_at = 8;
constexpr std::size_t number_at = 16;

constexpr std::size_t end_size = 8;
constexpr std::size_t end_crc_at = 4;

// Of size, stream, number, body: all but the checksum itself.
std::uint32_t section_crc(Bytes header, Bytes body) noexcept {
    const std::uint32_t size_crc = crc32c(header.first(section_crc_at));
    return crc32c(body, crc32c(header.subspan(stream_at), size_crc));
}

Result<std::uint32_t> decode_header(Bytes bytes, CheckpointHeader& header) {
    if (bytes.size() < header_size || !equal(bytes.first(header_magic.size()), as_bytes(header_magic)) ||
        load_u32(&bytes[header_crc_at]) != crc32c(bytes.first(header_crc_at))) {
        return fail(Errc::damaged, "the header is wrong");
    }
    // Behind the checksum: a flipped bit is never taken for a newer version.
    const std::uint32_t version = load_u32(&bytes[version_at]);
    if (version > checkpoint_version) {
        return fail(Errc::newer_version, "version " + std::to_string(version));
    }
    if (version != checkpoint_version || load_u32(&bytes[zeros_at]) != 0) {
        return fail(Errc::damaged, "the header is wrong");
    }
    header = {.generation = load_u64(&bytes[generation_at]),
              .shard = load_u32(&bytes[shard_at]),
              .index = load_u64(&bytes[index_at]),
              .first_wal_file = load_u64(&bytes[first_wal_file_at])};
    return load_u32(&bytes[sections_at]);
}

// Takes one section from the front of `rest`, which holds sections only.
bool take_section(Bytes& rest, CheckpointSection& section) {
    if (rest.size() < section_header_size) {
        return false;
    }
    const Bytes header = rest.first(section_header_size);
    const std::size_t size = load_u32(header.data());
    if (rest.size() - section_header_size < size) {
        return false;
    }
    const Bytes body = rest.subspan(section_header_size, size);
    section.stream = StreamId{load_u64(&header[stream_at])};
    section.number = load_u64(&header[number_at]);
    section.body.assign(body.begin(), body.end());
    section.is_damaged = load_u32(&header[section_crc_at]) != section_crc(header, body);
    rest = rest.subspan(section_header_size + size);
    return true;
}

std::size_t damaged_sections(const Checkpoint& checkpoint) noexcept {
    return static_cast<std::size_t>(std::ranges::count(checkpoint.sections, true, &CheckpointSection::is_damaged));
}

Result<Checkpoint> read_checkpoint(FileSystem& files, const std::string& path) {
    const auto bytes = read_whole(files, path);
    if (!bytes) {
        return fail(bytes.error());
    }
    auto checkpoint = decode_checkpoint(*bytes);
    if (!checkpoint) {
        return fail(with_context(std::move(checkpoint).error(), path));
    }
    return checkpoint;
}

}  // namespace

CheckpointBuilder::CheckpointBuilder(const CheckpointHeader& header) {
    out_.reserve(header_size);
    ByteWriter writer{out_};
    writer.bytes(as_bytes(header_magic));
    writer.u32(checkpoint_version);
    writer.u64(header.generation);
    writer.u32(header.shard);
    writer.u32(0);  // Sections: take().
    writer.u64(header.index);
    writer.u64(header.first_wal_file);
    writer.u32(0);
    writer.u32(0);  // Checksum: take().
    BATON_ASSERT(out_.size() == header_size);
}

void CheckpointBuilder::add(StreamId stream, std::uint64_t number, Bytes body) {
    BATON_ASSERT_MSG(out_.size() >= header_size, "take() was called before");
    BATON_ASSERT(body.size() <= UINT32_MAX && sections_ < UINT32_MAX);
    const std::size_t begin = out_.size();
    ByteWriter writer{out_};
    writer.u32(static_cast<std::uint32_t>(body.size()));
    writer.u32(0);
    writer.u64(stream.value());
    writer.u64(number);
    writer.set_u32(begin + section_crc_at, section_crc(Bytes{out_}.subspan(begin, section_header_size), body));
    writer.bytes(body);
    ++sections_;
}

std::vector<std::byte> CheckpointBuilder::take() {
    BATON_ASSERT_MSG(out_.size() >= header_size, "take() was called before");
    ByteWriter writer{out_};
    writer.set_u32(sections_at, sections_);
    writer.set_u32(header_crc_at, crc32c(Bytes{out_}.first(header_crc_at)));
    const std::uint32_t crc = crc32c(out_);
    writer.bytes(as_bytes(end_magic));
    writer.u32(crc);
    sections_ = 0;
    return std::exchange(out_, {});
}

Result<Checkpoint> decode_checkpoint(Bytes bytes) {
    Checkpoint checkpoint;
    const auto sections = decode_header(bytes, checkpoint.header);
    if (!sections) {
        return fail(sections.error());
    }
    if (bytes.size() < header_size + end_size ||
        !equal(bytes.last(end_size).first(end_magic.size()), as_bytes(end_magic))) {
        return fail(Errc::damaged, "the end is missing");
    }
    Bytes rest = bytes.subspan(header_size, bytes.size() - header_size - end_size);
    std::set<StreamId> whole_streams;
    for (std::uint32_t i = 0; i < *sections; ++i) {
        CheckpointSection section;
        if (!take_section(rest, section)) {
            return fail(Errc::damaged, "section " + std::to_string(i + 1) + " does not fit");
        }
        if (!section.is_damaged && !whole_streams.insert(section.stream).second) {
            return fail(Errc::damaged, "two sections of one stream");
        }
        checkpoint.sections.push_back(std::move(section));
    }
    if (!rest.empty()) {
        return fail(Errc::damaged, "something is behind the last section");
    }
    // A damaged section explains a wrong checksum of the whole; without one, the end itself is wrong.
    const Bytes end = bytes.last(end_size);
    const bool is_whole = load_u32(&end[end_crc_at]) == crc32c(bytes.first(bytes.size() - end_size));
    if (!is_whole && damaged_sections(checkpoint) == 0) {
        return fail(Errc::damaged, "the checksum of the whole is wrong");
    }
    return checkpoint;
}

std::string checkpoint_file_name(std::uint64_t number) {
    return numbered_name(name_prefix, number, name_width);
}

std::optional<std::uint64_t> checkpoint_file_number(std::string_view name) noexcept {
    return number_in_name(name, name_prefix, name_width);
}

Result<FoundCheckpoint> find_checkpoint(FileSystem& files, const std::string& directory) {
    const auto names = files.list(directory);
    if (!names) {
        return fail(names.error());
    }
    std::set<std::uint64_t, std::greater<>> numbers;
    std::set<std::uint64_t> wal_files;
    for (const std::string& name : *names) {
        if (const auto number = checkpoint_file_number(name)) {
            numbers.insert(*number);
        } else if (const auto wal_number = wal_file_number(name)) {
            wal_files.insert(*wal_number);
        }
    }
    if (numbers.empty()) {
        return fail(Errc::not_found, directory + ": no checkpoint");
    }
    std::string damage;
    const auto note = [&](const std::string& text) { damage += (damage.empty() ? "" : "; ") + text; };
    std::optional<FoundCheckpoint> second_best;  // Readable, but not every section of it.
    for (const std::uint64_t number : numbers) {
        const std::string path = directory + "/" + checkpoint_file_name(number);
        auto checkpoint = read_checkpoint(files, path);
        if (!checkpoint) {
            // A sector that cannot be read is as good as a damaged one.
            const auto& code = checkpoint.error().code;
            if (code != Errc::damaged && code != Errc::io_error) {
                return fail(std::move(checkpoint).error());
            }
            note(checkpoint.error().message());
            continue;
        }
        if (number != *numbers.begin() && !wal_files.contains(checkpoint->header.first_wal_file)) {
            note(path + ": write-ahead log file " + std::to_string(checkpoint->header.first_wal_file) + " is gone");
            continue;
        }
        if (const std::size_t count = damaged_sections(*checkpoint); count > 0) {
            note(path + ": sections with a wrong checksum: " + std::to_string(count));
            if (!second_best) {
                second_best =
                    FoundCheckpoint{.number = number, .checkpoint = *std::move(checkpoint), .damage_text = {}};
            }
            continue;
        }
        return FoundCheckpoint{
            .number = number, .checkpoint = *std::move(checkpoint), .damage_text = std::move(damage)};
    }
    if (second_best) {
        second_best->damage_text = std::move(damage);
        return *std::move(second_best);
    }
    return fail(Errc::damaged, std::move(damage));
}

}  // namespace baton::storage
