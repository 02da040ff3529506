// Frames at their limits, types, and the lane in which each frame waits. Torn streams: split_test.cpp.
#include "common/wire/frame.hpp"

#include <array>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "common/wire/bodies.hpp"
#include "tests/golden/wire_vectors.hpp"

namespace baton::wire {
namespace {

std::vector<std::byte> frame_of_length(std::uint32_t length, std::size_t bytes_there) {
    std::vector<std::byte> bytes(frame_header_size + bytes_there);
    encode({.length = length, .type = FrameType::publish, .link = 3, .sequence = 9}, bytes.data());
    return bytes;
}

TEST(FrameHeader, RoundTripOfEveryField) {
    const FrameHeader header{.length = std::numeric_limits<std::uint32_t>::max(),
                             .type = static_cast<FrameType>(0xff),
                             .flags = 0xff,
                             .link = 0xffff,
                             .sequence = std::numeric_limits<std::uint64_t>::max()};
    std::array<std::byte, frame_header_size> bytes;
    encode(header, bytes.data());
    EXPECT_EQ(decode_frame_header(bytes.data()), header);
    encode(FrameHeader{}, bytes.data());
    EXPECT_EQ(decode_frame_header(bytes.data()), FrameHeader{});
}

TEST(DecodeFrame, TakesTheLargestFrameAndNoLargerOne) {
    for (const std::size_t frame_size_max :
         {handshake_frame_size_max, frame_size_max_minimum, frame_size_max_default}) {
        const std::size_t body_max = frame_size_max - frame_header_size;
        const auto largest = frame_of_length(static_cast<std::uint32_t>(body_max), body_max);
        const auto decoded = decode_frame(largest, frame_size_max);
        EXPECT_EQ(decoded.status, FrameStatus::complete);
        EXPECT_EQ(decoded.size(), frame_size_max);
        EXPECT_EQ(decoded.frame.body.size(), body_max);

        const auto larger = frame_of_length(static_cast<std::uint32_t>(body_max + 1), body_max + 1);
        EXPECT_EQ(decode_frame(larger, frame_size_max).status, FrameStatus::too_large);
    }
}

// Before its body has come, so that nobody sets memory aside for it.
TEST(DecodeFrame, TooLargeIsKnownFromTheHeader) {
    constexpr auto one_too_many = static_cast<std::uint32_t>(frame_size_max_default - frame_header_size + 1);
    for (const std::uint32_t length : {one_too_many, 0xffff'ffffU}) {
        const auto bytes = frame_of_length(length, 0);
        const auto decoded = decode_frame(bytes, frame_size_max_default);
        EXPECT_EQ(decoded.status, FrameStatus::too_large);
        EXPECT_EQ(decoded.frame.header.length, length);
        EXPECT_EQ(decoded.frame.header.link, 3);
        EXPECT_EQ(decoded.frame.header.sequence, 9U);
        EXPECT_TRUE(decoded.frame.body.empty());
    }
}

TEST(DecodeFrame, EmptyBodyUnderTheSmallestLimit) {
    const auto bytes = frame_of_length(0, 0);
    EXPECT_EQ(decode_frame(bytes, frame_header_size).status, FrameStatus::complete);
    EXPECT_EQ(decode_frame(frame_of_length(1, 1), frame_header_size).status, FrameStatus::too_large);
}

TEST(DecodeFrame, LeavesWhatFollowsAlone) {
    auto bytes = frame_of_length(2, 2);
    bytes.resize(bytes.size() + 40, std::byte{0x77});
    const auto decoded = decode_frame(bytes, frame_size_max_default);
    EXPECT_EQ(decoded.status, FrameStatus::complete);
    EXPECT_EQ(decoded.size(), frame_header_size + 2);
    EXPECT_EQ(decoded.frame.body.data(), bytes.data() + frame_header_size);
}

TEST(FrameType, KnownOnesAreOneToTwentyThree) {
    for (int number = 0; number < 256; ++number) {
        const auto type = static_cast<FrameType>(number);
        EXPECT_EQ(is_known(type), number >= 1 && number <= 23);
        EXPECT_EQ(to_string(type) != "unknown", is_known(type));
    }
}

TEST(FrameType, OptionalBit) {
    EXPECT_TRUE((FrameHeader{.flags = 0x80}).is_optional());
    EXPECT_FALSE((FrameHeader{.flags = 0x7f}).is_optional());
}

// Which of two frames leaves first tells in which lane they waited.
class Lanes : public testing::Test {
protected:
    FrameType first_out() {
        const auto bytes = golden::drain(outbox);
        return decode_frame_header(bytes.data()).type;
    }

    ChunkPool pool;
    Outbox outbox{pool};
};

TEST_F(Lanes, ControlOvertakesData) {
    const auto expect_overtakes = [this](FrameType type, auto put) {
        EXPECT_EQ(lane_of(type), Lane::control);
        put_detach(outbox, 1);
        put();
        EXPECT_EQ(first_out(), type) << to_string(type);
    };
    const Settlement settlement;
    expect_overtakes(FrameType::confirm, [&] { put_confirm(outbox, 1, 1, 1, {}); });
    expect_overtakes(FrameType::credit, [&] { put_credit(outbox, 1, {}); });
    expect_overtakes(FrameType::settle, [&] { put_settle(outbox, 1, 0, {&settlement, 1}); });
    expect_overtakes(FrameType::settled, [&] { put_settled(outbox, 1, 1, {}); });
    expect_overtakes(FrameType::grant, [&] { put_grant(outbox, 1, 1); });
    expect_overtakes(FrameType::ping, [&] { put_ping(outbox, 1); });
    expect_overtakes(FrameType::pong, [&] { put_pong(outbox, 1); });
    expect_overtakes(FrameType::goaway, [&] { put_frame(outbox, {.type = FrameType::goaway}, as_bytes("{}")); });
}

TEST_F(Lanes, DataStaysBehindData) {
    const auto payload = Payload::copy_of(pool, as_bytes("data"));
    const auto expect_stays = [this](FrameType type, auto put) {
        EXPECT_EQ(lane_of(type), Lane::data);
        put_detach(outbox, 1);
        put();
        EXPECT_EQ(first_out(), FrameType::detach) << to_string(type);
    };
    expect_stays(FrameType::attach, [&] { put_attach(outbox, 1, {.name = as_bytes("a"), .options = {}}); });
    expect_stays(FrameType::attached, [&] { put_attached(outbox, 1, 0, "{}"); });
    expect_stays(FrameType::detached, [&] { put_detached(outbox, 1); });
    expect_stays(FrameType::publish, [&] { put_publish(outbox, 1, 1, payload); });
    expect_stays(FrameType::deliver, [&] { put_deliver(outbox, 1, 1, 1, false, {.count = 1}, payload); });
    expect_stays(FrameType::fragment, [&] { put_fragment(outbox, 1, 0, payload, true); });
    expect_stays(FrameType::state, [&] { put_state_question(outbox, 1); });
    expect_stays(FrameType::error, [&] { put_error(outbox, 1, 0, {.text = "t"}); });
    expect_stays(FrameType::admin, [&] { put_admin(outbox, 1, {.name = as_bytes("a"), .json = "{}"}); });
    expect_stays(FrameType::admin_reply, [&] { put_admin_reply(outbox, 1, "{}"); });
}

// A client's first CREDIT may not leave before its ATTACH, nor a later one before the first: limits are absolute, and the
// last to arrive counts. The socket has taken the ATTACH and nothing more, the broker has answered already.
TEST_F(Lanes, FirstCreditStaysBetweenAttachAndTheNextCredit) {
    const CreditLimits first{.messages = 1, .bytes = 10};
    put_attach(outbox, 1, {.name = as_bytes("a"), .options = {}}, &first);
    const std::size_t attach_size = outbox.size_bytes() - frame_header_size - 16;
    std::array<iovec, 8> buffers;
    ASSERT_GT(outbox.gather(buffers, attach_size), 0U);
    outbox.consume(attach_size);
    put_credit(outbox, 1, {.messages = 2, .bytes = 20});

    const auto bytes = golden::drain(outbox);
    const auto one = decode_frame(bytes, frame_size_max_default);
    ASSERT_EQ(one.status, FrameStatus::complete);
    EXPECT_EQ(decode_credit(one.frame.body), first);
    const auto two = decode_frame(Bytes{bytes}.subspan(one.size()), frame_size_max_default);
    ASSERT_EQ(two.status, FrameStatus::complete);
    EXPECT_EQ(decode_credit(two.frame.body), (CreditLimits{.messages = 2, .bytes = 20}));
}

// What is large is referenced: the frame costs its head in the outbox, whatever the payload.
TEST_F(Lanes, LargePayloadsAreNotCopied) {
    const std::vector<std::byte> region(100'000, std::byte{7});
    const auto payload = Payload::copy_of(pool, region);
    put_deliver(outbox, 1, 1, 1, false, {.count = 1, .messages_size = 100'000}, payload);
    put_publish(outbox, 1, 1, payload);
    put_fragment(outbox, 1, 0, payload, false);
    std::array<iovec, 8> buffers;
    int references = 0;
    for (const iovec& buffer : std::span{buffers}.first(outbox.gather(buffers, 1'000'000))) {
        references += buffer.iov_base == payload.data() && buffer.iov_len == payload.size() ? 1 : 0;
    }
    EXPECT_EQ(references, 3);
    outbox.clear();
}

}  // namespace
}  // namespace baton::wire
