// Ready messages of fair channels: they leave memory when it is short, wherever in their tenants' line they are, and tenants keep
// their turns.
#include <deque>
#include <map>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"
#include "common/base/properties.hpp"
#include "tests/unit/channel/at_rest.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::seconds;

struct FairAtRest : AtRest {
    void receive(std::uint64_t messages) {
        durable->world->attach_receiver(9, {messages, 1'000'000'000});
        given = messages;
    }
    void want(std::uint64_t more) { durable->channel().set_credit(link_of(9), {given += more, 1'000'000'000}); }
    /// What is given when all that is wanted is read.
    [[nodiscard]] Lines given_in_the_end() {
        Lines lines = delivered();
        for (std::size_t blocks = read(); blocks > 0; blocks = read()) {
            blocks_read += blocks;
            const Lines more = delivered();
            lines.insert(lines.end(), more.begin(), more.end());
        }
        return lines;
    }
    /// Nothing is given before given_in_the_end().
    void publish_now(const std::string& word, const MessageProperties& properties) {
        builder.append(as_bytes(word), encode_properties(properties).value());
        durable->channel().publish(link_of(1), ++sequence, builder.take(pool));
        durable->channel().announce_credit(link_of(1));
        durable->log->commit_to(durable->log->submitted());
        durable->channel().on_committed();
    }
    /// Everything is looked at, and nothing is given: the receiver has what it asked for. Then it leaves memory.
    void look_and_put_away(Offset first) {
        receive(1);
        ASSERT_EQ(given_in_the_end().size(), 1U);
        settle(first, 1, Outcome::done);
        static_cast<void>(put_away());
        static_cast<void>(put_away());
        ASSERT_EQ(resident(), 0U);
    }
    std::uint64_t given = 0;
    std::size_t blocks_read = 0;
};

TEST_F(FairAtRest, TenantsLeaveMemoryAndHaveTheirTurns) {
    begin({.fair_by = "key", .fair_weights = {{"b", 2}}});
    publish({"first"}, {.key = "a", .priority = std::uint8_t{9}});
    publish({"a1", "a2", "a3", "a4"}, {.key = "a"});
    publish({"b1", "b2", "b3"}, {.key = "b"});
    publish({"c1"}, {.key = "c", .priority = std::uint8_t{1}});
    publish({"a5"}, {.key = "a", .ttl = seconds{5}});
    publish({"c2"}, {.key = "c", .ttl = seconds{50}});
    look_and_put_away(1);
    EXPECT_FALSE(durable->channel().wants_blocks(UINT64_MAX)) << "nobody wants them";
    EXPECT_EQ(queue().ready(), 10U);
    EXPECT_EQ(peeked(MessageState::ready).size(), 10U);
    pass(seconds{6});
    EXPECT_EQ(queue().counters().expired, 1U) << "unread";
    want(1);
    EXPECT_EQ(given_in_the_end(), (Lines{"c1 attempt 1"}));
    want(4);
    EXPECT_EQ(given_in_the_end(), (Lines{"a1 attempt 1", "b1 attempt 1", "b2 attempt 1", "c2 attempt 1"}));
    static_cast<void>(put_away());
    want(100);
    EXPECT_EQ(given_in_the_end(), (Lines{"a2 attempt 1", "b3 attempt 1", "a3 attempt 1", "a4 attempt 1"}));
    settle(2, 10, Outcome::done);
    EXPECT_EQ(durable->channel().stats().stored, 0U);
    EXPECT_EQ(durable->channel().stats().bytes, 0U);
}

TEST_F(FairAtRest, ARestartReadsNothingUntilSomebodyWantsThem) {
    begin({.fair_by = "key"});
    publish({"first"}, {.key = "a", .priority = std::uint8_t{9}});
    publish({"a1", "a2", "a3"}, {.key = "a"});
    publish({"b1"}, {.key = "b", .ttl = seconds{50}});
    publish({"c1"}, {.key = "c", .ttl = seconds{5}});
    publish({"d1"}, {.key = "d", .priority = std::uint8_t{9}});
    look_and_put_away(1);
    for (int i = 0; i < 2; ++i) {  // Also if nobody has looked at them in between.
        restart();
        EXPECT_EQ(resident(), 0U);
        EXPECT_EQ(queue().ready(), 6U);
    }
    pass(seconds{6});
    EXPECT_EQ(queue().counters().expired, 1U) << "unread";
    receive(100);
    EXPECT_EQ(given_in_the_end(), (Lines{"d1 attempt 1", "a1 attempt 1", "b1 attempt 1", "a2 attempt 1", "a3 attempt 1"}));
}

TEST_F(FairAtRest, WhatIsLookedAtWhileMemoryIsShortRestsAtOnce) {
    begin({.fair_by = "key"});
    MemoryBudget& budget = durable->world->budget;
    budget.charge(budget.limit() / 2 + 1);
    const std::string large(40'000, '.');  // Two are put with the others at once.
    publish({"a0" + large}, {.key = "a"});
    publish({"a1" + large}, {.key = "a"});
    publish({"a2" + large}, {.key = "a"});
    publish({"b1" + large}, {.key = "b"});
    receive(2);
    const Lines lines = given_in_the_end();
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[0].substr(0, 2) + " " + lines[1].substr(0, 2), "a0 b1");
    EXPECT_TRUE(queue().has_at_rest(3));
    budget.discharge(budget.limit() / 2 + 1);
}

TEST_F(FairAtRest, TheyCanBeDroppedMovedAndMadeUnfair) {
    begin({.fair_by = "key"});
    publish({"first"}, {.key = "a", .priority = std::uint8_t{9}});
    publish({"a1", "a2", "a3"}, {.key = "a"});
    publish({"b1", "b2"}, {.key = "b"});
    look_and_put_away(1);
    const Offset dropped[] = {3};
    Sweep sweep;
    EXPECT_EQ(durable->channel().drop(queue(), MessageState::ready, dropped, sweep, durable->store.reader()), 1U);
    durable->channel().detach(link_of(9));
    ChannelOptions options = durable->channel().options();
    options.fair_by.clear();
    durable->channel().reconfigure(options);
    EXPECT_EQ(queue().ready(), 4U);
    receive(2);
    EXPECT_EQ(given_in_the_end(), (Lines{"a1 attempt 1", "a3 attempt 1"}));
    settle(2, 1, Outcome::done);
    settle(4, 1, Outcome::done);
    static_cast<void>(put_away());
    durable->channel().detach(link_of(9));
    options.fair_by = "key";
    durable->channel().reconfigure(options);
    receive(100);
    EXPECT_EQ(given_in_the_end(), (Lines{"b1 attempt 1", "b2 attempt 1"}));
}

// The oldest of its tenant, always; and until a restart nobody has two turns while somebody else who has something waits for one.
struct FairOrder : FairAtRest {
    void expect_given(const Lines& lines, std::uint64_t& now, bool keeps_turns) {
        for (const std::string& line : lines) {
            const Offset offset = std::stoull(line);
            const std::uint64_t tenant = tenant_of.at(offset);
            ASSERT_EQ(waiting[tenant].front(), offset);
            ++now;
            for (const auto& [other, messages] : waiting) {
                if (keeps_turns && other != tenant && !messages.empty() && last[tenant] > 0) {
                    ASSERT_TRUE(since[other] > last[tenant] || last[other] > last[tenant]) << "tenant " << other << " waits";
                }
            }
            last[tenant] = now;
            waiting[tenant].pop_front();
            settle(offset, 1, Outcome::done);
        }
    }
    std::map<Offset, std::uint64_t> tenant_of;
    std::map<std::uint64_t, std::deque<Offset>> waiting;
    std::map<std::uint64_t, std::uint64_t> last, since;  // When it had its last turn; since when it has had something.
};

TEST_F(FairOrder, WhateverLeavesMemory) {
    for (std::uint64_t seed = 1; seed <= 100 && !HasFailure(); ++seed) {
        SCOPED_TRACE(seed);
        Prng prng{seed};
        begin({.fair_by = "key"});
        receive(1);
        tenant_of.clear(), waiting.clear(), last.clear(), since.clear();
        std::uint64_t now = 1;
        bool keeps_turns = true;
        Offset next = 1;
        for (int i = 0; i < 300 && !HasFailure(); ++i) {
            const std::uint64_t dice = prng.below(10);
            if (dice < 5) {
                for (std::uint64_t more = prng.below(4); more > 0; --more) {
                    const std::uint64_t tenant = prng.below(5);
                    publish_now(std::to_string(next), {.key = std::to_string(tenant)});
                    since[tenant] = waiting[tenant].empty() ? ++now : since[tenant];
                    waiting[tenant].push_back(next);
                    tenant_of[next++] = tenant;
                }
                want(prng.below(5) == 0 ? 1 : 0);
                expect_given(given_in_the_end(), now, false);  // Perhaps of what has not been looked at.
            } else if (dice < 7) {
                static_cast<void>(put_away());
            } else if (dice < 8 && seed % 2 == 0 && prng.chance(1, 4)) {
                restart();
                receive(0);
                keeps_turns = false;
            } else {
                want(1);  // Everything is looked at,
                expect_given(given_in_the_end(), now, false);
                last.clear();
                want(prng.below(3));
                expect_given(given_in_the_end(), now, keeps_turns);
            }
        }
        want(10'000);
        expect_given(given_in_the_end(), now, false);
        EXPECT_EQ(queue().ready(), 0U);
    }
    EXPECT_GT(blocks_read, 1'000U);
}

}  // namespace
}  // namespace baton::channel::test
