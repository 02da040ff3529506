// Every setting of a channel: its default, what it takes, and that an error names the key, the value and what is allowed.
#include "server/runtime/channel_settings.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace baton::runtime {
namespace {

using channel::ChannelOptions;
using ::testing::HasSubstr;

constexpr std::uint64_t message_size_limit = 64ULL << 20U;

Json applied(const Json& request) {
    ChannelOptions options;
    apply_settings(options, request, message_size_limit);
    return channel_settings_json(options);
}

Refusal refused(const Json& request) {
    try {
        static_cast<void>(applied(request));
    } catch (const Refusal& refusal) {
        return refusal;
    }
    ADD_FAILURE() << request << " was taken";
    return {};
}

struct Setting {
    const char* key;
    Json standard;
    std::vector<Json> taken;
    std::vector<Json> refused;
    const char* allowed;
};

std::vector<Setting> settings() {
    constexpr std::uint64_t week = 604'800'000;
    return {
        {"kind", "queue", {"queue", "topic", "stream"}, {"tree", ""}, "queue, topic, stream"},
        {"messages_max", {}, {1U, 1ULL << 62U}, {0U, -1, "5", 1.5, (1ULL << 62U) + 1}, "from 1 to"},
        {"bytes_max", {}, {1U, 1ULL << 62U}, {0U, nullptr}, "from 1 to"},
        {"message_size_max", {}, {1U, message_size_limit}, {0U, message_size_limit + 1}, "from 1 to 67108864"},
        {"age_max_ms", 0U, {0U, 1U}, {-1, true}, "from 0 to"},
        {"overflow", "block", {"block", "reject", "drop-oldest", "drop-newest"}, {"disconnect", "spill"},
         "block, reject, drop-oldest, drop-newest"},
        {"lease_ms", 30'000U, {100U, 86'400'000U}, {99U, 86'400'001U}, "from 100 to 86400000"},
        {"lease_max_ms", 43'200'000U, {30'000U, week}, {29'999U, week + 1}, "from 30000 to 604800000"},
        {"attempts_max", 10U, {0U, 1'000'000U}, {1'000'001U, -1}, "from 0 to 1000000"},
        {"retry_first_ms", 1'000U, {0U, week}, {week + 1}, "from 0 to 604800000"},
        {"retry_max_ms", 300'000U, {0U, week}, {week + 1}, "from 0 to 604800000"},
        {"retry_factor_percent", 200U, {100U, 10'000U}, {99U, 10'001U}, "from 100 to 10000"},
        {"retry_jitter_percent", 10U, {0U, 100U}, {101U}, "from 0 to 100"},
        {"expired", "drop", {"drop", "quarantine"}, {"keep"}, "drop, quarantine"},
        {"late", "fire", {"fire", "drop"}, {"never"}, "fire, drop"},
        {"ordered_by_key", false, {true, false}, {1U, "true"}, "true and false"},
        {"exclusive", false, {true, false}, {0U}, "true and false"},
        {"fair_by", "", {"", "key", "header:tenant"}, {"header:", "tenant"}, "\"header:NAME\""},
        {"fair_weights", Json::object(), {Json::object(), {{"a", 1U}, {"b", 1'000U}}},
         {{{"a", 0U}}, {{"a", 1'001U}}, {{"a", "1"}}, Json::array()}, "a whole number from 1 to 1,000"},
        {"dedupe_window_ms", 0U, {0U, week}, {week + 1}, "from 0 to 604800000"},
        {"compact", false, {false}, {"yes"}, "true and false"},
        {"tombstone_age_ms", 86'400'000U, {0U, week}, {3'153'600'000'001U}, "from 0 to 3153600000000"},
    };
}

TEST(ChannelSettings, DefaultsAreThoseOfTheProtocol) {
    const auto shown = applied(Json::object());
    EXPECT_EQ(shown.size(), settings().size());
    for (const auto& setting : settings()) {
        EXPECT_TRUE(is_channel_setting(setting.key));
        EXPECT_THAT(channel_setting_list(), HasSubstr(setting.key));
        ASSERT_TRUE(shown.contains(setting.key)) << setting.key;
        if (!setting.standard.is_null()) {
            EXPECT_EQ(shown[setting.key], setting.standard) << setting.key;
        }
    }
    EXPECT_FALSE(is_channel_setting("storage"));
    EXPECT_FALSE(is_channel_setting("colour"));
}

TEST(ChannelSettings, TakeTheirWholeRange) {
    for (const auto& setting : settings()) {
        for (const auto& value : setting.taken) {
            EXPECT_EQ(applied({{setting.key, value}})[setting.key], value) << setting.key;
        }
    }
}

TEST(ChannelSettings, ErrorsNameKeyValueAndWhatIsAllowed) {
    for (const auto& setting : settings()) {
        for (const auto& value : setting.refused) {
            const auto refusal = refused({{setting.key, value}});
            EXPECT_EQ(refusal.code, "bad_request");
            EXPECT_THAT(refusal.text, HasSubstr(setting.key)) << value;
            EXPECT_THAT(refusal.text, HasSubstr(setting.allowed)) << value;
            if (!value.is_structured()) {
                EXPECT_THAT(refusal.text, HasSubstr(value.is_string() ? value.get<std::string>() : value.dump()));
            }
        }
        if (!setting.standard.is_null() && !setting.standard.is_number() && !setting.standard.is_boolean()) {
            EXPECT_THAT(refused({{setting.key, 7U}}).text, HasSubstr(setting.key));
        }
    }
    EXPECT_THAT(refused({{"fair_weights", {{"a", 0U}}}}).text, HasSubstr("of \"a\" is 0"));
}

TEST(ChannelSettings, AreCheckedTogether) {
    EXPECT_EQ(applied({{"lease_ms", 86'400'000U}})["lease_max_ms"], 86'400'000U) << "it grows with the lease";
    EXPECT_THAT(refused({{"lease_ms", 60'000U}, {"lease_max_ms", 50'000U}}).text, HasSubstr("from 60000"));
    EXPECT_EQ(applied({{"retry_first_ms", 400'000U}})["retry_max_ms"], 400'000U) << "it grows with the first wait";
    EXPECT_EQ(applied({{"retry_first_ms", 1U}})["retry_max_ms"], 300'000U);
    EXPECT_THAT(refused({{"kind", "stream"}, {"overflow", "reject"}}).text, HasSubstr("reject"));
    EXPECT_EQ(applied({{"kind", "stream"}, {"overflow", "drop-oldest"}})["kind"], "stream");
    EXPECT_THAT(refused({{"compact", true}}).text, HasSubstr("only a stream"));
    EXPECT_THAT(refused({{"kind", "topic"}, {"compact", true}}).text, HasSubstr("only a stream"));
    EXPECT_EQ(applied({{"kind", "stream"}, {"compact", true}})["compact"], true);
}

TEST(ChannelSettings, WhatIsNotNamedStays) {
    ChannelOptions options;
    apply_settings(options, {{"attempts_max", 3U}, {"fair_weights", {{"a", 2U}}}, {"storage", "durable"}}, message_size_limit);
    apply_settings(options, {{"late", "drop"}}, message_size_limit);
    const auto shown = channel_settings_json(options);
    EXPECT_EQ(shown["attempts_max"], 3U);
    EXPECT_EQ(shown["fair_weights"], (Json{{"a", 2U}}));
    EXPECT_EQ(shown["late"], "drop");
}

TEST(ChannelSettings, OnlySubscriptionsDisconnect) {
    EXPECT_EQ(overflow_of({{"overflow", "disconnect"}}, channel::Overflow::block, true), channel::Overflow::disconnect);
    EXPECT_THROW(static_cast<void>(overflow_of({{"overflow", "disconnect"}}, channel::Overflow::block, false)), Refusal);
}

}  // namespace
}  // namespace baton::runtime
