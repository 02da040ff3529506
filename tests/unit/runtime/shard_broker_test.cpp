// Routing between shards: commands to the shard of the channel, events back to the shard of the session, and what
// happens when one of the two ends is gone. Two ShardBrokers with mailboxes in memory; sessions are fakes that write
// down lines.
#include "server/runtime/shard_broker.hpp"

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "common/base/batch_builder.hpp"
#include "server/runtime/errc.hpp"
#include "server/runtime/placement.hpp"

namespace baton::runtime {
namespace {

using channel::Credit;
using channel::LinkAddress;
using Lines = std::vector<std::string>;
using Json = nlohmann::json;

class Mail final : public MailboxPort {
public:
    explicit Mail(std::uint32_t shards) : queues(shards) {}
    void send(std::uint32_t shard, EnvelopeBatch batch) override { queues.at(shard).push_back(std::move(batch)); }
    std::vector<std::deque<EnvelopeBatch>> queues;
};

class FakeSession final : public SessionEvents {
public:
    explicit FakeSession(ShardBroker& broker) : broker_{broker}, id{broker.open_session(*this)} {}

    [[nodiscard]] LinkAddress link(std::uint16_t number) const { return {id, number}; }
    [[nodiscard]] Lines heard() { return std::exchange(lines_, {}); }

    void attach_sender(std::uint16_t number, const std::string& name, bool create = true) {
        broker_.attach(link(number), {name, true, create, {}});
    }
    void attach_receiver(std::uint16_t number, const std::string& name, bool create = true) {
        broker_.attach(link(number), {name, false, create, {}});
    }

    void on_attached(std::uint16_t number, const Attachment& attachment) override {
        channel = attachment.channel;
        add("attached", number, attachment.created ? "created" : "");
    }
    void on_attach_failed(std::uint16_t number, std::error_code reason) override {
        add("failed", number, reason.message());
    }
    void on_confirmed(std::uint16_t number, std::uint64_t sequence, channel::ConfirmLevel) noexcept override {
        add("confirmed", number, std::to_string(sequence));
    }
    void on_refused(std::uint16_t number, std::uint64_t first, std::uint32_t count,
                    std::error_code reason) noexcept override {
        add("refused", number, std::to_string(first) + "+" + std::to_string(count) + " " + reason.message());
    }
    void on_sender_credit(std::uint16_t number, Credit) noexcept override { add("credit", number); }
    void on_state(std::uint16_t number, const LinkStateReport& state) noexcept override {
        add("state", number, std::string{to_string(state.reason)});
        waiting = state.waiting;
    }
    void on_deliver(std::uint16_t number, const channel::Slice& slice) noexcept override {
        add("deliver", number, std::to_string(slice.first) + "+" + std::to_string(slice.count));
    }
    void on_settle_refused(std::uint16_t number, const channel::SettleRange& range, std::error_code) noexcept override {
        add("settle refused", number, std::to_string(range.first));
    }
    void on_settled(std::uint16_t number, std::uint64_t receipt) noexcept override {
        add("settled", number, std::to_string(receipt));
    }
    void on_closed(std::uint16_t number, std::error_code reason) noexcept override {
        add("closed", number, reason ? reason.message() : "");
    }
    void on_memory_granted(std::uint16_t number) override { add("memory", number); }
    void on_admin_reply(std::uint64_t request, const std::string& json) override {
        replies.emplace_back(request, Json::parse(json));
    }

private:
    void add(const char* what, std::uint16_t number, const std::string& more = {}) {
        lines_.push_back(std::string{what} + " " + std::to_string(number) + (more.empty() ? "" : " " + more));
    }

    ShardBroker& broker_;
    Lines lines_;

public:
    const channel::SessionId id;
    ChannelRef channel;
    Duration waiting{};
    std::vector<std::pair<std::uint64_t, Json>> replies;
};

/// Parameter: the shard of the channel; sessions live on shard 0.
class Routing : public ::testing::TestWithParam<std::uint32_t> {
protected:
    explicit Routing(Limits limits = {}) : state{limits, 2, clock}, mail{2}, pool{64 * 1024, 4, &state.memory} {
        for (std::uint32_t shard = 0; shard < 2; ++shard) {
            brokers.push_back(std::make_unique<ShardBroker>(shard, state, mail));
        }
        for (int i = 0; name.empty(); ++i) {
            const auto candidate = "c" + std::to_string(i);
            name = shard_of_channel(candidate, 2) == GetParam() ? candidate : "";
        }
    }
    /// One batch of mail for a shard, or just the end of its turn.
    bool turn(std::uint32_t shard) {
        bool worked = false;
        if (!mail.queues[shard].empty()) {
            auto batch = std::move(mail.queues[shard].front());
            mail.queues[shard].pop_front();
            brokers[shard]->receive(std::move(batch));
            worked = true;
        }
        return brokers[shard]->end_turn() || worked;
    }
    void run() {
        for (bool worked = true; worked;) {
            worked = turn(0);
            worked = turn(1) || worked;
        }
    }
    Payload batch(std::uint32_t count) {
        BatchBuilder builder;
        for (std::uint32_t i = 0; i < count; ++i) {
            builder.append(as_bytes("x"));
        }
        return builder.take(pool);
    }
    Json show() { return ask(R"({"op":"channel.show"})"); }
    Json ask(std::string_view request) {
        FakeSession admin{*brokers[1]};
        brokers[1]->admin(admin.id, 1, name, request);
        run();
        brokers[1]->close_session(admin.id);
        return admin.replies.at(0).second;
    }
    [[nodiscard]] bool is_remote() const { return GetParam() != 0; }

    ManualClock clock;
    BrokerState state;
    Mail mail;
    ChunkPool pool;
    std::vector<std::unique_ptr<ShardBroker>> brokers;
    std::string name;
};
INSTANTIATE_TEST_SUITE_P(Shards, Routing, ::testing::Values(0U, 1U));

TEST_P(Routing, AttachPublishDeliverSettleDetach) {
    FakeSession session{*brokers[0]};
    session.attach_sender(1, name);
    EXPECT_EQ(session.heard().empty(), is_remote());
    run();
    EXPECT_EQ(session.channel.shard, GetParam());
    session.attach_receiver(2, name);
    brokers[0]->set_credit(session.link(2), session.channel, {10, 1000});
    brokers[0]->publish(session.link(1), session.channel, 1, batch(3), false);
    run();
    EXPECT_EQ(brokers[GetParam()]->in_flight(), 3U);
    static_cast<void>(session.heard());
    brokers[0]->settle(session.link(2), session.channel, std::vector<channel::SettleRange>{{1, 2, 1}, {9, 1, 1}}, 7);
    brokers[0]->query(session.link(2), session.channel);
    brokers[0]->detach(session.link(2), session.channel);
    brokers[0]->detach(session.link(1), session.channel);
    run();
    EXPECT_EQ(session.heard(), (Lines{"settle refused 2 9", "settled 2 7", "state 2 empty", "closed 2", "closed 1"}));
    EXPECT_EQ(show()["channel"]["ready"], 1);
    brokers[0]->close_session(session.id);
}

TEST_P(Routing, EventsKeepTheirOrder) {
    FakeSession session{*brokers[0]};
    session.attach_sender(1, name);
    session.attach_receiver(2, name);
    run();
    EXPECT_EQ(session.heard(), (Lines{"attached 1 created", "credit 1", "attached 2"}));
    brokers[0]->publish(session.link(1), session.channel, 1, batch(2), false);
    brokers[0]->set_credit(session.link(2), session.channel, {1, 1000});
    brokers[0]->query(session.link(2), session.channel);
    brokers[0]->set_slow(session.link(2), session.channel, true);
    brokers[0]->query(session.link(2), session.channel);
    run();
    EXPECT_EQ(session.heard(),
              (Lines{"confirmed 1 2", "deliver 2 1+1", "state 2 no message credit", "state 2 slow reader"}));
    brokers[0]->close_session(session.id);
}

TEST_P(Routing, WaitingTimeIsRelative) {
    FakeSession session{*brokers[0]};
    session.attach_receiver(2, name);
    run();
    clock.advance(std::chrono::seconds{3});
    brokers[0]->query(session.link(2), session.channel);
    run();
    EXPECT_EQ(session.waiting, std::chrono::seconds{3});
    brokers[0]->close_session(session.id);
}

TEST_P(Routing, AttachFailuresComeBack) {
    FakeSession session{*brokers[0]};
    session.attach_receiver(1, name, /*create=*/false);
    run();
    EXPECT_EQ(session.heard(), Lines{"failed 1 " + make_error_code(Errc::not_found).message()});
    brokers[GetParam()]->begin_drain();
    session.attach_sender(1, name);
    session.attach_receiver(2, name);
    run();
    EXPECT_EQ(session.heard(), (Lines{"failed 1 " + make_error_code(Errc::draining).message(), "attached 2 created"}));
    brokers[0]->close_session(session.id);
}

TEST_P(Routing, ASessionThatIsGoneBeforeItIsAttachedLeavesNoLink) {
    {
        FakeSession session{*brokers[0]};
        session.attach_receiver(1, name);
        if (!is_remote()) {
            brokers[0]->detach(session.link(1), session.channel);
        }
        brokers[0]->close_session(session.id);
    }
    run();
    EXPECT_EQ(show()["channel"]["receivers"], 0);
}

TEST_P(Routing, DeliveriesToASessionThatIsGoneComeBack) {
    FakeSession sender{*brokers[0]};
    sender.attach_sender(1, name);
    run();
    brokers[0]->publish(sender.link(1), sender.channel, 1, batch(5), false);
    auto receiver = std::make_unique<FakeSession>(*brokers[0]);
    receiver->attach_receiver(1, name);
    run();
    brokers[0]->set_credit(receiver->link(1), receiver->channel, {3, 1000});
    turn(0);
    turn(1);  // Given; across shards the slices are in the mail now.
    brokers[0]->detach(receiver->link(1), receiver->channel);
    brokers[0]->close_session(receiver->id);
    receiver.reset();
    run();
    const auto shown = show();
    EXPECT_EQ(shown["channel"]["in_flight"], 0);
    EXPECT_EQ(shown["channel"]["ready"], 5);
    brokers[0]->close_session(sender.id);
}

TEST_P(Routing, CommandsForAChannelThatIsGoneAreDropped) {
    FakeSession session{*brokers[0]};
    session.attach_sender(1, name);
    session.attach_receiver(2, name);
    run();
    static_cast<void>(session.heard());
    brokers[0]->admin(session.id, 1, name, R"({"op":"channel.delete","force":true})");
    brokers[0]->publish(session.link(1), session.channel, 1, batch(1), false);
    brokers[0]->settle(session.link(2), session.channel, std::vector<channel::SettleRange>{{1, 1, 1}}, 5);
    brokers[0]->set_credit(session.link(2), session.channel, {1, 1});
    brokers[0]->set_slow(session.link(2), session.channel, true);
    brokers[0]->query(session.link(2), session.channel);
    brokers[0]->detach(session.link(2), session.channel);
    run();
    const auto reason = make_error_code(channel::Errc::channel_deleted).message();
    EXPECT_EQ(session.heard(), (Lines{"closed 1 " + reason, "closed 2 " + reason}));
    EXPECT_EQ(state.channels, 0U);
    // Another channel of the same name is another one.
    const auto old = session.channel;
    session.attach_receiver(2, name);
    run();
    EXPECT_NE(session.channel.id, old.id);
    brokers[0]->close_session(session.id);
}

TEST_P(Routing, VeryManyLinksEndInTurns) {
    constexpr std::uint16_t links = 3'000;
    for (const bool is_deleted : {false, true}) {
        FakeSession session{*brokers[0]};
        for (std::uint16_t number = 1; number <= links; ++number) {
            session.attach_receiver(number, name);
        }
        run();
        static_cast<void>(session.heard());
        if (is_deleted) {
            brokers[GetParam()]->admin(session.id, 1, name, R"({"op":"channel.delete","force":true})");
        }
        for (std::uint16_t number = 1; number <= links && !is_deleted; ++number) {
            brokers[0]->detach(session.link(number), session.channel);
        }
        std::size_t closed = 0;
        int turns = 0;
        for (; closed < links && turns < 100; ++turns) {
            turn(0);
            turn(1);
            const std::size_t heard = session.heard().size();
            EXPECT_LE(heard, 2'500U);
            closed += heard;
        }
        EXPECT_EQ(closed, links);
        EXPECT_GE(turns, 2);
        brokers[0]->close_session(session.id);
    }
}

TEST_P(Routing, OfVeryManyLinksSomeAreShownAndAllAreCounted) {
    constexpr std::uint16_t links = 2'000;
    FakeSession session{*brokers[0]};
    for (std::uint16_t number = 1; number <= links; ++number) {
        session.attach_receiver(number, name);
    }
    run();
    const auto shown = show();
    EXPECT_EQ(shown["channel"]["receivers"], links);
    EXPECT_EQ(shown["channel"]["senders"], 0);
    EXPECT_EQ(shown["channel"]["links"].size(), 200U);
    EXPECT_TRUE(shown["more"].get<bool>());
    const auto waits = ask(R"({"op":"channel.explain"})")["waits"];
    EXPECT_GT(waits.size(), 100U);
    EXPECT_LT(waits.size(), links);
    EXPECT_LE(waits.dump().size(), admin_reply_size_max / 2);
    brokers[0]->close_session(session.id);
}

TEST_P(Routing, ATurnGivesOutNoMoreThanItMay) {
    constexpr std::uint16_t receivers = 100;
    constexpr std::uint32_t slices_max = 16;
    ASSERT_TRUE(ask(R"({"op":"channel.create","kind":"topic","storage":"memory"})")["ok"].get<bool>());
    FakeSession session{*brokers[0]};
    for (std::uint16_t number = 1; number <= receivers; ++number) {
        session.attach_receiver(number, name);
    }
    session.attach_sender(receivers + 1, name);
    run();
    for (std::uint16_t number = 1; number <= receivers; ++number) {
        brokers[0]->set_credit(session.link(number), session.channel, {10, 1000});
    }
    run();
    static_cast<void>(session.heard());
    const auto delivered = [&] {
        return std::ranges::count_if(session.heard(), [](const auto& line) { return line.starts_with("deliver"); });
    };
    brokers[0]->publish(session.link(receivers + 1), session.channel, 1, batch(1), false);
    ShardBroker& owner = *brokers[GetParam()];
    if (is_remote()) {
        brokers[0]->end_turn();
        owner.receive(std::move(mail.queues[1].front()));
        mail.queues[1].pop_front();
    }
    owner.end_turn(slices_max);
    EXPECT_TRUE(owner.is_step_spent());
    EXPECT_TRUE(owner.has_more());
    if (is_remote()) {
        turn(0);
    }
    EXPECT_EQ(delivered(), slices_max);
    run();
    EXPECT_EQ(delivered(), receivers - slices_max);
    brokers[0]->close_session(session.id);
}

TEST_P(Routing, ADeletedChannelIsTakenApartWithoutFurtherTraffic) {
    constexpr std::uint32_t per_batch = 200;
    FakeSession session{*brokers[0]};
    session.attach_sender(1, name);
    run();
    for (std::uint64_t sequence = 1; sequence < 2'000 * per_batch; sequence += per_batch) {
        brokers[0]->publish(session.link(1), session.channel, sequence, batch(per_batch), false);
    }
    run();
    const auto full = state.memory.used();
    ShardBroker& owner = *brokers[GetParam()];
    owner.admin(session.id, 1, name, R"({"op":"channel.delete","force":true})");
    int turns = 0;
    do {
        owner.end_turn();
        ++turns;
    } while (owner.has_more() && turns < 1'000);
    EXPECT_FALSE(owner.has_more());
    EXPECT_GE(turns, 2) << "not all at once";
    EXPECT_LT(state.memory.used(), full / 4);
    run();
    brokers[0]->close_session(session.id);
}

TEST_P(Routing, ChannelsAreCountedForTheWholeBroker) {
    FakeSession session{*brokers[0]};
    for (std::uint16_t i = 1; i <= 10; ++i) {
        session.attach_receiver(i, "n" + std::to_string(i));
    }
    run();
    EXPECT_EQ(state.channels, 10U);
    brokers[0]->admin(session.id, 1, "n3", R"({"op":"channel.delete","force":true})");
    run();
    EXPECT_EQ(state.channels, 9U);
    brokers[0]->close_session(session.id);
}

class TightRouting : public Routing {
protected:
    static Limits tight() {
        Limits limits;
        limits.channels_max = 2;
        limits.memory_max = 1'000'000;
        return limits;
    }
    TightRouting() : Routing{tight()} {}
};
INSTANTIATE_TEST_SUITE_P(Shards, TightRouting, ::testing::Values(0U, 1U));

TEST_P(TightRouting, ChannelsMaxHoldsAcrossShards) {
    FakeSession session{*brokers[0]};
    for (std::uint16_t i = 1; i <= 3; ++i) {
        session.attach_receiver(i, name + std::to_string(i));
    }
    run();
    const auto lines = session.heard();
    EXPECT_EQ(std::ranges::count_if(lines, [](const std::string& line) { return line.starts_with("attached"); }), 2);
    EXPECT_EQ(state.channels, 2U);
    brokers[0]->close_session(session.id);
}

TEST_P(TightRouting, MemoryIsGrantedInOrder) {
    FakeSession first{*brokers[0]};
    FakeSession second{*brokers[0]};
    state.memory.charge(600'000);  // What is stored.
    EXPECT_FALSE(brokers[0]->request_memory(first.link(1), 500'001));
    EXPECT_TRUE(brokers[0]->request_memory(first.link(1), 500'000));
    EXPECT_TRUE(brokers[0]->request_memory(second.link(1), 400'000));
    EXPECT_TRUE(brokers[0]->request_memory(first.link(2), 300'000));
    EXPECT_TRUE(brokers[0]->request_memory(second.link(2), 1));
    EXPECT_EQ(first.heard(), Lines{});  // At the end of the turn.
    run();
    EXPECT_EQ(first.heard(), Lines{});
    EXPECT_EQ(second.heard(), Lines{}) << "there would be room for its little one";
    state.memory.discharge(100'000);
    run();
    EXPECT_EQ(first.heard(), Lines{"memory 1"});
    EXPECT_EQ(second.heard(), Lines{"memory 1"}) << "what is promised and not stored does not stop it";
    brokers[0]->memory_taken(400'000);
    run();
    EXPECT_EQ(first.heard(), Lines{"memory 2"});
    EXPECT_EQ(second.heard(), Lines{"memory 2"});
    EXPECT_EQ(state.memory.used(), 1'300'001U);
    brokers[0]->close_session(first.id);
    brokers[0]->close_session(second.id);
}

TEST_P(TightRouting, MemoryIsNotGrantedToWhoHasCancelledOrGone) {
    FakeSession first{*brokers[0]};
    FakeSession second{*brokers[0]};
    EXPECT_TRUE(brokers[0]->request_memory(first.link(1), 500'000));
    EXPECT_TRUE(brokers[0]->request_memory(first.link(2), 500'000));
    EXPECT_TRUE(brokers[0]->request_memory(second.link(1), 500'000));
    EXPECT_TRUE(brokers[0]->request_memory(second.link(2), 400'000));
    brokers[0]->cancel_memory(first.link(2));
    brokers[0]->close_session(second.id);
    run();
    EXPECT_EQ(first.heard(), Lines{"memory 1"});
    EXPECT_EQ(second.heard(), Lines{});
    EXPECT_EQ(state.memory.used(), 500'000U);
    brokers[0]->memory_taken(500'000);
    EXPECT_EQ(state.memory.used(), 0U);
    brokers[0]->close_session(first.id);
}

TEST_P(Routing, AnswersOfAllShardsAreGathered) {
    FakeSession session{*brokers[0]};
    for (std::uint16_t i = 1; i <= 9; ++i) {
        session.attach_receiver(i, "n" + std::to_string(i));
    }
    run();
    brokers[0]->admin(session.id, 5, "", R"({"op":"channel.list","limit":4})");
    EXPECT_TRUE(session.replies.empty());
    run();
    ASSERT_EQ(session.replies.size(), 1U);
    EXPECT_EQ(session.replies[0].first, 5U);
    const auto& reply = session.replies[0].second;
    ASSERT_EQ(reply["channels"].size(), 4U);
    EXPECT_EQ(reply["channels"][0]["name"], "n1");
    EXPECT_EQ(reply["channels"][3]["name"], "n4");
    EXPECT_EQ(reply["more"], true);
    brokers[0]->close_session(session.id);
}

TEST_P(Routing, AnswersToASessionThatIsGoneAreDropped) {
    FakeSession session{*brokers[0]};
    brokers[0]->admin(session.id, 5, "", R"({"op":"channel.list"})");
    brokers[0]->admin(session.id, 6, name, R"({"op":"channel.show"})");
    brokers[0]->close_session(session.id);
    const auto before = session.replies.size();
    run();
    EXPECT_EQ(session.replies.size(), before);
}

TEST_P(Routing, RequestsThatAreNotUnderstoodAreAnsweredHere) {
    FakeSession session{*brokers[0]};
    brokers[0]->admin(session.id, 1, name, "nonsense");
    ASSERT_EQ(session.replies.size(), 1U);
    EXPECT_EQ(session.replies[0].second["error"]["code"], "bad_request");
    brokers[0]->close_session(session.id);
}

}  // namespace
}  // namespace baton::runtime
