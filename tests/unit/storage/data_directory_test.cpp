// The data directory: the manifest is always the old or the new one, and nothing that it names is ever removed.
#include "server/storage/data_directory.hpp"

#include <unistd.h>

#include <string>

#include <gtest/gtest.h>

#include "common/base/crc32c.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/numbered_name.hpp"
#include "tests/sim/disk.hpp"
#include "tests/unit/storage/damage.hpp"

namespace baton::storage {
namespace {

using sim::DiskFault;
using sim::SimDisk;
using namespace testing;

constexpr Manifest seven{.generation = 7, .shards = 2};
constexpr Manifest eight{.generation = 8, .shards = 3};

std::error_code code_of(std::string_view text) {
    const auto manifest = decode_manifest(text);
    return manifest ? std::error_code{} : manifest.error().code;
}

std::string signed_text(const std::string& line) {
    return line + numbered_name(" ", crc32c(as_bytes(line)), 8, 16) + "\n";
}

// --- The manifest's text ------------------------------------------------------------------------------------------

TEST(Manifest, what_is_encoded_is_decoded) {
    for (const Manifest& manifest :
         {seven, eight, Manifest{}, Manifest{.generation = UINT64_MAX, .shards = UINT32_MAX}}) {
        EXPECT_EQ(decode_manifest(encode(manifest)), manifest);
    }
}

TEST(Manifest, every_other_text_of_nearly_the_same_kind_is_damaged) {
    const std::string text = encode(seven);
    for (std::size_t at = 0; at < text.size(); ++at) {
        EXPECT_EQ(code_of(text.substr(0, at)), Errc::damaged) << at;
        EXPECT_EQ(code_of(text.substr(0, at) + text.substr(at + 1)), Errc::damaged) << at;
        for (int value = 0; value < 256; ++value) {
            std::string other = text;
            other[at] = static_cast<char>(value);
            EXPECT_EQ(code_of(other), other == text ? std::error_code{} : Errc::damaged) << other;
        }
    }
    EXPECT_EQ(code_of(text + "\n"), Errc::damaged);
    EXPECT_EQ(code_of(text + text), Errc::damaged);
}

TEST(Manifest, has_one_spelling_even_with_a_right_checksum) {
    EXPECT_EQ(code_of(signed_text(R"({"format":1,"generation":7,"shards":2})")), std::error_code{});
    for (const char* line : {
             "",
             "{}",
             R"({"format":0,"generation":7,"shards":2})",
             R"({"format":01,"generation":7,"shards":2})",
             R"({"format":1,"generation":07,"shards":2})",
             R"({"format":1,"generation":7, "shards":2})",
             R"({"format":1,"generation":-7,"shards":2})",
             R"({"format":1,"generation":7,"shards":2,"x":1})",
             R"({"format":1,"generation":7,"shards":2}})",
             R"({"format":1,"shards":2,"generation":7})",
             R"({"format":1,"generation":7,"shards":4294967296})",
             R"({"format":1,"generation":18446744073709551616,"shards":2})",
             R"({"format":99999999999,"generation":7,"shards":2})",
             R"({"format":1,"generation":7,"shards":0})",
             R"({"format":1,"generation":0,"shards":2})",
         }) {
        EXPECT_EQ(code_of(signed_text(line)), Errc::damaged) << line;
    }
}

TEST(Manifest, of_a_newer_format_is_told_from_damage) {
    EXPECT_EQ(code_of(signed_text(R"({"format":2,"generation":7,"shards":2})")), Errc::newer_version);
    EXPECT_EQ(code_of(signed_text(R"({"format":40,"anything":[1]})")), Errc::newer_version);
    std::string unsigned_text = encode(seven);
    unsigned_text[10] = '2';
    EXPECT_EQ(code_of(unsigned_text), Errc::damaged);
}

TEST(DataDirectoryNames, are_those_of_the_page) {
    EXPECT_EQ(generation_directory(7), "generation-0000000000000007");
    EXPECT_EQ(damaged_directory(7), "damaged-0000000000000007");
    EXPECT_EQ(shard_directory(7, 0), "generation-0000000000000007/shard-0000");
    EXPECT_EQ(shard_directory(7, 12'345), "generation-0000000000000007/shard-12345");
    EXPECT_EQ(generation_number(generation_directory(UINT64_MAX)), UINT64_MAX);
    for (const char* name : {"generation-7", "generation-0000000000000000", "generation-0000000000000007.tmp",
                             "damaged-0000000000000007", "generation-000000000000000a"}) {
        EXPECT_EQ(generation_number(name), std::nullopt) << name;
    }
}

// --- The manifest on the disk -------------------------------------------------------------------------------------

TEST(LoadManifest, a_new_directory_has_none) {
    SimDisk disk;
    EXPECT_EQ(load_manifest(disk), std::nullopt);
    store(disk, "LOCK", {});
    store(disk, "MANIFEST.tmp", content_bytes("half"));
    ASSERT_TRUE(disk.make_directory("lost+found"));
    EXPECT_EQ(load_manifest(disk), std::nullopt);
}

TEST(LoadManifest, a_directory_in_which_it_is_missing_is_damaged) {
    for (const char* name : {"channels", "generation-0000000000000001", "damaged-0000000000000001"}) {
        SimDisk disk;
        ASSERT_TRUE(disk.make_directory(name));
        const auto manifest = load_manifest(disk);
        ASSERT_FALSE(manifest);
        EXPECT_EQ(manifest.error().code, Errc::damaged);
        EXPECT_NE(manifest.error().context.find(name), std::string::npos);
    }
}

TEST(LoadManifest, one_that_is_damaged_too_long_or_cannot_be_read_is_never_none) {
    SimDisk disk;
    for (const Content& content : {Content{}, content_bytes("hello"), Content(1 << 20)}) {
        store(disk, "MANIFEST", content);
        const auto manifest = load_manifest(disk);
        ASSERT_FALSE(manifest);
        EXPECT_EQ(manifest.error().code, Errc::damaged);
        EXPECT_NE(manifest.error().context.find("MANIFEST"), std::string::npos);
    }
    store(disk, "MANIFEST", content_bytes(encode(seven)));
    disk.fail_reads("MANIFEST");
    EXPECT_EQ(load_manifest(disk).error().code, Errc::io_error);
}

TEST(StoreManifest, a_crash_at_every_operation_leaves_the_old_or_the_new_one) {
    SimDisk disk;
    ASSERT_TRUE(store_manifest(disk, seven));
    const auto before = disk.snapshot();
    const std::uint64_t first = disk.operations();
    ASSERT_TRUE(store_manifest(disk, eight));
    const std::uint64_t count = disk.operations() - first;
    for (std::uint64_t operation = 1; operation <= count + 1; ++operation) {
        for (std::uint64_t seed = 1; seed <= 50; ++seed) {
            disk.clear_faults();
            disk.restore(before);
            disk.crash_at(disk.operations() + operation);
            const bool is_stored = store_manifest(disk, eight).has_value();
            Prng prng{seed};
            disk.crash(prng);
            const auto manifest = load_manifest(disk);
            ASSERT_TRUE(manifest) << manifest.error().message();
            EXPECT_TRUE(*manifest == eight || (!is_stored && *manifest == seven)) << operation;
            disk.clear_faults();
            ASSERT_TRUE(store_manifest(disk, eight)) << "what the crash left is in the way";
        }
    }
}

TEST(StoreManifest, the_first_one_is_there_or_not) {
    for (std::uint64_t operation = 1; operation <= 6; ++operation) {
        for (std::uint64_t seed = 1; seed <= 20; ++seed) {
            SimDisk disk{{.seed = seed}};
            disk.crash_at(operation);
            const bool is_stored = store_manifest(disk, seven).has_value();
            Prng prng{seed};
            disk.crash(prng);
            const auto manifest = load_manifest(disk);
            ASSERT_TRUE(manifest);
            EXPECT_TRUE(*manifest == seven || (!is_stored && *manifest == std::nullopt));
        }
    }
}

// --- The lock -----------------------------------------------------------------------------------------------------

TEST(DataDirectoryLock, names_the_process_that_has_it) {
    SimDisk disk;
    auto lock = lock_data_directory(disk);
    ASSERT_TRUE(lock);
    const std::string pid = std::to_string(::getpid());
    EXPECT_EQ(load(disk, "LOCK"), content_bytes(pid + "\n"));

    const auto second = lock_data_directory(disk);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Errc::locked);
    EXPECT_NE(second.error().context.find("by process " + pid), std::string::npos) << second.error().context;
    lock->reset();
    EXPECT_TRUE(lock_data_directory(disk));
}

TEST(DataDirectoryLock, says_locked_even_if_the_file_says_nothing) {
    SimDisk disk;
    const auto lock = disk.lock("LOCK", "someone");
    ASSERT_TRUE(lock);
    const auto second = lock_data_directory(disk);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Errc::locked);
    EXPECT_EQ(second.error().context, "the data directory is in use");
}

// --- Leftovers ----------------------------------------------------------------------------------------------------

class Leftovers : public ::testing::Test {
protected:
    void make_generation(std::uint64_t generation, std::uint32_t shards) {
        ASSERT_TRUE(disk_.make_directory(generation_directory(generation)));
        for (std::uint32_t shard = 0; shard < shards; ++shard) {
            const std::string directory = shard_directory(generation, shard);
            ASSERT_TRUE(disk_.make_directory(directory));
            store(disk_, directory + "/wal-0000000000000001", content_bytes("log"));
            store(disk_, directory + "/checkpoint-0000000000000001", content_bytes("state"));
            ASSERT_TRUE(disk_.sync_directory(directory));
        }
        ASSERT_TRUE(disk_.sync_directory(generation_directory(generation)));
        ASSERT_TRUE(disk_.sync_directory(""));
    }

    [[nodiscard]] bool is_whole(std::uint64_t generation, std::uint32_t shards) const {
        bool is_there = true;
        for (std::uint32_t shard = 0; shard < shards; ++shard) {
            const std::string directory = shard_directory(generation, shard);
            is_there = is_there && disk_.exists(directory + "/wal-0000000000000001") &&
                       disk_.exists(directory + "/checkpoint-0000000000000001");
        }
        return is_there;
    }

    SimDisk disk_;
};

TEST_F(Leftovers, other_generations_and_temporary_files_go_and_all_else_stays) {
    make_generation(6, 1);
    make_generation(7, 2);
    make_generation(8, 1);
    for (const char* name : {"channels", "channels/0000000000000001", "damaged-0000000000000005", "lost+found"}) {
        ASSERT_TRUE(disk_.make_directory(name));
    }
    const std::string segment = "channels/0000000000000001/segment-00000001";
    for (const std::string& path :
         {std::string{"MANIFEST.tmp"}, shard_directory(7, 1) + "/checkpoint-0000000000000002.tmp", segment,
          std::string{"damaged-0000000000000005/x.tmp"}, std::string{"LOCK"}, std::string{"notes"}}) {
        store(disk_, path, content_bytes("x"));
    }
    ASSERT_TRUE(store_manifest(disk_, seven));
    ASSERT_TRUE(remove_leftovers(disk_, seven));
    EXPECT_TRUE(is_whole(7, 2));
    EXPECT_FALSE(disk_.exists(generation_directory(6)));
    EXPECT_FALSE(disk_.exists(generation_directory(8)));
    EXPECT_FALSE(disk_.exists("MANIFEST.tmp"));
    EXPECT_FALSE(disk_.exists(shard_directory(7, 1) + "/checkpoint-0000000000000002.tmp"));
    for (const std::string& path : {segment, std::string{"damaged-0000000000000005/x.tmp"}, std::string{"LOCK"},
                                    std::string{"notes"}, std::string{"lost+found"}, std::string{"MANIFEST"}}) {
        EXPECT_TRUE(disk_.exists(path)) << path;
    }
    // A second time there is nothing to do, and a disk that lost its power in between has nothing back.
    disk_.crash_losing_everything();
    EXPECT_FALSE(disk_.exists(generation_directory(6)));
    ASSERT_TRUE(remove_leftovers(disk_, seven));
}

TEST_F(Leftovers, before_the_first_generation_every_generation_is_a_leftover) {
    make_generation(1, 2);
    ASSERT_TRUE(remove_leftovers(disk_, Manifest{}));
    EXPECT_FALSE(disk_.exists(generation_directory(1)));
}

TEST_F(Leftovers, a_directory_that_the_disk_refuses_to_remove_is_an_error) {
    make_generation(6, 1);
    make_generation(7, 2);
    disk_.fail_always(DiskFault::io_error);
    EXPECT_FALSE(remove_leftovers(disk_, seven));
}

TEST_F(Leftovers, whatever_is_cut_off_the_manifest_names_a_whole_generation) {
    make_generation(7, 2);
    make_generation(8, 3);
    ASSERT_TRUE(store_manifest(disk_, seven));
    const auto before = disk_.snapshot();
    // The process is killed at one operation of the switch: what it did stays visible. The next one removes what is
    // left over, and the power goes at one operation of that.
    for (std::uint64_t killed_at = 1; killed_at <= 6; ++killed_at) {
        for (std::uint64_t operation = 1; operation <= 40; ++operation) {
            for (std::uint64_t seed = 1; seed <= 10; ++seed) {
                disk_.clear_faults();
                disk_.restore(before);
                disk_.fail_at(disk_.operations() + killed_at, DiskFault::io_error, 100);
                static_cast<void>(store_manifest(disk_, eight));
                disk_.clear_faults();
                const auto visible = load_manifest(disk_);
                ASSERT_TRUE(visible && *visible);
                disk_.crash_at(disk_.operations() + operation);
                static_cast<void>(remove_leftovers(disk_, **visible));
                Prng prng{seed};
                disk_.crash(prng);
                const auto manifest = load_manifest(disk_);
                ASSERT_TRUE(manifest && *manifest);
                ASSERT_TRUE(is_whole((*manifest)->generation, (*manifest)->shards))
                    << "killed at " << killed_at << ", power cut at " << operation << ", seed " << seed;
            }
        }
    }
}

}  // namespace
}  // namespace baton::storage
