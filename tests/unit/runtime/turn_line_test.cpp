// What is done at once, what waits, and that each round of the loop does its part.
#include "server/runtime/turn_line.hpp"

#include <string>

#include <gtest/gtest.h>

namespace baton::runtime {
namespace {

constexpr Duration little = std::chrono::microseconds{1};

class ALine : public ::testing::Test {
protected:
    /// As a shard does: at once, or behind the others.
    void work(char name, Duration takes, TurnLine::Load load = TurnLine::Load::light) {
        if (!line.begin()) {
            is_round_wanted = line.wait([this, name, takes] { note(name, takes); }, load) || is_round_wanted;
            return;
        }
        note(name, takes);
        line.end();
    }
    void note(char name, Duration takes) {
        done += name;
        clock.advance(takes);
    }
    void serve() {
        EXPECT_TRUE(std::exchange(is_round_wanted, false)) << "nobody asked for a round";
        is_round_wanted = line.serve();
    }

    ManualClock clock;
    TurnLine line{clock};
    bool is_round_wanted = false;
    std::string done;
};

TEST_F(ALine, LetsWorkBeDoneAtOnceUntilItIsEnough) {
    work('a', TurnLine::work_max / 2);
    clock.advance(std::chrono::seconds{1});  // The loop slept: that is no work.
    work('b', TurnLine::work_max / 2);
    EXPECT_EQ(done, "ab");
    EXPECT_FALSE(is_round_wanted);
    work('c', little);
    EXPECT_EQ(done, "ab");
    serve();
    EXPECT_EQ(done, "abc");
    EXPECT_FALSE(is_round_wanted);
    work('d', little);
    EXPECT_EQ(done, "abcd") << "the count begins anew with each round";
}

TEST_F(ALine, ServesTheFirstOnesOfThoseThatWait) {
    work('a', TurnLine::work_max);
    for (const char name : std::string{"bcdef"}) {
        work(name, TurnLine::work_max / 2);
    }
    serve();
    EXPECT_EQ(done, "abc");
    work('g', little);  // Not before the others.
    serve();
    EXPECT_EQ(done, "abcde");
    serve();
    EXPECT_EQ(done, "abcdefg");
    EXPECT_FALSE(is_round_wanted);
}

TEST_F(ALine, ServesOneThatTakesLong) {
    work('a', 10 * TurnLine::work_max);
    work('b', 10 * TurnLine::work_max);
    work('c', 10 * TurnLine::work_max);
    serve();
    EXPECT_EQ(done, "ab");
    serve();
    EXPECT_EQ(done, "abc");
    EXPECT_FALSE(is_round_wanted);
}

TEST_F(ALine, ServesWhoBringsLittleInFrontOfWhoBringsMuch) {
    work('a', TurnLine::work_max);
    for (const char name : std::string{"ABC"}) {
        work(name, TurnLine::work_max, TurnLine::Load::heavy);
    }
    for (const char name : std::string{"bcd"}) {
        work(name, TurnLine::work_max / 4);
    }
    serve();
    EXPECT_EQ(done, "abcA") << "half of a round, if both wait";
    serve();
    EXPECT_EQ(done, "abcAdB");
    serve();
    EXPECT_EQ(done, "abcAdBC");
    EXPECT_FALSE(is_round_wanted);
}

TEST_F(ALine, ServesOneOfEachLineHoweverLongTheyTake) {
    work('a', TurnLine::work_max);
    for (const char name : std::string{"bc"}) {
        work(name, 10 * TurnLine::work_max);
    }
    for (const char name : std::string{"AB"}) {
        work(name, 10 * TurnLine::work_max, TurnLine::Load::heavy);
    }
    serve();
    EXPECT_EQ(done, "abA");
    serve();
    EXPECT_EQ(done, "abAcB");
    EXPECT_FALSE(is_round_wanted);
}

TEST_F(ALine, ServesWhoBringsLittleWithTheTimeThatIsLeft) {
    work('a', TurnLine::work_max);
    work('A', little, TurnLine::Load::heavy);
    for (const char name : std::string{"bcdef"}) {
        work(name, TurnLine::work_max / 4);
    }
    serve();
    EXPECT_EQ(done, "abcAde");
    serve();
    EXPECT_EQ(done, "abcAdef");
    EXPECT_FALSE(is_round_wanted);
}

TEST_F(ALine, IsAskedForOneRoundAtATime) {
    work('a', TurnLine::work_max);
    EXPECT_TRUE(line.wait([this] {
        note('b', TurnLine::work_max);
        EXPECT_FALSE(line.begin());
        EXPECT_FALSE(line.wait([this] { note('d', little); })) << "serve() says it";
    }));
    EXPECT_FALSE(line.wait([this] { note('c', TurnLine::work_max); }));
    EXPECT_TRUE(line.serve());
    EXPECT_EQ(done, "ab");
    EXPECT_TRUE(line.serve());
    EXPECT_FALSE(line.serve());
    EXPECT_EQ(done, "abcd");
}

}  // namespace
}  // namespace baton::runtime
