// Checkpoints: sections are given back as they were or marked, a file is never taken for another one, and a shard finds
// the newest that can be used.
#include "server/storage/checkpoint.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/crc32c.hpp"
#include "server/storage/errc.hpp"
#include "tests/sim/disk.hpp"
#include "tests/unit/storage/damage.hpp"

namespace baton::storage {
namespace {

using sim::DiskFault;
using sim::SimDisk;
using namespace testing;

constexpr std::size_t header_size = 48;
constexpr std::size_t section_header_size = 24;

struct State {
    StreamId stream{0};
    std::uint64_t number = 0;
    std::string body;
    friend bool operator==(const State&, const State&) = default;
};

const std::vector<State> states = {{StreamId{0}, 7, "the shard's own"},
                                   {StreamId{0x700000001}, 12, "orders: 3 messages"},
                                   {StreamId{0x700000002}, 1, ""},
                                   {StreamId{UINT64_MAX}, UINT64_MAX, std::string(100, 'x')}};

CheckpointHeader header_with(Index index, std::uint64_t first_wal_file = 4) {
    return {.generation = 7, .shard = 1, .index = index, .first_wal_file = first_wal_file};
}

Content build(const CheckpointHeader& header, const std::vector<State>& sections = states) {
    CheckpointBuilder builder{header};
    for (const State& state : sections) {
        builder.add(state.stream, state.number, as_bytes(state.body));
    }
    return builder.take();
}

State state_of(const CheckpointSection& section) {
    return {section.stream, section.number, std::string{as_text(section.body)}};
}

/// Of what is not marked everything is right.
void expect_no_wrong_section(const Checkpoint& checkpoint) {
    for (const CheckpointSection& section : checkpoint.sections) {
        EXPECT_TRUE(section.is_damaged || std::ranges::count(states, state_of(section)) == 1);
    }
}

Content with_header_checksum(Content bytes) {
    store_u32(&bytes[44], crc32c(Bytes{bytes}.first(44)));
    store_u32(&bytes[bytes.size() - 4], crc32c(Bytes{bytes}.first(bytes.size() - 8)));
    return bytes;
}

std::error_code code_of(Bytes bytes) {
    const auto decoded = decode_checkpoint(bytes);
    return decoded ? std::error_code{} : decoded.error().code;
}

// --- The form -----------------------------------------------------------------------------------------------------

TEST(Checkpoint, what_is_built_is_decoded) {
    const auto decoded = decode_checkpoint(build(header_with(99)));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->header, header_with(99));
    ASSERT_EQ(decoded->sections.size(), states.size());
    for (std::size_t i = 0; i < states.size(); ++i) {
        EXPECT_FALSE(decoded->sections[i].is_damaged);
        EXPECT_EQ(state_of(decoded->sections[i]), states[i]);
    }
}

TEST(Checkpoint, may_have_no_section) {
    const auto decoded = decode_checkpoint(build(header_with(0), {}));
    ASSERT_TRUE(decoded);
    EXPECT_TRUE(decoded->sections.empty());
}

TEST(Checkpoint, every_flip_is_an_error_or_marks_exactly_the_section_that_it_hit) {
    const Content right = build(header_with(99));
    std::vector<std::size_t> begins;
    for (std::size_t at = header_size; const State& state : states) {
        begins.push_back(at);
        at += section_header_size + state.body.size();
    }
    for (std::size_t at = 0; at < right.size(); ++at) {
        for (int bit = 0; bit < 8; ++bit) {
            SCOPED_TRACE(at);
            const auto decoded = decode_checkpoint(flip(right, at, std::byte{1} << bit));
            const auto hit = static_cast<std::size_t>(std::ranges::upper_bound(begins, at) - begins.begin());
            const bool is_in_section = hit > 0 && at < right.size() - 8;
            const bool is_in_size = is_in_section && at < begins[hit - 1] + 4;
            if (!is_in_section || is_in_size) {
                ASSERT_FALSE(decoded);
                EXPECT_EQ(decoded.error().code, Errc::damaged);
                continue;
            }
            ASSERT_TRUE(decoded);
            expect_no_wrong_section(*decoded);
            ASSERT_EQ(decoded->sections.size(), states.size());
            for (std::size_t i = 0; i < states.size(); ++i) {
                EXPECT_EQ(decoded->sections[i].is_damaged, i + 1 == hit);
            }
        }
    }
}

TEST(Checkpoint, every_shorter_and_every_longer_file_is_damaged) {
    const Content right = build(header_with(99));
    for (std::size_t size = 0; size < right.size(); ++size) {
        EXPECT_EQ(code_of(cut(right, size)), Errc::damaged) << size;
    }
    Content longer = right;
    for (int i = 0; i < 100; ++i) {
        longer.push_back(std::byte{0});
        EXPECT_EQ(code_of(longer), Errc::damaged);
    }
}

TEST(Checkpoint, zeroed_and_doubled_pieces_give_nothing_wrong) {
    const Content right = build(header_with(99));
    for (std::size_t at = 0; at < right.size(); ++at) {
        for (const std::size_t size : {1U, 4U, 8U, 24U, 64U}) {
            if (at + size > right.size()) {
                continue;
            }
            if (const auto decoded = decode_checkpoint(zero(right, at, size))) {
                EXPECT_EQ(decoded->header, header_with(99));
                expect_no_wrong_section(*decoded);
            }
            EXPECT_EQ(code_of(duplicate(right, at, size)), Errc::damaged) << at << " " << size;
        }
    }
}

TEST(Checkpoint, a_section_count_that_the_file_cannot_hold_reserves_nothing) {
    Content bytes = build(header_with(99));
    store_u32(&bytes[20], UINT32_MAX);
    EXPECT_EQ(code_of(with_header_checksum(bytes)), Errc::damaged);
    bytes = build(header_with(99));
    store_u32(&bytes[header_size], UINT32_MAX);
    EXPECT_EQ(code_of(with_header_checksum(bytes)), Errc::damaged);
}

TEST(Checkpoint, a_newer_version_is_told_from_damage_by_its_checksum) {
    const Content newer = with_header_checksum(flip(build(header_with(99)), 4, std::byte{3}));
    EXPECT_EQ(code_of(newer), Errc::newer_version);
    EXPECT_EQ(code_of(with_header_checksum(flip(build(header_with(99)), 4, std::byte{1}))), Errc::damaged);
    EXPECT_EQ(code_of(with_header_checksum(flip(build(header_with(99)), 40, std::byte{1}))), Errc::damaged);
}

TEST(Checkpoint, has_a_stream_once) {
    EXPECT_EQ(code_of(build(header_with(99), {states[0], states[1], states[0]})), Errc::damaged);
}

TEST(CheckpointNames, have_one_spelling) {
    EXPECT_EQ(checkpoint_file_name(1), "checkpoint-0000000000000001");
    EXPECT_EQ(checkpoint_file_number(checkpoint_file_name(UINT64_MAX)), UINT64_MAX);
    for (const char* name :
         {"checkpoint-000000000000001", "checkpoint-0000000000000000", "checkpoint-0000000000000001.tmp",
          "checkpoint-00000000000000001", "wal-0000000000000001", "checkpoint-18446744073709551616"}) {
        EXPECT_EQ(checkpoint_file_number(name), std::nullopt) << name;
    }
}

// --- Finding the one that counts ----------------------------------------------------------------------------------

class FindCheckpoint : public ::testing::Test {
protected:
    FindCheckpoint() { EXPECT_TRUE(disk_.make_directory(directory_)); }

    [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }
    [[nodiscard]] std::string path(std::uint64_t number) const { return path(checkpoint_file_name(number)); }

    void put(std::uint64_t number, const Content& content) { store(disk_, path(number), content); }
    void put_wal(std::uint64_t number) { store(disk_, path(wal_file_name(number)), {}); }

    Result<FoundCheckpoint> find() { return find_checkpoint(disk_, directory_); }

    SimDisk disk_;
    const std::string directory_ = "shard-0000";
    const Content older_ = build(header_with(50, 4));
    const Content newer_ = build(header_with(99, 6));
    const Content newer_with_bad_section_ = flip(newer_, header_size + section_header_size);
    const Content older_with_bad_section_ = flip(older_, header_size + section_header_size);
};

TEST_F(FindCheckpoint, none) {
    EXPECT_EQ(find().error().code, Errc::not_found);
    put_wal(1);
    store(disk_, path("checkpoint-0000000000000001.tmp"), newer_);
    EXPECT_EQ(find().error().code, Errc::not_found);
    EXPECT_EQ(find_checkpoint(disk_, "nowhere").error().code, Errc::not_found);
}

TEST_F(FindCheckpoint, the_newest_by_number_not_by_text) {
    put(9'999'999'999'999'999, older_);
    put(10'000'000'000'000'000, newer_);
    const auto found = find();
    ASSERT_TRUE(found);
    EXPECT_EQ(found->number, 10'000'000'000'000'000U);
    EXPECT_EQ(found->checkpoint.header.index, 99U);
    EXPECT_EQ(found->damage_text, "");
}

TEST_F(FindCheckpoint, the_newest_is_torn_or_damaged_and_the_older_ones_log_is_there) {
    put_wal(4);
    put(1, older_);
    for (const Content& bad :
         {Content{}, cut(newer_, newer_.size() - 1), flip(newer_, 3), flip(newer_, newer_.size() - 1)}) {
        put(2, bad);
        const auto found = find();
        ASSERT_TRUE(found);
        EXPECT_EQ(found->number, 1U);
        EXPECT_EQ(found->checkpoint.header.index, 50U);
        EXPECT_NE(found->damage_text.find(checkpoint_file_name(2)), std::string::npos) << found->damage_text;
    }
}

TEST_F(FindCheckpoint, the_newest_is_damaged_and_the_older_ones_log_is_gone) {
    put_wal(5);
    put_wal(6);
    put(1, older_);
    put(2, cut(newer_, 60));
    const auto found = find();
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Errc::damaged);
    EXPECT_NE(found.error().context.find("log file 4 is gone"), std::string::npos) << found.error().context;
}

TEST_F(FindCheckpoint, the_newest_cannot_be_read) {
    put_wal(4);
    put(1, older_);
    put(2, newer_);
    disk_.fail_reads(path(2));
    const auto found = find();
    ASSERT_TRUE(found);
    EXPECT_EQ(found->number, 1U);
    EXPECT_NE(found->damage_text, "");
}

TEST_F(FindCheckpoint, all_are_damaged) {
    put_wal(4);
    put(1, cut(older_, 10));
    put(2, cut(newer_, 10));
    EXPECT_EQ(find().error().code, Errc::damaged);
}

TEST_F(FindCheckpoint, an_older_one_without_damage_is_better_than_a_newer_one_with_a_damaged_section) {
    put(1, older_);
    put(2, newer_with_bad_section_);
    put_wal(4);
    auto found = find();
    ASSERT_TRUE(found);
    EXPECT_EQ(found->number, 1U);
    EXPECT_NE(found->damage_text, "");

    // Its log is gone: one stream is lost, not all.
    ASSERT_TRUE(disk_.remove(path(wal_file_name(4))));
    found = find();
    ASSERT_TRUE(found);
    EXPECT_EQ(found->number, 2U);
    EXPECT_TRUE(found->checkpoint.sections[0].is_damaged);
    EXPECT_FALSE(found->checkpoint.sections[1].is_damaged);
    EXPECT_NE(found->damage_text, "");
}

TEST_F(FindCheckpoint, of_two_with_a_damaged_section_the_newer_counts) {
    put_wal(4);
    put(1, older_with_bad_section_);
    put(2, newer_with_bad_section_);
    EXPECT_EQ(find()->number, 2U);
    put(2, cut(newer_, 100));
    EXPECT_EQ(find()->number, 1U);
}

TEST_F(FindCheckpoint, a_newer_version_is_not_passed_over) {
    put_wal(4);
    put(1, older_);
    put(2, with_header_checksum(flip(newer_, 4, std::byte{3})));
    EXPECT_EQ(find().error().code, Errc::newer_version);
}

TEST_F(FindCheckpoint, every_length_and_every_flipped_byte_of_the_newest) {
    put_wal(4);
    put(1, older_);
    const auto expect_older = [&](std::size_t at) {
        const auto found = find();
        ASSERT_TRUE(found) << at;
        EXPECT_EQ(found->number, 1U) << at;
        EXPECT_NE(found->damage_text, "");
    };
    for (std::size_t at = 0; at < newer_.size(); ++at) {
        put(2, cut(newer_, at));
        expect_older(at);
        put(2, flip(newer_, at));
        expect_older(at);
    }
}

// --- Crashes ------------------------------------------------------------------------------------------------------

TEST_F(FindCheckpoint, a_crash_at_every_operation_of_storing_leaves_the_old_or_the_new_one) {
    put(1, older_);
    ASSERT_TRUE(disk_.sync_directory(directory_));
    ASSERT_TRUE(disk_.sync_directory(""));
    const auto before = disk_.snapshot();
    const auto store_newer = [&] {
        const Bytes parts[] = {newer_};
        return write_atomically(disk_, path(2), parts);
    };
    const std::uint64_t first = disk_.operations();
    ASSERT_TRUE(store_newer());
    const std::uint64_t count = disk_.operations() - first;
    for (std::uint64_t operation = 1; operation <= count + 1; ++operation) {
        for (std::uint64_t seed = 1; seed <= 30; ++seed) {
            disk_.clear_faults();
            disk_.restore(before);
            disk_.crash_at(disk_.operations() + operation);
            const bool is_stored = store_newer().has_value();
            Prng prng{seed};
            disk_.crash(prng);
            const auto found = find();
            ASSERT_TRUE(found);
            EXPECT_EQ(found->damage_text, "");
            EXPECT_TRUE(found->checkpoint.header.index == 99 || (!is_stored && found->checkpoint.header.index == 50));
        }
    }
}

}  // namespace
}  // namespace baton::storage
