// The simulated disk: faults that a test asks for. What survives a power cut: sim_disk_test.cpp.
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "server/storage/errc.hpp"
#include "tests/sim/disk.hpp"
#include "tests/unit/storage/disk_steps.hpp"

namespace baton::sim {

namespace {

using namespace baton::storage;

const std::string io_error = "the system could not read or write";

std::string write_at(File& file, std::uint64_t position, std::string_view text) {
    const Bytes part = as_bytes(text);
    return outcome(file.write(position, {&part, 1}));
}

TEST(SimDiskFaults, operations_are_the_calls_that_change_something) {
    SimDisk disk;
    EXPECT_EQ(outcome(disk.make_directory("d")), "ok");          // 1
    const auto file = open_file(disk, "d/a", OpenMode::create);  // 2
    EXPECT_EQ(write_at(*file, 0, "x"), "ok");                    // 3
    EXPECT_EQ(outcome(file->allocate(10)), "ok");                // 4
    EXPECT_EQ(outcome(file->truncate(5)), "ok");                 // 5
    EXPECT_EQ(outcome(file->sync()), "ok");                      // 6
    EXPECT_EQ(outcome(disk.link("d/a", "d/b")), "ok");           // 7
    EXPECT_EQ(outcome(disk.rename("d/b", "d/c")), "ok");         // 8
    EXPECT_EQ(outcome(disk.remove("d/c")), "ok");                // 9
    EXPECT_EQ(outcome(disk.sync_directory("d")), "ok");          // 10
    EXPECT_EQ(outcome(disk.lock("LOCK", "")), "ok");             // 11
    EXPECT_EQ(disk.operations(), 11U);
    EXPECT_EQ(content_of(disk, "d/a").size(), 5U);
    EXPECT_EQ(outcome(disk.list("d")), "ok");
    EXPECT_EQ(outcome(disk.space()), "ok");
    EXPECT_EQ(disk.operations(), 11U);
}

TEST(SimDiskFaults, the_operation_that_was_named_fails_and_no_other) {
    SimDisk disk;
    disk.fail_at(2, DiskFault::io_error);
    disk.fail_at(4, DiskFault::no_space, 2);
    EXPECT_EQ(outcome(disk.make_directory("1")), "ok");
    EXPECT_EQ(outcome(disk.make_directory("2")), io_error);
    EXPECT_EQ(outcome(disk.make_directory("3")), "ok");
    EXPECT_EQ(outcome(disk.make_directory("4")), "no space left");
    EXPECT_EQ(outcome(disk.make_directory("5")), "no space left");
    EXPECT_EQ(outcome(disk.make_directory("6")), "ok");
    EXPECT_EQ(disk.list("").value_or(std::vector<std::string>{}), (std::vector<std::string>{"1", "3", "6"}));
}

TEST(SimDiskFaults, fail_always_lasts_until_it_is_cleared) {
    SimDisk disk;
    disk.fail_always(DiskFault::no_space);
    EXPECT_EQ(outcome(disk.make_directory("1")), "no space left");
    EXPECT_EQ(outcome(disk.make_directory("1")), "no space left");
    disk.clear_faults();
    EXPECT_EQ(outcome(disk.make_directory("1")), "ok");
}

TEST(SimDiskFaults, after_a_power_cut_nothing_works_until_the_crash) {
    SimDisk disk;
    make_file(disk, "a", "content", true);
    EXPECT_EQ(outcome(disk.sync_directory("")), "ok");
    const auto file = open_file(disk, "a", OpenMode::read_write);
    disk.crash_at(disk.operations() + 1);
    EXPECT_FALSE(disk.is_off());
    EXPECT_EQ(write_at(*file, 0, "C"), io_error);
    EXPECT_TRUE(disk.is_off());
    EXPECT_EQ(write_at(*file, 0, "C"), io_error);
    EXPECT_EQ(outcome(file->sync()), io_error);
    EXPECT_EQ(outcome(file->size()), io_error);
    EXPECT_EQ(outcome(disk.open("a", OpenMode::read)), io_error);
    EXPECT_EQ(outcome(disk.open("b", OpenMode::create)), io_error);
    EXPECT_EQ(outcome(disk.list("")), io_error);
    EXPECT_EQ(outcome(disk.space()), io_error);
    disk.crash_losing_everything();
    EXPECT_FALSE(disk.is_off());
    EXPECT_EQ(content_of(disk, "a"), "content");
}

// The operation that the power cut interrupts has been done or not, as the crash decides.
TEST(SimDiskFaults, the_operation_under_way_is_done_or_not) {
    SimDisk disk;
    make_file(disk, "a", "old", true);
    EXPECT_EQ(outcome(disk.sync_directory("")), "ok");
    const DiskState before = disk.snapshot();

    disk.crash_at(disk.operations() + 1);
    EXPECT_EQ(outcome(disk.rename("a", "b")), io_error);
    disk.crash_losing_everything();
    EXPECT_TRUE(disk.exists("a"));

    disk.restore(before);
    disk.crash_at(disk.operations() + 1);
    EXPECT_EQ(outcome(disk.rename("a", "b")), io_error);
    disk.crash_keeping_everything();
    EXPECT_TRUE(disk.exists("b"));

    disk.restore(before);
    auto file = open_file(disk, "a", OpenMode::read_write);
    EXPECT_EQ(write_at(*file, 0, "new"), "ok");
    disk.crash_at(disk.operations() + 1);
    EXPECT_EQ(outcome(file->sync()), io_error);
    disk.crash_losing_everything();
    EXPECT_EQ(content_of(disk, "a"), "old") << "the sync had not begun";
}

// What catches code that tries a failed sync again: the second one succeeds, and the content is lost.
TEST(SimDiskFaults, a_failed_sync_loses_content_that_no_later_sync_brings_back) {
    std::set<std::string> seen;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        SimDisk disk{{.seed = seed}};
        make_file(disk, "a", "old", true);
        EXPECT_EQ(outcome(disk.sync_directory("")), "ok");
        const auto file = open_file(disk, "a", OpenMode::read_write);
        EXPECT_EQ(write_at(*file, 0, "new"), "ok");
        disk.fail_at(disk.operations() + 1, DiskFault::io_error);
        EXPECT_EQ(outcome(file->sync()), io_error);
        EXPECT_EQ(outcome(file->sync()), "ok");
        EXPECT_EQ(content_of(disk, "a"), "new") << "reading proves nothing";
        disk.crash_keeping_everything();
        seen.insert(content_of(disk, "a"));
    }
    EXPECT_EQ(seen, (std::set<std::string>{"new", "old"}));
}

TEST(SimDiskFaults, a_failed_write_has_written_any_part) {
    std::set<std::string> seen;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        SimDisk disk{{.seed = seed}};
        const auto file = open_file(disk, "a", OpenMode::create);
        disk.fail_at(disk.operations() + 1, DiskFault::no_space);
        EXPECT_EQ(write_at(*file, 0, "abc"), "no space left");
        seen.insert(content_of(disk, "a"));
    }
    EXPECT_EQ(seen, (std::set<std::string>{"", "a", "ab", "abc"}));
}

TEST(SimDiskFaults, a_full_disk_takes_what_fits_and_overwrites) {
    SimDisk disk{{.capacity = 10}};
    const auto file = open_file(disk, "a", OpenMode::create);
    EXPECT_EQ(write_at(*file, 0, "1234567"), "ok");
    EXPECT_EQ(disk.space().value_or(Space{}).total, 10U);
    EXPECT_EQ(disk.space().value_or(Space{}).available, 3U);
    EXPECT_EQ(write_at(*file, 7, "89abc"), "no space left");
    EXPECT_EQ(content_of(disk, "a"), "123456789a");
    EXPECT_EQ(write_at(*file, 0, "x"), "ok");
    const auto other = open_file(disk, "b", OpenMode::create);
    EXPECT_EQ(outcome(other->allocate(1)), "no space left");
    EXPECT_EQ(outcome(other->truncate(1)), "no space left");
    EXPECT_EQ(write_at(*other, 1, "y"), "no space left");
    EXPECT_EQ(other->size().value_or(9), 0U);
    EXPECT_EQ(outcome(file->truncate(5)), "ok");
    EXPECT_EQ(write_at(*other, 0, "12345"), "ok");
}

TEST(SimDiskFaults, a_removed_file_takes_space_until_it_is_closed) {
    SimDisk disk{{.capacity = 10}};
    auto file = open_file(disk, "a", OpenMode::create);
    EXPECT_EQ(write_at(*file, 0, "0123456789"), "ok");
    EXPECT_EQ(outcome(disk.remove("a")), "ok");
    EXPECT_EQ(disk.space().value_or(Space{}).available, 0U);
    file.reset();
    EXPECT_EQ(disk.space().value_or(Space{}).available, 10U);
    disk.set_capacity(0);
    EXPECT_EQ(disk.space().value_or(Space{1, 1}).available, 0U);
}

TEST(SimDiskFaults, reads_fail_for_the_file_that_was_named) {
    SimDisk disk;
    make_file(disk, "a", "content", true);
    make_file(disk, "b", "content", true);
    disk.fail_reads("a");
    EXPECT_EQ(content_of(disk, "a"), "!" + io_error);
    EXPECT_EQ(content_of(disk, "b"), "content");
    disk.fail_reads("a", false);
    EXPECT_EQ(content_of(disk, "a"), "content");
}

TEST(SimDiskFaults, a_flipped_byte_is_flipped_for_good) {
    SimDisk disk;
    make_file(disk, "a", std::string(5'000, 'a'), true);
    EXPECT_EQ(outcome(disk.sync_directory("")), "ok");
    disk.flip_byte("a", 4'999, std::byte{1});
    const std::string expected = std::string(4'999, 'a') + "`";
    EXPECT_EQ(content_of(disk, "a"), expected);
    disk.crash_losing_everything();
    EXPECT_EQ(content_of(disk, "a"), expected);
}

// The pattern for everything that must be atomic: cut the power at every operation, look after each kind of crash.
TEST(SimDiskFaults, write_atomically_is_atomic_at_every_operation) {
    SimDisk disk;
    make_file(disk, "a", std::string(5'000, 'o'), true);
    EXPECT_EQ(outcome(disk.sync_directory("")), "ok");
    const DiskState before = disk.snapshot();
    const std::string news(9'000, 'n');
    const Bytes part = as_bytes(news);

    const std::uint64_t first = disk.operations() + 1;
    EXPECT_EQ(outcome(write_atomically(disk, "a", {&part, 1})), "ok");
    const std::uint64_t count = disk.operations() + 1 - first;
    disk.crash_losing_everything();
    EXPECT_EQ(content_of(disk, "a"), news) << "durable when it returns";

    std::set<std::string> seen;
    for (std::uint64_t i = 0; i < count; ++i) {
        for (const DiskFault fault : {DiskFault::power_cut, DiskFault::io_error, DiskFault::no_space}) {
            for (std::uint64_t seed = 1; seed <= 50; ++seed) {
                disk.restore(before);
                disk.clear_faults();
                disk.fail_at(disk.operations() + 1 + i, fault);
                EXPECT_NE(outcome(write_atomically(disk, "a", {&part, 1})), "ok");
                Prng prng{seed};
                disk.crash(prng);
                const std::string content = content_of(disk, "a");
                ASSERT_TRUE(content == news || content == std::string(5'000, 'o'))
                    << "operation " << i << " of " << count;
                seen.insert(content);
            }
        }
    }
    EXPECT_EQ(seen.size(), 2U);
}

}  // namespace

}  // namespace baton::sim
