// Administration of messages and subscriptions, why somebody waits, and moves between channels of one shard and of two: what
// is answered, what is refused and how, and what has become of the messages.
#include "server/runtime/message_admin.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/runtime/two_shards.hpp"

namespace baton::runtime {
namespace {

using channel::Outcome;

/// One channel on each shard with five messages: 1 settled, 2 with the receiver, 3 rejected, 4 put off, 5 ready.
class MessageAdminTest : public testing::Test, protected TwoShards {
protected:
    void SetUp() override {
        for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
            make(shard);
            publish(shard, 1, 5);
            give_and_settle(shard, 4, {{1, 1, 1}, {3, 1, 1, Outcome::reject}, {4, 1, 1, Outcome::retry, 60'000}});
        }
    }
    static std::string code_of(const Json& reply) {
        return reply.at("ok").get<bool>() ? "ok" : reply.at("error").at("code").get<std::string>();
    }
    std::map<std::uint64_t, std::string> states(const std::string& name) {
        std::map<std::uint64_t, std::string> found;
        const auto reply = ask(name, {{"op", "channel.peek"}, {"count", 1000}});
        EXPECT_EQ(code_of(reply), "ok") << reply;
        for (const auto& message : reply.at("messages")) {
            found[message.at("offset").get<std::uint64_t>()] = message.at("state").get<std::string>();
        }
        return found;
    }
    std::vector<std::string> texts(const std::string& name) {
        std::vector<std::string> found;
        const auto reply = ask(name, {{"op", "channel.peek"}});
        for (const auto& message : reply.at("messages")) {
            const auto body = base64_decode(message.at("body_base64").get<std::string>()).value();
            const auto text = std::string{as_text(body)};
            found.push_back(text.substr(0, text.find('.')));
        }
        return found;
    }
    void make_topic(const std::string& name) {
        ASSERT_EQ(code_of(ask(name, {{"op", "channel.create"}, {"kind", "topic"}, {"storage", "memory"}})), "ok");
        ASSERT_EQ(code_of(ask(name, {{"op", "subscription.create"}, {"subscription", "s"}, {"filter", "a.*"}})), "ok");
    }
    using States = std::map<std::uint64_t, std::string>;
    const States all{{2, "in-flight"}, {3, "quarantined"}, {4, "delayed"}, {5, "ready"}};
};

TEST_F(MessageAdminTest, PeekShowsEachStateAndWhatBelongsToIt) {
    EXPECT_EQ(states(names[1]), all);
    const auto only = [&](const char* wanted) {
        const auto reply = ask(names[1], {{"op", "channel.peek"}, {"state", wanted}});
        EXPECT_EQ(reply.at("messages").size(), 1U) << reply;
        return reply.at("messages").at(0);
    };
    EXPECT_EQ(only("quarantined").at("reason"), "rejected");
    EXPECT_GT(only("quarantined").at("quarantined_us"), 0);
    EXPECT_GT(only("delayed").at("due_us"), 0);
    EXPECT_EQ(only("delayed").at("attempt"), 2);
    EXPECT_EQ(only("in-flight").at("session"), session->id.value());
    EXPECT_FALSE(only("ready").contains("receiver"));
}

TEST_F(MessageAdminTest, PeekGoesOnWhereItStopped) {
    auto reply = ask(names[0], {{"op", "channel.peek"}, {"count", 2}});
    EXPECT_EQ(reply.at("messages").size(), 2U);
    EXPECT_TRUE(reply.at("more").get<bool>());
    EXPECT_EQ(reply.at("next"), 4);
    reply = ask(names[0], {{"op", "channel.peek"}, {"count", 2}, {"from", 4}});
    EXPECT_EQ(reply.at("messages").at(1).at("offset"), 5);
    EXPECT_FALSE(reply.at("more").get<bool>() || reply.contains("next"));
}

TEST_F(MessageAdminTest, WhatIsAskedForWronglyIsRefusedWithItsName) {
    const std::pair<Json, const char*> wrong[] = {
        {{{"op", "channel.peek"}, {"state", "odd"}}, "unsupported"},
        {{{"op", "channel.peek"}, {"subscription", "s"}}, "unsupported"},
        {{{"op", "channel.peek"}, {"count", 0}}, "bad_request"},
        {{{"op", "channel.peek"}, {"limit", 1}}, "unsupported"},
        {{{"op", "channel.retry"}}, "bad_request"},
        {{{"op", "channel.retry"}, {"all", true}, {"offsets", {1}}}, "bad_request"},
        {{{"op", "channel.retry"}, {"all", 1}}, "bad_request"},
        {{{"op", "channel.retry"}, {"offsets", {-1}}}, "bad_request"},
        {{{"op", "channel.retry"}, {"offsets", "1"}}, "bad_request"},
        {{{"op", "channel.drop"}, {"offsets", {2}}, {"state", "in-flight"}}, "unsupported"},
        {{{"op", "channel.drop"}, {"all", true}, {"state", "in-flight"}}, "unsupported"},
        {{{"op", "channel.move"}, {"all", true}}, "bad_name"},
        {{{"op", "channel.move"}, {"to", names[0]}, {"all", true}}, "bad_request"},
        {{{"op", "channel.move"}, {"to", "x"}, {"all", true}, {"state", "in-flight"}}, "unsupported"},
        {{{"op", "channel.move"}, {"to", "x"}}, "bad_request"},
    };
    for (const auto& [request, code] : wrong) {
        EXPECT_EQ(code_of(ask(names[0], request)), code) << request;
    }
    for (const char* op : {"channel.peek", "channel.retry", "channel.drop", "channel.explain"}) {
        Json request{{"op", op}};
        if (op != std::string{"channel.peek"} && op != std::string{"channel.explain"}) {
            request["all"] = true;
        }
        EXPECT_EQ(code_of(ask("nobody", request)), "not_found") << op;
    }
    EXPECT_EQ(states(names[0]), all) << "nothing has changed";
}

TEST_F(MessageAdminTest, NamedMessagesAreRetriedAndDroppedAndOnlyThoseInThatState) {
    EXPECT_EQ(ask(names[1], {{"op", "channel.retry"}, {"offsets", {2, 3, 4, 99}}}).at("messages"), 1);
    EXPECT_EQ(states(names[1]), (States{{2, "in-flight"}, {3, "ready"}, {4, "delayed"}, {5, "ready"}}));
    EXPECT_EQ(ask(names[1], {{"op", "channel.drop"}, {"offsets", {3, 4, 5}}}).at("messages"), 0);
    EXPECT_EQ(ask(names[1], {{"op", "channel.drop"}, {"offsets", {3, 4, 5}}, {"state", "ready"}}).at("messages"), 2);
    EXPECT_EQ(ask(names[1], {{"op", "channel.drop"}, {"offsets", {4}}, {"state", "delayed"}}).at("messages"), 1);
    EXPECT_EQ(states(names[1]), (States{{2, "in-flight"}}));
}

TEST_F(MessageAdminTest, SubscriptionsAreMadeListedAndDeleted) {
    make_topic("t");
    EXPECT_EQ(code_of(ask("t", {{"op", "subscription.create"}, {"subscription", "s"}, {"filter", "b"}})), "incompatible_options");
    EXPECT_EQ(code_of(ask("t", {{"op", "subscription.create"}, {"subscription", "u"}, {"filter", "a..b"}})), "unsupported");
    EXPECT_EQ(code_of(ask("t", {{"op", "subscription.create"}, {"subscription", ""}})), "bad_name");
    EXPECT_EQ(code_of(ask("t", {{"op", "channel.peek"}, {"subscription", "nobody"}})), "not_found");
    EXPECT_EQ(code_of(ask("t", {{"op", "channel.retry"}, {"all", true}})), "bad_request") << "of which subscription?";
    const auto listed = ask("t", {{"op", "subscription.list"}});
    EXPECT_EQ(listed.at("subscriptions").at(0).at("filter"), "a.*") << listed;
    EXPECT_EQ(code_of(ask("t", {{"op", "subscription.delete"}, {"subscription", "s"}})), "ok");
    EXPECT_EQ(code_of(ask("t", {{"op", "subscription.delete"}, {"subscription", "s"}})), "not_found");
    EXPECT_EQ(code_of(ask(names[0], {{"op", "subscription.delete"}, {"subscription", ""}})), "unsupported");
}

TEST_F(MessageAdminTest, ManySubscriptionsAreListedPageByPage) {
    make_topic("t");
    for (int number = 1; number < 250; ++number) {
        ASSERT_EQ(code_of(ask("t", {{"op", "subscription.create"}, {"subscription", "s" + std::to_string(number)}})), "ok");
    }
    std::vector<std::string> names_of_all;
    Json request{{"op", "subscription.list"}};
    for (bool has_more = true; has_more;) {
        const auto page = ask("t", request);
        ASSERT_EQ(code_of(page), "ok") << page;
        for (const auto& subscription : page.at("subscriptions")) {
            names_of_all.push_back(subscription.at("name").get<std::string>());
        }
        has_more = page.at("more").get<bool>();
        request["after"] = page.at("next");
    }
    EXPECT_EQ(names_of_all.size(), 250U);
    EXPECT_EQ(names_of_all.front(), "s");
    EXPECT_EQ(names_of_all.back(), "s249");
    EXPECT_TRUE(ask("t", request).at("subscriptions").empty());
    const auto one = ask("t", {{"op", "subscription.list"}, {"subscription", "s249"}});
    EXPECT_EQ(one.at("subscriptions").size(), 1U) << one;
    EXPECT_FALSE(one.at("more").get<bool>());
    EXPECT_TRUE(ask("t", {{"op", "subscription.list"}, {"subscription", "nobody"}}).at("subscriptions").empty());
    EXPECT_TRUE(ask(names[0], {{"op", "subscription.list"}, {"subscription", ""}}).at("subscriptions").empty());
}

TEST_F(MessageAdminTest, ExplainSaysWhatAMessageWaitsForAndWhoCanChangeIt) {
    const auto text = [&](std::uint64_t offset) {
        const auto reply = ask(names[1], {{"op", "channel.explain"}, {"offset", offset}});
        return reply.at("text").get<std::string>();
    };
    EXPECT_EQ(text(1), "there is no message 1: it was settled, expired or dropped");
    EXPECT_TRUE(text(2).contains("is with a receiver")) << text(2);
    EXPECT_TRUE(text(3).contains("an administrator can retry, move or drop it")) << text(3);
    EXPECT_TRUE(text(4).contains("waits for its time (due_us ")) << text(4);
    EXPECT_TRUE(text(5).starts_with("message 5 is ready: ")) << text(5);
    EXPECT_EQ(text(6), "there is no message 6: the next one that is sent gets offset 6");
    EXPECT_EQ(code_of(ask(names[1], {{"op", "channel.explain"}, {"offset", 0}})), "bad_request");
    EXPECT_EQ(code_of(ask(names[1], {{"op", "channel.explain"}, {"offset", 2}, {"subscription", "s"}})), "unsupported");
}

TEST_F(MessageAdminTest, ExplainSaysWhoWaitsAndSinceWhen) {
    ticks(8);
    const Json waits = ask(names[0], {{"op", "channel.explain"}}).at("waits");
    std::map<std::string, Json> by_who;
    for (const auto& wait : waits) {
        by_who[wait.at("who").get<std::string>()] = wait;
    }
    ASSERT_TRUE(by_who.contains("channel") && by_who.contains("receiver")) << waits;
    EXPECT_EQ(by_who["channel"].at("reason"), "receivers_busy");
    EXPECT_EQ(by_who["receiver"].at("reason"), "no_message_credit");
    EXPECT_GE(by_who["receiver"].at("for_ms"), 2'000);
    EXPECT_TRUE(by_who["channel"].at("text").get<std::string>().starts_with("1 ready message: "));
}

TEST_F(MessageAdminTest, ExplainOfAMessageInASubscriptionIsAboutThatOneOnly) {
    make_topic("t");
    for (const char* name : {"u", "v"}) {
        ASSERT_EQ(code_of(ask("t", {{"op", "subscription.create"}, {"subscription", name}})), "ok");
    }
    AttachRequest receiver{.name = "t", .producer{}};
    receiver.receiver.subscription = "u";
    brokers[0]->attach(session->link(8), receiver);
    brokers[0]->attach(session->link(9), {.name = "t", .is_sender = true, .producer{}});
    run();
    BatchBuilder builder;
    builder.append(as_bytes("x"));
    brokers[0]->publish(session->link(9), session->channels[9], 1, builder.take(pool), false);
    ticks(8);
    const auto beginnings = [&](const Json& request) {
        std::vector<std::string> found;
        const auto reply = ask("t", request);
        for (const auto& wait : reply.at("waits")) {
            const auto text = wait.at("text").get<std::string>();
            found.push_back(text.substr(0, text.find_first_of("(,:")));
        }
        return found;
    };
    using Texts = std::vector<std::string>;
    const auto of_all = beginnings({{"op", "channel.explain"}, {"offset", 1}});
    for (const char* text : {"1 ready message", "subscription \"u\"", "subscription \"v\"", "receiver "}) {
        EXPECT_EQ(std::ranges::count(of_all, text), 1) << text;
    }
    EXPECT_EQ(beginnings({{"op", "channel.explain"}, {"offset", 1}, {"subscription", "u"}}),
              (Texts{"subscription \"u\"", "receiver "}));
    EXPECT_EQ(beginnings({{"op", "channel.explain"}, {"offset", 1}, {"subscription", "v"}}), (Texts{"subscription \"v\""}));
    EXPECT_EQ(code_of(ask("t", {{"op", "channel.explain"}, {"offset", 1}, {"subscription", "nobody"}})), "not_found");
}

TEST_F(MessageAdminTest, AMoveTakesWhatNobodyHoldsAlsoToAnotherShard) {
    const auto reply = ask(names[0], {{"op", "channel.move"}, {"to", names[1]}, {"offsets", {2, 5, 99}}, {"state", "ready"}});
    EXPECT_EQ(code_of(reply), "ok") << reply;
    EXPECT_EQ(reply.at("messages"), 1);
    EXPECT_EQ(states(names[0]), (States{{2, "in-flight"}, {3, "quarantined"}, {4, "delayed"}}));
    EXPECT_EQ(texts(names[1]).back(), "5");
    EXPECT_EQ(ask(names[1], {{"op", "channel.move"}, {"to", "all"}, {"all", true}}).at("messages"), 4);
    EXPECT_EQ(texts("all"), (std::vector<std::string>{"3", "4", "5", "5"}));
    EXPECT_EQ(states(names[1]), (States{{2, "in-flight"}}));
    EXPECT_EQ(ask("all", {{"op", "channel.move"}, {"to", names[0]}, {"all", true}, {"state", "ready"}}).at("messages"), 4);
    EXPECT_EQ(texts("all").size(), 0U);
}

TEST_F(MessageAdminTest, AMoveThatTheTargetRefusesPutsEverythingBack) {
    ASSERT_EQ(code_of(ask("small", {{"op", "channel.create"}, {"messages_max", 1}, {"overflow", "reject"}})), "ok");
    ASSERT_EQ(ask(names[0], {{"op", "channel.move"}, {"to", "small"}, {"offsets", {5}}}).at("messages"), 1);
    EXPECT_EQ(texts("small"), (std::vector<std::string>{"5"})) << ask("small", {{"op", "channel.show"}});
    const auto refused = ask(names[1], {{"op", "channel.move"}, {"to", "small"}, {"all", true}});
    EXPECT_EQ(code_of(refused), "full") << refused;
    EXPECT_EQ(states(names[1]), all);
    EXPECT_EQ(texts("small").size(), 1U);
    ASSERT_EQ(code_of(ask("tiny", {{"op", "channel.create"}, {"message_size_max", 1}})), "ok");
    EXPECT_EQ(code_of(ask(names[1], {{"op", "channel.move"}, {"to", "tiny"}, {"offsets", {3}}})), "message_too_large");
    EXPECT_EQ(states(names[1]), all);
}

TEST_F(MessageAdminTest, RetryDropAndPurgeOfAllLeaveWhatAReceiverHolds) {
    EXPECT_EQ(ask(names[1], {{"op", "channel.retry"}, {"all", true}}).at("messages"), 1);
    EXPECT_EQ(ask(names[1], {{"op", "channel.purge"}}).at("messages"), 2);
    EXPECT_EQ(ask(names[1], {{"op", "channel.drop"}, {"all", true}, {"state", "delayed"}}).at("messages"), 1);
    EXPECT_EQ(states(names[1]), (States{{2, "in-flight"}}));
}

}  // namespace
}  // namespace baton::runtime
