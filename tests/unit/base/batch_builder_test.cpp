// What a builder makes is a valid batch with the messages that went in.
#include "common/base/batch_builder.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"
#include "common/base/properties.hpp"

namespace baton {
namespace {

struct Appended {
    std::string payload;
    std::vector<std::byte> properties;
};

void expect_batch_of(const Payload& batch, const std::vector<Appended>& messages, bool has_properties) {
    const auto header = check_batch(batch.bytes());
    ASSERT_TRUE(header);
    EXPECT_EQ(header->count, messages.size());
    EXPECT_EQ(header->has_properties(), has_properties);
    EXPECT_EQ(header->base_offset, 0U);
    EXPECT_EQ(header->time_us, 0);
    EXPECT_TRUE(check_batch_crc(batch.bytes()));
    MessageCursor cursor{messages_of(batch.bytes()), has_properties};
    for (const Appended& message : messages) {
        MessageView view;
        ASSERT_TRUE(cursor.next(view));
        EXPECT_EQ(as_text(view.payload), message.payload);
        EXPECT_TRUE(equal(view.properties, message.properties));
    }
    EXPECT_EQ(cursor.remaining(), 0U);
}

TEST(batch_builder, one_message) {
    ChunkPool pool;
    BatchBuilder builder;
    EXPECT_TRUE(builder.empty());
    builder.append(as_bytes("hello"));
    EXPECT_EQ(builder.count(), 1U);
    EXPECT_EQ(builder.size(), batch_header_size + 9);
    const Payload batch = builder.take(pool);
    EXPECT_EQ(batch.size(), batch_header_size + 9);
    EXPECT_TRUE(check_batch(batch.bytes()).value().has_crc());
    expect_batch_of(batch, {{"hello", {}}}, false);
    EXPECT_TRUE(builder.empty());
}

TEST(batch_builder, crc_is_optional) {
    ChunkPool pool;
    BatchBuilder builder;
    builder.append(as_bytes("x"));
    const auto header = check_batch(builder.take(pool, BatchBuilder::Crc::off).bytes());
    ASSERT_TRUE(header);
    EXPECT_FALSE(header->has_crc());
    EXPECT_EQ(header->crc32c, 0U);
}

TEST(batch_builder, the_first_properties_turn_the_whole_batch) {
    ChunkPool pool;
    BatchBuilder builder;
    const auto block = encode_properties({.key = "k"}).value();
    builder.append(as_bytes("plain"));
    builder.append({});
    EXPECT_FALSE(builder.has_properties());
    builder.append(as_bytes("rich"), block);
    EXPECT_TRUE(builder.has_properties());
    builder.append(as_bytes("plain again"));
    expect_batch_of(builder.take(pool), {{"plain", {}}, {"", {}}, {"rich", block}, {"plain again", {}}}, true);
    builder.append(as_bytes("a new batch is plain"));
    expect_batch_of(builder.take(pool), {{"a new batch is plain", {}}}, false);
}

TEST(batch_builder, cleared_it_starts_over) {
    ChunkPool pool;
    BatchBuilder builder;
    builder.append(as_bytes("forgotten"), encode_properties({.key = "k"}).value());
    builder.clear();
    EXPECT_EQ(builder.size(), batch_header_size);
    builder.append(as_bytes("kept"));
    expect_batch_of(builder.take(pool), {{"kept", {}}}, false);
}

TEST(batch_builder_death, a_batch_has_a_message) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    ChunkPool pool;
    BatchBuilder builder;
    EXPECT_DEATH((void)builder.take(pool), "assertion failed");
    EXPECT_DEATH(builder.append({}, std::vector<std::byte>(properties_size_max + 1)), "assertion failed");
}

TEST(batch_builder, a_large_batch_is_the_chunk_it_was_built_in) {
    ChunkPool chunks;
    BatchBuilder builder{chunks};
    struct Case {
        std::size_t count;
        std::size_t size;
        bool is_copied;
    };
    for (const Case& wanted : {Case{5, 10'000, false}, Case{6, 10'000, false}, Case{1, 10'000, true}, Case{1, 200'000, false}}) {
        const std::string text(wanted.size, 'x');
        for (std::size_t i = 0; i < wanted.count; ++i) {
            builder.append(as_bytes(text));
        }
        ChunkPool pool;
        const Payload batch = builder.take(pool);
        expect_batch_of(batch, std::vector<Appended>(wanted.count, Appended{text, {}}), false);
        EXPECT_EQ(pool.outstanding_bytes() != 0, wanted.is_copied) << wanted.count << " of " << wanted.size;
        EXPECT_EQ(chunks.outstanding_bytes(), std::max(ChunkPool::medium_chunk_size, batch.size()));
    }
}

void build_random_batches(BatchBuilder builder, std::uint64_t large_size) {
    Prng prng{1};
    ChunkPool pool{4096};
    std::vector<std::pair<Payload, std::vector<Appended>>> kept;  // Batches in a shared chunk do not disturb each other.
    for (int round = 0; round < 300; ++round) {
        std::vector<Appended> messages(prng.range(1, 40));
        bool has_properties = false;
        for (Appended& message : messages) {
            message.payload.assign(prng.below(prng.chance(1, 10) ? large_size : 30), static_cast<char>(prng.below(256)));
            if (round % 2 == 0 && prng.chance(1, 5)) {
                message.properties = encode_properties({.key = "key", .priority = 1}).value();
                has_properties = true;
            }
            const std::size_t expected =
                builder.size() + builder.encoded_size(message.payload.size(), message.properties.size());
            const bool is_exact = builder.has_properties() || message.properties.empty() || builder.empty();
            builder.append(as_bytes(message.payload), message.properties);
            ASSERT_TRUE(!is_exact || builder.size() == expected);
        }
        const std::size_t size = builder.size();
        kept.emplace_back(builder.take(pool), std::move(messages));
        ASSERT_EQ(kept.back().first.size(), size);
        expect_batch_of(kept.back().first, kept.back().second, has_properties);
        if (prng.chance(1, 20)) {
            kept.clear();
        }
    }
    for (const auto& [batch, messages] : kept) {
        ASSERT_TRUE(check_batch_crc(batch.bytes()));
    }
}

TEST(batch_builder, random_batches_of_every_size) {
    build_random_batches(BatchBuilder{}, 3'000);
    ChunkPool chunks;
    build_random_batches(BatchBuilder{chunks}, 3'000);
    build_random_batches(BatchBuilder{chunks}, 20'000);
}

}  // namespace
}  // namespace baton
