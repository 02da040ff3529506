// Streams that do not count yet: their list is there or not, and damage in it is said.
#include "server/storage/pending_streams.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/storage/data_directory.hpp"
#include "server/storage/folder_view.hpp"
#include "tests/sim/disk.hpp"

namespace baton::storage {
namespace {

using Streams = std::vector<StreamId>;

constexpr std::uint64_t first_id = 0x0000000700000001;
constexpr std::uint64_t second_id = 0x0000000700400001;

class PendingStreamsTest : public ::testing::Test {
protected:
    PendingStreamsTest() {
        for (const auto id : {first_id, second_id}) {
            EXPECT_TRUE(ensure_directory(disk, restore_directory(id)));
        }
        EXPECT_TRUE(disk.sync_directory(""));
    }
    sim::SimDisk disk;
};

TEST_F(PendingStreamsTest, ThoseOfAGenerationTogether) {
    ASSERT_TRUE(
        store_pending(disk, restore_directory(first_id), Streams{StreamId{0x700000009}, StreamId{0x700000002}}));
    ASSERT_TRUE(store_pending(disk, restore_directory(second_id), Streams{StreamId{0x700000005}}));
    const auto found = find_pending(disk, 7);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->streams, (Streams{StreamId{0x700000002}, StreamId{0x700000005}, StreamId{0x700000009}}));
    EXPECT_TRUE(found->damage.empty());
    EXPECT_TRUE(find_pending(disk, 8)->streams.empty());
    ASSERT_TRUE(remove_pending(disk, restore_directory(first_id)));
    EXPECT_EQ(find_pending(disk, 7)->streams, Streams{StreamId{0x700000005}});
    EXPECT_FALSE(remove_pending(disk, restore_directory(first_id)));
    ASSERT_TRUE(store_pending(disk, restore_directory(first_id), {}));
    EXPECT_EQ(find_pending(disk, 7)->streams.size(), 1U);
}

TEST_F(PendingStreamsTest, EveryByteIsChecked) {
    const auto path = restore_directory(first_id) + "/PENDING";
    ASSERT_TRUE(store_pending(disk, restore_directory(first_id), Streams{StreamId{1}, StreamId{2}}));
    const auto size = read_whole(disk, path).value().size();
    for (std::size_t at = 0; at < size; ++at) {
        disk.flip_byte(path, at);
        const auto found = find_pending(disk, 7);
        ASSERT_TRUE(found);
        EXPECT_EQ(found->damage.size(), 1U) << at;
        disk.flip_byte(path, at);
    }
    ASSERT_TRUE(find_pending(disk, 7)->damage.empty());
    ASSERT_TRUE(disk.open(path, OpenMode::read_write).value()->truncate(0));
    EXPECT_EQ(find_pending(disk, 7)->damage.size(), 1U);
    disk.fail_reads(path);
    EXPECT_FALSE(find_pending(disk, 7));
}

TEST_F(PendingStreamsTest, ACrashLeavesItThereOrNot) {
    for (std::uint64_t operation = 1; operation <= 6; ++operation) {
        const auto before = disk.snapshot();
        disk.crash_at(disk.operations() + operation);
        const bool is_stored = store_pending(disk, restore_directory(first_id), Streams{StreamId{3}}).has_value();
        disk.crash_losing_everything();
        disk.clear_faults();
        EXPECT_EQ(find_pending(disk, 7)->streams, is_stored ? Streams{StreamId{3}} : Streams{}) << operation;
        disk.restore(before);
    }
}

TEST(DataFiles, TheirNamesAndNoOthers) {
    for (const auto* path : {"MANIFEST", "generation-0000000000000007/shard-0000/wal-0000000000000001",
                             "generation-0000000000000007/shard-0012/checkpoint-0000000000000003",
                             "channels/00000007000000ab/segment-00000001"}) {
        EXPECT_TRUE(is_data_file(path)) << path;
    }
    for (const auto* path :
         {"", "LOCK", "/MANIFEST", "MANIFEST/", "channels", "channels/00000007000000ab",
          "generation-7/shard-0000/wal-1", "generation-0000000000000007/wal-0000000000000001",
          "generation-0000000000000007/shard-00/wal-0000000000000001",
          "generation-0000000000000007/shard-0000/a/wal-0000000000000001", "channels/../segment-00000001",
          "channels/x/00000007000000ab/segment-00000001", "channels/00000007000000AB/segment-00000001",
          "generation-0000000000000007/shard-0000/wal-0000000000000001.tmp"}) {
        EXPECT_FALSE(is_data_file(path)) << path;
    }
}

TEST_F(PendingStreamsTest, RestoresOfOtherGenerationsAreLeftovers) {
    const auto other = restore_directory(0x0000000600000001);
    ASSERT_TRUE(ensure_directory(disk, other));
    ASSERT_TRUE(remove_leftovers(disk, {.generation = 7, .shards = 0}));
    EXPECT_FALSE(disk.exists(other));
    EXPECT_TRUE(disk.exists(restore_directory(first_id)));
    ASSERT_TRUE(remove_restores(disk));
    EXPECT_FALSE(disk.exists(restore_directory(first_id)));
}

TEST(FolderViews, AreFileSystemsOfTheirOwn) {
    sim::SimDisk disk;
    ASSERT_TRUE(ensure_directory(disk, "a"));
    FolderView view{disk, "a"};
    ASSERT_TRUE(store_manifest(view, {.generation = 3, .shards = 1}));
    EXPECT_TRUE(disk.exists("a/MANIFEST"));
    EXPECT_EQ(view.list("").value(), std::vector<std::string>{"MANIFEST"});
    EXPECT_EQ(load_manifest(view).value()->generation, 3U);
    EXPECT_FALSE(load_manifest(disk).value());
}

}  // namespace
}  // namespace baton::storage
