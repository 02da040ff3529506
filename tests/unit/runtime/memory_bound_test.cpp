// Memory is counted in chunks, which channels share: what lies in one keeps what was beside it. One shard on a simulated disk.
#include <string>

#include "common/base/batch_builder.hpp"
#include "tests/unit/runtime/durable_world.hpp"

namespace baton::runtime {
namespace {

constexpr std::uint64_t memory_max = 4ULL << 20;

/// A channel whose messages come and go, and one that takes a small message now and then.
class MemoryBoundTest : public ::testing::Test, protected DurableWorld {
protected:
    enum Link : std::uint16_t { busy_sender = 1, busy_receiver = 2, quiet_sender = 3, quiet_receiver = 4 };

    MemoryBoundTest() : DurableWorld{small_limits()} {
        broker.attach({session, busy_sender}, {.name = "busy", .is_sender = true, .producer{}});
        attach_receiver(busy_receiver, "busy", {1ULL << 40U, 1ULL << 40U});
        broker.attach({session, quiet_sender}, {.name = "quiet", .is_sender = true, .producer{}});
        run();
    }
    static Limits small_limits() {
        Limits limits;
        limits.memory_max = memory_max;
        return limits;
    }
    void attach_receiver(Link link, const std::string& name, channel::Credit credit) {
        broker.attach({session, link}, {.name = name, .is_sender = false, .producer{}});
        broker.end_turn();
        broker.set_credit({session, link}, listener.channels[link], credit);
        run();
    }
    void publish(Link link, std::uint64_t sequence, std::size_t size) {
        BatchBuilder builder;
        builder.append(as_bytes(std::string(size, 'x')));
        broker.publish({session, link}, listener.channels[link], sequence, builder.take(pool), false);
    }
    /// More than a chunk of messages, which are received and settled, and somewhere among them a small one that is not.
    void have_traffic() {
        publish(quiet_sender, ++quiet_, 5);
        for (int group = 0; group < 8; ++group) {
            for (int i = 0; i < 12; ++i) {
                publish(busy_sender, ++busy_, 3'000);
            }
            run();
            for (const auto& [link, range] : std::exchange(listener.delivered, {})) {
                ASSERT_EQ(link, busy_receiver);
                broker.settle({session, link}, listener.channels[link], {&range, 1}, 0);
            }
            run();
        }
        clock.advance(std::chrono::milliseconds{20});
        broker.tick();
        run();
    }
    /// Far longer than memory lasts if each round leaves a chunk in it.
    void have_much_traffic() {
        for (int round = 0; round < 100; ++round) {
            have_traffic();
            ASSERT_LT(state.memory.used(), memory_max) << "in round " << round;
        }
    }
    void receive_what_is_quiet() {
        broker.set_credit({session, quiet_receiver}, listener.channels[quiet_receiver], {1ULL << 40U, 1ULL << 40U});
        run();
        channel::Offset next = 1;
        for (const auto& [link, range] : listener.delivered) {
            ASSERT_EQ(link, quiet_receiver);
            ASSERT_EQ(range.first, next);
            next += range.count;
        }
        EXPECT_EQ(next, quiet_ + 1);
    }

    std::uint64_t busy_ = 0, quiet_ = 0;  ///< Messages.
};

TEST_F(MemoryBoundTest, AFewBytesThatNobodyIsThereToReceiveDoNotKeepTheChunksInWhichTheyCame) {
    have_much_traffic();
    attach_receiver(quiet_receiver, "quiet", {});
    receive_what_is_quiet();
}

TEST_F(MemoryBoundTest, NorDoThoseOfAReceiverThatTakesNothing) {
    attach_receiver(quiet_receiver, "quiet", {});
    have_much_traffic();
    receive_what_is_quiet();
}

}  // namespace
}  // namespace baton::runtime
