// Bodies of STEP and STEPPED that are not well formed. What is well formed: tests/golden.
#include "common/wire/step.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace baton::wire {
namespace {

const std::array<std::byte, 16> producer{std::byte{1}};

std::vector<std::byte> usual_step() {
    const Settlement done{.first = 7, .count = 2, .attempt = 1, .outcome = 1, .argument = 0};
    StepBuilder builder{producer, 9};
    builder.add_messages(as_bytes("out"), false, as_bytes("a batch"));
    builder.add_settlements(3, {&done, 1});
    return {builder.body().begin(), builder.body().end()};
}

constexpr std::size_t first_section = step_head_size;
constexpr std::size_t second_section = first_section + step_section_head_size + step_messages_head_size + 3 + 7;

TEST(Step, EveryPrefixIsRefused) {
    const auto body = usual_step();
    ASSERT_TRUE(decode_step(body));
    for (std::size_t size = 0; size < body.size(); ++size) {
        EXPECT_FALSE(decode_step(Bytes{body}.first(size))) << size;
    }
    auto longer = body;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(decode_step(longer));
}

TEST(Step, WhatItNeedsAndWhatIsReserved) {
    struct Change {
        std::size_t at;
        std::uint8_t value;
        const char* what;
    };
    for (const Change& change :
         {Change{0, 0, "no producer"}, Change{16, 0, "number 0"}, Change{24, 0, "no sections"},
          Change{24, 3, "a section too many"}, Change{28, 1, "reserved"}, Change{first_section, 3, "unknown kind"},
          Change{first_section + 1, 2, "unknown flag"}, Change{first_section + 2, 1, "messages on a link"},
          Change{first_section + step_section_head_size, 200, "a name beyond its section"},
          Change{first_section + step_section_head_size + 2, 1, "reserved behind the name's size"},
          Change{second_section + 1, 1, "settlements with a flag"}, Change{second_section + 4, 23, "no whole range"},
          Change{second_section + step_section_head_size + 17, 1, "reserved in a range"}}) {
        auto body = usual_step();
        body[change.at] = static_cast<std::byte>(change.value);
        EXPECT_FALSE(decode_step(body)) << change.what;
    }
}

TEST(Step, TooManySections) {
    StepBuilder builder{producer, 1};
    for (std::size_t i = 0; i < step_sections_max; ++i) {
        builder.add_messages(as_bytes("x"), false, {});
    }
    EXPECT_TRUE(decode_step(builder.body()));
    builder.add_messages(as_bytes("x"), false, {});
    EXPECT_FALSE(decode_step(builder.body()));
}

TEST(Step, AnswersThatAreNone) {
    std::vector<std::byte> body(12);
    EXPECT_TRUE(decode_stepped(body));
    EXPECT_FALSE(decode_stepped(Bytes{body}.first(11)));
    body[8] = std::byte{1};
    EXPECT_FALSE(decode_stepped(body)) << "the text is missing";
    body.push_back(std::byte{0xff});
    EXPECT_FALSE(decode_stepped(body)) << "not UTF-8";
    body.back() = std::byte{'a'};
    EXPECT_TRUE(decode_stepped(body));
    body[10] = std::byte{1};
    EXPECT_FALSE(decode_stepped(body)) << "reserved";
}

}  // namespace
}  // namespace baton::wire
