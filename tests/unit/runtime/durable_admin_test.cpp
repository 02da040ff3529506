// Answers to administrative requests about durable channels come when what they speak of is on the disk. One shard on a
// simulated disk, whose log is written when the test says so.
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

}  // namespace
}  // namespace baton::runtime
