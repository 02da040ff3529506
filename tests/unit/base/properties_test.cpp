// Property blocks: layout, round trips, damage.
#include "common/base/properties.hpp"

#include <string>

#include <gtest/gtest.h>

#include "common/base/hex.hpp"
#include "common/base/prng.hpp"

namespace baton {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""us;

MessageProperties everything() {
    return {.key = "customer-7",
            .priority = 9,
            .ttl = 1500ms,
            .delay = 2us,
            .not_before = std::chrono::sys_time<std::chrono::microseconds>{-1us},
            .content_type = "text/plain",
            .reply_to = "replies",
            .correlation_id = "c-1",
            .trace_context = "00-4bf9-00f0-01",
            .message_id = "m-1",
            .headers = {{"region", "eu"}, {"", "no name"}, {"region", "again"}, {"no value", ""}}};
}

std::vector<std::byte> from_hex(std::string_view text) {
    return hex_decode(text).value();
}

TEST(properties, layout) {
    const MessageProperties properties{.key = "k", .priority = 3, .ttl = 258us, .headers = {{"a", "bc"}}};
    EXPECT_EQ(hex_encode(encode_properties(properties).value()),
              "01"
              "0100"
              "6b"
              "02"
              "0100"
              "03"
              "03"
              "0800"
              "0201000000000000"
              "09"
              "0500"
              "0100"
              "61"
              "6263");
}

TEST(properties, all_of_them_come_back) {
    const std::vector<std::byte> block = encode_properties(everything()).value();
    EXPECT_TRUE(is_well_formed_block(block));
    EXPECT_EQ(decode_properties(block).value(), everything());
    EXPECT_TRUE(encode_properties({}).value().empty());
    EXPECT_TRUE(decode_properties({}).value().empty());
    EXPECT_TRUE(MessageProperties{}.empty());
    EXPECT_FALSE(everything().empty());
}

TEST(properties, each_alone_makes_it_not_empty_and_comes_back) {
    const MessageProperties each[] = {{.key = "x"},
                                      {.priority = 0},
                                      {.ttl = 0us},
                                      {.delay = 0us},
                                      {.not_before = std::chrono::sys_time<std::chrono::microseconds>{}},
                                      {.content_type = "x"},
                                      {.reply_to = "x"},
                                      {.correlation_id = "x"},
                                      {.trace_context = "x"},
                                      {.message_id = "x"},
                                      {.headers = {{"", ""}}}};
    for (const MessageProperties& properties : each) {
        EXPECT_FALSE(properties.empty());
        EXPECT_EQ(decode_properties(encode_properties(properties).value()).value(), properties);
    }
}

TEST(properties, unknown_ones_are_skipped_and_the_first_of_a_kind_counts) {
    const auto block = from_hex("c8 0200 ffff  01 0100 61  c9 0000  01 0100 62  02 0100 05  02 0100 06");
    EXPECT_TRUE(is_well_formed_block(block));
    EXPECT_EQ(decode_properties(block).value(), (MessageProperties{.key = "a", .priority = 5}));
    EXPECT_EQ(as_text(find_property(block, PropertyId::key).value()), "a");
    EXPECT_EQ(find_property(block, PropertyId::priority).value()[0], std::byte{5});
    EXPECT_FALSE(find_property(block, PropertyId::ttl_us));
    EXPECT_EQ(find_property(block, static_cast<PropertyId>(0xc8)).value().size(), 2U);
    EXPECT_FALSE(find_property({}, PropertyId::key));
}

TEST(properties, known_ones_have_a_possible_size) {
    for (const char* text : {"02 0000", "02 0200 0000", "03 0700 00000000000000", "04 0900 000000000000000000",
                             "0b 0700 00000000000000", "09 0000", "09 0100 00", "09 0200 0100", "09 0300 0200 61"}) {
        const auto block = from_hex(text);
        EXPECT_FALSE(is_well_formed_block(block)) << text;
        EXPECT_EQ(decode_properties(block).error(), BatchErrc::property_malformed) << text;
    }
    EXPECT_TRUE(is_well_formed_block(from_hex("09 0200 0000")));
    EXPECT_TRUE(is_well_formed_block(from_hex("01 0000")));
}

TEST(properties, a_time_that_does_not_fit_is_the_longest) {
    const auto block = from_hex("03 0800 ffffffffffffffff");
    EXPECT_EQ(decode_properties(block).value().ttl, std::chrono::microseconds::max());
}

TEST(properties, a_block_that_is_cut_inside_a_property_is_malformed) {
    const std::vector<std::byte> block = encode_properties(everything()).value();
    std::size_t whole_count = 0;
    for (std::size_t size = 0; size < block.size(); ++size) {
        // A copy of exactly this size, so that reading on is seen by AddressSanitizer.
        const std::vector<std::byte> cut{block.begin(), block.begin() + static_cast<std::ptrdiff_t>(size)};
        const bool is_whole = is_well_formed_block(cut);
        ASSERT_EQ(decode_properties(cut).has_value(), is_whole);
        (void)find_property(cut, PropertyId::message_id);
        whole_count += is_whole ? 1 : 0;
    }
    EXPECT_EQ(whole_count, 14U);  // In front of each of the 14 properties.
}

TEST(properties, too_large_a_block_is_refused) {
    const std::size_t text_max = properties_size_max - 3;
    EXPECT_EQ(encode_properties({.key = std::string(text_max, 'x')}).value().size(), properties_size_max);
    for (const std::size_t size : {text_max + 1, properties_size_max + 1, std::size_t{200'000}}) {
        const auto block = encode_properties({.key = std::string(size, 'x')});
        ASSERT_FALSE(block);
        EXPECT_EQ(block.error().code, std::errc::message_size);
    }
    EXPECT_FALSE(encode_properties({.headers = {{std::string(40'000, 'n'), std::string(40'000, 'v')}}}));
    EXPECT_FALSE(encode_properties({.key = std::string(40'000, 'k'), .message_id = std::string(40'000, 'm')}));
}

}  // namespace
}  // namespace baton
