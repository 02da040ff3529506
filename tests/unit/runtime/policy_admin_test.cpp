// Policies that are set while the broker runs: order, refusals, the file, and when an answer comes. One shard on a simulated disk.
#include <gmock/gmock.h>

#include "server/runtime/policy_admin.hpp"
#include "server/storage/data_directory.hpp"
#include "server/storage/errc.hpp"
#include "tests/unit/runtime/durable_world.hpp"

namespace baton::runtime {
namespace {

using ::testing::HasSubstr;

class PolicyAdminTest : public ::testing::Test, protected DurableWorld {
protected:
    Json asked(const Json& request, const std::string& name = {}) {
        listener.replies.clear();
        ask(name, request);
        run();
        EXPECT_EQ(listener.replies.size(), 1U);
        return listener.replies.empty() ? Json::object() : listener.replies.front();
    }
    Json set(const std::string& match, Json more = Json::object()) {
        more["op"] = "policy.set";
        more["match"] = match;
        return asked(more);
    }
    std::vector<std::string> order() {
        std::vector<std::string> patterns;
        const auto reply = asked({{"op", "policy.list"}});
        for (const auto& policy : reply["policies"]) {
            patterns.push_back(policy["match"].get<std::string>() + " " + policy["origin"].get<std::string>() +
                               (policy.contains("hidden") ? " hidden" : ""));
        }
        return patterns;
    }
    std::uint64_t attempts_of(const std::string& name) {
        return asked({{"op", "channel.show"}}, name)["channel"]["attempts_max"].get<std::uint64_t>();
    }
    using Patterns = std::vector<std::string>;
};

TEST_F(PolicyAdminTest, CountsAndIsAnsweredWhenItIsInTheDataDirectory) {
    ask("", {{"op", "policy.set"}, {"match", "a*"}, {"attempts_max", 7U}});
    EXPECT_TRUE(listener.replies.empty());
    EXPECT_TRUE(state.policies.view()->effective.empty());
    run();
    ASSERT_EQ(listener.replies.size(), 1U);
    EXPECT_TRUE(listener.replies[0]["created"].get<bool>());
    EXPECT_TRUE(listener.replies[0]["durable"].get<bool>());
    const auto loaded = load_policies(disk);
    ASSERT_TRUE(loaded);
    EXPECT_EQ(*loaded, state.policies.view()->set);
    asked({{"op", "channel.create"}}, "abc");
    EXPECT_EQ(attempts_of("abc"), 7U);
}

TEST_F(PolicyAdminTest, ThoseUnderWayAreNotForgotten) {
    ask("", {{"op", "policy.set"}, {"match", "a"}});
    ask("", {{"op", "policy.set"}, {"match", "b"}});
    ask("", {{"op", "policy.delete"}, {"match", "a"}});
    run();
    EXPECT_EQ(listener.replies.size(), 3U);
    EXPECT_EQ(order(), (Patterns{"b set"}));
}

TEST_F(PolicyAdminTest, AreTriedBeforeThoseOfTheConfiguration) {
    state.policies.configure({{.match = "*", .settings = R"({"attempts_max":2})"}, {.match = "x"}});
    set("jobs", {{"attempts_max", 3U}});
    set("*", {{"attempts_max", 4U}});
    EXPECT_EQ(order(), (Patterns{"jobs set", "* set", "* configuration hidden", "x configuration"}));
    set("first", {{"first", true}});
    set("jobs", {{"attempts_max", 5U}});
    EXPECT_EQ(order(), (Patterns{"first set", "jobs set", "* set", "* configuration hidden", "x configuration"}));
    asked({{"op", "channel.create"}}, "jobs");
    asked({{"op", "channel.create"}}, "other");
    EXPECT_EQ(attempts_of("jobs"), 5U);
    EXPECT_EQ(attempts_of("other"), 4U);
    const auto reply = asked({{"op", "policy.delete"}, {"match", "*"}});
    EXPECT_EQ(reply["policy"]["attempts_max"], 2U);
    asked({{"op", "channel.create"}}, "later");
    EXPECT_EQ(attempts_of("later"), 2U);
    state.policies.configure({});
    EXPECT_EQ(order(), (Patterns{"first set", "jobs set"}));
}

TEST_F(PolicyAdminTest, ExistingChannelsAreCountedAndChangedWhenItIsAskedFor) {
    asked({{"op", "channel.create"}, {"attempts_max", 1U}, {"dedupe_window_ms", 5U}}, "a1");
    asked({{"op", "channel.create"}, {"kind", "topic"}}, "a2");
    asked({{"op", "channel.create"}}, "b");
    set("a*", {{"attempts_max", 6U}, {"kind", "queue"}});
    auto reply = asked({{"op", "policy.show"}, {"match", "a*"}});
    EXPECT_EQ(reply["channels"], 2U);
    EXPECT_EQ(reply["different"], 1U);
    EXPECT_EQ(reply["refused"], 1U);
    EXPECT_EQ(reply["refusals"][0]["name"], "a2");
    EXPECT_EQ(attempts_of("a1"), 1U);
    reply = asked({{"op", "policy.apply"}, {"match", "a*"}});
    EXPECT_EQ(reply["changed"], 1U);
    EXPECT_EQ(attempts_of("a1"), 6U);
    EXPECT_EQ(asked({{"op", "channel.show"}}, "a1")["channel"]["dedupe_window_ms"], 5U) << "what it does not name stays";
    EXPECT_EQ(attempts_of("b"), 10U);
}

TEST_F(PolicyAdminTest, RefusalsNameTheValue) {
    const auto refused = [&](const Json& reply, const char* code, const char* word) {
        EXPECT_FALSE(reply["ok"].get<bool>());
        EXPECT_EQ(reply["error"]["code"], code);
        EXPECT_THAT(reply["error"]["text"].get<std::string>(), HasSubstr(word));
    };
    refused(set(""), "bad_request", "match is \"\"");
    refused(set("a", {{"colour", "red"}}), "bad_request", "\"colour\"");
    refused(set("a", {{"attempts_max", -1}}), "bad_request", "attempts_max");
    refused(set("a", {{"first", 1}}), "bad_request", "first is 1");
    refused(set("a", {{"message_size_max", 1ULL << 40U}}), "bad_request", "the broker's limit");
    refused(asked({{"op", "policy.delete"}, {"match", "a"}}), "not_found", "\"a\"");
    refused(asked({{"op", "policy.show"}, {"match", "a"}}), "not_found", "\"a\"");
    refused(asked({{"op", "policy.show"}}), "bad_request", "match");
    refused(asked({{"op", "policy.show"}, {"match", "a"}, {"x", 1}}), "unsupported", "\"x\"");
    EXPECT_TRUE(order().empty());
}

TEST(PolicyFile, ComesBackAsItWasAndDamageIsNamed) {
    sim::SimDisk disk;
    EXPECT_TRUE(load_policies(disk)->empty());
    const PolicyBook::Policies policies{
        {.match = "a\xff*", .is_durable = true, .messages_max = 5, .settings = R"({"attempts_max":3})"}, {.match = "b"},
        {.match = "a%2A?%25"}};
    ASSERT_TRUE(store_policies(disk, policies));
    EXPECT_EQ(load_policies(disk).value(), policies);
    for (const auto& [line, code] :
         {std::pair{R"({"format":2})", storage::Errc::newer_version}, std::pair{R"({"format":1})", storage::Errc::damaged},
          std::pair{"[]", storage::Errc::damaged},
          std::pair{R"({"format":1,"policies":[{"match":"a","colour":1}]})", storage::Errc::damaged}}) {
        ASSERT_TRUE(storage::store_line(disk, storage::policies_path, line));
        const auto loaded = load_policies(disk);
        ASSERT_FALSE(loaded) << line;
        EXPECT_EQ(loaded.error().code, code) << line;
        EXPECT_THAT(loaded.error().context, HasSubstr("POLICIES"));
    }
}

}  // namespace
}  // namespace baton::runtime
