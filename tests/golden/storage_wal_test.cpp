// The bytes of the write-ahead log, tests/golden/storage/wal-v1.hex: the writer writes exactly them, and the reader
// reads them. Files are added, never changed. What is not well formed is tested in tests/unit/storage.
//
// Form: lines of hex; blanks mean nothing, what follows `;` or `#` is for people; `@` and a number is a position.

#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/hex.hpp"
#include "server/storage/wal_reader.hpp"
#include "server/storage/wal_writer.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/disk_queue.hpp"

namespace baton::storage {
namespace {

constexpr std::size_t file_size = 64 * 1024;
constexpr StreamId stream{0x700000001};
const std::string path = "wal/" + wal_file_name(1);
const std::string long_body(50, 'x');

std::vector<std::byte> read_golden(const std::string& name) {
    std::ifstream file{BATON_GOLDEN_DIR "/storage/" + name};
    if (!file) {
        throw std::runtime_error{"cannot read " + name};
    }
    std::vector<std::byte> content(file_size);
    std::size_t position = 0;
    for (std::string line; std::getline(file, line);) {
        line = line.substr(0, line.find_first_of(";#"));
        if (line.starts_with('@')) {
            position = std::stoul(line.substr(1));
            continue;
        }
        const auto bytes = hex_decode(line);
        if (!bytes || position + bytes->size() > content.size()) {
            throw std::runtime_error{name + " is not hex, or too long"};
        }
        copy_bytes(content.data() + position, *bytes);
        position += bytes->size();
    }
    return content;
}

/// What is not zero, with positions.
std::string layout(Bytes bytes) {
    std::string text = std::to_string(bytes.size()) + " bytes\n";
    for (std::size_t at = 0; at < bytes.size(); at += 16) {
        const std::string line = hex_encode(bytes.subspan(at, std::min<std::size_t>(16, bytes.size() - at)));
        if (line.find_first_not_of('0') != std::string::npos) {
            text += std::to_string(at) + ": " + line + "\n";
        }
    }
    return text;
}

struct Events final : WalEvents {
    void on_wal_synced(Index index) noexcept override { synced = index; }
    void on_wal_failed(const Error& reason) noexcept override { FAIL() << reason.message(); }
    Index synced = 0;
};

struct Story final : WalVisitor {
    void on_record(const WalRecord& record) override {
        text += std::to_string(record.index) + " " + std::to_string(record.stream.value()) + "/" +
                std::to_string(record.number) + " " + std::string{as_text(record.body)} + "\n";
    }
    void on_damage(const WalDamage& damage) override { FAIL() << damage.text; }
    std::string text;
};

TEST(GoldenWal, WriterWritesVersion1) {
    sim::SimDisk disk;
    ASSERT_TRUE(disk.make_directory("wal"));
    sim::SimQueue queue{disk};
    Events events;
    WalWriter writer{
        queue,
        events,
        {.directory = "wal", .generation = 7, .shard = 2, .salt = 0x0123456789abcdef, .file_size = file_size}};
    writer.append(StreamId{0}, 1, {});
    writer.append(stream, 1, as_bytes("a record of a channel"));
    writer.flush();
    queue.run_all();
    writer.append(stream, 2, as_bytes(long_body));
    writer.flush();
    queue.run_all();
    EXPECT_EQ(events.synced, 3U);
    const auto written = read_whole(disk, path);
    ASSERT_TRUE(written);
    EXPECT_EQ(layout(*written), layout(read_golden("wal-v1.hex")));
}

TEST(GoldenWal, ReaderReadsVersion1) {
    sim::SimDisk disk;
    ASSERT_TRUE(disk.make_directory("wal"));
    const auto file = disk.open(path, OpenMode::create);
    ASSERT_TRUE(file);
    const std::vector<std::byte> golden = read_golden("wal-v1.hex");
    const Bytes parts[] = {golden};
    ASSERT_TRUE((*file)->write(0, parts));
    Story story;
    const auto report = read_wal(disk, {.directory = "wal", .generation = 7, .shard = 2}, story);
    ASSERT_TRUE(report);
    EXPECT_EQ(report->torn_text, "");
    EXPECT_TRUE(report->damage.empty());
    EXPECT_EQ(story.text, "1 0/1 \n2 30064771073/1 a record of a channel\n3 30064771073/2 " + long_body + "\n");
}

}  // namespace
}  // namespace baton::storage
