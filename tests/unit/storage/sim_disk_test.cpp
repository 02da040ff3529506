// The simulated disk: what outlives a power cut and what need not, and the faults that it is asked for.
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "server/storage/errc.hpp"
#include "tests/sim/disk.hpp"
#include "tests/unit/storage/disk_steps.hpp"

namespace baton::sim {

namespace {

using namespace baton::storage;

void sync_root(FileSystem& files) {
    const auto synced = files.sync_directory("");
    EXPECT_TRUE(synced) << text_of(synced);
}

TEST(SimDisk, what_was_synced_survives_every_crash) {
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        SimDisk disk;
        make_file(disk, "a", std::string(10'000, 'x'), true);
        sync_root(disk);
        Prng prng{seed};
        disk.crash(prng);
        EXPECT_EQ(content_of(disk, "a"), std::string(10'000, 'x'));
    }
}

TEST(SimDisk, a_name_that_was_not_synced_may_vanish_with_its_synced_content) {
    std::set<std::string> seen;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        SimDisk disk;
        make_file(disk, "a", "content", true);
        Prng prng{seed};
        disk.crash(prng);
        seen.insert(content_of(disk, "a"));
    }
    EXPECT_EQ(seen, (std::set<std::string>{"content", "!not found"}));
}

TEST(SimDisk, a_write_that_was_not_synced_can_be_torn_between_sectors_and_only_there) {
    int old_count = 0;
    int new_count = 0;
    int torn_count = 0;
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        SimDisk disk;
        make_file(disk, "a", std::string(4 * sector_size, 'o'), true);
        sync_root(disk);
        write_text(*open_file(disk, "a", OpenMode::read_write), 0, std::string(4 * sector_size, 'n'));
        Prng prng{seed};
        disk.crash(prng);
        const std::string content = content_of(disk, "a");
        ASSERT_EQ(content.size(), 4 * sector_size);
        for (std::size_t i = 0; i < content.size(); ++i) {
            ASSERT_EQ(content[i], content[i / sector_size * sector_size]) << "a sector is torn";
        }
        const auto news = static_cast<std::size_t>(std::count(content.begin(), content.end(), 'n'));
        (news == 0 ? old_count : news == content.size() ? new_count : torn_count) += 1;
    }
    EXPECT_GT(old_count, 10);
    EXPECT_GT(new_count, 10);
    EXPECT_GT(torn_count, 10);
}

}  // namespace

}  // namespace baton::sim
