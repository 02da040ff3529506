// Answers to administrative requests about durable channels come when what they speak of is on the disk. One shard on a
// simulated disk, whose log is written when the test says so.
#include "common/base/batch_builder.hpp"
#include "tests/unit/runtime/durable_world.hpp"

namespace baton::runtime {
namespace {

class DurableAdminTest : public ::testing::Test, protected DurableWorld {
protected:
    using Json = nlohmann::json;
};

TEST_F(DurableAdminTest, ACreationIsAnsweredWhenItIsOnTheDisk) {
    ask("orders", {{"op", "channel.create"}, {"storage", "durable"}});
    EXPECT_TRUE(listener.replies.empty());
    write_log();
    ASSERT_EQ(listener.replies.size(), 1U);
    EXPECT_TRUE(listener.replies[0]["created"].get<bool>());
}

TEST_F(DurableAdminTest, ThatOfAChannelWhichAnAttachHasJustMadeToo) {
    broker.attach({session, 1}, {.name = "orders", .is_sender = true, .producer{}});
    broker.end_turn();
    EXPECT_EQ(listener.attached, 1);
    ask("orders", {{"op", "channel.create"}, {"storage", "durable"}});
    ask("orders", {{"op", "channel.show"}});
    ASSERT_EQ(listener.replies.size(), 1U) << "a question is answered at once";
    EXPECT_TRUE(listener.replies[0].contains("channel"));
    write_log();
    ASSERT_EQ(listener.replies.size(), 2U);
    EXPECT_FALSE(listener.replies[1]["created"].get<bool>());
    ask("orders", {{"op", "channel.create"}, {"storage", "durable"}});
    EXPECT_EQ(listener.replies.size(), 3U) << "it is on the disk";
}

/// A receiver that rejects all it gets, and so many messages for it.
class SweepTest : public ::testing::Test, protected DurableWorld {
protected:
    using Json = nlohmann::json;
    static constexpr std::uint32_t count = 3 * Sweeps::runs_per_slice;

    SweepTest() {
        ask("orders", {{"op", "channel.create"}, {"storage", "durable"}});
        write_log();
        broker.attach({session, 1}, {.name = "orders", .is_sender = true, .producer{}});
        broker.end_turn();
        publish(count);
        listener.replies.clear();
    }
    void publish(std::uint32_t messages) {
        for (std::uint32_t sent = 0; sent < messages; sent += 512) {
            BatchBuilder builder;
            for (std::uint32_t i = 0; i < 512; ++i) {
                builder.append(as_bytes("x"));
            }
            broker.publish({session, 1}, listener.channels[1], 1 + sequence, builder.take(pool), false);
            sequence += 512;
            run();
        }
    }
    /// They are rejected one by one, so that each is a run of its own.
    void quarantine_all() {
        broker.attach({session, 2}, {.name = "orders", .is_sender = false, .producer{}});
        broker.set_credit({session, 2}, listener.channels[2], {1'000'000, 1'000'000'000});
        run();
        for (const auto& delivered : std::exchange(listener.delivered, {})) {
            for (std::uint32_t i = 0; i < delivered.range.count; ++i) {
                const channel::SettleRange one{delivered.range.first + i, 1, 1, channel::Outcome::reject};
                broker.settle({session, 2}, listener.channels[2], {&one, 1}, 0);
            }
            run();
        }
        broker.detach({session, 2}, listener.channels[2]);
        run();
    }
    Json show() {
        ask("orders", {{"op", "channel.show"}});
        const Json shown = listener.replies.back()["channel"];
        listener.replies.pop_back();
        return shown;
    }
    std::uint64_t sequence = 0;
};

TEST_F(SweepTest, AllOfManyAreRetriedInSlicesAndTheAnswerComesBehindTheLast) {
    quarantine_all();
    broker.admin(session, 1, "orders", R"({"op":"channel.retry","all":true})");
    int slices = 1;
    for (; broker.has_more(); ++slices) {
        EXPECT_TRUE(listener.replies.empty());
        broker.end_turn();
    }
    EXPECT_GE(slices, 3);
    EXPECT_TRUE(listener.replies.empty()) << "it is not on the disk";
    write_log();
    ASSERT_EQ(listener.replies.size(), 1U);
    EXPECT_EQ(listener.replies[0]["messages"], count);
    EXPECT_EQ(show()["ready"], count);
}

TEST_F(SweepTest, OthersHaveTheirTurnBetweenTwoSlices) {
    quarantine_all();
    broker.admin(session, 1, "orders", R"({"op":"channel.drop","all":true})");
    EXPECT_EQ(show()["quarantined"], count - Sweeps::runs_per_slice);
    publish(512);
    run();
    write_log();
    ASSERT_EQ(listener.replies.size(), 1U);
    EXPECT_EQ(listener.replies[0]["messages"], count);
    EXPECT_EQ(show()["quarantined"], 0U);
    EXPECT_EQ(show()["ready"], 512U);
}

TEST_F(SweepTest, AChannelThatIsDeletedMeanwhileIsSaid) {
    quarantine_all();
    broker.admin(session, 1, "orders", R"({"op":"channel.drop","all":true})");
    ask("orders", {{"op", "channel.delete"}, {"force", true}});
    run();
    ASSERT_EQ(listener.replies.size(), 2U);
    const Json& failed = listener.replies[listener.replies[0]["ok"] == true ? 1 : 0];
    EXPECT_EQ(failed["error"]["code"], "channel_deleted");
}

TEST_F(SweepTest, AFewAreDoneAtOnce) {
    ask("orders", {{"op", "channel.purge"}});
    write_log();
    ASSERT_EQ(listener.replies.size(), 1U);
    EXPECT_EQ(listener.replies[0]["messages"], count) << "they lie in a few batches";
    ask("orders", {{"op", "channel.drop"}, {"all", true}, {"state", "in-flight"}});
    ask("nobody", {{"op", "channel.purge"}});
    write_log();
    ASSERT_EQ(listener.replies.size(), 3U);
    EXPECT_EQ(listener.replies[1]["error"]["code"], "unsupported");
    EXPECT_EQ(listener.replies[2]["error"]["code"], "not_found");
}

}  // namespace
}  // namespace baton::runtime
