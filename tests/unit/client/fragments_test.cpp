// Large messages in both directions: in pieces, in turns with others, again after a reconnect.
#include <algorithm>

#include <gmock/gmock.h>

#include "tests/unit/client/dialogue.hpp"

namespace baton::client {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using wire::FrameType;

std::string large_body(std::size_t size) {
    std::string body(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        body[i] = static_cast<char>(i * 31 + i / 251);
    }
    return body;
}

// Puts the pieces together as a broker would; checks positions and flags.
class Assembled {
public:
    void add(const Said& frame) {
        if ((frame.header.flags & wire::flag_fragment_first) != 0) {
            const auto head = wire::decode_fragment_head(frame.bytes());
            ASSERT_TRUE(head.has_value());
            EXPECT_EQ(head->type, FrameType::publish);
            total = head->total;
            return;
        }
        EXPECT_EQ(frame.header.sequence, body.size());
        EXPECT_LE(frame.body.size(), wire::fragment_size_max);
        body.insert(body.end(), frame.body.begin(), frame.body.end());
        is_last = (frame.header.flags & wire::flag_fragment_last) != 0;
        EXPECT_EQ(is_last, body.size() == total);
    }
    std::vector<std::byte> body;
    std::uint64_t total = 0;
    bool is_last = false;
};

TEST(FragmentsOut, WaitForGrant) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a");
    const std::string body = large_body(1'000'000);
    d.protocol.publish(id, d.batch({body}));
    d.protocol.publish(id, d.batch({"behind"}));
    auto frames = d.said();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].header.sequence, 1U);
    Assembled assembled;
    assembled.add(frames[0]);
    EXPECT_EQ(assembled.total, batch_header_size + 4 + body.size());

    d.feed([](Outbox& out) { wire::put_grant(out, 1, 1); });
    std::vector<Said> rest;
    while (!(frames = d.said()).empty()) {
        rest.insert(rest.end(), frames.begin(), frames.end());
    }
    for (const Said& frame : rest) {
        if (frame.header.type == FrameType::fragment) {
            assembled.add(frame);
        }
    }
    EXPECT_TRUE(assembled.is_last);
    EXPECT_THAT(Dialogue::messages_of(assembled.body), ElementsAre(body));
    EXPECT_EQ(rest.back().header.type, FrameType::publish);
    EXPECT_EQ(rest.back().header.sequence, 2U);
    (void)d.reported();
    d.confirm(1, 2);
    EXPECT_THAT(d.reported(), ElementsAre("confirmed L1 2 1"));
}

TEST(FragmentsOut, SmallMessagesOfOtherLinksGoInBetween) {
    Dialogue d;
    d.connect();
    const LinkId large = d.sender("large");
    const LinkId small = d.sender("small");
    d.protocol.publish(large, d.batch({large_body(4'000'000)}));
    (void)d.said();
    d.feed([](Outbox& out) { wire::put_grant(out, 1, 1); });
    EXPECT_LE(d.outbox.data_bytes(), ProtocolContext::outbox_data_max + wire::fragment_size_max + 100);
    d.protocol.publish(small, d.batch({"quick"}));
    std::size_t fragments_before = 0;
    bool is_found = false;
    for (auto frames = d.said(); !frames.empty() && !is_found; frames = d.said()) {
        for (const Said& frame : frames) {
            is_found |= frame.header.type == FrameType::publish;
            fragments_before += is_found ? 0 : 1;
        }
    }
    EXPECT_TRUE(is_found);
    EXPECT_LE(fragments_before, 7U);  // What the outbox held; of 62.
}

TEST(FragmentsOut, StartAgainAfterAReconnect) {
    Dialogue d;
    d.connect();
    const LinkId id = d.sender("a");
    const std::string body = large_body(300'000);
    d.protocol.publish(id, d.batch({"first"}));
    d.protocol.publish(id, d.batch({body}));
    (void)d.said();
    d.feed([](Outbox& out) { wire::put_grant(out, 1, 2); });
    d.disconnect();
    d.connect();
    (void)d.said();
    d.attached(1, 1);
    d.credit(1, 10);
    Assembled assembled;
    assembled.add(d.said_one(FrameType::fragment));
    d.feed([](Outbox& out) { wire::put_grant(out, 1, 2); });
    for (auto frames = d.said(); !frames.empty(); frames = d.said()) {
        for (const Said& frame : frames) {
            assembled.add(frame);
        }
    }
    EXPECT_THAT(Dialogue::messages_of(assembled.body), ElementsAre(body));
}

TEST(FragmentsOut, AlsoForAMessageThatFitsTheFrameButNotTheByteCredit) {
    Dialogue d;
    d.connect();
    const LinkId id = d.protocol.open_sender("a", true);
    (void)d.said();
    d.attached(1);
    d.credit(1, 10, 1'000);
    d.protocol.publish(id, d.batch({"small"}));
    d.protocol.publish(id, d.batch({std::string(5'000, 'x')}));
    EXPECT_THAT(d.said_in_short(), ElementsAre("PUBLISH 1#1"));
    d.confirm(1, 1);  // Nothing of ours is under way now, and still there is not enough.
    EXPECT_THAT(d.said_in_short(), ElementsAre("FRAGMENT 1#2"));
}

TEST(FragmentsOut, AGrantForAnotherMessageIsAViolation) {
    Dialogue d;
    d.connect();
    d.protocol.publish(d.sender("a"), d.batch({large_body(300'000)}));
    (void)d.said();
    d.feed([](Outbox& out) { wire::put_grant(out, 1, 2); });
    EXPECT_TRUE(d.protocol.failure().has_value());
}

class FragmentsIn : public testing::Test {
protected:
    void SetUp() override {
        d.connect();
        (void)d.receiver("a");
        (void)d.reported();
    }
    [[nodiscard]] std::vector<std::byte> deliver_body(const std::string& message) {
        const Payload whole = d.batch({message});
        std::vector<std::byte> body(wire::deliver_head_size + whole.size());
        store_u32(body.data(), 3);
        copy_bytes(body.data() + wire::deliver_head_size, whole.bytes());
        return body;
    }
    void announce(std::uint64_t total, FrameType type = FrameType::deliver) {
        d.feed([&](Outbox& out) { wire::put_fragment_head(out, 1, 1, {.type = type, .flags = 0, .total = total}); });
    }
    void piece(const std::vector<std::byte>& body, std::size_t at, std::size_t size, bool is_last) {
        d.feed([&](Outbox& out) {
            wire::put_fragment(out, 1, at, Payload::copy_of(d.pool, Bytes{body}.subspan(at, size)), is_last);
        });
    }
    Dialogue d;
};

TEST_F(FragmentsIn, InPiecesOfEverySize) {
    const std::string message = large_body(1'000);
    const auto body = deliver_body(message);
    std::uint64_t sequence = 0;
    for (std::size_t size = 1; size <= body.size(); size += size < 8 ? 1 : 97) {
        d.feed([&](Outbox& out) {
            wire::put_fragment_head(out, 1, ++sequence, {.type = FrameType::deliver, .flags = 0, .total = body.size()});
        });
        d.piece_size = size % 13;
        for (std::size_t at = 0; at < body.size(); at += size) {
            const std::size_t length = std::min(size, body.size() - at);
            piece(body, at, length, at + length == body.size());
        }
        d.piece_size = 0;
        ASSERT_FALSE(d.protocol.failure().has_value()) << size << d.protocol.failure()->text;
        ASSERT_EQ(d.delivered.size(), sequence) << size;
        EXPECT_EQ(d.delivered.back().attempt, 3U);
        MessageCursor cursor{d.delivered.back().messages.bytes(), false};
        MessageView view;
        ASSERT_TRUE(cursor.next(view));
        EXPECT_EQ(as_text(view.payload), message);
    }
}

TEST_F(FragmentsIn, TotalsAboveTheLimitAreNotAllocated) {
    const std::size_t before = d.pool.outstanding_bytes();
    announce((1ULL << 30U) + 65);  // Above the largest limit that a broker can have.
    EXPECT_TRUE(d.protocol.failure().has_value());
    EXPECT_LT(d.pool.outstanding_bytes(), before + (1U << 20U));
}

TEST_F(FragmentsIn, WrongPositionsAreAViolation) {
    const auto body = deliver_body(large_body(1'000));
    announce(body.size());
    piece(body, 100, 100, false);
    EXPECT_TRUE(d.protocol.failure().has_value());
}

TEST_F(FragmentsIn, AMissingEndIsAViolation) {
    const auto body = deliver_body(large_body(1'000));
    announce(body.size());
    piece(body, 0, 500, true);
    EXPECT_TRUE(d.protocol.failure().has_value());
}

TEST_F(FragmentsIn, OtherKindsOfFramesAreAViolation) {
    announce(100, FrameType::publish);
    EXPECT_TRUE(d.protocol.failure().has_value());
}

TEST_F(FragmentsIn, ADeliverInBetweenIsAViolation) {
    announce(10'000);
    d.deliver(1, 1, 1, {"x"});
    EXPECT_TRUE(d.protocol.failure().has_value());
}

TEST_F(FragmentsIn, AHalfMessageIsForgottenWithItsConnection) {
    const auto body = deliver_body(large_body(1'000));
    announce(body.size());
    piece(body, 0, 500, false);
    d.disconnect();
    d.connect();
    d.attached(1);
    announce(body.size());
    piece(body, 0, body.size(), true);
    EXPECT_FALSE(d.protocol.failure().has_value());
    EXPECT_EQ(d.delivered.size(), 1U);
}

}  // namespace
}  // namespace baton::client
