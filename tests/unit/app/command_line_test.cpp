// The command line of batond: what is asked for, exit codes, precedence, what is not supported.
#include "server/app/command_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/scratch.hpp"

namespace baton::app {
namespace {

using test::EnvironmentVariable;
using test::Scratch;
using ::testing::HasSubstr;

struct Parsed {
    std::optional<CommandLine> line;
    int exit_code = 0;
    std::string out;
    std::string err;
};

Parsed parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "batond");
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    auto parsed = parse_command_line(static_cast<int>(arguments.size()), arguments.data());
    return {std::move(parsed.command_line), parsed.exit_code, ::testing::internal::GetCapturedStdout(),
            ::testing::internal::GetCapturedStderr()};
}

TEST(CommandLineOf, NothingServesWithDefaults) {
    const auto parsed = parse({});
    ASSERT_TRUE(parsed.line);
    EXPECT_EQ(parsed.line->command, Command::serve);
    EXPECT_EQ(parsed.line->configuration.options.listen, std::vector<std::string>{"tcp://127.0.0.1:22866"});
    EXPECT_TRUE(parsed.line->configuration.origins.empty());
}

TEST(CommandLineOf, FlagsSetWhatTheyName) {
    const auto parsed = parse({"--listen", "tcp://0.0.0.0:1", "--listen=unix:///tmp/x", "--shards", "2",
                               "--limits-memory-max=64m", "--limits-message-size-max", "1m", "--shards", "3"});
    ASSERT_TRUE(parsed.line) << parsed.err;
    const auto& options = parsed.line->configuration.options;
    EXPECT_EQ(options.listen, (std::vector<std::string>{"tcp://0.0.0.0:1", "unix:///tmp/x"}));
    EXPECT_EQ(options.shards, 3U);
    EXPECT_EQ(options.limits.memory_max, 64U << 20U);
    EXPECT_EQ(parsed.line->configuration.origins.at("shards"), Origin::flag);
}

TEST(CommandLineOf, FlagsWinOverEnvironmentAndFile) {
    Scratch scratch;
    const auto path = scratch.write("c.json", R"({"shards":1,"log_level":"warn","drain_timeout":"1s"})");
    const EnvironmentVariable shards{"BATON_SHARDS", "2"};
    const EnvironmentVariable level{"BATON_LOG_LEVEL", "debug"};
    const auto parsed = parse({"--config", path.c_str(), "--shards=3"});
    ASSERT_TRUE(parsed.line) << parsed.err;
    EXPECT_EQ(parsed.line->configuration.options.shards, 3U);
    EXPECT_EQ(parsed.line->configuration.options.log_level, "debug");
    EXPECT_EQ(parsed.line->configuration.options.drain_timeout, std::chrono::seconds{1});
    EXPECT_EQ(parsed.line->config_file, path);
}

TEST(CommandLineOf, TheEnvironmentHasWhatIsNoSettingAsWell) {
    Scratch scratch;
    const auto path = scratch.write("c.json", R"({"shards":5})");
    const auto other = scratch.write("d.json", R"({"shards":6})");
    const EnvironmentVariable file{"BATON_CONFIG", path.c_str()};
    const EnvironmentVariable memory{"BATON_MEMORY", "true"};
    const auto parsed = parse({"--data-dir=/tmp/x"});
    ASSERT_TRUE(parsed.line) << parsed.err;
    EXPECT_EQ(parsed.line->configuration.options.shards, 5U);
    EXPECT_EQ(parsed.line->configuration.origins.at("default_storage"), Origin::environment);
    EXPECT_FALSE(is_durable_by_default(parsed.line->configuration.options));
    EXPECT_EQ(parse({"--config", other.c_str()}).line->configuration.options.shards, 6U);
    EXPECT_TRUE(is_durable_by_default(parse({"--default-storage=durable", "--data-dir=/tmp/x"}).line->configuration.options));
    scratch.write("c.json", R"({"shards":7})");
    EXPECT_EQ(reload(*parsed.line)->options.shards, 7U);
    EXPECT_FALSE(is_durable_by_default(reload(*parsed.line)->options));
}

TEST(CommandLineOf, MistakesExitWithTwo) {
    for (const auto& arguments : std::vector<std::vector<const char*>>{{"--colour"},
                                                                       {"extra"},
                                                                       {"--shards"},
                                                                       {"--shards", "many"},
                                                                       {"--listen", "nowhere"},
                                                                       {"--config", "/does/not/exist"},
                                                                       {"--config", "/"},
                                                                       {"--config", ""},
                                                                       {"--config="},
                                                                       {"--ready-file="},
                                                                       {"config"},
                                                                       {"config", "paint"},
                                                                       {"--limits-memory-max", "16m"}}) {
        const auto parsed = parse(arguments);
        EXPECT_FALSE(parsed.line);
        EXPECT_EQ(parsed.exit_code, exit_usage) << arguments.front();
        EXPECT_THAT(parsed.err, HasSubstr("batond: "));
    }
}

TEST(CommandLineOf, TheDataDirectoryMakesChannelsDurable) {
    const EnvironmentVariable home{"HOME", "/h"};
    const EnvironmentVariable state{"XDG_STATE_HOME", ""};
    struct Case {
        std::vector<const char*> arguments;
        const char* data_dir;
        bool is_durable;
    };
    for (const auto& [arguments, data_dir, is_durable] :
         {Case{{}, "/h/.local/state/baton", false}, Case{{"--data-dir", "/tmp/x"}, "/tmp/x", true},
          Case{{"--data-dir=/tmp/x"}, "/tmp/x", true}, Case{{"--data-dir", ""}, "", false},
          Case{{"--data-dir=", "--shards", "2"}, "", false}, Case{{"--data-dir=/tmp/x", "--memory"}, "/tmp/x", false},
          Case{{"--default-storage", "durable"}, "/h/.local/state/baton", true}}) {
        const auto parsed = parse(arguments);
        ASSERT_TRUE(parsed.line) << parsed.err;
        EXPECT_EQ(parsed.line->configuration.options.data_dir, data_dir);
        EXPECT_EQ(is_durable_by_default(parsed.line->configuration.options), is_durable) << data_dir;
    }
    const EnvironmentVariable data{"BATON_DATA_DIR", "/tmp/y"};
    EXPECT_EQ(parse({}).line->configuration.options.data_dir, "/tmp/y");
    EXPECT_TRUE(is_durable_by_default(parse({}).line->configuration.options));
    EXPECT_TRUE(is_durable_by_default(reload(*parse({"--default-storage=durable"}).line)->options));
    EXPECT_FALSE(is_durable_by_default(reload(*parse({"--memory"}).line)->options));
}

TEST(CommandLineOf, DurableChannelsNeedADataDirectory) {
    Scratch scratch;
    const auto path = scratch.write("c.json", R"({"policies":[{"match":"a"},{"match":"b","storage":"durable"}]})");
    for (const auto& arguments : std::vector<std::vector<const char*>>{{"--data-dir=", "--default-storage=durable"},
                                                                       {"--data-dir=", "--config", path.c_str()},
                                                                       {"--memory", "--default-storage=durable"}}) {
        const auto parsed = parse(arguments);
        EXPECT_EQ(parsed.exit_code, exit_usage);
        EXPECT_FALSE(parsed.line);
    }
    EXPECT_THAT(parse({"--data-dir=", "--config", path.c_str()}).err, HasSubstr("policies[1].storage"));
}

TEST(CommandLineOf, LimitsThatBothKindsHaveInCommonAreSetForBoth) {
    const auto parsed = parse({"--limits-producers-max=7", "--limits-message-size-max=1m",
                               "--limits-durable-messages-max=9", "--limits-channel-messages-max=8"});
    ASSERT_TRUE(parsed.line) << parsed.err;
    const auto& limits = parsed.line->configuration.options.limits;
    EXPECT_EQ(limits.channel_defaults.messages_max, 8U);
    EXPECT_EQ(limits.durable_defaults.messages_max, 9U);
    EXPECT_EQ(limits.durable_defaults.bytes_max, 1ULL << 40);
    EXPECT_EQ(limits.durable_defaults.producers_max, 7U);
    EXPECT_EQ(limits.durable_defaults.message_size_max, 1U << 20);
    EXPECT_TRUE(limits.durable_defaults.is_durable);
    EXPECT_FALSE(limits.channel_defaults.is_durable);
}

TEST(CommandLineOf, HelpAndVersionGoToStdoutAndAreNoMistakes) {
    const auto help = parse({"--help"});
    EXPECT_FALSE(help.line);
    EXPECT_EQ(help.exit_code, exit_done);
    for (const auto& setting : settings_table()) {
        EXPECT_THAT(help.out, HasSubstr(setting.flag()));
    }
    const auto version = parse({"--version"});
    EXPECT_EQ(version.exit_code, exit_done);
    EXPECT_THAT(version.out, HasSubstr("batond "));
}

TEST(CommandLineOf, ConfigCheckAndShow) {
    const auto checked = parse({"config", "check", "--shards", "2"});
    ASSERT_TRUE(checked.line) << checked.err;
    EXPECT_EQ(checked.line->command, Command::config_check);
    EXPECT_EQ(checked.line->configuration.options.shards, 2U);
    const auto shown = parse({"config", "show"});
    ASSERT_TRUE(shown.line);
    EXPECT_EQ(shown.line->command, Command::config_show);
    EXPECT_FALSE(shown.line->with_origin);
    EXPECT_TRUE(parse({"config", "show", "--origin"}).line->with_origin);
    EXPECT_EQ(parse({"config", "check", "--shards", "x"}).exit_code, exit_usage);
}

TEST(CommandLineOf, ConfigCheckLooksAtTheReadyFile) {
    Scratch scratch;
    const auto checked = [](const std::string& ready_file) {
        Options options;
        options.ready_file = ready_file;
        ::testing::internal::CaptureStderr();
        const int code = check_configuration(options);
        return std::pair{code, ::testing::internal::GetCapturedStderr()};
    };
    EXPECT_EQ(checked("").first, exit_done);
    EXPECT_EQ(checked(scratch.path("ready")).first, exit_done);
    const auto [code, told] = checked(scratch.path("no/folder/ready"));
    EXPECT_EQ(code, exit_usage);
    EXPECT_THAT(told, HasSubstr("choose another --ready-file"));
    const EnvironmentVariable misspelt{"BATON_SHARD", "2"};
    EXPECT_THAT(checked("").second, HasSubstr("BATON_SHARD in the environment is no setting"));
}

TEST(Reload, ReadsFileAndEnvironmentAgainUnderTheSameFlags) {
    Scratch scratch;
    const auto path = scratch.write("c.json", R"({"log_level":"warn","shards":1})");
    const auto parsed =
        parse({"--config", path.c_str(), "--shards=3", "--listen=tcp://127.0.0.1:1", "--limits-memory-max=3000000001"});
    ASSERT_TRUE(parsed.line) << parsed.err;
    scratch.write("c.json", R"({"log_level":"error","shards":2})");
    const auto again = reload(*parsed.line);
    ASSERT_TRUE(again) << again.error().context;
    EXPECT_EQ(again->options.log_level, "error");
    EXPECT_EQ(again->options.shards, 3U);
    EXPECT_EQ(again->options.listen, std::vector<std::string>{"tcp://127.0.0.1:1"});
    EXPECT_EQ(again->options.limits.memory_max, 3'000'000'001U);
    scratch.write("c.json", "{");
    EXPECT_FALSE(reload(*parsed.line));
}

}  // namespace
}  // namespace baton::app
