// Messages that are larger than a frame, in both directions (docs/protocol.md, section 9).
#include "tests/unit/session/dialogue.hpp"

namespace baton::session::test {
namespace {

constexpr std::size_t batch_overhead = batch_header_size + 4;

class LargeMessages : public ::testing::TestWithParam<std::uint32_t> {
protected:
    explicit LargeMessages(const runtime::Limits& limits = {}) : dialogue{2, limits} {
        peer.attach_sender(1, name);
        peer.attach_sender(2, name);
        static_cast<void>(peer.hears());
    }
    static std::string body_of(std::size_t size) {
        std::string body(size, '\0');
        for (std::size_t i = 0; i < size; ++i) {
            body[i] = static_cast<char>('a' + i % 23);
        }
        return body;
    }
    /// A message of a million bytes goes in.
    void publish_large(std::uint16_t link, std::uint64_t sequence, std::size_t size) {
        const auto batch = peer.batch({body_of(size)});
        peer.announce(link, sequence, batch.size());
        EXPECT_EQ(peer.hears(), Lines{"GRANT " + std::to_string(link) + " " + std::to_string(sequence)});
        peer.fragments(link, batch);
        EXPECT_EQ(peer.hears("CONFIRM"),
                  Lines{"CONFIRM " + std::to_string(link) + " up to " + std::to_string(sequence)});
    }

    Dialogue dialogue;
    const std::string name = dialogue.world.name_on(GetParam());
    Peer& peer = dialogue.greeted(0);
};
INSTANTIATE_TEST_SUITE_P(Shards, LargeMessages, ::testing::Values(0U, 1U));

TEST_P(LargeMessages, GoInAndOutInFragments) {
    publish_large(1, 1, 300'000);
    auto& receiver = dialogue.greeted(1);
    receiver.attach_receiver(1, name);
    receiver.credit(1, 1, 1);
    std::string body;
    Lines lines;
    for (const auto& heard : receiver.take_frames()) {
        lines.push_back(line_of(heard));
        if (heard.header.type == wire::FrameType::fragment && (heard.header.flags & wire::flag_fragment_first) == 0) {
            EXPECT_EQ(heard.header.sequence, body.size());
            body += as_text(heard.body);
        }
    }
    EXPECT_EQ(lines[0], "ATTACHED 1");
    EXPECT_EQ(lines[1], "FRAGMENT 1 #1 of " + std::to_string(8 + batch_overhead + 300'000));
    EXPECT_TRUE(lines.back().ends_with(" last"));
    const auto deliver = wire::decode_deliver(as_bytes(body));
    ASSERT_TRUE(deliver);
    ASSERT_TRUE(check_batch(deliver->batch));
    EXPECT_TRUE(check_batch_crc(deliver->batch));
    EXPECT_EQ(as_text(deliver->batch).substr(batch_overhead), body_of(300'000));
    receiver.settle(1, {{.first = 1, .count = 1}}, 1);
    EXPECT_EQ(receiver.hears(), Lines{"SETTLED 1 1"});
}

TEST_P(LargeMessages, OtherLinksGoOnBetweenTheFragments) {
    const auto batch = peer.batch({body_of(100'000)});
    peer.announce(1, 1, batch.size());
    peer.fragment(1, 0, batch.bytes().first(60'000), false);
    peer.publish(2, 1, {"small"});
    peer.fragment(1, 60'000, batch.bytes().subspan(60'000), true);
    EXPECT_EQ(peer.hears(), (Lines{"GRANT 1 1", "CONFIRM 2 up to 1", "CONFIRM 1 up to 1"}));
}

TEST_P(LargeMessages, SmallDeliveriesPassLargeOnesOfOtherLinks) {
    publish_large(1, 1, 2'000'000);
    auto& receiver = dialogue.greeted(1);
    receiver.reads_at_most(0);
    receiver.attach_receiver(1, name);
    receiver.credit(1, 1, 1);
    const auto other = dialogue.world.name_on(GetParam(), "other");
    receiver.attach_receiver(2, other);
    receiver.credit(2, 10, 1000);
    peer.attach_sender(3, other);
    peer.publish(3, 1, {"quick"});
    receiver.reads_at_most(BrokerWorld::everything);
    receiver.connection().write(BrokerWorld::everything);
    dialogue.run();
    const auto lines = receiver.hears();
    const auto quick = std::ranges::find(lines, "DELIVER 2 #1 1: quick");
    const auto last = std::ranges::find_if(lines, [](const std::string& line) { return line.ends_with(" last"); });
    ASSERT_NE(quick, lines.end());
    ASSERT_NE(last, lines.end());
    EXPECT_LT(quick, last);
}

TEST_P(LargeMessages, DeliveriesOfTheSameLinkKeepTheirOrder) {
    publish_large(1, 1, 300'000);
    peer.publish(1, 2, {"b", "c"});
    EXPECT_EQ(peer.hears(), Lines{"CONFIRM 1 up to 3"});
    publish_large(1, 4, 400'000);
    peer.publish(1, 5, {"e"});
    auto& receiver = dialogue.greeted(0);
    receiver.attach_receiver(1, name);
    receiver.credit(1, 100, 100'000'000);
    auto lines = receiver.hears();
    std::erase_if(lines,
                  [](const std::string& line) { return line.starts_with("FRAGMENT 1 at") && !line.ends_with("last"); });
    ASSERT_EQ(lines.size(), 7U);
    EXPECT_TRUE(lines[1].starts_with("FRAGMENT 1 #1 of"));
    EXPECT_TRUE(lines[2].ends_with("last"));
    EXPECT_EQ(lines[3], "DELIVER 1 #2 2-3: b c");
    EXPECT_TRUE(lines[4].starts_with("FRAGMENT 1 #4 of"));
    EXPECT_TRUE(lines[5].ends_with("last"));
    EXPECT_EQ(lines[6], "DELIVER 1 #5 5: e");
}

TEST_P(LargeMessages, WhoDoesNotReadThemGetsNoMoreOfThem) {
    auto& receiver = dialogue.greeted(0);
    receiver.reads_at_most(0);
    receiver.attach_receiver(1, name);
    receiver.credit(1, 1'000'000, 1ULL << 60U);
    for (std::uint64_t sequence = 1; sequence <= 30; ++sequence) {
        publish_large(1, sequence, 1'000'000);
    }
    const auto shown = [&] { return peer.asks(name, {{"op", "channel.show"}})["channel"]; };
    EXPECT_LT(shown()["in_flight"], 10) << "outbox_high_water is 4 MiB";
    receiver.reads_at_most(BrokerWorld::everything);
    receiver.connection().write(BrokerWorld::everything);
    dialogue.run();
    EXPECT_EQ(shown()["in_flight"], 30);
}

TEST_P(LargeMessages, DetachInTheMiddleOfADelivery) {
    publish_large(1, 1, 2'000'000);
    auto& receiver = dialogue.greeted(0);
    receiver.reads_at_most(0);
    receiver.attach_receiver(1, name);
    receiver.credit(1, 1, 1);
    receiver.detach(1);
    receiver.attach_receiver(1, name);
    receiver.credit(1, 1, 1);
    receiver.reads_at_most(BrokerWorld::everything);
    receiver.connection().write(BrokerWorld::everything);
    dialogue.run();
    const auto lines = receiver.hears();
    EXPECT_EQ(std::ranges::count(lines, "DETACHED 1"), 1);
    EXPECT_EQ(std::ranges::count(lines, "FRAGMENT 1 #1 of 2000044"), 2);
    EXPECT_TRUE(lines.back().ends_with("last"));
}

TEST_P(LargeMessages, AnnouncementsOfTheWrongFormFailTheLink) {
    peer.announce(1, 1, batch_header_size);
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 bad_frame"});
    peer.announce(2, 1, 100'000);
    peer.announce(2, 2, 100'000);
    EXPECT_EQ(peer.hears(), (Lines{"GRANT 2 1", "ERROR 2 bad_frame"}));
    peer.attach_sender(1, name);
    peer.attach_receiver(2, name);
    static_cast<void>(peer.hears());
    peer.announce(2, 1, 100'000);
    EXPECT_EQ(peer.hears(), Lines{"ERROR 2 protocol_violation"});
    peer.announce(1, 1, 64U * 1024 * 1024 + 65);
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 message_too_large"});
}

TEST_P(LargeMessages, FragmentsMustContinue) {
    const auto batch = peer.batch({body_of(200'000)});
    const auto failure_of = [&](auto&& say) {
        peer.attach_sender(9, name);
        peer.announce(9, 1, batch.size());
        static_cast<void>(peer.hears());
        say();
        const auto lines = peer.hears();
        return lines.empty() ? std::string{"none"} : lines.back();
    };
    const auto bytes = batch.bytes();
    EXPECT_EQ(failure_of([&] { peer.fragment(9, 1, bytes.first(10), false); }), "ERROR 9 bad_frame");
    EXPECT_EQ(failure_of([&] { peer.fragment(9, 0, bytes.first(10), true); }), "ERROR 9 bad_frame");
    EXPECT_EQ(failure_of([&] { peer.fragment(9, 0, {}, false); }), "ERROR 9 bad_frame");
    EXPECT_EQ(failure_of([&] { peer.fragment(9, 0, bytes.first(65'537), false); }), "ERROR 9 bad_frame");
    EXPECT_EQ(failure_of([&] {
                  for (std::size_t at = 0; at < 196'608; at += 65'536) {
                      peer.fragment(9, at, bytes.subspan(at, 65'536), false);
                  }
                  peer.fragment(9, 196'608, bytes.first(batch.size() - 196'608), false);  // Not marked as the last.
              }),
              "ERROR 9 bad_frame");
    EXPECT_EQ(failure_of([&] { peer.publish(9, 1, {"x"}); }), "ERROR 9 bad_frame");
}

TEST_P(LargeMessages, NoFragmentWithoutAGrant) {
    peer.fragment(1, 0, as_bytes("abc"), false);
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 bad_frame"});
}

TEST_P(LargeMessages, WhatComesMustBeABatchOfOneMessage) {
    const auto two = peer.batch({body_of(40'000), "b"});
    peer.announce(1, 1, two.size());
    peer.fragments(1, two);
    EXPECT_EQ(peer.hears(), (Lines{"GRANT 1 1", "ERROR 1 bad_batch"}));
    peer.announce(2, 1, 40);
    peer.fragment(2, 0, as_bytes(std::string(40, 'x')), true);
    EXPECT_EQ(peer.hears(), (Lines{"GRANT 2 1", "ERROR 2 bad_batch"}));
}

TEST_P(LargeMessages, AGapIsFoundWhenTheMessageIsThere) {
    const auto batch = peer.batch({body_of(100'000)});
    peer.announce(1, 5, batch.size());
    peer.fragments(1, batch);
    EXPECT_EQ(peer.hears(), (Lines{"GRANT 1 5", "ERROR 1 sequence_gap"}));
}

class TightMemory : public LargeMessages {
protected:
    static runtime::Limits tight() {
        runtime::Limits limits;
        limits.memory_max = 4U << 20U;
        limits.message_size_max = 2U << 20U;
        return limits;
    }
    TightMemory() : LargeMessages{tight()} {}
};
INSTANTIATE_TEST_SUITE_P(Shards, TightMemory, ::testing::Values(0U, 1U));

TEST_P(TightMemory, GrantsComeInTheOrderOfArrival) {
    auto& second = dialogue.greeted(0);
    for (std::uint16_t link = 1; link <= 2; ++link) {
        second.attach_sender(link, name);
    }
    static_cast<void>(second.hears());
    peer.announce(1, 1, 1'900'000);
    second.announce(1, 1, 1'800'000);
    EXPECT_EQ(peer.hears(), Lines{"GRANT 1 1"});
    EXPECT_EQ(second.hears(), Lines{"GRANT 1 1"});
    peer.announce(2, 1, 1'500'000);  // Does not fit,
    second.announce(2, 1, 100'000);  // and this would, but it waits its turn.
    EXPECT_EQ(peer.hears(), Lines{"STATE 2 memory, ready 0, held 0"});
    EXPECT_EQ(second.hears(), Lines{"STATE 2 memory, ready 0, held 0"});
    second.detach(1);
    EXPECT_EQ(second.hears_sorted(), (Lines{"DETACHED 1", "GRANT 2 1", "STATE 2 none, ready 0, held 0"}));
    EXPECT_EQ(peer.hears(), (Lines{"GRANT 2 1", "STATE 2 none, ready 0, held 0"}));
}

TEST_P(TightMemory, WhoStopsWaitingIsForgotten) {
    peer.announce(1, 1, 2'000'000);
    auto& second = dialogue.greeted(0);
    second.attach_sender(1, name);
    second.announce(1, 1, 2'000'000);
    peer.announce(2, 1, 1'000'000);
    static_cast<void>(peer.hears());
    second.hangs_up();
    EXPECT_EQ(peer.hears(), (Lines{"GRANT 2 1", "STATE 2 none, ready 0, held 0"}));
}

TEST_P(TightMemory, WhatCanNeverFitIsRefused) {
    peer.announce(1, 1, (2U << 20U) + 1);
    EXPECT_EQ(peer.hears(), Lines{"ERROR 1 message_too_large"});
}

TEST_P(TightMemory, NothingIsLeftBehind) {
    const auto before = dialogue.world.state.memory.used();
    auto& second = dialogue.greeted(0);
    second.attach_sender(1, name);
    second.announce(1, 1, 2'000'000);
    second.fragment(1, 0, as_bytes(std::string(60'000, 'x')), false);
    second.hangs_up();
    EXPECT_LE(dialogue.world.state.memory.used(), before + 64 * 1024);
}

}  // namespace
}  // namespace baton::session::test
