// The batch layout: what check_batch accepts, and that nothing it accepts can lead a reader astray.
#include "common/base/batch.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/batch_builder.hpp"
#include "common/base/hex.hpp"
#include "common/base/prng.hpp"
#include "common/base/properties.hpp"

namespace baton {
namespace {

using Buffer = std::vector<std::byte>;

Buffer copy(Bytes bytes) {
    return {bytes.begin(), bytes.end()};
}

BatchErrc errc_of(Bytes whole) {
    const auto header = check_batch(whole);
    return header ? BatchErrc::ok : header.error();
}

// Two messages, "hello" and "", offset 7, time 1 s, no CRC.
const char* const plain_hex =
    "02000000 0000 0000"
    "0700000000000000"
    "40420f0000000000"
    "00000000 0d000000"
    "05000000 68656c6c6f"
    "00000000";

// One message "hi" with priority 3.
const char* const rich_hex =
    "01000000 0100 0000"
    "0000000000000000"
    "0000000000000000"
    "00000000 0c000000"
    "08000000 0400 02010003 6869";

struct Message {
    std::string payload;
    Buffer properties;
};

std::vector<Message> random_messages(Prng& prng, bool has_properties) {
    std::vector<Message> messages(prng.range(1, 12));
    for (Message& message : messages) {
        message.payload.assign(prng.chance(1, 4) ? 0 : prng.below(60), static_cast<char>('a' + prng.below(26)));
        if (has_properties && prng.chance(3, 4)) {
            message.properties = encode_properties({.key = std::string(prng.below(9), 'k'), .priority = 4}).value();
        }
    }
    return messages;
}

Buffer build(const std::vector<Message>& messages, BatchBuilder::Crc crc = BatchBuilder::Crc::on) {
    ChunkPool pool;
    BatchBuilder builder;
    for (const Message& message : messages) {
        builder.append(as_bytes(message.payload), message.properties);
    }
    return copy(builder.take(pool, crc).bytes());
}

// What a reader does with a batch that was accepted. Returns the number of messages.
std::uint32_t walk(const BatchHeader& header, Bytes region) {
    MessageCursor cursor{region, header.has_properties()};
    std::uint32_t count = 0;
    for (MessageView message; cursor.next(message); ++count) {
        EXPECT_TRUE(decode_properties(message.properties));
        EXPECT_LE(message.payload.size(), region.size());
        EXPECT_EQ(messages_prefix_size(region, count + 1), cursor.position());
    }
    EXPECT_EQ(cursor.remaining(), 0U);
    return count;
}

TEST(batch, layout_without_properties) {
    const Buffer whole = hex_decode(plain_hex).value();
    const auto header = check_batch(whole);
    ASSERT_TRUE(header);
    EXPECT_EQ(*header, (BatchHeader{.count = 2, .base_offset = 7, .time_us = 1'000'000, .messages_size = 13}));
    MessageCursor cursor{messages_of(whole), header->has_properties()};
    MessageView message;
    ASSERT_TRUE(cursor.next(message));
    EXPECT_EQ(as_text(message.payload), "hello");
    EXPECT_EQ(cursor.position(), 9U);
    ASSERT_TRUE(cursor.next(message));
    EXPECT_TRUE(message.payload.empty());
    EXPECT_FALSE(cursor.next(message));
    EXPECT_EQ(cursor.remaining(), 0U);
}

TEST(batch, layout_with_properties) {
    const Buffer whole = hex_decode(rich_hex).value();
    const auto header = check_batch(whole);
    ASSERT_TRUE(header);
    ASSERT_TRUE(header->has_properties());
    MessageCursor cursor{messages_of(whole), true};
    MessageView message;
    ASSERT_TRUE(cursor.next(message));
    EXPECT_EQ(as_text(message.payload), "hi");
    EXPECT_EQ(decode_properties(message.properties).value(), (MessageProperties{.priority = 3}));
    EXPECT_FALSE(cursor.next(message));
}

TEST(batch, header_is_the_pair_of_its_decoder) {
    const BatchHeader header{.count = 0xfffffffe,
                             .flags = batch_has_properties | batch_has_crc,
                             .base_offset = 0x1122334455667788,
                             .time_us = -5,
                             .crc32c = 0xdeadbeef,
                             .messages_size = 0xfedcba98};
    Buffer bytes(batch_header_size, std::byte{0xff});
    encode(header, bytes);
    EXPECT_EQ(hex_encode(bytes), "feffffff030000008877665544332211fbffffffffffffffefbeadde98badcfe");
    EXPECT_EQ(decode_batch_header(bytes).value(), header);
}

TEST(batch, each_rule_of_the_header_has_its_error) {
    const auto error_with = [](std::size_t at, int value) {
        Buffer whole = hex_decode(plain_hex).value();
        whole.at(at) = static_cast<std::byte>(value);
        return errc_of(whole);
    };
    EXPECT_EQ(error_with(0, 2), BatchErrc::ok);
    EXPECT_EQ(error_with(0, 0), BatchErrc::count_zero);
    EXPECT_EQ(error_with(0, 1), BatchErrc::count_mismatch);
    EXPECT_EQ(error_with(0, 3), BatchErrc::count_mismatch);
    EXPECT_EQ(error_with(4, 4), BatchErrc::flags_unknown);
    EXPECT_EQ(error_with(5, 1), BatchErrc::flags_unknown);
    EXPECT_EQ(error_with(6, 1), BatchErrc::reserved_not_zero);
    EXPECT_EQ(error_with(7, 1), BatchErrc::reserved_not_zero);
    EXPECT_EQ(error_with(28, 12), BatchErrc::size_mismatch);
    EXPECT_EQ(error_with(28, 14), BatchErrc::size_mismatch);
    EXPECT_EQ(error_with(31, 1), BatchErrc::size_mismatch);
    EXPECT_EQ(error_with(32, 6), BatchErrc::message_overruns);  // Three bytes are left for the second length.
    EXPECT_EQ(error_with(32, 9), BatchErrc::count_mismatch);    // The first message swallows the second.
    EXPECT_EQ(error_with(32, 10), BatchErrc::message_overruns);
    EXPECT_EQ(error_with(35, 255), BatchErrc::message_overruns);
    EXPECT_EQ(error_with(41, 1), BatchErrc::message_overruns);
}

TEST(batch, each_rule_of_the_properties_has_its_error) {
    const auto error_with = [](std::size_t at, int value) {
        Buffer whole = hex_decode(rich_hex).value();
        whole.at(at) = static_cast<std::byte>(value);
        return errc_of(whole);
    };
    EXPECT_EQ(error_with(32, 8), BatchErrc::ok);
    EXPECT_EQ(error_with(32, 9), BatchErrc::message_overruns);
    EXPECT_EQ(error_with(36, 7), BatchErrc::properties_overrun);
    EXPECT_EQ(error_with(37, 1), BatchErrc::properties_overrun);
    EXPECT_EQ(error_with(36, 3), BatchErrc::property_malformed);
    EXPECT_EQ(error_with(36, 5), BatchErrc::property_malformed);
    EXPECT_EQ(error_with(39, 2), BatchErrc::property_malformed);
    EXPECT_EQ(error_with(38, 3), BatchErrc::property_malformed);  // A TTL of one byte.
    EXPECT_EQ(error_with(38, 77), BatchErrc::ok);                 // A property of a later version.
    Buffer tiny = hex_decode(rich_hex).value();
    tiny.resize(batch_header_size + 5);
    store_u32(tiny.data() + 28, 5);
    store_u32(tiny.data() + 32, 1);
    EXPECT_EQ(check_batch(tiny).error(), BatchErrc::properties_overrun);
}

TEST(batch, lengths_do_not_wrap_around) {
    for (const std::uint32_t length : {0xffffffffU, 0xfffffffcU, 0xfffffff3U, 0x80000000U}) {
        for (const char* hex : {plain_hex, rich_hex}) {
            Buffer whole = hex_decode(hex).value();
            store_u32(whole.data() + batch_header_size, length);
            EXPECT_EQ(check_batch(whole).error(), BatchErrc::message_overruns) << length;
        }
    }
}

TEST(batch, cut_anywhere_or_followed_by_anything_it_is_refused) {
    Prng prng{1};
    for (int round = 0; round < 20; ++round) {
        const Buffer whole = build(random_messages(prng, round % 2 == 0));
        ASSERT_TRUE(check_batch(whole));
        for (std::size_t size = 0; size < whole.size(); ++size) {
            const Buffer cut = copy(Bytes{whole}.first(size));
            const BatchErrc expected =
                size < batch_header_size ? BatchErrc::header_truncated : BatchErrc::size_mismatch;
            ASSERT_EQ(errc_of(cut), expected) << size;
        }
        Buffer longer = whole;
        longer.push_back(std::byte{0});
        ASSERT_EQ(check_batch(longer).error(), BatchErrc::size_mismatch);
    }
}

TEST(batch, a_region_cut_anywhere_is_refused_also_if_the_header_agrees) {
    Prng prng{2};
    for (int round = 0; round < 20; ++round) {
        const Buffer whole = build(random_messages(prng, round % 2 == 0), BatchBuilder::Crc::off);
        for (std::size_t size = batch_header_size; size < whole.size(); ++size) {
            Buffer cut = copy(Bytes{whole}.first(size));
            store_u32(cut.data() + 28, static_cast<std::uint32_t>(size - batch_header_size));
            ASSERT_FALSE(check_batch(cut)) << size;
        }
    }
}

TEST(batch, a_flipped_bit_is_refused_or_harmless) {
    Prng prng{3};
    std::uint32_t refused_count = 0;
    for (int round = 0; round < 30; ++round) {
        const Buffer whole = build(random_messages(prng, round % 2 == 0));
        for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
            Buffer damaged = whole;
            damaged[bit / 8] ^= std::byte{1} << (bit % 8);
            const auto header = check_batch(damaged);
            if (!header) {
                ++refused_count;
                continue;
            }
            ASSERT_EQ(walk(*header, messages_of(damaged)), header->count);
            // The checksum sees every flip in the region, and one in itself, unless it was switched off.
            const bool is_protected = bit >= batch_header_size * 8 || bit / 32 == 6;
            ASSERT_EQ(check_batch_crc(damaged), !is_protected) << "bit " << bit;
        }
    }
    EXPECT_GT(refused_count, 1000U);
}

TEST(batch, random_bytes_lead_nobody_astray) {
    Prng prng{4};
    std::uint32_t accepted_count = 0;
    for (int round = 0; round < 50'000; ++round) {
        // Small lengths, so that some of them fit.
        Buffer whole(batch_header_size + prng.below(20));
        const auto region_size = static_cast<std::uint32_t>(whole.size() - batch_header_size);
        for (std::size_t at = batch_header_size; at < whole.size(); ++at) {
            whole[at] = static_cast<std::byte>(prng.chance(2, 3) ? 0 : prng.below(12));
        }
        const auto flags = static_cast<std::uint16_t>(prng.below(2));
        const auto count = static_cast<std::uint32_t>(prng.range(1, 4));
        encode({.count = count, .flags = flags, .messages_size = region_size}, whole);
        if (const auto header = check_batch(whole)) {
            ++accepted_count;
            ASSERT_EQ(walk(*header, messages_of(whole)), header->count);
        }
        // A cursor over bytes that nobody has checked ends without reading beyond them.
        MessageCursor cursor{messages_of(whole), flags != 0};
        for (MessageView message; cursor.next(message);) {
        }
        ASSERT_LE(cursor.position(), region_size);
    }
    EXPECT_GT(accepted_count, 100U);
}

TEST(batch, prefixes_are_message_boundaries) {
    const std::vector<Message> messages{{"one", {}}, {"", {}}, {"three", {}}};
    const Buffer whole = build(messages);
    const Bytes region = messages_of(whole);
    EXPECT_EQ(messages_prefix_size(region, 0), 0U);
    EXPECT_EQ(messages_prefix_size(region, 1), 7U);
    EXPECT_EQ(messages_prefix_size(region, 2), 11U);
    EXPECT_EQ(messages_prefix_size(region, 3), region.size());
}

TEST(batch_death, a_prefix_of_more_messages_than_there_are_is_a_bug) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const Buffer whole = build({{"one", {}}});
    EXPECT_DEATH((void)messages_prefix_size(messages_of(whole), 2), "assertion failed");
}

TEST(batch, a_slice_is_a_batch_again) {
    Prng prng{5};
    for (int round = 0; round < 200; ++round) {
        const std::vector<Message> messages = random_messages(prng, round % 2 == 0);
        const Buffer whole = build(messages);
        const BatchHeader header = check_batch(whole).value();
        const auto first = static_cast<std::uint32_t>(prng.below(header.count));
        const auto count = static_cast<std::uint32_t>(prng.range(1, header.count - first));
        const std::size_t begin = messages_prefix_size(messages_of(whole), first);
        const Bytes rest = messages_of(whole).subspan(begin);
        const Bytes region = rest.first(messages_prefix_size(rest, count));

        Buffer slice(batch_header_size);
        encode({.count = count,
                .flags = static_cast<std::uint16_t>(header.flags & ~batch_has_crc),
                .base_offset = first,
                .messages_size = static_cast<std::uint32_t>(region.size())},
               slice);
        slice.insert(slice.end(), region.begin(), region.end());
        const auto checked = check_batch(slice);
        ASSERT_TRUE(checked);
        MessageCursor cursor{messages_of(slice), checked->has_properties()};
        for (std::uint32_t i = first; i < first + count; ++i) {
            MessageView message;
            ASSERT_TRUE(cursor.next(message));
            ASSERT_EQ(as_text(message.payload), messages[i].payload);
            ASSERT_TRUE(equal(message.properties, messages[i].properties));
        }
    }
}

}  // namespace
}  // namespace baton
