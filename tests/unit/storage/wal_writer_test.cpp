// What the writer confirms, in which order, into which files, and what it does when the disk does not.
#include "server/storage/wal_writer.hpp"

#include <gmock/gmock.h>

#include "tests/unit/storage/wal_steps.hpp"

namespace baton::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class WalWriterTest : public WalSteps {
protected:
    [[nodiscard]] std::vector<std::uint64_t> file_numbers() const {
        std::vector<std::uint64_t> found;
        for (const auto& range : writer->files()) {
            found.push_back(range.number);
        }
        return found;
    }
    /// Groups of one record each, until the given file is the last one.
    void fill_until(std::uint64_t number) {
        while (writer->files().empty() || writer->files().back().number < number) {
            group({"filling"});
        }
    }
    void expect_everything() {
        const ReadBack found = read();
        EXPECT_EQ(found.records, appended);
        EXPECT_THAT(found.damage, IsEmpty());
        EXPECT_EQ(found.report.torn_text, "");
        EXPECT_THAT(found.report.damage, IsEmpty());
    }
};

TEST_F(WalWriterTest, AppendChangesMemoryOnly) {
    EXPECT_TRUE(writer->is_idle());
    EXPECT_EQ(write(1, "a"), 1U);
    EXPECT_EQ(write(2, "b"), 2U);
    EXPECT_EQ(queue.pending(), 0U);
    EXPECT_EQ(writer->appended(), 2U);
    EXPECT_EQ(writer->synced(), 0U);
    EXPECT_EQ(writer->unsynced_bytes(), 2 * (record_header_size + 1));
    EXPECT_FALSE(writer->is_idle());
    EXPECT_TRUE(writer->files().empty());
}

TEST_F(WalWriterTest, WhatIsFlushedIsOneGroupAndIsConfirmedAtItsEnd) {
    write(1, "a");
    write(2, "b");
    writer->flush();
    ASSERT_EQ(queue.pending(), 1U);
    queue.run_next();
    EXPECT_EQ(confirmed, 0U);
    queue.finish_next();
    EXPECT_EQ(confirmed, 2U);
    EXPECT_EQ(writer->synced(), 2U);
    EXPECT_EQ(writer->counters().groups, 1U);
    EXPECT_EQ(writer->counters().bytes_written, wal_alignment);
    EXPECT_EQ(writer->unsynced_bytes(), 0U);
    EXPECT_TRUE(writer->is_idle());
    disk.crash_losing_everything();
    expect_everything();
}

TEST_F(WalWriterTest, WhatIsFlushedDuringAGroupIsTheNextOne) {
    write(1, "a");
    writer->flush();
    queue.run_next();
    write(1, "b");
    writer->flush();
    write(1, "c");
    EXPECT_EQ(queue.pending(), 0U);
    queue.finish_next();
    EXPECT_EQ(confirmed, 1U);
    ASSERT_EQ(queue.pending(), 1U);
    queue.run_all();
    EXPECT_EQ(confirmed, 3U);
    EXPECT_EQ(writer->counters().groups, 2U);
    expect_everything();
}

TEST_F(WalWriterTest, WhatNobodyFlushesWaits) {
    write(1, "a");
    writer->flush();
    write(1, "b");
    queue.run_all();
    EXPECT_EQ(confirmed, 1U);
    EXPECT_EQ(queue.pending(), 0U);
    EXPECT_FALSE(writer->is_idle());
    writer->flush();
    writer->flush();
    EXPECT_EQ(queue.pending(), 1U);
    queue.run_all();
    EXPECT_EQ(confirmed, 2U);
    writer->flush();
    EXPECT_EQ(queue.pending(), 0U);
}

TEST_F(WalWriterTest, WhatNobodyWaitsForGoesAlongButGetsNoGroupOfItsOwn) {
    write(1, "wanted");
    writer->flush(1);
    write(1, "not wanted");
    writer->flush(1);
    queue.run_all();
    EXPECT_EQ(confirmed, 1U);
    EXPECT_EQ(queue.pending(), 0U);
    writer->flush(1);
    EXPECT_EQ(queue.pending(), 0U);
    write(1, "wanted");
    writer->flush(3);
    queue.run_all();
    EXPECT_EQ(confirmed, 3U);
    EXPECT_EQ(writer->counters().groups, 2U);
    expect_everything();
}

TEST_F(WalWriterTest, LargeBodiesAreReferencedUntilTheShardHearsOfTheSync) {
    const Payload large = payload(100'000, 'x');
    const std::size_t before = pool.outstanding_bytes();
    write(1, "head", large);
    write(2, "small", payload(100, 'y'));
    write(1, "", payload(4096, 'z'));
    EXPECT_GT(pool.outstanding_bytes(), before);
    writer->flush();
    queue.run_next();
    EXPECT_GT(pool.outstanding_bytes(), before);
    queue.finish_next();
    EXPECT_EQ(pool.outstanding_bytes(), before);
    expect_everything();
}

TEST_F(WalWriterTest, GroupLargerThanAFileHasAFileOfItsOwn) {
    group({"first"});
    write(1, "large", payload(300'000, 'x'));
    sync();
    group({"last"});
    ASSERT_THAT(file_numbers(), ElementsAre(1, 2, 3));
    EXPECT_EQ(writer->files()[1].first_index, 2U);
    EXPECT_EQ(writer->files()[1].size, wal_aligned(group_header_size + record_header_size + 300'005) + wal_alignment);
    EXPECT_EQ(writer->files()[2].size, small_file);
    EXPECT_EQ(bytes_of(2).size(), writer->files()[1].size);
    expect_everything();
}

TEST_F(WalWriterTest, NextFileBeginsWhereTheGroupDoesNotFit) {
    for (int i = 0; i < 15; ++i) {
        group({"a"});
    }
    EXPECT_THAT(file_numbers(), ElementsAre(1));
    group({"b"});
    ASSERT_THAT(file_numbers(), ElementsAre(1, 2));
    EXPECT_EQ(writer->files()[1].first_index, 16U);
    expect_everything();
}

TEST_F(WalWriterTest, NewFilesAreFilledAheadAndRecycledOnesAreNot) {
    group({"a"});
    EXPECT_EQ(writer->counters().bytes_zeroed, 16U * 1024);
    group({"b"});
    EXPECT_EQ(writer->counters().bytes_zeroed, 16U * 1024);
    fill_until(3);
    writer->recycle_before(3);
    fill_until(4);
    const std::uint64_t zeroed = writer->counters().bytes_zeroed;
    EXPECT_LT(zeroed, 3 * small_file);
    fill_until(5);
    EXPECT_EQ(writer->counters().bytes_zeroed, zeroed);
}

TEST_F(WalWriterTest, SparesAreRenamedAndTheRestIsRemoved) {
    fill_until(6);
    writer->recycle_before(6);
    EXPECT_THAT(file_numbers(), ElementsAre(6));
    queue.run_all();
    EXPECT_EQ(disk.all_files().size(), 3U);
    fill_until(8);
    EXPECT_THAT(disk.all_files(), ElementsAre(file(6), file(7), file(8)));
    const ReadBack found = read(6);
    EXPECT_EQ(found.records,
              std::vector<LogEntry>(appended.begin() + static_cast<std::ptrdiff_t>(writer->files()[0].first_index) - 1,
                                    appended.end()));
    EXPECT_THAT(found.report.damage, IsEmpty());
}

TEST_F(WalWriterTest, LastFileIsNeverRecycled) {
    fill_until(2);
    writer->recycle_before(100);
    EXPECT_THAT(file_numbers(), ElementsAre(2));
}

TEST_F(WalWriterTest, LargeSpareIsCut) {
    write(1, "", payload(300'000, 'x'));
    sync();
    group({"a"});
    writer->recycle_before(2);
    fill_until(3);
    EXPECT_EQ(bytes_of(3).size(), small_file);
    EXPECT_FALSE(disk.exists(file(1)));
}

TEST_F(WalWriterTest, SmallSpareGrowsForALargeGroup) {
    fill_until(2);
    writer->recycle_before(2);
    write(1, "", payload(300'000, 'x'));
    sync();
    EXPECT_FALSE(disk.exists(file(1)));
    const ReadBack found = read(2);
    ASSERT_EQ(found.records.size(), 2U);
    EXPECT_EQ(found.records.back(), appended.back());
}

TEST_F(WalWriterTest, FullDiskLosesNothing) {
    group({"a"});
    for (const bool is_roll : {false, true}) {
        if (is_roll) {
            fill_until(2);
        }
        for (std::uint64_t operation = 1; operation <= 3; ++operation) {
            write(1, "b");
            disk.fail_at(disk.operations() + 1, sim::DiskFault::no_space, operation);
            const Index before = confirmed;
            for (std::uint64_t attempt = 0; attempt < operation; ++attempt) {
                sync();
                EXPECT_TRUE(writer->is_full());
                EXPECT_EQ(confirmed, before);
            }
            write(1, "c");
            sync();
            EXPECT_FALSE(writer->is_full());
            sync();
            EXPECT_EQ(confirmed, appended.size());
        }
    }
    EXPECT_THAT(failures, IsEmpty());
    expect_everything();
}

TEST_F(WalWriterTest, NoSpaceForTheNextFileIsWaitedFor) {
    while (writer->files().size() < 2) {
        disk.set_capacity(writer->files().empty() ? small_file : small_file + 100);
        write(1, "filling");
        sync();
        if (writer->is_full()) {
            break;
        }
    }
    ASSERT_TRUE(writer->is_full());
    EXPECT_FALSE(writer->has_failed());
    EXPECT_FALSE(writer->is_idle());
    const Index before = confirmed;
    write(1, "waits");
    sync();
    EXPECT_EQ(confirmed, before);
    disk.set_capacity(10 * small_file);
    sync();
    sync();
    EXPECT_EQ(confirmed, appended.size());
    EXPECT_FALSE(writer->is_full());
    disk.crash_losing_everything();
    expect_everything();
}

/// Each operation of a scenario with rolls and recycling fails once.
class WalWriterFaults : public WalWriterTest {
protected:
    void scenario() {
        for (int i = 0; i < 60 && !writer->has_failed(); ++i) {
            write(1, "small " + std::to_string(i));
            if (i % 20 == 7) {
                write(2, "large", payload(70'000, static_cast<char>('a' + i)));
            }
            sync();
            if (writer->is_full()) {
                sync();
            }
            if (i % 10 == 9 && writer->files().size() > 2) {
                recycled = writer->files()[writer->files().size() - 2].number;
                writer->recycle_before(recycled);
            }
        }
        queue.run_all();
    }
    void expect_log_from(std::uint64_t first_file, Index first, bool is_whole) {
        const ReadBack found = read(first_file);
        EXPECT_THAT(found.damage, IsEmpty());
        EXPECT_THAT(found.report.damage, IsEmpty());
        ASSERT_FALSE(found.records.empty() && confirmed >= first);
        for (std::size_t i = 0; i < found.records.size(); ++i) {
            ASSERT_LT(first - 1 + i, appended.size());
            ASSERT_EQ(found.records[i], appended[first - 1 + i]);
        }
        EXPECT_GE(first - 1 + found.records.size(), confirmed);
        if (is_whole) {
            EXPECT_EQ(first - 1 + found.records.size(), appended.size());
        }
    }
    std::uint64_t recycled = 1;
};

TEST_F(WalWriterFaults, NoSpaceAtEachOperation) {
    const sim::DiskState empty = disk.snapshot();
    const std::uint64_t begin = disk.operations();
    scenario();
    const std::uint64_t count = disk.operations() - begin;
    ASSERT_GT(count, 150U);
    int finals = 0;
    for (std::uint64_t operation = 1; operation <= count; ++operation) {
        SCOPED_TRACE(operation);
        disk.restore(empty);
        disk.clear_faults();
        recycled = 1;
        start();
        disk.fail_at(disk.operations() + operation, sim::DiskFault::no_space);
        scenario();
        finals += writer->has_failed() ? 1 : 0;
        EXPECT_EQ(failures.size(), writer->has_failed() ? 1U : 0U);
        if (!writer->has_failed()) {
            EXPECT_EQ(confirmed, appended.size());
            disk.crash_losing_everything();
        }
        expect_log_from(writer->files().front().number, writer->files().front().first_index, !writer->has_failed());
    }
    EXPECT_GE(finals, 60);  // Each sync, and each of a directory.
    EXPECT_LT(finals, 75);
}

TEST_F(WalWriterFaults, IoErrorAtEachOperationIsFinal) {
    const sim::DiskState empty = disk.snapshot();
    const std::uint64_t begin = disk.operations();
    scenario();
    const std::uint64_t count = disk.operations() - begin;
    std::uint64_t ignored = 0;
    for (std::uint64_t operation = 1; operation <= count; ++operation) {
        SCOPED_TRACE(operation);
        disk.restore(empty);
        disk.clear_faults();
        recycled = 1;
        start();
        disk.fail_at(disk.operations() + operation, sim::DiskFault::io_error);
        scenario();
        if (!writer->has_failed()) {
            ++ignored;  // The removal of a file.
            continue;
        }
        ASSERT_EQ(failures.size(), 1U);
        EXPECT_TRUE(writer->is_idle());
        const Index index = writer->append(StreamId{1}, 1'000, as_bytes("after"));
        EXPECT_EQ(index, appended.size() + 1);
        const std::uint64_t operations = disk.operations();
        sync();
        EXPECT_EQ(disk.operations(), operations);
        EXPECT_EQ(failures.size(), 1U);
        expect_log_from(writer->files().front().number, writer->files().front().first_index, false);
    }
    EXPECT_LT(ignored, 5U);
}

TEST_F(WalWriterTest, MemoryIsFreedAfterAFailure) {
    write(1, "", payload(100'000, 'x'));
    disk.fail_always(sim::DiskFault::io_error);
    sync();
    ASSERT_TRUE(writer->has_failed());
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
    write(1, "", payload(100'000, 'x'));
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
}

TEST_F(WalWriterTest, WriterMayGoWhileAJobIsUnderWay) {
    write(1, "a", payload(5'000, 'x'));
    writer->flush();
    queue.run_next();
    writer.reset();
    queue.finish_next();
    EXPECT_EQ(confirmed, 0U);
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
    EXPECT_EQ(read().records, appended);
}

TEST_F(WalWriterTest, WriterMayGoWithTheQueue) {
    write(1, "a", payload(5'000, 'x'));
    writer->flush();
    queue.drop();
    writer.reset();
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
}

}  // namespace
}  // namespace baton::storage
