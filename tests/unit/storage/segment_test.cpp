// Segment files: what is written is read, what is damaged is never read as something else, and what an append returned
// outlives every crash. Crashes are at every operation of the simulated disk.
#include "server/storage/segment.hpp"

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/storage/errc.hpp"
#include "server/storage/segment_format.hpp"
#include "tests/sim/disk.hpp"
#include "tests/unit/storage/damage.hpp"

namespace baton::storage {
namespace {

using sim::DiskFault;
using sim::SimDisk;
using namespace testing;

constexpr StreamId stream{0x700000001};

/// A block and what its body should read as.
struct Known {
    BlockRef ref;
    std::string body;
};

/// Text of `size` bytes that is the same for no two `first`.
std::string body_text(std::uint64_t first, std::size_t size) {
    std::string text;
    while (text.size() < size) {
        text += "message " + std::to_string(first) + "/" + std::to_string(text.size()) + "; ";
    }
    text.resize(size);
    return text;
}

std::optional<std::string> body_of(FileSystem& files, const BlockRef& ref, Error* error = nullptr) {
    std::string body(ref.size, '?');
    const auto read = read_block(files, stream, ref, std::as_writable_bytes(std::span{body}));
    if (!read) {
        if (error != nullptr) {
            *error = read.error();
        }
        return std::nullopt;
    }
    return body;
}

std::error_code code_of(FileSystem& files, const BlockRef& ref) {
    Error error;
    EXPECT_FALSE(body_of(files, ref, &error));
    return error.code;
}

/// A writer and what its successful appends have returned.
class Segments {
public:
    explicit Segments(std::uint64_t segment_size = 1 << 20) : writer_{stream, segment_size} {}

    /// One append with a block for each size; bodies come in two parts.
    Result<std::vector<BlockRef>> append(FileSystem& files, const std::vector<std::size_t>& sizes) {
        std::deque<std::string> bodies;
        std::vector<BlockContent> blocks;
        for (const std::size_t size : sizes) {
            const Bytes body = as_bytes(bodies.emplace_back(body_text(next_, size)));
            blocks.push_back({.first = next_, .end = next_ + 10, .entries = 3, .parts = {}});
            blocks.back().parts = {body.first(size / 3), body.subspan(size / 3)};
            next_ += 10;
        }
        auto refs = writer_.append(files, blocks);
        for (std::size_t i = 0; refs && i < refs->size(); ++i) {
            known_.push_back({(*refs)[i], bodies[i]});
        }
        return refs;
    }

    [[nodiscard]] const std::vector<Known>& known() const noexcept { return known_; }

    void expect_all(FileSystem& files) const {
        for (const Known& block : known_) {
            EXPECT_TRUE(body_of(files, block.ref) == block.body) << block.ref.segment << ":" << block.ref.position;
        }
    }

private:
    SegmentWriter writer_;
    std::uint64_t next_ = 100;
    std::vector<Known> known_;
};

struct Walk {
    std::vector<Known> blocks;
    std::vector<std::pair<std::uint64_t, std::string>> damages;
    Result<void> result;
};

Walk walk(FileSystem& files, std::uint32_t number = 1) {
    Walk found;
    const SegmentVisitor visitor{
        .on_block =
            [&](const BlockRef& ref, std::uint32_t entries, Bytes body) {
                EXPECT_EQ(entries, 3U);
                found.blocks.push_back({ref, std::string{as_text(body)}});
            },
        .on_damage = [&](std::uint64_t position,
                         const std::string& text) { found.damages.emplace_back(position, text); }};
    found.result = read_segment(files, stream, number, visitor);
    return found;
}

// --- Names --------------------------------------------------------------------------------------------------------

TEST(SegmentNames, are_those_of_the_page) {
    EXPECT_EQ(stream_directory(stream), "channels/0000000700000001");
    EXPECT_EQ(segment_path(stream, 1), "channels/0000000700000001/segment-00000001");
    EXPECT_EQ(segment_file_name(UINT32_MAX), "segment-4294967295");
    EXPECT_EQ(segment_file_number("segment-4294967295"), UINT32_MAX);
    EXPECT_EQ(stream_of_directory(stream_directory(StreamId{UINT64_MAX})), StreamId{UINT64_MAX});
    EXPECT_EQ(stream_of_directory("00000000000000ab"), StreamId{0xab});
}

TEST(SegmentNames, have_one_spelling) {
    for (const char* name :
         {"segment-0000001", "segment-000000001", "segment-00000000", "segment-4294967296", "segment-0000000a",
          "segment-00000001.tmp", "segment-", "Segment-00000001", "segment-+0000001"}) {
        EXPECT_EQ(segment_file_number(name), std::nullopt) << name;
    }
    for (const char* name : {"", "channels/", "00000000000000AB", "000000000000000g", "0000000000000000",
                             "00000000700000001", "-000000000000001"}) {
        EXPECT_EQ(stream_of_directory(name), std::nullopt) << name;
    }
}

// --- Writing and reading ------------------------------------------------------------------------------------------

TEST(Segment, what_is_appended_is_read_again) {
    SimDisk disk;
    Segments segments;
    ASSERT_TRUE(segments.append(disk, {1, 64, 63, 65, 0, 5'000}));
    ASSERT_TRUE(segments.append(disk, {200}));
    segments.expect_all(disk);
    for (const Known& block : segments.known()) {
        EXPECT_EQ(block.ref.position % block_alignment, 0U);
    }
    const Walk found = walk(disk);
    ASSERT_TRUE(found.result);
    EXPECT_TRUE(found.damages.empty());
    ASSERT_EQ(found.blocks.size(), segments.known().size());
    for (std::size_t i = 0; i < found.blocks.size(); ++i) {
        EXPECT_EQ(found.blocks[i].ref, segments.known()[i].ref);
        EXPECT_EQ(found.blocks[i].body, segments.known()[i].body);
    }
}

TEST(Segment, an_append_of_nothing_does_nothing) {
    SimDisk disk;
    Segments segments;
    ASSERT_TRUE(segments.append(disk, {}));
    EXPECT_EQ(disk.operations(), 0U);
}

TEST(Segment, an_append_to_an_open_file_is_one_write_and_one_sync) {
    SimDisk disk;
    Segments segments;
    ASSERT_TRUE(segments.append(disk, {100}));
    const std::uint64_t before = disk.operations();
    ASSERT_TRUE(segments.append(disk, {100, 200, 300}));
    EXPECT_EQ(disk.operations() - before, 2U);
}

TEST(Segment, a_new_file_begins_when_the_old_one_is_full) {
    SimDisk disk;
    Segments segments{256};
    ASSERT_TRUE(segments.append(disk, {64, 1'000, 10, 60, 10}));
    std::vector<std::uint32_t> numbers;
    for (const Known& block : segments.known()) {
        numbers.push_back(block.ref.segment);
    }
    // 64 + 128, + 1088: full. 64 + 128, + 128: full.
    EXPECT_EQ(numbers, (std::vector<std::uint32_t>{1, 1, 2, 2, 3}));
    segments.expect_all(disk);
}

TEST(Segment, another_run_begins_behind_all_files_that_are_there) {
    SimDisk disk;
    Segments first;
    ASSERT_TRUE(first.append(disk, {10}));
    store(disk, stream_directory(stream) + "/segment-00000007", {});
    store(disk, stream_directory(stream) + "/segment-00000009.tmp", {});
    Segments second;
    ASSERT_TRUE(second.append(disk, {10}));
    EXPECT_EQ(second.known().front().ref.segment, 8U);
    first.expect_all(disk);
}

TEST(Segment, a_block_that_is_not_there) {
    SimDisk disk;
    Segments segments;
    ASSERT_TRUE(segments.append(disk, {100, 100}));
    const BlockRef right = segments.known().front().ref;
    const auto with = [&](const std::function<void(BlockRef&)>& change) {
        BlockRef ref = right;
        change(ref);
        return code_of(disk, ref);
    };
    EXPECT_EQ(with([](BlockRef& ref) { ref.segment = 2; }), Errc::not_found);
    EXPECT_EQ(with([](BlockRef& ref) { ref.size -= 1; }), Errc::damaged);
    EXPECT_EQ(with([](BlockRef& ref) { ref.size += 1; }), Errc::damaged);
    EXPECT_EQ(with([](BlockRef& ref) { ref.first += 1; }), Errc::damaged);
    EXPECT_EQ(with([](BlockRef& ref) { ref.end += 1; }), Errc::damaged);
    for (const std::uint64_t position : {0ULL, 63ULL, 65ULL, 128ULL, 1ULL << 20, (1ULL << 63) + 64, ~0ULL - 63}) {
        EXPECT_EQ(with([&](BlockRef& ref) { ref.position = position; }), Errc::damaged) << position;
    }
    // The same file as another stream's.
    const StreamId other{5};
    ASSERT_TRUE(disk.make_directory(stream_directory(other)));
    store(disk, segment_path(other, 1), load(disk, segment_path(stream, 1)));
    std::string body(right.size, '?');
    const auto read = read_block(disk, other, right, std::as_writable_bytes(std::span{body}));
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Errc::damaged);
}

// --- Damage -------------------------------------------------------------------------------------------------------

class DamagedSegment : public ::testing::Test {
protected:
    DamagedSegment() {
        EXPECT_TRUE(segments_.append(disk_, {100, 30, 128}));
        content_ = load(disk_, path_);
    }

    void damage(const Content& content) { store(disk_, path_, content); }

    /// Blocks come out as they were or not at all. Returns how many read_block gave.
    std::size_t expect_no_wrong_body() {
        std::size_t whole = 0;
        for (const Known& block : segments_.known()) {
            const auto body = body_of(disk_, block.ref);
            EXPECT_TRUE(!body || *body == block.body);
            whole += body ? 1U : 0U;
        }
        return whole;
    }

    Walk expect_no_wrong_walk() {
        Walk found = walk(disk_);
        EXPECT_TRUE(found.result) << (found.result ? "" : found.result.error().message());
        for (const Known& block : found.blocks) {
            EXPECT_TRUE(std::ranges::any_of(segments_.known(), [&](const Known& known) {
                return known.ref.first == block.ref.first && known.ref.end == block.ref.end && known.body == block.body;
            })) << block.ref.position;
        }
        return found;
    }

    SimDisk disk_;
    Segments segments_;
    const std::string path_ = segment_path(stream, 1);
    Content content_;
};

TEST_F(DamagedSegment, every_flipped_byte_is_noticed) {
    for (std::size_t at = 0; at < content_.size(); ++at) {
        for (const std::byte mask : {std::byte{0x01}, std::byte{0x80}, std::byte{0xff}}) {
            SCOPED_TRACE(at);
            damage(flip(content_, at, mask));
            const std::size_t whole = expect_no_wrong_body();
            // A reference needs neither the header of the file nor the padding; the walk sees both.
            EXPECT_GE(whole, 2U);
            const Walk found = expect_no_wrong_walk();
            EXPECT_EQ(found.damages.size(), 1U);
            EXPECT_LE(found.blocks.size(), whole);
        }
    }
}

TEST_F(DamagedSegment, every_length_gives_the_blocks_that_are_whole) {
    for (std::size_t size = 0; size < content_.size(); ++size) {
        SCOPED_TRACE(size);
        damage(cut(content_, size));
        std::size_t expected = 0;
        bool is_between = size == segment_header_size;
        for (const Known& block : segments_.known()) {
            const std::uint64_t body_end = block.ref.position + block_header_size + block.ref.size;
            expected += size >= body_end ? 1U : 0U;
            // Where the padding ends early nothing is missing but zeros.
            is_between = is_between || (size >= body_end && size <= block_aligned(body_end));
        }
        EXPECT_EQ(expect_no_wrong_body(), expected);
        const Walk found = expect_no_wrong_walk();
        EXPECT_EQ(found.blocks.size(), expected);
        EXPECT_EQ(found.damages.empty(), is_between);
    }
}

TEST_F(DamagedSegment, zeros_behind_the_last_block_are_no_damage_and_anything_else_is) {
    Content longer = content_;
    longer.resize(content_.size() + 10'000);
    damage(longer);
    EXPECT_TRUE(expect_no_wrong_walk().damages.empty());
    damage(flip(longer, longer.size() - 1, std::byte{1}));
    const Walk found = expect_no_wrong_walk();
    ASSERT_EQ(found.damages.size(), 1U);
    EXPECT_EQ(found.damages.front().first, content_.size());
    EXPECT_EQ(found.blocks.size(), 3U);
}

TEST_F(DamagedSegment, a_body_that_is_wrong_does_not_hide_the_blocks_behind_it) {
    damage(zero(content_, segments_.known()[0].ref.position + block_header_size + 10, 20));
    const Walk found = expect_no_wrong_walk();
    EXPECT_EQ(found.blocks.size(), 2U);
    ASSERT_EQ(found.damages.size(), 1U);
    EXPECT_EQ(found.damages.front().first, segments_.known()[0].ref.position);
}

TEST_F(DamagedSegment, every_zeroed_and_every_doubled_line) {
    for (std::size_t at = 0; at < content_.size(); at += 64) {
        SCOPED_TRACE(at);
        damage(zero(content_, at, 64));
        EXPECT_EQ(expect_no_wrong_body() + (at == 0 ? 0 : 1), 3U);
        EXPECT_EQ(expect_no_wrong_walk().damages.size(), 1U);
        damage(duplicate(content_, at, 64));
        static_cast<void>(expect_no_wrong_body());
        EXPECT_GE(expect_no_wrong_walk().damages.size(), 1U);
    }
}

TEST_F(DamagedSegment, a_block_inside_a_body_is_not_found_when_the_header_in_front_is_wrong) {
    // What users send may look like a block of the very stream.
    Content inner(content_.begin() + segment_header_size, content_.end());
    std::string text(64, 'x');
    text += as_text(inner);
    const BlockContent content{.first = 1, .end = 2, .entries = 3, .parts = {as_bytes(text)}};
    SegmentWriter writer{stream, 1};
    const auto refs = writer.append(disk_, std::span{&content, 1});
    ASSERT_TRUE(refs);
    const std::string path = segment_path(stream, 2);
    store(disk_, path, flip(load(disk_, path), segment_header_size + 20));
    const Walk found = walk(disk_, 2);
    EXPECT_TRUE(found.blocks.empty());
    EXPECT_EQ(found.damages.size(), 1U);
}

TEST_F(DamagedSegment, the_file_of_another_number_or_stream_is_named) {
    store(disk_, segment_path(stream, 2), content_);
    const Walk found = walk(disk_, 2);
    ASSERT_EQ(found.damages.size(), 1U);
    EXPECT_EQ(found.damages.front().first, 0U);
    EXPECT_NE(found.damages.front().second.find("number 1"), std::string::npos);
}

TEST_F(DamagedSegment, a_file_that_is_missing_or_cannot_be_read) {
    EXPECT_EQ(walk(disk_, 5).result.error().code, Errc::not_found);
    disk_.fail_reads(path_);
    EXPECT_EQ(walk(disk_).result.error().code, Errc::io_error);
    EXPECT_EQ(code_of(disk_, segments_.known()[0].ref), Errc::io_error);
}

// --- Crashes and failures -----------------------------------------------------------------------------------------

/// Three appends over several files. Goes on after a failure, as an owner does.
void run(Segments& segments, FileSystem& files) {
    static_cast<void>(segments.append(files, {100, 2'000}));
    static_cast<void>(segments.append(files, {700, 700, 700, 10}));
    static_cast<void>(segments.append(files, {50}));
}

TEST(SegmentCrash, what_was_appended_outlives_a_crash_at_every_operation) {
    SimDisk counting;
    Segments whole{1'000};
    run(whole, counting);
    ASSERT_EQ(whole.known().size(), 7U);
    for (std::uint64_t operation = 1; operation <= counting.operations() + 1; ++operation) {
        for (std::uint64_t seed = 0; seed < 12; ++seed) {
            SCOPED_TRACE("operation " + std::to_string(operation) + " seed " + std::to_string(seed));
            SimDisk disk{{.seed = seed}};
            Segments segments{1'000};
            disk.crash_at(operation);
            run(segments, disk);
            Prng prng{seed};
            seed == 0 ? disk.crash_losing_everything() : seed == 1 ? disk.crash_keeping_everything() : disk.crash(prng);
            disk.clear_faults();
            segments.expect_all(disk);
            // The next run does not touch what is there.
            Segments next{1'000};
            run(next, disk);
            EXPECT_EQ(next.known().size(), 7U);
            next.expect_all(disk);
            segments.expect_all(disk);
        }
    }
}

TEST(SegmentCrash, directories_that_are_made_together_outlive_it) {
    SimDisk disk;
    const StreamId streams[] = {stream, StreamId{5}, StreamId{6}};
    ASSERT_TRUE(make_stream_directories(disk, streams));
    EXPECT_EQ(disk.operations(), 6U) << "four directories and two syncs";
    ASSERT_TRUE(make_stream_directories(disk, {}));
    EXPECT_EQ(disk.operations(), 6U);
    disk.crash_losing_everything();
    for (const StreamId one : streams) {
        EXPECT_TRUE(disk.exists(stream_directory(one)));
    }
    constexpr bool has_directory = true;
    SegmentWriter writer{stream, 1 << 20, has_directory};
    const std::string body = body_text(1, 100);
    const BlockContent block{.first = 1, .end = 2, .entries = 1, .parts = {as_bytes(body)}};
    const auto refs = writer.append(disk, {&block, 1});
    ASSERT_TRUE(refs);
    EXPECT_EQ(disk.operations(), 10U) << "a file, its content and their syncs";
    disk.crash_losing_everything();
    EXPECT_EQ(body_of(disk, refs->front()), body);
}

TEST(SegmentCrash, after_a_failure_at_any_operation_the_next_append_works_and_nothing_is_lost) {
    SimDisk counting;
    Segments whole{1'000};
    run(whole, counting);
    for (const DiskFault fault : {DiskFault::io_error, DiskFault::no_space}) {
        for (std::uint64_t operation = 1; operation <= counting.operations(); ++operation) {
            for (std::uint64_t seed = 0; seed < 8; ++seed) {
                SCOPED_TRACE("operation " + std::to_string(operation) + " seed " + std::to_string(seed));
                SimDisk disk{{.seed = seed}};
                Segments segments{1'000};
                disk.fail_at(operation, fault);
                run(segments, disk);
                EXPECT_LT(segments.known().size(), 7U);
                EXPECT_GE(segments.known().size(), 3U);
                segments.expect_all(disk);
                Prng prng{seed};
                seed == 0 ? disk.crash_losing_everything() : disk.crash(prng);
                segments.expect_all(disk);
            }
        }
    }
}

TEST(SegmentCrash, a_full_disk_gets_its_space_back) {
    SimDisk disk;
    Segments segments{1'000};
    ASSERT_TRUE(segments.append(disk, {100}));
    const std::uint64_t available = disk.space()->available;
    disk.set_capacity(disk.space()->total - available + 3'000);
    for (int i = 0; i < 10; ++i) {
        const auto refs = segments.append(disk, {900, 5'000});
        ASSERT_FALSE(refs);
        EXPECT_EQ(refs.error().code, Errc::no_space);
        EXPECT_EQ(disk.space()->available, 3'000U);
    }
    disk.set_capacity(1 << 20);
    ASSERT_TRUE(segments.append(disk, {900, 5'000}));
    segments.expect_all(disk);
}

// --- Everything at random -----------------------------------------------------------------------------------------

/// One life: appends, faults, now and then a power cut and another run. After each step all that was appended is there.
void live(std::uint64_t seed) {
    Prng prng{seed};
    SimDisk disk{{.capacity = 400'000, .seed = seed}};
    std::vector<Known> known;
    std::uint64_t next = 1;
    const std::uint64_t segment_size = prng.range(1, 5'000);
    auto writer = std::make_unique<SegmentWriter>(stream, segment_size);
    for (int step = 0; step < 60; ++step) {
        if (prng.chance(1, 4)) {
            const DiskFault faults[] = {DiskFault::io_error, DiskFault::no_space, DiskFault::power_cut};
            disk.fail_at(disk.operations() + prng.range(1, 6), faults[prng.below(3)], prng.range(1, 3));
        }
        std::deque<std::string> bodies;
        std::vector<BlockContent> blocks;
        for (std::uint64_t count = prng.range(1, 5); count > 0; --count) {
            const Bytes body = as_bytes(bodies.emplace_back(body_text(next, prng.below(3'000))));
            const std::size_t split = prng.below(body.size() + 1);
            blocks.push_back({.first = next, .end = next + 5, .entries = 3, .parts = {}});
            blocks.back().parts = {body.first(split), body.subspan(split)};
            next += 5;
        }
        if (const auto refs = writer->append(disk, blocks)) {
            for (std::size_t i = 0; i < refs->size(); ++i) {
                known.push_back({(*refs)[i], bodies[i]});
            }
        }
        if (disk.is_off() || prng.chance(1, 10)) {
            disk.crash(prng);
            writer = std::make_unique<SegmentWriter>(stream, segment_size);
        }
        for (const Known& block : known) {
            ASSERT_TRUE(body_of(disk, block.ref) == block.body) << "seed " << seed << " step " << step;
        }
    }
}

TEST(SegmentCrash, random_lives) {
    for (std::uint64_t seed = 1; seed <= 150 && !HasFatalFailure(); ++seed) {
        live(seed);
    }
}

}  // namespace
}  // namespace baton::storage
