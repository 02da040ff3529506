// A channel out of an image in steps: the same whatever their size, none does very much, and it can be given up behind each.
#include <optional>

#include "tests/unit/channel/at_rest.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

struct ChannelRestoreTest : AtRest {
    struct Target {
        FakeCommitLog log;
        ChannelWorld world;
        explicit Target(const ChannelOptions& options) : world{options, 1ULL << 40, Durability{&log, test_stream}} {}
        Channel& channel() { return world.channel; }
    };

    /// Of everything something: in the log, in blocks that have to be read and in others.
    ChannelImage make_image() {
        begin({.attempts_max = 3, .dedupe_window = hours{1}});
        publish({"rejected", "ready", "rejected as well"});
        reject(1, 1);
        reject(3, 1);
        for (int i = 0; i < 40; ++i) {
            publish({"plain", "more"});
            publish({"later"}, {.delay = hours{1}});
            publish({"short"}, {.ttl = hours{2}});
            publish({"first"}, {.priority = 3});
            publish({"named"}, {.message_id = std::to_string(i)});
        }
        static_cast<void>(put_away());
        for (int i = 0; i < 10; ++i) {
            publish({"in the log", "only"});
            publish({"later"}, {.delay = hours{1}});
        }
        durable->save();
        return durable->image(durable->log->committed());
    }
};

TEST_F(ChannelRestoreTest, IsTheSameInStepsOfAnySize) {
    const ChannelImage image = make_image();
    std::optional<std::vector<std::byte>> expected;
    for (const std::uint64_t size : {std::uint64_t{UINT64_MAX}, std::uint64_t{1000}, std::uint64_t{30}, std::uint64_t{1}}) {
        SCOPED_TRACE(size);
        Target target{durable->options};
        ASSERT_TRUE(restore_in_steps(target.channel(), image, durable->store.reader(), size));
        const auto state = encode(target.channel().state());
        EXPECT_EQ(target.channel().stats().stored, image.live_messages());
        expected = expected.value_or(state);
        EXPECT_TRUE(state == *expected);
    }
}

TEST_F(ChannelRestoreTest, StopsSoonWhenItsUnitsAreUsedUp) {
    const ChannelImage image = make_image();
    Target target{durable->options};
    ChannelRestore restore{target.channel(), image, durable->store.reader()};
    int steps = 0;
    for (std::uint64_t units = 0; !restore.go_on(units); ++steps) {
        ASSERT_EQ(units, 0U);
        units = 20;
    }
    EXPECT_GE(steps, static_cast<int>(image.entries() / 20)) << "each entry costs a unit at least";
}

TEST_F(ChannelRestoreTest, CanBeGivenUpBehindEachStep) {
    const ChannelImage image = make_image();
    for (std::size_t most = 0; most < 1'000; ++most) {
        Target target{durable->options};
        bool is_done = false;
        {
            ChannelRestore restore{target.channel(), image, durable->store.reader()};
            for (std::size_t step = 0; step < most && !is_done; ++step) {
                std::uint64_t units = 7;
                is_done = restore.go_on(units);
            }
        }
        target.channel().close(Errc::channel_deleted);
        for (std::uint64_t items = 0; !target.channel().dismantle(items); items = 5) {
        }
        EXPECT_EQ(target.channel().blocks().size(), 0U);
        if (is_done) {
            EXPECT_GT(most, 20U);
            return;
        }
    }
    FAIL() << "it never came to its end";
}

TEST_F(ChannelRestoreTest, IsDamagedWhenABlockCannotBeRead) {
    begin();
    publish({"a", "b", "c"});
    static_cast<void>(durable->relocate());
    settle(1, 1, Outcome::done);
    durable->save();
    ChannelImage image = durable->image(durable->log->committed());
    image.mark_damaged("as the image says");
    Target target{durable->options};
    EXPECT_FALSE(restore_in_steps(target.channel(), image, durable->store.reader(), 1));
    EXPECT_EQ(target.channel().state().settings.damage, "as the image says");
}

}  // namespace
}  // namespace baton::channel::test
