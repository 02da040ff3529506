// The files of the formats of tests/golden/storage: writing gives exactly their bytes, reading gives back the values.
// Files are added, never changed: what was once written stays readable. What is not well formed is tested in
// tests/unit/storage.
//
// Form of .hex: lines of hex; blanks mean nothing, and what follows `;` or `#` is for people.

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/hex.hpp"
#include "server/storage/checkpoint.hpp"
#include "server/storage/data_directory.hpp"
#include "server/storage/segment.hpp"
#include "tests/sim/disk.hpp"

namespace baton::storage {
namespace {

constexpr StreamId stream{0x700000001};

std::string read_text(const std::string& name) {
    std::ifstream file{BATON_GOLDEN_DIR "/storage/" + name};
    if (!file) {
        throw std::runtime_error{"cannot read " + name};
    }
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<std::byte> read_hex(const std::string& name) {
    std::istringstream text{read_text(name)};
    std::string digits;
    for (std::string line; std::getline(text, line);) {
        digits += line.substr(0, line.find_first_of(";#"));
    }
    const auto bytes = hex_decode(digits);
    if (!bytes) {
        throw std::runtime_error{name + " is not hex"};
    }
    return *bytes;
}

/// For a failure message and for making a file of a new version.
std::string layout(Bytes bytes) {
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += 16) {
        text += hex_encode(bytes.subspan(at, std::min<std::size_t>(16, bytes.size() - at))) + "\n";
    }
    return text;
}

const std::string long_body(70, 'x');

TEST(GoldenStorage, segment_v1) {
    const auto golden = read_hex("segment-v1.hex");
    sim::SimDisk disk;
    ASSERT_TRUE(ensure_directory(disk, "channels"));
    ASSERT_TRUE(ensure_directory(disk, stream_directory(stream)));
    ASSERT_TRUE(disk.open(segment_path(stream, 2), OpenMode::create));  // The next one is the third.
    SegmentWriter writer{stream, 1 << 20};
    const std::vector<BlockContent> blocks = {
        {.first = 1, .end = 4, .entries = 2, .parts = {as_bytes("first"), as_bytes(" and second")}},
        {.first = 0xfffffffff0, .end = 0xffffffffff, .entries = 1, .parts = {as_bytes(long_body)}}};
    const auto refs = writer.append(disk, blocks);
    ASSERT_TRUE(refs);
    const auto written = read_whole(disk, segment_path(stream, 3));
    ASSERT_TRUE(written);
    EXPECT_EQ(layout(*written), layout(golden));

    // What is in the golden file is read, whoever wrote it.
    const auto file = disk.open(segment_path(stream, 4), OpenMode::create);
    ASSERT_TRUE(file);
    const Bytes parts[] = {golden};
    ASSERT_TRUE((*file)->write(0, parts));
    const std::vector<BlockRef> expected = {
        {.segment = 4, .size = 16, .position = 64, .first = 1, .end = 4},
        {.segment = 4, .size = 70, .position = 192, .first = 0xfffffffff0, .end = 0xffffffffff}};
    const std::vector<std::string> bodies = {"first and second", long_body};
    for (std::size_t i = 0; i < expected.size(); ++i) {
        std::string body(expected[i].size, '?');
        EXPECT_TRUE(read_block(disk, stream, expected[i], std::as_writable_bytes(std::span{body})));
        EXPECT_EQ(body, bodies[i]);
    }
}

TEST(GoldenStorage, checkpoint_v1) {
    const auto golden = read_hex("checkpoint-v1.hex");
    const CheckpointHeader header{.generation = 7, .shard = 1, .index = 1'234'567'890'123, .first_wal_file = 5};
    CheckpointBuilder builder{header};
    builder.add(StreamId{0}, 3, {});
    builder.add(stream, 99, as_bytes("state of a channel"));
    EXPECT_EQ(layout(builder.take()), layout(golden));

    const auto decoded = decode_checkpoint(golden);
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_EQ(decoded->header, header);
    ASSERT_EQ(decoded->sections.size(), 2U);
    EXPECT_EQ(decoded->sections[0].stream, StreamId{0});
    EXPECT_EQ(decoded->sections[0].number, 3U);
    EXPECT_TRUE(decoded->sections[0].body.empty());
    EXPECT_EQ(decoded->sections[1].stream, stream);
    EXPECT_EQ(decoded->sections[1].number, 99U);
    EXPECT_EQ(as_text(decoded->sections[1].body), "state of a channel");
    EXPECT_FALSE(decoded->sections[0].is_damaged || decoded->sections[1].is_damaged);
}

TEST(GoldenStorage, manifest_v1) {
    const Manifest manifest{.format = 1, .generation = 7, .shards = 2};
    const std::string golden = read_text("manifest-v1.txt");
    EXPECT_EQ(encode(manifest), golden);
    EXPECT_EQ(decode_manifest(golden), manifest);
}

}  // namespace
}  // namespace baton::storage
