// Answers to administrative requests about durable channels come when what they speak of is on the disk. One shard on a
// simulated disk, whose log is written when the test says so.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "server/runtime/storage_start.hpp"
#include "tests/sim/disk.hpp"

namespace baton::runtime {
namespace {

using channel::LinkAddress;
using Json = nlohmann::json;

class NoMail final : public MailboxPort {
public:
    void send(std::uint32_t, EnvelopeBatch) override { FAIL() << "there is one shard"; }
};

class Listener final : public SessionEvents {
public:
    void on_attached(std::uint16_t, const Attachment&) override { ++attached; }
    void on_attach_failed(std::uint16_t, std::error_code reason) override { FAIL() << reason.message(); }
    void on_confirmed(std::uint16_t, std::uint64_t, channel::ConfirmLevel) noexcept override {}
    void on_refused(std::uint16_t, std::uint64_t, std::uint32_t, std::error_code) noexcept override {}
    void on_sender_credit(std::uint16_t, channel::Credit) noexcept override {}
    void on_state(std::uint16_t, const LinkStateReport&) noexcept override {}
    void on_deliver(std::uint16_t, const channel::Slice&) noexcept override {}
    void on_settle_refused(std::uint16_t, const channel::SettleRange&, std::error_code) noexcept override {}
    void on_settled(std::uint16_t, std::uint64_t) noexcept override {}
    void on_closed(std::uint16_t, std::error_code) noexcept override {}
    void on_memory_granted(std::uint16_t) override {}
    void on_admin_reply(std::uint64_t, const std::string& json) override { replies.push_back(Json::parse(json)); }

    int attached = 0;
    std::vector<Json> replies;
};

class DurableAdminTest : public ::testing::Test {
protected:
    DurableAdminTest() {
        state.is_durable_by_default = true;
        StorageStart start{disk};
        EXPECT_TRUE(start.recover(pool));
        EXPECT_TRUE(start.begin_generation(1));
        broker.open_store({.files = &disk,
                           .sync_queue = &sync,
                           .bulk_queue = &bulk,
                           .clock = &clock,
                           .pool = &pool,
                           .memory = &state.memory},
                          {.generation = start.generation(), .wal_file_size = 64 * 1024});
        EXPECT_TRUE(start.install({&broker}, [this] {
            const bool had_bulk = bulk.run_all(disk);
            return sync.run_all(disk) || had_bulk;
        }));
        EXPECT_TRUE(start.finish());
        session = broker.open_session(listener);
    }
    ~DurableAdminTest() override {
        broker.close_session(session);
        broker.end_turn();
        write_log();
    }
    void ask(const std::string& name, const Json& request) {
        broker.admin(session, 1, name, request.dump());
        broker.end_turn();
    }
    void write_log() {
        while (sync.run_all(disk)) {
            broker.end_turn();
        }
    }

    ManualClock clock;
    BrokerState state{Limits{}, 1, clock};
    NoMail mail;
    sim::SimDisk disk;
    ChunkPool pool;
    StartQueue sync;
    StartQueue bulk;
    Listener listener;
    ShardBroker broker{0, state, mail};
    channel::SessionId session{0};
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
