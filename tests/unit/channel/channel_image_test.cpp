// The state machine of the commit log: what records make of a channel, and that they may be applied again.
#include "server/channel/channel_image.hpp"

#include <gtest/gtest.h>

#include "tests/unit/channel/durable_world.hpp"

namespace baton::channel::test {
namespace {

using Encoded = std::vector<std::byte>;

/// One line: next offset, cursor, live ranges, batches, producers.
std::string to_line(const ChannelImage& image) {
    std::string line =
        "next " + std::to_string(image.next_offset()) + " cursor " + std::to_string(image.queue().cursor()) + " live";
    for (const auto& [first, range] : image.queue().entries()) {
        line += " " + std::to_string(first) + "-" + std::to_string(range.end - 1) + "/" + std::to_string(range.attempt);
    }
    line += " batches";
    for (const auto& [first, batch] : image.batches()) {
        line += " " + std::to_string(first) + "+" + std::to_string(batch.count);
    }
    line += " producers";
    for (const auto& [id, last] : image.producers()) {
        line += " " + std::to_string(std::to_integer<int>(id.bytes[0])) + ":" + std::to_string(last);
    }
    return line;
}

struct ImageTest : testing::Test {
    void apply(const auto& record) {
        Encoded bytes;
        encode(record, bytes);
        apply_bytes(bytes);
    }
    void publish(Offset base, const Lines& words, std::uint8_t producer = 0, std::uint64_t last_sequence = 0) {
        const Payload batch = press.batch(words);
        auto header = *decode_batch_header(batch.bytes());
        header.base_offset = base;
        Encoded bytes;
        encode(PublishRecord{.header = header,
                             .producer = producer == 0 ? ProducerId{} : producer_of(producer),
                             .last_sequence = last_sequence,
                             .messages{}},
               bytes);
        const Bytes messages = messages_of(batch.bytes());
        bytes.insert(bytes.end(), messages.begin(), messages.end());
        apply_bytes(bytes);
    }
    void apply_bytes(const Encoded& bytes) {
        records.push_back(bytes);
        ASSERT_TRUE(image.apply(bytes, pool));
        const std::string once = to_line(image);
        ASSERT_TRUE(image.apply(bytes, pool));
        EXPECT_EQ(to_line(image), once) << "the second time changes something";
    }

    ChunkPool pool;
    Press press;
    ChannelImage image{test_stream};
    std::vector<Encoded> records;
};

TEST_F(ImageTest, RecordsMakeAChannel) {
    EXPECT_FALSE(image.exists());
    apply(SettingsRecord{.name = "orders", .options = {.messages_max = 5, .is_durable = true}, .damage{}});
    EXPECT_TRUE(image.exists());
    publish(1, {"a", "b", "c"}, 1, 3);
    publish(4, {"d"}, 2, 9);
    publish(5, {"e", "f"}, 1, 5);
    EXPECT_EQ(to_line(image), "next 7 cursor 1 live batches 1+3 4+1 5+2 producers 1:5 2:9");
    apply(StartedRecord{.cursor = 5, .ranges = {{2, 1, 1}}});
    EXPECT_EQ(to_line(image), "next 7 cursor 5 live 1-1/1 2-2/2 3-4/1 batches 1+3 4+1 5+2 producers 1:5 2:9");
    apply(SettledRecord{.cursor = 6, .ranges = {{1, 1}, {3, 2}}});
    EXPECT_EQ(to_line(image), "next 7 cursor 6 live 2-2/2 5-5/1 batches 1+3 4+1 5+2 producers 1:5 2:9");
    EXPECT_EQ(image.live_messages(), 3U);
    EXPECT_EQ(image.settle_contents(), "");
    EXPECT_EQ(to_line(image), "next 7 cursor 6 live 2-2/2 5-5/1 batches 1+3 5+2 producers 1:5 2:9");
    apply(DeletedRecord{});
    EXPECT_TRUE(image.is_deleted());
}

TEST_F(ImageTest, OlderRecordsChangeNothingAboutASavedState) {
    apply(SettingsRecord{.name = "orders", .options{}, .damage{}});
    publish(1, {"a", "b", "c"}, 1, 100);
    apply(StartedRecord{.cursor = 3, .ranges = {{1, 2, 1}}});
    apply(SettledRecord{.cursor = 3, .ranges = {{1, 1}}});
    publish(4, {"d"}, 1, 2);  // The producer was forgotten, and began anew.
    apply(SettledRecord{.cursor = 4, .ranges = {{3, 1}}});
    const std::string line = to_line(image);
    for (std::size_t first = 0; first <= records.size(); ++first) {
        ChannelImage restored{test_stream, image.state()};
        for (std::size_t i = first; i < records.size(); ++i) {
            ASSERT_TRUE(restored.apply(records[i], pool));
        }
        EXPECT_EQ(restored.state(), image.state()) << "from record " << first;
    }
    EXPECT_EQ(line, "next 5 cursor 4 live 2-2/2 batches 1+3 4+1 producers 1:2");
}

TEST_F(ImageTest, WhatIsInABlockIsNotKeptTwice) {
    ChannelState state{
        .settings = {.name = "orders", .options{}, .damage{}}, .next_offset = 4, .producers{}, .live{}, .blocks{}};
    state.blocks = {{.segment = 1, .size = 10, .position = 64, .first = 1, .end = 4}};
    image = ChannelImage{test_stream, state};
    publish(1, {"a", "b"});
    publish(4, {"d"});
    EXPECT_EQ(to_line(image), "next 5 cursor 1 live batches 4+1 producers");
    EXPECT_EQ(image.settle_contents(), "");
    apply(SettledRecord{.cursor = 4, .ranges = {{1, 3}}});
    EXPECT_EQ(image.settle_contents(), "");
    EXPECT_TRUE(image.blocks().empty());
}

TEST_F(ImageTest, MissingContentsAreReported) {
    apply(SettingsRecord{.name = "orders", .options{}, .damage{}});
    publish(3, {"c"});
    EXPECT_EQ(image.settle_contents(), "messages between offset 1 and 2 are missing");
    apply(SettledRecord{.cursor = 3, .ranges = {{1, 2}}});
    EXPECT_EQ(image.settle_contents(), "");
    apply(SettledRecord{.cursor = 9, .ranges{}});
    EXPECT_EQ(image.settle_contents(), "messages between offset 4 and 8 are missing");
    apply(SettledRecord{.cursor = 9, .ranges = {{4, 5}}});
    EXPECT_EQ(image.settle_contents(), "");
}

TEST_F(ImageTest, TheFirstDamageStays) {
    apply(SettingsRecord{.name = "orders", .options{}, .damage = "first"});
    apply(SettingsRecord{.name = "orders", .options{}, .damage{}});
    image.mark_damaged("second");
    EXPECT_EQ(image.settings().damage, "first");
}

TEST_F(ImageTest, WhatIsNoRecordIsRefused) {
    EXPECT_FALSE(image.apply({}, pool));
    EXPECT_FALSE(image.apply(as_bytes("\x09"), pool));
}

}  // namespace
}  // namespace baton::channel::test
