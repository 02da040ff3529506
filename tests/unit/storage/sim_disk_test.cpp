// The simulated disk: what outlives a power cut and what need not. Faults: sim_disk_faults_test.cpp.
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "server/storage/errc.hpp"
#include "tests/sim/disk.hpp"
#include "tests/unit/storage/disk_steps.hpp"

namespace baton::sim {

namespace {

using namespace baton::storage;
using Seen = std::map<std::string, int>;

void sync_names(FileSystem& files, std::string_view path = "") {
    EXPECT_EQ(outcome(files.sync_directory(path)), "ok");
}

// What a look at the disk gives after a crash, over many seeds.
template <class Prepare, class Look>
Seen after_crashes(Prepare&& prepare, Look&& look) {
    SimDisk disk;
    prepare(disk);
    const DiskState before = disk.snapshot();
    Seen seen;
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
        disk.restore(before);
        Prng prng{seed};
        disk.crash(prng);
        ++seen[look(disk)];
    }
    return seen;
}

std::set<std::string> keys(const Seen& seen) {
    std::set<std::string> texts;
    for (const auto& [text, count] : seen) {
        texts.insert(text);
    }
    return texts;
}

std::string names_in(FileSystem& files, std::string_view path = "") {
    std::string text;
    for (const std::string& name : files.list(path).value_or(std::vector<std::string>{"!"})) {
        text += name;
    }
    return text;
}

TEST(SimDisk, what_was_synced_survives_every_crash) {
    const std::string content(10'000, 'x');
    const Seen seen = after_crashes(
        [&](SimDisk& disk) {
            EXPECT_EQ(outcome(disk.make_directory("d")), "ok");
            sync_names(disk);
            make_file(disk, "d/a", content, true);
            sync_names(disk, "d");
        },
        [](SimDisk& disk) { return content_of(disk, "d/a"); });
    EXPECT_EQ(keys(seen), std::set<std::string>{content});
}

TEST(SimDisk, a_name_that_was_not_synced_may_vanish_with_its_synced_content) {
    const Seen seen = after_crashes([](SimDisk& disk) { make_file(disk, "a", "content", true); },
                                    [](SimDisk& disk) { return content_of(disk, "a"); });
    EXPECT_EQ(keys(seen), (std::set<std::string>{"content", "!not found"}));
}

TEST(SimDisk, content_that_was_not_synced_may_vanish_under_its_synced_name) {
    const Seen seen = after_crashes(
        [](SimDisk& disk) {
            make_file(disk, "a", "content", false);
            sync_names(disk);
        },
        [](SimDisk& disk) { return content_of(disk, "a"); });
    EXPECT_EQ(keys(seen), (std::set<std::string>{"", "content", std::string(7, '\0')}));
}

TEST(SimDisk, syncing_a_directory_does_not_make_its_own_name_durable) {
    SimDisk disk;
    EXPECT_EQ(outcome(disk.make_directory("d")), "ok");
    make_file(disk, "d/a", "content", true);
    sync_names(disk, "d");
    disk.crash_losing_everything();
    EXPECT_FALSE(disk.exists("d"));
}

TEST(SimDisk, a_write_that_was_not_synced_can_be_torn_between_sectors_and_only_there) {
    const std::size_t size = 4 * sector_size;
    const Seen seen = after_crashes(
        [&](SimDisk& disk) {
            make_file(disk, "a", std::string(size, 'o'), true);
            sync_names(disk);
            write_text(*open_file(disk, "a", OpenMode::read_write), 0, std::string(size, 'n'));
        },
        [&](SimDisk& disk) {
            const std::string content = content_of(disk, "a");
            EXPECT_EQ(content.size(), size);
            std::string sectors;
            for (std::size_t at = 0; at < content.size(); at += sector_size) {
                EXPECT_EQ(std::count(content.begin() + static_cast<std::ptrdiff_t>(at),
                                     content.begin() + static_cast<std::ptrdiff_t>(at + sector_size), content[at]),
                          static_cast<std::ptrdiff_t>(sector_size))
                    << "a sector is torn";
                sectors += content[at];
            }
            return sectors;
        });
    EXPECT_EQ(seen.size(), 16U) << "every combination of four sectors occurs";
    EXPECT_GT(seen.at("oooo"), 20);
    EXPECT_GT(seen.at("nnnn"), 20);
}

TEST(SimDisk, of_several_writes_any_may_be_the_last_that_arrived) {
    const Seen seen = after_crashes(
        [](SimDisk& disk) {
            make_file(disk, "a", "0", true);
            sync_names(disk);
            const auto file = open_file(disk, "a", OpenMode::read_write);
            for (const char* text : {"1", "2", "3"}) {
                write_text(*file, 0, text);
            }
        },
        [](SimDisk& disk) { return content_of(disk, "a"); });
    EXPECT_EQ(keys(seen), (std::set<std::string>{"0", "1", "2", "3"}));
}

TEST(SimDisk, a_size_that_was_not_synced_may_be_the_old_one) {
    const auto sizes = [](auto change) {
        return keys(after_crashes(
            [&](SimDisk& disk) {
                make_file(disk, "a", "12345678", true);
                sync_names(disk);
                change(*open_file(disk, "a", OpenMode::read_write));
            },
            [](SimDisk& disk) { return std::to_string(content_of(disk, "a").size()); }));
    };
    EXPECT_EQ(sizes([](File& file) { EXPECT_EQ(outcome(file.truncate(2)), "ok"); }), (std::set<std::string>{"2", "8"}));
    EXPECT_EQ(sizes([](File& file) { EXPECT_EQ(outcome(file.allocate(20)), "ok"); }),
              (std::set<std::string>{"20", "8"}));
    EXPECT_EQ(sizes([](File& file) { write_text(file, 8, "9"); }), (std::set<std::string>{"8", "9"}));
}

TEST(SimDisk, a_rename_is_there_or_not_and_never_half) {
    const Seen seen = after_crashes(
        [](SimDisk& disk) {
            make_file(disk, "a", "new", true);
            make_file(disk, "b", "old", true);
            sync_names(disk);
            EXPECT_EQ(outcome(disk.rename("a", "b")), "ok");
        },
        [](SimDisk& disk) { return names_in(disk) + " " + content_of(disk, "b"); });
    EXPECT_EQ(keys(seen), (std::set<std::string>{"ab old", "b new"}));
}

TEST(SimDisk, a_rename_between_directories_is_in_both_or_none) {
    const Seen seen = after_crashes(
        [](SimDisk& disk) {
            EXPECT_EQ(outcome(disk.make_directory("d")), "ok");
            EXPECT_EQ(outcome(disk.make_directory("e")), "ok");
            make_file(disk, "d/a", "content", true);
            sync_names(disk);
            sync_names(disk, "d");
            make_file(disk, "e/x", "", true);
            EXPECT_EQ(outcome(disk.rename("d/a", "e/b")), "ok");
            make_file(disk, "d/y", "", true);
        },
        [](SimDisk& disk) { return names_in(disk, "d") + "|" + names_in(disk, "e"); });
    // In order within each directory: b only after x, y only after a has gone.
    EXPECT_EQ(keys(seen), (std::set<std::string>{"a|", "a|x", "|bx", "y|bx"}));
}

TEST(SimDisk, syncing_one_directory_takes_a_rename_along_in_the_other) {
    SimDisk disk;
    EXPECT_EQ(outcome(disk.make_directory("d")), "ok");
    EXPECT_EQ(outcome(disk.make_directory("e")), "ok");
    sync_names(disk);
    make_file(disk, "d/a", "content", true);
    EXPECT_EQ(outcome(disk.rename("d/a", "e/b")), "ok");
    make_file(disk, "d/later", "", true);
    sync_names(disk, "e");
    disk.crash_losing_everything();
    EXPECT_EQ(names_in(disk, "d"), "");
    EXPECT_EQ(content_of(disk, "e/b"), "content");
}

TEST(SimDisk, changes_of_names_survive_in_order) {
    const Seen seen = after_crashes(
        [](SimDisk& disk) {
            for (const char* name : {"a", "b", "c"}) {
                make_file(disk, name, "", true);
            }
            EXPECT_EQ(outcome(disk.remove("a")), "ok");
        },
        [](SimDisk& disk) { return names_in(disk); });
    EXPECT_EQ(keys(seen), (std::set<std::string>{"", "a", "ab", "abc", "bc"}));
}

TEST(SimDisk, what_was_removed_may_come_back_whole) {
    const Seen seen = after_crashes(
        [](SimDisk& disk) {
            EXPECT_EQ(outcome(disk.make_directory("d")), "ok");
            sync_names(disk);
            make_file(disk, "d/a", "content", true);
            sync_names(disk, "d");
            EXPECT_EQ(outcome(remove_tree(disk, "d")), "ok");
        },
        [](SimDisk& disk) { return disk.exists("d") ? "d" + content_of(disk, "d/a") : ""; });
    EXPECT_EQ(keys(seen), (std::set<std::string>{"dcontent", "d!not found", ""}));
}

TEST(SimDisk, the_extremes_keep_all_or_nothing) {
    SimDisk disk;
    make_file(disk, "a", "old", true);
    sync_names(disk);
    write_text(*open_file(disk, "a", OpenMode::read_write), 0, "newer");
    make_file(disk, "b", "content", false);
    const DiskState before = disk.snapshot();

    disk.crash_losing_everything();
    EXPECT_EQ(content_of(disk, "a"), "old");
    EXPECT_FALSE(disk.exists("b"));

    disk.restore(before);
    disk.crash_keeping_everything();
    EXPECT_EQ(content_of(disk, "a"), "newer");
    EXPECT_EQ(content_of(disk, "b"), "content");
    disk.crash_losing_everything();
    EXPECT_EQ(content_of(disk, "b"), "content") << "what survived a crash is durable";
}

TEST(SimDisk, the_same_seed_gives_the_same_crash) {
    SimDisk disk;
    make_file(disk, "a", std::string(100'000, 'x'), false);
    sync_names(disk);
    const DiskState before = disk.snapshot();
    std::set<std::string> seen;
    for (int i = 0; i < 3; ++i) {
        disk.restore(before);
        Prng prng{7};
        disk.crash(prng);
        seen.insert(content_of(disk, "a"));
    }
    EXPECT_EQ(seen.size(), 1U);
}

TEST(SimDisk, files_that_were_open_are_dead_after_a_crash) {
    SimDisk disk;
    auto lock = disk.lock("LOCK", "me");
    const auto file = open_file(disk, "a", OpenMode::create);
    disk.crash_keeping_everything();
    const Bytes part = as_bytes("x");
    std::byte byte{};
    EXPECT_EQ(outcome(file->read(0, {&byte, 1})), "the system could not read or write");
    EXPECT_EQ(outcome(file->write(0, {&part, 1})), "the system could not read or write");
    EXPECT_EQ(outcome(file->sync()), "the system could not read or write");
    EXPECT_EQ(outcome(file->size()), "the system could not read or write");
    const auto again = disk.lock("LOCK", "somebody else");
    EXPECT_EQ(outcome(again), "ok");
    lock->reset();
    EXPECT_EQ(outcome(disk.lock("LOCK", "a third")), "locked by another process")
        << "the dead lock takes nothing along";
}

TEST(SimDisk, a_snapshot_is_not_changed_by_what_comes_later) {
    SimDisk disk;
    make_file(disk, "a", std::string(10'000, 'o'), true);
    const DiskState before = disk.snapshot();
    write_text(*open_file(disk, "a", OpenMode::read_write), 5'000, "new");
    EXPECT_EQ(outcome(disk.rename("a", "b")), "ok");
    disk.flip_byte("b", 1);
    disk.restore(before);
    EXPECT_EQ(content_of(disk, "a"), std::string(10'000, 'o'));
    EXPECT_EQ(disk.all_files(), std::vector<std::string>{"a"});
}

TEST(SimDisk, an_open_file_outlives_the_disk) {
    std::unique_ptr<File> file;
    {
        SimDisk disk;
        file = open_file(disk, "a", OpenMode::create);
    }
    write_text(*file, 0, "content");
    EXPECT_EQ(file->size().value_or(0), 7U);
}

}  // namespace

}  // namespace baton::sim
