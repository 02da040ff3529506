// The table of settings: names, precedence, errors that name key, value and what is allowed, check and show.
#include "server/app/options.hpp"

#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/app/scratch.hpp"

namespace baton::app {
namespace {

using test::Scratch;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using Texts = std::vector<std::string>;

const Setting& setting(const std::string& key) {
    const auto found = std::ranges::find(settings_table(), key, &Setting::key);
    EXPECT_NE(found, settings_table().end()) << key;
    return *found;
}

std::function<const char*(const std::string&)> environment(const std::map<std::string, std::string>& values) {
    return [&values](const std::string& name) {
        const auto found = values.find(name);
        return found == values.end() ? nullptr : found->second.c_str();
    };
}

std::string file_error(const std::string& text) {
    Scratch scratch;
    Configuration configuration;
    const auto applied = apply_file(configuration, scratch.write("c.json", text));
    return applied ? "none" : applied.error().context;
}

// --- Names
// ---------------------------------------------------------------------------------------------------------------

TEST(Settings, NamesFollowFromTheKey) {
    EXPECT_EQ(setting("limits.memory_max").flag(), "--limits-memory-max");
    EXPECT_EQ(setting("limits.memory_max").environment(), "BATON_LIMITS_MEMORY_MAX");
    EXPECT_EQ(setting("listen").flag(), "--listen");
    EXPECT_EQ(setting("drain_timeout").environment(), "BATON_DRAIN_TIMEOUT");
}

TEST(Settings, NoTwoShareAName) {
    std::set<std::string> flags;
    std::set<std::string> variables;
    for (const auto& each : settings_table()) {
        EXPECT_TRUE(flags.insert(each.flag()).second) << each.key;
        EXPECT_TRUE(variables.insert(each.environment()).second) << each.key;
        EXPECT_FALSE(each.help.empty()) << each.key;
        EXPECT_FALSE(each.allowed.empty()) << each.key;
    }
}

TEST(Settings, EveryDefaultIsAllowedAndShownAsItIsRead) {
    const Options defaults;
    for (const auto& each : settings_table()) {
        Options options;
        const auto shown = each.show(defaults);
        ASSERT_FALSE(shown.empty()) << each.key;
        EXPECT_TRUE(each.set(options, shown)) << each.key << " " << shown.front();
        EXPECT_EQ(each.show(options), shown) << each.key;
    }
    EXPECT_TRUE(check(defaults));
}

TEST(Settings, EveryLimitOfTheBrokerHasAKey) {
    const std::set<std::string> wanted{"memory_max",        "connections_max",    "links_max",
                                       "channels_max",      "message_size_max",   "frame_size_max",
                                       "outbox_high_water", "outbox_low_water",   "outbox_max",
                                       "handshake_timeout", "heartbeat_interval", "channel_name_size_max"};
    for (const auto& name : wanted) {
        static_cast<void>(setting("limits." + name));
    }
}

// --- Precedence
// ----------------------------------------------------------------------------------------------------------

TEST(Precedence, FlagOverEnvironmentOverFileOverDefault) {
    Scratch scratch;
    const auto path =
        scratch.write("c.json", R"({"shards":2,"log_level":"warn","limits":{"links_max":20,"memory_max":"256m"}})");
    const std::map<std::string, std::string> variables{{"BATON_LOG_LEVEL", "error"}, {"BATON_LIMITS_LINKS_MAX", "30"}};
    Configuration configuration;
    ASSERT_TRUE(apply_file(configuration, path));
    ASSERT_TRUE(apply_environment(configuration, environment(variables)));
    ASSERT_TRUE(apply(configuration, setting("limits.links_max"), {"40"}, Origin::flag, "--limits-links-max"));
    EXPECT_EQ(configuration.options.limits.links_max, 40U);
    EXPECT_EQ(configuration.options.log_level, "error");
    EXPECT_EQ(configuration.options.shards, 2U);
    EXPECT_EQ(configuration.options.limits.memory_max, 256U << 20U);
    EXPECT_EQ(configuration.options.log_format, "text");
    EXPECT_EQ(configuration.origins, (std::map<std::string, Origin>{{"limits.links_max", Origin::flag},
                                                                    {"log_level", Origin::environment},
                                                                    {"shards", Origin::file},
                                                                    {"limits.memory_max", Origin::file}}));
}

TEST(Precedence, AListReplacesAList) {
    const std::map<std::string, std::string> variables{{"BATON_LISTEN", "tcp://0.0.0.0:1,unix:///tmp/x"}};
    Configuration configuration;
    ASSERT_TRUE(apply_environment(configuration, environment(variables)));
    EXPECT_EQ(configuration.options.listen, (Texts{"tcp://0.0.0.0:1", "unix:///tmp/x"}));
    ASSERT_TRUE(apply(configuration, setting("listen"), {"tcp://[::1]:2"}, Origin::flag, "--listen"));
    EXPECT_EQ(configuration.options.listen, Texts{"tcp://[::1]:2"});
}

// --- Files
// ---------------------------------------------------------------------------------------------------------------

TEST(Files, CommentsAndBothFormsOfAKey) {
    Scratch scratch;
    const auto path = scratch.write("c.json", R"({
        // One listener.
        "listen": "unix:///tmp/a",
        /* flat */ "limits.links_max": 7,
        "limits": { "message_size_max": "1m" }
    })");
    Configuration configuration;
    const auto applied = apply_file(configuration, path);
    ASSERT_TRUE(applied) << applied.error().context;
    EXPECT_EQ(configuration.options.listen, Texts{"unix:///tmp/a"});
    EXPECT_EQ(configuration.options.limits.links_max, 7U);
    EXPECT_EQ(configuration.options.limits.message_size_max, 1U << 20U);
}

TEST(Files, UnknownKeysAreErrors) {
    EXPECT_THAT(file_error(R"({"colour":"blue"})"), HasSubstr("\"colour\" is unknown"));
    EXPECT_THAT(file_error(R"({"limits":{"colour":1}})"), HasSubstr("\"limits.colour\" is unknown"));
    EXPECT_THAT(file_error(R"({"limits":{"limits":{"links_max":1}}})"), HasSubstr("unknown"));
    EXPECT_THAT(file_error(R"({"data_folder":"/x"})"), HasSubstr("\"data_folder\" is unknown"));
}

TEST(Files, ErrorsNameFileKeyValueAndWhatIsAllowed) {
    const auto text = file_error(R"({"limits":{"links_max":70000}})");
    EXPECT_THAT(text, HasSubstr("c.json"));
    EXPECT_THAT(text, HasSubstr("limits.links_max"));
    EXPECT_THAT(text, HasSubstr("70000"));
    EXPECT_THAT(text, HasSubstr("a whole number from 1 to 65535"));
}

TEST(Files, ValuesOfTheWrongTypeAreErrors) {
    for (const auto* value : {"null", "true", "1.5", "{}", "[1]", "[[\"a\"]]", "[]", "\"\"", "-1", "1e99"}) {
        EXPECT_NE(file_error(std::string{R"({"shards":)"} + value + "}"), "none") << value;
    }
    for (const auto* value : {"null", "true", "{}", "[1]", "[]"}) {
        EXPECT_NE(file_error(std::string{R"({"listen":)"} + value + "}"), "none") << value;
    }
    EXPECT_NE(file_error(R"({"log_level":["info"]})"), "none");
    EXPECT_THAT(file_error(R"({"limits":5})"), HasSubstr("limits is 5, allowed is an object"));
    EXPECT_THAT(file_error(R"({"listen":[]})"), HasSubstr("listen is [], allowed is tcp://"));
}

TEST(Files, WhatIsNotAJsonObjectIsAnError) {
    EXPECT_THAT(file_error(""), HasSubstr("not JSON"));
    EXPECT_THAT(file_error("{"), HasSubstr("not JSON"));
    EXPECT_THAT(file_error("{\"a\xff\":1}"), HasSubstr("not JSON"));
    EXPECT_THAT(file_error("[]"), HasSubstr("not a JSON object"));
    EXPECT_THAT(file_error(std::string(100'000, '[')), HasSubstr("not JSON"));
}

TEST(Files, AFileThatCannotBeReadIsAnError) {
    Scratch scratch;
    Configuration configuration;
    const auto missing = apply_file(configuration, scratch.path("missing.json"));
    ASSERT_FALSE(missing);
    EXPECT_THAT(missing.error().context, HasSubstr("missing.json"));
    EXPECT_THAT(missing.error().context, HasSubstr("No such file"));
    const auto folder = apply_file(configuration, scratch.path("."));
    ASSERT_FALSE(folder);
    EXPECT_THAT(folder.error().context, HasSubstr("cannot read"));
}

// --- Values
// --------------------------------------------------------------------------------------------------------------

TEST(Values, AreCheckedAgainstTheirRange) {
    struct Case {
        const char* key;
        Texts good;
        Texts bad;
    };
    const std::vector<Case> cases{
        {"shards", {"0", "1", "256"}, {"", "257", "-1", "1.0", "one", " 1", "1 ", "99999999999999999999"}},
        {"log_level", {"trace", "error"}, {"", "INFO", "fatal"}},
        {"log_format", {"text", "json"}, {"xml"}},
        {"drain_timeout", {"0s", "24h", "250ms"}, {"25h", "5", "-1s", ""}},
        {"limits.memory_max", {"16m", "1t", "2g"}, {"15m", "2t", "many", "-1m"}},
        {"limits.links_max", {"1", "65535"}, {"0", "65536"}},
        {"limits.frame_size_max", {"65552", "16m"}, {"65551", "17m"}},
        {"limits.channel_name_size_max", {"1", "4000"}, {"0", "4001"}},
        {"limits.heartbeat_interval", {"100ms", "1h"}, {"99ms", "2h"}},
        {"default_storage", {"auto", "memory", "durable"}, {"", "disk"}},
        {"settle_sync_interval", {"1ms", "10s"}, {"0s", "11s", ""}},
        {"disk_free_min", {"auto", "0", "512m"}, {"", "AUTO", "5%", "-1"}},
        {"wal_file_size", {"64k", "16g"}, {"63k", "17g", ""}},
        {"segment_size", {"64k", "16g"}, {"63k", "17g"}},
        {"limits.durable_messages_max", {"1", "10000000000"}, {"0", "1g"}},
        {"limits.durable_bytes_max", {"1", "1t", "20t"}, {"0", ""}},
    };
    for (const auto& each : cases) {
        for (const auto& text : each.good) {
            Configuration configuration;
            EXPECT_TRUE(apply(configuration, setting(each.key), {text}, Origin::flag, "here"))
                << each.key << " " << text;
        }
        for (const auto& text : each.bad) {
            Configuration configuration;
            const auto applied = apply(configuration, setting(each.key), {text}, Origin::flag, "here");
            ASSERT_FALSE(applied) << each.key << " " << text;
            EXPECT_THAT(applied.error().context, HasSubstr(each.key));
            EXPECT_THAT(applied.error().context, HasSubstr("\"" + text + "\""));
            EXPECT_THAT(applied.error().context, HasSubstr(setting(each.key).allowed));
            EXPECT_THAT(applied.error().context, HasSubstr("here"));
            EXPECT_TRUE(configuration.origins.empty());
        }
    }
}

TEST(Values, TheEnvironmentIsNamedInErrors) {
    const std::map<std::string, std::string> variables{{"BATON_SHARDS", "many"}};
    Configuration configuration;
    const auto applied = apply_environment(configuration, environment(variables));
    ASSERT_FALSE(applied);
    EXPECT_THAT(applied.error().context, HasSubstr("BATON_SHARDS"));
    const std::map<std::string, std::string> empty{{"BATON_LISTEN", ""}};
    EXPECT_FALSE(apply_environment(configuration, environment(empty)));
}

TEST(Values, VariablesThatAreNoSettingsAreNamed) {
    const char* const variables[] = {
        "PATH=/bin",          "BATON_MEMORY_MAX=2g", "BATON_LIMITS_MEMORY_MAX=2g", "BATON_CONFIG=",       "BATON_URL=x",
        "BATON_MEMORY=1",     "BATON_SERVICE_HOST=", "BATON_PORT=tcp://10.0.0.1",  "BATON_PORT_1_TCP=x",  "BATON_",
        "BATONS=1",           "BATON_listen=x",      "BATON_SHARD",                nullptr};
    EXPECT_THAT(unknown_variables(variables),
                ::testing::ElementsAre("BATON_MEMORY_MAX", "BATON_", "BATON_listen", "BATON_SHARD"));
}

TEST(Values, NothingIsAMistakeWhereItMeansNothing) {
    Configuration configuration;
    for (const auto origin : {Origin::flag, Origin::environment}) {
        EXPECT_FALSE(apply(configuration, setting("ready_file"), {""}, origin, "here"));
        EXPECT_FALSE(apply(configuration, setting("listen"), {"tcp://127.0.0.1:1", ""}, origin, "here"));
        EXPECT_TRUE(apply(configuration, setting("data_dir"), {""}, origin, "here"));
    }
    EXPECT_TRUE(apply(configuration, setting("ready_file"), {""}, Origin::file, "here"));  // As show() prints it.
}

TEST(Values, MemoryInTheEnvironmentIsDefaultStorage) {
    using Variables = std::map<std::string, std::string>;
    const auto storage = [](const Variables& variables) {
        Configuration configuration;
        const auto applied = apply_environment(configuration, environment(variables));
        return applied ? configuration.options.default_storage : applied.error().context;
    };
    EXPECT_EQ(storage({{"BATON_MEMORY", "true"}}), "memory");
    EXPECT_EQ(storage({{"BATON_MEMORY", "1"}}), "memory");
    EXPECT_EQ(storage({{"BATON_MEMORY", "0"}, {"BATON_DEFAULT_STORAGE", "durable"}}), "durable");
    EXPECT_EQ(storage({{"BATON_MEMORY", "false"}}), "auto");
    EXPECT_THAT(storage({{"BATON_MEMORY", ""}}), HasSubstr("memory is \"\", allowed is true"));
    EXPECT_THAT(storage({{"BATON_MEMORY", "true"}, {"BATON_DEFAULT_STORAGE", "auto"}}), HasSubstr("BATON_DEFAULT_STORAGE"));
}

// --- The whole
// -------------------------------------------------------------------------------------------------------------

TEST(Check, ListenUrlsMustBeUrls) {
    for (const auto* url : {"", "localhost:1", "http://x:1", "tcp://x", "tcp://127.0.0.1:70000", "unix://"}) {
        Options options;
        options.listen = {url};
        const auto checked = check(options);
        ASSERT_FALSE(checked) << url;
        EXPECT_THAT(checked.error().context, HasSubstr("listen"));
    }
}

TEST(Check, AListenUrlIsGivenOnce) {
    const auto problem = [](std::vector<std::string> urls) {
        Options options;
        options.listen = std::move(urls);
        const auto checked = check(options);
        return checked ? std::string{} : checked.error().context;
    };
    EXPECT_THAT(problem({"unix:///tmp/a", "unix:///tmp/b", "unix:///tmp/a"}), HasSubstr("'unix:///tmp/a' is given twice"));
    EXPECT_THAT(problem({"tcp://h:1", "tcp://h:1"}), HasSubstr("'tcp://h:1' is given twice"));
    EXPECT_EQ(problem({"tcp://h:1", "tcp://h:2", "tcp://h:0", "tcp://h:0"}), "") << "each of port 0 gets one of its own";
}

TEST(Check, LimitsMustFitTogether) {
    Options options;
    options.limits.outbox_low_water = options.limits.outbox_high_water;
    EXPECT_FALSE(check(options));
    options = {};
    options.limits.message_size_max = options.limits.memory_max / 2 + 1;
    EXPECT_FALSE(check(options));
    options = {};
    options.limits.outbox_max = options.limits.outbox_high_water - 1;
    EXPECT_FALSE(check(options));
}

TEST(Check, StorageMustFitTogether) {
    Options options;
    options.default_storage = "durable";
    EXPECT_FALSE(check(options));
    options.data_dir = "/x";
    EXPECT_TRUE(check(options));
    options.storage.wal_file_size = 65'537;
    EXPECT_THAT(check(options).error().context, HasSubstr("wal_file_size is \"65537\""));
    options = {};
    options.policies = {{.match = "a", .message_size_max = options.limits.message_size_max + 1}};
    EXPECT_THAT(check(options).error().context, HasSubstr("policies[0].message_size_max"));
    options.policies = {{.match = "a", .is_durable = true}};
    EXPECT_THAT(check(options).error().context, HasSubstr("policies[0].storage"));
    options.data_dir = std::string{"a\0b", 3};
    EXPECT_FALSE(check(options));
}

TEST(DataDir, IsInTheStateFolderOfTheUser) {
    using Variables = std::map<std::string, std::string>;
    const auto in = [](const Variables& variables) { return default_data_dir(environment(variables)); };
    EXPECT_EQ(in({{"XDG_STATE_HOME", "/s"}, {"HOME", "/h"}}), "/s/baton");
    EXPECT_EQ(in({{"HOME", "/h"}}), "/h/.local/state/baton");
    EXPECT_EQ(in({{"XDG_STATE_HOME", "relative"}, {"HOME", "/h"}}), "/h/.local/state/baton");
    EXPECT_EQ(in({{"XDG_STATE_HOME", ""}, {"HOME", ""}}), "");
    EXPECT_EQ(in({}), "");
}

TEST(DataDir, AutoIsDurableOnlyWhereSomebodyNamedADirectory) {
    Configuration configuration;
    configuration.options.data_dir = "/default";
    EXPECT_FALSE(is_durable_by_default(configuration.options));
    ASSERT_TRUE(apply(configuration, setting("data_dir"), {"/x"}, Origin::environment, ""));
    EXPECT_TRUE(is_durable_by_default(configuration.options));
    EXPECT_EQ(setting("default_storage").show(configuration.options), Texts{"durable"});
    ASSERT_TRUE(apply(configuration, setting("data_dir"), {""}, Origin::flag, ""));
    EXPECT_FALSE(is_durable_by_default(configuration.options));
    EXPECT_EQ(setting("default_storage").show(configuration.options), Texts{"memory"});
}

TEST(Show, IsAConfigurationFileThatGivesTheSame) {
    Scratch scratch;
    Configuration configuration;
    configuration.options.data_dir = "/var/lib/baton";
    configuration.options.is_data_dir_configured = true;
    configuration.options.storage.disk_free_min = 3ULL << 20;
    configuration.options.storage.settle_sync_interval = std::chrono::milliseconds{7};
    configuration.options.listen = {"tcp://0.0.0.0:1", "unix:///tmp/a b"};
    configuration.options.limits.memory_max = 3ULL * 1024 * 1024 * 1024 + 1;
    configuration.options.limits.heartbeat_interval = std::chrono::milliseconds{1234};
    configuration.options.ready_file = "/run/\xc3\xa4.json";
    const auto text = show(configuration, false);
    Configuration again;
    const auto applied = apply_file(again, scratch.write("c.json", text));
    ASSERT_TRUE(applied) << applied.error().context;
    EXPECT_EQ(show(again, false), text);
    EXPECT_EQ(again.options.limits.memory_max, configuration.options.limits.memory_max);
    EXPECT_EQ(again.options.limits.heartbeat_interval, configuration.options.limits.heartbeat_interval);
    EXPECT_EQ(again.options.listen, configuration.options.listen);
}

TEST(Show, WithOriginsSaysWhereEachValueCameFrom) {
    Configuration configuration;
    ASSERT_TRUE(apply(configuration, setting("shards"), {"3"}, Origin::environment, ""));
    const auto json = Json::parse(show(configuration, true));
    EXPECT_EQ(json["shards"], (Json{{"value", "3"}, {"origin", "environment"}}));
    EXPECT_EQ(json["log_level"], (Json{{"value", "info"}, {"origin", "default"}}));
    EXPECT_EQ(json["limits"]["links_max"]["origin"], "default");
    for (const auto& each : settings_table()) {
        const bool is_limit = each.key.starts_with("limits.");
        EXPECT_TRUE(is_limit ? json["limits"].contains(each.key.substr(7)) : json.contains(each.key)) << each.key;
    }
}

TEST(Show, SurvivesBytesThatAreNotText) {
    Configuration configuration;
    configuration.options.ready_file = "/tmp/\xff";
    EXPECT_THAT(show(configuration, true), HasSubstr("/tmp/"));
}

}  // namespace
}  // namespace baton::app
