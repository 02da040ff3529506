// Every place of a small log is damaged, and random places of random logs: no record is ever wrong, what had been
// synced and is missing is always named as damage, and what a power cut can do is never called damage.
#include <algorithm>
#include <optional>

#include <gmock/gmock.h>

#include "common/base/prng.hpp"
#include "tests/unit/storage/wal_steps.hpp"

namespace baton::storage {
namespace {

using testing::IsEmpty;

class WalDamageTest : public WalSteps {
protected:
    struct Part {
        std::uint64_t file = 0;
        std::uint64_t position = 0;
        std::uint64_t size = 0;  // Of header and records.
        Index first = 0;         // first == end: the header of a file.
        Index end = 0;
    };

    /// Two files; groups of several streams, one of them large.
    void small_log() {
        noted_group({"a", "bb", "", "dddd"});
        noted_group({"e"});
        write(3, "f", payload(5'000, 'f'));
        noted_group({"g"});
        write(2, "h", payload(small_file - 6 * wal_alignment, 'h'));
        noted_group({});
        noted_group({"i", "j", "k"});
        noted_group({"l", "m", std::string_view{"n"}});
        ASSERT_EQ(writer->files().size(), 2U);
    }
    void noted_group(std::initializer_list<std::string_view> bodies) {
        const Index first = writer->synced() + 1;
        std::uint64_t stream = 0;
        for (const auto body : bodies) {
            write(++stream, body);
        }
        const std::uint64_t bytes = writer->unsynced_bytes();
        sync();
        const auto& last = writer->files().back();
        const bool is_new = parts.empty() || parts.back().file != last.number;
        if (is_new) {
            parts.push_back({last.number, 0, wal_file_header_size, first, first});
        }
        const std::uint64_t position = wal_aligned(parts.back().position + parts.back().size);
        parts.push_back({last.number, position, group_header_size + bytes, first, writer->synced() + 1});
    }
    /// Nothing for padding and what was never used.
    [[nodiscard]] const Part* part_at(std::uint64_t number, std::uint64_t position) const {
        const auto found = std::ranges::find_if(parts, [&](const Part& part) {
            return part.file == number && position >= part.position && position < part.position + part.size;
        });
        return found == parts.end() ? nullptr : &*found;
    }
    [[nodiscard]] bool is_last(const Part& part) const {
        return part.end == parts.back().end && part.first != part.end;
    }

    /// What is read was appended, in order; what is missing in between is named.
    void expect_honest(const ReadBack& found) {
        Index next = 1;
        auto damage = found.report.damage.begin();
        const auto pass_damage = [&](Index before) {
            while (damage != found.report.damage.end() && damage->first_index <= next && next < before) {
                next = std::max(next, std::min(before, damage->end_index));
                ++damage;
            }
        };
        for (const LogEntry& record : found.records) {
            pass_damage(record.index);
            while (damage != found.report.damage.end() && damage->first_index == damage->end_index) {
                ++damage;
                pass_damage(record.index);
            }
            ASSERT_EQ(record.index, next) << "a record is missing and nobody says so";
            ASSERT_LE(record.index, appended.size());
            ASSERT_EQ(record, appended[record.index - 1]);
            ++next;
        }
    }
    /// Every record of groups in front of the last one is read or named.
    void expect_synced_accounted_for(const ReadBack& found, Index end) {
        std::vector<bool> is_known(end, false);
        for (const LogEntry& record : found.records) {
            if (record.index < end) {
                is_known[record.index] = true;
            }
        }
        for (const WalDamage& damage : found.report.damage) {
            for (Index index = damage.first_index; index < std::min(end, damage.end_index); ++index) {
                is_known[index] = true;
            }
        }
        for (Index index = 1; index < end; ++index) {
            ASSERT_TRUE(is_known[index]) << "record " << index << " is gone";
        }
    }

    std::vector<Part> parts;
};

TEST_F(WalDamageTest, EachByteOfASmallLog) {
    small_log();
    const sim::DiskState whole = disk.snapshot();
    std::uint64_t flips = 0;
    for (const std::uint64_t number : {1, 2}) {
        for (std::uint64_t position = 0; position < small_file; ++position) {
            const Part* part = part_at(number, position);
            const std::uint64_t in_part = part == nullptr ? 0 : position - part->position;
            if ((part == nullptr && position % 251 != 0) || (in_part > 400 && in_part % 97 != 0)) {
                continue;
            }
            for (const int mask : {1 << (position % 8), 0xff}) {
                SCOPED_TRACE(std::to_string(number) + " at " + std::to_string(position));
                disk.restore(whole);
                flip(number, position, mask);
                ++flips;
                const ReadBack found = read();
                ASSERT_NO_FATAL_FAILURE(expect_honest(found));
                ASSERT_NO_FATAL_FAILURE(expect_synced_accounted_for(found, parts.back().first));
                if (part == nullptr) {
                    ASSERT_EQ(found.records, appended);
                    ASSERT_THAT(found.report.damage, IsEmpty());
                } else if (is_last(*part)) {
                    ASSERT_THAT(found.report.damage, IsEmpty());
                    ASSERT_LT(found.records.size(), appended.size());
                } else {
                    ASSERT_EQ(found.report.damage.size(), 1U);
                    ASSERT_EQ(found.records.back(), appended.back());
                    ASSERT_EQ(found.records.size() == appended.size(), part->first == part->end);
                }
            }
        }
    }
    EXPECT_GT(flips, 4'000U);
}

TEST_F(WalDamageTest, LastFileIsCutAnywhere) {
    small_log();
    const sim::DiskState whole = disk.snapshot();
    for (std::uint64_t size = 0; size <= 4 * wal_alignment; ++size) {
        if (part_at(2, size) == nullptr && size % 61 != 0) {
            continue;
        }
        SCOPED_TRACE(size);
        disk.restore(whole);
        cut(2, size);
        const ReadBack found = read();
        ASSERT_NO_FATAL_FAILURE(expect_honest(found));
        ASSERT_THAT(found.report.damage, IsEmpty());
        Index complete = 0;
        for (const Part& part : parts) {
            if (part.file == 1 || (part.first != part.end && part.position + part.size <= size)) {
                complete = part.end - 1;
            }
        }
        ASSERT_GE(found.records.size(), complete);
    }
}

TEST_F(WalDamageTest, FileInTheMiddleIsCutAnywhere) {
    small_log();
    const sim::DiskState whole = disk.snapshot();
    for (std::uint64_t size = 0; size <= small_file; ++size) {
        const Part* part = part_at(1, size);
        const bool is_inside_large = part != nullptr && size - part->position > 400;
        if ((part == nullptr || is_inside_large) && size % 499 != 0) {
            continue;
        }
        SCOPED_TRACE(size);
        disk.restore(whole);
        cut(1, size);
        const ReadBack found = read();
        ASSERT_NO_FATAL_FAILURE(expect_honest(found));
        ASSERT_NO_FATAL_FAILURE(expect_synced_accounted_for(found, appended.size() + 1));
        ASSERT_EQ(found.records.back(), appended.back());
    }
}

/// Random logs with recycling, damaged in several places.
class WalRandomDamage : public WalDamageTest, public ::testing::WithParamInterface<std::uint64_t> {};

TEST_P(WalRandomDamage, NoRecordIsWrong) {
    Prng prng{GetParam()};
    std::uint64_t first_file = 1;
    Index last_group = 1;
    for (std::uint64_t i = 0; i < 40; ++i) {
        last_group = writer->synced() + 1;
        for (std::uint64_t records = prng.range(1, 12); records > 0; --records) {
            const bool is_large = prng.chance(1, 40);
            write(prng.range(1, 3), std::string(prng.below(300), static_cast<char>('a' + prng.below(26))),
                  is_large ? payload(prng.range(4'096, 90'000), 'L') : Payload{});
        }
        sync();
        if (writer->files().size() > 3) {
            first_file = writer->files()[1].number;
            writer->recycle_before(first_file);
            queue.run_all();
        }
    }
    const Index first = writer->files().front().first_index;
    const std::vector<LogEntry> all = appended;
    const sim::DiskState whole = disk.snapshot();
    for (int round = 0; round < 40; ++round) {
        SCOPED_TRACE(round);
        disk.restore(whole);
        for (std::uint64_t wounds = prng.range(1, 6); wounds > 0; --wounds) {
            const auto& hurt = writer->files()[prng.below(writer->files().size())];
            const std::uint64_t size = bytes_of(hurt.number).size();
            const std::uint64_t position = prng.below(size);
            if (prng.chance(1, 3)) {
                flip(hurt.number, position, 1 << prng.below(8));
            } else if (prng.chance(1, 2)) {
                const std::uint64_t sector = position / 512 * 512;
                zero(hurt.number, sector, std::min<std::uint64_t>(size - sector, 512 * prng.range(1, 9)));
            } else {
                const std::vector<std::byte> bytes = bytes_of(hurt.number);
                const std::uint64_t from = prng.below(size) / 512 * 512;
                const std::uint64_t to = position / 512 * 512;
                overwrite(hurt.number, to,
                          Bytes{bytes}.subspan(from, std::min({size - from, size - to, 512 * prng.range(1, 16)})));
            }
        }
        const ReadBack found = read(first_file);
        ASSERT_EQ(found.error.message(), Error{}.message());
        Index previous = first - 1;
        for (const LogEntry& record : found.records) {
            ASSERT_GT(record.index, previous);
            ASSERT_LE(record.index, all.size());
            ASSERT_EQ(record, all[record.index - 1]);
            previous = record.index;
        }
        // As long as the last group says so itself.
        if (!found.records.empty() && found.records.back().index == all.size()) {
            ReadBack from_one = found;
            for (Index index = 1; index < first; ++index) {
                from_one.records.push_back(all[index - 1]);
            }
            ASSERT_NO_FATAL_FAILURE(expect_synced_accounted_for(from_one, last_group));
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, WalRandomDamage, testing::Range<std::uint64_t>(1, 21));

}  // namespace
}  // namespace baton::storage
