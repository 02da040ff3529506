// What the decoders of bodies refuse, field by field. That they take what they should: tests/golden; that no cut or
// flipped bit leads them astray: split_test.cpp.
#include "common/wire/bodies.hpp"

#include <initializer_list>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/hex.hpp"
#include "common/base/utf8.hpp"
#include "tests/golden/wire_vectors.hpp"

namespace baton::wire {
namespace {

using Body = std::vector<std::byte>;

Body body(std::string_view hex) {
    return hex_decode(hex).value();
}

Body body_of(std::string_view vector_name) {
    for (const golden::WireVector& vector : golden::read_wire_vectors()) {
        if (vector.name == vector_name) {
            return {vector.bytes.begin() + frame_header_size, vector.bytes.end()};
        }
    }
    ADD_FAILURE() << "there is no vector " << vector_name;
    return {};
}

// Each of these bytes may only be 0.
template <class Decode>
void expect_reserved(std::string_view vector_name, std::initializer_list<std::size_t> places, Decode decode) {
    const Body good = body_of(vector_name);
    ASSERT_TRUE(decode(good)) << vector_name;
    for (const std::size_t at : places) {
        Body bad = good;
        bad[at] = std::byte{1};
        EXPECT_FALSE(decode(bad)) << vector_name << ", byte " << at;
    }
}

TEST(Bodies, ReservedFieldsMustBeZero) {
    expect_reserved("attach.sender", {3}, decode_attach);
    expect_reserved("confirm", {1, 2, 3}, decode_confirm);
    expect_reserved("settle.outcomes", {17, 18, 19, 24 + 17, 5 * 24 + 19},
                    [](Bytes bytes) { return decode_settle(bytes); });
    expect_reserved("settled.exceptions", {4, 5, 6, 7, 8 + 20, 8 + 24 + 23}, decode_settled);
    expect_reserved("state.full", {2, 3}, decode_state);
    expect_reserved("fragment.first.publish", {2, 3, 4, 5, 6, 7}, decode_fragment_head);
    expect_reserved("admin", {2, 3}, decode_admin);
}

TEST(Bodies, AttachHasOneOfTwoRoles) {
    for (int role = 0; role < 256; ++role) {
        Body attach = body_of("attach.sender");
        attach[2] = static_cast<std::byte>(role);
        EXPECT_EQ(decode_attach(attach).has_value(), role == 1 || role == 2) << role;
    }
}

TEST(Bodies, AttachNameOfAnyLength) {
    ChunkPool pool;
    Outbox outbox{pool};
    for (const std::size_t size : {0U, 1U, 255U, 65'535U}) {
        const std::string name(size, '\xff');
        put_attach(outbox, 1, {.role = Role::receiver, .name = as_bytes(name), .options = "{}"});
        const auto bytes = golden::drain(outbox);
        const auto attach = decode_attach(Bytes{bytes}.subspan(frame_header_size));
        ASSERT_TRUE(attach);
        EXPECT_EQ(as_text(attach->name), name);
        EXPECT_EQ(attach->options, "{}");
    }
    EXPECT_FALSE(decode_attach(body("0200 01 00 61")));  // The name is longer than the body.
    EXPECT_FALSE(decode_attach(body("ffff 01 00 61")));
}

TEST(Bodies, ConfirmLevels) {
    for (int level = 0; level < 256; ++level) {
        Body confirm = body_of("confirm");
        confirm[0] = static_cast<std::byte>(level);
        EXPECT_EQ(decode_confirm(confirm).has_value(), level >= 1 && level <= 3) << level;
    }
}

// The count must be that of the records behind it; a great one must not wrap around.
TEST(Bodies, CountsOfExceptions) {
    for (const char* count : {"00000000", "02000000", "ffffffff", "00000010"}) {
        EXPECT_FALSE(decode_confirm(body(std::string{"01 00 0000"} + count + "0100000000000000 01000000 13000000")));
    }
    for (const char* count : {"00000000", "02000000", "ffffffff", "00000020"}) {
        EXPECT_FALSE(
            decode_settled(body(std::string{count} + "00000000 0100000000000000 01000000 01000000 16000000 00000000")));
    }
    EXPECT_FALSE(decode_confirm(body("01 00 0000 01000000")));
    EXPECT_FALSE(decode_settled(body("01000000 00000000")));
}

TEST(Bodies, SettleIsNeverEmpty) {
    EXPECT_FALSE(decode_settle({}));
    EXPECT_EQ(decode_settle(body_of("settle.outcomes"))->remaining(), 6U);
    EXPECT_FALSE(decode_settle(body("0200 6e6f"), flag_settle_note));
}

TEST(Bodies, SettleNoteIsLimitedText) {
    const std::string range = "0100000000000000 01000000 01000000 04 00 0000 00000000";
    const auto note_of = [&](const std::string& note) {
        const Body settle = body(note + range);
        const auto decoded = decode_settle(settle, flag_settle_note);
        return decoded ? std::optional{std::string{decoded->note}} : std::nullopt;
    };
    EXPECT_EQ(note_of("0200 6e6f"), "no");
    EXPECT_EQ(note_of("0000"), "");
    EXPECT_FALSE(note_of("0200 ff6f"));  // Not UTF-8.
    EXPECT_FALSE(note_of("ffff"));       // Longer than the body.
    EXPECT_FALSE(decode_settle(body("02"), flag_settle_note));
    EXPECT_FALSE(decode_settle(body("0200 6e6f" + range)));  // A note that the flag does not announce.
    EXPECT_TRUE(decode_settle(body(range), 0xfe));           // Flags of the future.

    ChunkPool pool;
    Outbox outbox{pool};
    const Settlement reject{.first = 1, .count = 1, .outcome = 4};
    put_settle(outbox, 1, 0, {&reject, 1}, std::string(1'023, 'x') + "\xc3\xa4\xff");
    const auto bytes = golden::drain(outbox);
    const auto settle = decode_settle(Bytes{bytes}.subspan(frame_header_size), flag_settle_note);
    ASSERT_TRUE(settle);
    EXPECT_EQ(settle->note, std::string(1'023, 'x'));  // Not half of a character.
    EXPECT_EQ(settle->remaining(), 1U);

    const Body too_long = body("0104" + std::string(2 * 1'025, '6') + range);
    EXPECT_FALSE(decode_settle(too_long, flag_settle_note));
}

TEST(Bodies, RecordReaderEnds) {
    const Body settle = body_of("settle");  // The reader only looks at it.
    auto reader = *decode_settle(settle);
    Settlement record;
    EXPECT_EQ(reader.remaining(), 1U);
    EXPECT_TRUE(reader.next(record));
    EXPECT_EQ(reader.remaining(), 0U);
    const Settlement last = record;
    EXPECT_FALSE(reader.next(record));
    EXPECT_EQ(record, last);  // Nothing is changed at the end.
}

TEST(Bodies, OnlyPublishAndDeliverAreFragmented) {
    for (int type = 0; type < 256; ++type) {
        Body head = body_of("fragment.first.publish");
        head[0] = static_cast<std::byte>(type);
        const bool is_allowed =
            type == static_cast<int>(FrameType::publish) || type == static_cast<int>(FrameType::deliver);
        EXPECT_EQ(decode_fragment_head(head).has_value(), is_allowed) << type;
    }
}

TEST(Bodies, DeliverIgnoresFlagsOfTheFuture) {
    Body deliver = body_of("deliver");
    deliver[4] = std::byte{0xfe};
    ASSERT_TRUE(decode_deliver(deliver));
    EXPECT_FALSE(decode_deliver(deliver)->redelivered);
    deliver[4] = std::byte{0xff};
    EXPECT_TRUE(decode_deliver(deliver)->redelivered);
}

TEST(Bodies, StateWithoutBodyIsAQuestion) {
    EXPECT_FALSE(decode_state({}));
    Body state = body_of("state.full");
    state[0] = std::byte{99};
    ASSERT_TRUE(decode_state(state));  // A reason of the future has no name, but it does no harm.
    EXPECT_EQ(wait_reason_name(decode_state(state)->reason), "unknown");
    EXPECT_EQ(wait_reason_name(0xffff), "unknown");
}

TEST(Bodies, ErrorFields) {
    EXPECT_TRUE(decode_error(body("13000000 03 01 0200 6869")));
    EXPECT_FALSE(decode_error(body("13000000 00 01 0200 6869")));  // Severity 0.
    EXPECT_FALSE(decode_error(body("13000000 04 01 0200 6869")));
    EXPECT_FALSE(decode_error(body("13000000 03 02 0200 6869")));  // Retryable is 0 or 1.
    EXPECT_FALSE(decode_error(body("13000000 03 01 0100 6869")));  // Text size.
    EXPECT_FALSE(decode_error(body("13000000 03 01 0300 6869")));
    EXPECT_FALSE(decode_error(body("13000000 03 01 0200 68ff")));  // Not UTF-8.
}

class ErrorText : public testing::Test {
protected:
    std::string written(std::string_view text) {
        put_error(outbox, 0, 0, {.text = text});
        const auto bytes = golden::drain(outbox);
        const auto error = decode_error(Bytes{bytes}.subspan(frame_header_size));
        EXPECT_TRUE(error);
        return error ? std::string{error->text} : std::string{};
    }

    ChunkPool pool;
    Outbox outbox{pool};
};

TEST_F(ErrorText, LongOnesAreCutBetweenCharacters) {
    EXPECT_EQ(written(std::string(1'000, 'x')), std::string(1'000, 'x'));
    EXPECT_EQ(written(std::string(1'001, 'x')), std::string(1'000, 'x'));
    EXPECT_EQ(written(std::string(100'000, 'x')), std::string(1'000, 'x'));
    EXPECT_EQ(written(std::string(998, 'x') + "\u20ac"), std::string(998, 'x'));
    EXPECT_EQ(written(std::string(997, 'x') + "\u20ac" + "y"), std::string(997, 'x') + "\u20ac");
}

TEST_F(ErrorText, WhatIsNotUtf8IsReplaced) {
    EXPECT_EQ(written("a\xff"
                      "b\xe2\x82"),
              "a?b??");
    EXPECT_EQ(written("\xc0\x80"), "??");
    EXPECT_EQ(written("gr\u00fc\u00dfe"), "gr\u00fc\u00dfe");
}

}  // namespace
}  // namespace baton::wire
