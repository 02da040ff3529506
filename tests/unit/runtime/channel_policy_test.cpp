// Which policy a name gets, and what becomes of its settings.
#include "server/runtime/channel_policy.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/runtime/storage_settings.hpp"

namespace baton::runtime {
namespace {

using std::string_literals::operator""s;

TEST(Pattern, StandsForNames) {
    struct Case {
        const char* pattern;
        const char* name;
        bool does_match;
    };
    for (const auto& [pattern, name, does_match] : {Case{"", "", true},
                                                    Case{"", "a", false},
                                                    Case{"a", "", false},
                                                    Case{"a", "a", true},
                                                    Case{"a", "b", false},
                                                    Case{"a", "aa", false},
                                                    Case{"*", "", true},
                                                    Case{"*", "anything", true},
                                                    Case{"**", "x", true},
                                                    Case{"?", "", false},
                                                    Case{"?", "x", true},
                                                    Case{"?", "xy", false},
                                                    Case{"jobs.*", "jobs.", true},
                                                    Case{"jobs.*", "jobs.mail", true},
                                                    Case{"jobs.*", "jobs", false},
                                                    Case{"jobs.*", "my.jobs.mail", false},
                                                    Case{"*.mail", "jobs.mail", true},
                                                    Case{"*.mail", "jobs.mail.x", false},
                                                    Case{"a*b*c", "abc", true},
                                                    Case{"a*b*c", "axxbxbxc", true},
                                                    Case{"a*b*c", "axxbxbx", false},
                                                    Case{"*ab", "aab", true},
                                                    Case{"*a?c*", "xxabxabcx", true},
                                                    Case{"*a?c*", "xxabbxac", false},
                                                    Case{"a?*", "a", false},
                                                    Case{"a?*", "ab", true},
                                                    Case{"[a]", "a", false},
                                                    Case{"a%2Ab", "a*b", true},
                                                    Case{"a%2Ab", "axb", false},
                                                    Case{"*%3F", "x?", true},
                                                    Case{"*%3F", "xy", false},
                                                    Case{"%25", "%", true},
                                                    Case{"%25", "%25", false},
                                                    Case{"%2", "%2", true},
                                                    Case{"\\*", "*", false}}) {
        EXPECT_EQ(matches(pattern, name), does_match) << pattern << " and " << name;
    }
}

TEST(Pattern, IsAboutBytes) {
    EXPECT_FALSE(matches("?", "\xc3\xa4"));
    EXPECT_TRUE(matches("??", "\xc3\xa4"));
    EXPECT_TRUE(matches("a*\xff", "a\0b\xff"s));
}

// Every short pattern and name over two letters, against the obvious recursion.
TEST(Pattern, AgreesWithItsDefinition) {
    struct Definition {
        static bool matches(std::string_view pattern, std::string_view name) {
            if (pattern.empty()) {
                return name.empty();
            }
            if (pattern[0] == '*') {
                return matches(pattern.substr(1), name) || (!name.empty() && matches(pattern, name.substr(1)));
            }
            return !name.empty() && (pattern[0] == '?' || pattern[0] == name[0]) &&
                   matches(pattern.substr(1), name.substr(1));
        }
    };
    const auto words = [](std::string_view letters, std::size_t length_max) {
        std::vector<std::string> all{""};
        for (std::size_t i = 0; i < all.size(); ++i) {
            for (const char letter : letters) {
                if (all[i].size() < length_max) {
                    all.push_back(all[i] + letter);
                }
            }
        }
        return all;
    };
    const auto names = words("ab", 5);
    for (const auto& pattern : words("ab*?", 5)) {
        for (const auto& name : names) {
            ASSERT_EQ(matches(pattern, name), Definition::matches(pattern, name)) << pattern << " and " << name;
        }
    }
}

TEST(Pattern, ManyStarsAreNoTrap) {
    std::string pattern;
    for (int i = 0; i < 1'000; ++i) {
        pattern += "*a";
    }
    EXPECT_FALSE(matches(pattern + "b", std::string(4'000, 'a')));
}

class Policies : public testing::Test {
protected:
    Policies() {
        limits.channel_defaults.messages_max = 10;
        limits.channel_defaults.bytes_max = 100;
        limits.durable_defaults.messages_max = 1'000;
        limits.durable_defaults.bytes_max = 10'000;
    }
    Limits limits;
    std::vector<ChannelPolicy> policies{
        {.match = "jobs.*", .is_durable = true, .messages_max = 7},
        {.match = "jobs.mail", .is_durable = false},  // Never reached.
        {.match = "log.*", .is_durable = false, .bytes_max = 5, .message_size_max = 3},
        {.match = "?", .messages_max = 1},
    };
};

TEST_F(Policies, WithoutOneTheDefaultCounts) {
    EXPECT_EQ(policy_for("other", policies), nullptr);
    EXPECT_EQ(options_for("other", limits, false, policies), limits.channel_defaults);
    EXPECT_EQ(options_for("other", limits, true, policies), limits.durable_defaults);
    EXPECT_TRUE(limits.durable_defaults.is_durable);
    EXPECT_EQ(options_for("jobs.mail", limits, false, {}), limits.channel_defaults);
}

TEST_F(Policies, TheFirstThatMatchesCountsAlone) {
    const auto options = options_for("jobs.mail", limits, false, policies);
    EXPECT_TRUE(options.is_durable);
    EXPECT_EQ(options.messages_max, 7U);
    EXPECT_EQ(options.bytes_max, 10'000U) << "a durable channel has the limits of durable channels";
}

TEST_F(Policies, WhatIsNotSaidIsTheDefault) {
    const auto log = options_for("log.x", limits, true, policies);
    EXPECT_FALSE(log.is_durable);
    EXPECT_EQ(log.messages_max, 10U);
    EXPECT_EQ(log.bytes_max, 5U);
    EXPECT_EQ(log.message_size_max, 3U);
    EXPECT_TRUE(options_for("x", limits, true, policies).is_durable);
    EXPECT_FALSE(options_for("x", limits, false, policies).is_durable);
}

TEST_F(Policies, WhoeverSaysWhereKeepsTheLimitsOfThePolicy) {
    const auto options = options_with_storage("log.x", limits, true, policies);
    EXPECT_TRUE(options.is_durable);
    EXPECT_EQ(options.messages_max, 1'000U);
    EXPECT_EQ(options.bytes_max, 5U);
    EXPECT_FALSE(options_with_storage("jobs.x", limits, false, policies).is_durable);
}

TEST(DiskFreeMin, IsFivePercentButAtMostAGigabyte) {
    StorageSettings settings;
    EXPECT_EQ(disk_free_min(settings, 1'000), 50U);
    EXPECT_EQ(disk_free_min(settings, 20ULL << 30), 1ULL << 30);
    EXPECT_EQ(disk_free_min(settings, 1ULL << 50), 1ULL << 30);
    settings.disk_free_min = 0;
    EXPECT_EQ(disk_free_min(settings, 1'000), 0U);
}

}  // namespace
}  // namespace baton::runtime
