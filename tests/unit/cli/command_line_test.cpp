// What the parser accepts, what this version refuses, and what errors mean to a script.
#include "client/cli/command_line.hpp"

#include <initializer_list>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "client/cli/channel_report.hpp"
#include "client/cli/progress.hpp"

namespace baton::cli {
namespace {

struct Parsed {
    std::optional<int> exit_code;  // Of the parser.
    std::string errors;
    GlobalOptions global;
};

Parsed parsed(std::initializer_list<const char*> words) {
    Program program;
    define(program);
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    const auto exit_code = parse(program, std::vector<const char*>{words});
    testing::internal::GetCapturedStdout();
    return {exit_code, testing::internal::GetCapturedStderr(), program.global};
}

// Runs the verb, which must fail before it needs a broker.
int refusal_of(std::initializer_list<const char*> words) {
    Program program;
    define(program);
    testing::internal::CaptureStderr();
    const auto exit_code = parse(program, std::vector<const char*>{words});
    testing::internal::GetCapturedStderr();
    if (exit_code) {
        return *exit_code;
    }
    try {
        return program.run();
    } catch (const Failure& failure) {
        return failure.exit_code();
    }
}

TEST(CommandLine, EveryVerbOfTheContract) {
    EXPECT_FALSE(parsed({"send", "c", "m"}).exit_code);
    EXPECT_FALSE(parsed({"send", "c", "--file", "f", "--count", "3", "--key", "k", "--header", "a=b", "--header", "c=d",
                         "--content-type", "t", "--id", "i", "--window", "5"})
                     .exit_code);
    EXPECT_FALSE(parsed({"send", "c", "--jsonl"}).exit_code);
    EXPECT_FALSE(parsed({"receive", "c", "-n", "3", "--timeout", "2s", "--until-empty", "--ack", "none", "--null",
                         "--window", "7"})
                     .exit_code);
    EXPECT_FALSE(parsed({"receive", "c", "--count", "1", "--jsonl", "--ack", "after-write"}).exit_code);
    EXPECT_FALSE(parsed({"receive", "c", "--exec", "cat"}).exit_code);
    EXPECT_FALSE(parsed({"peek", "c", "-n", "3", "--state", "in-flight"}).exit_code);
    EXPECT_FALSE(parsed({"channel", "create", "c", "--kind", "queue", "--memory", "--max-bytes", "64k"}).exit_code);
    EXPECT_FALSE(parsed({"channel", "create", "c", "--durable"}).exit_code);
    EXPECT_FALSE(parsed({"send", "c", "m", "--confirm", "received"}).exit_code);
    EXPECT_FALSE(parsed({"send", "c", "m", "--confirm=durable"}).exit_code);
    EXPECT_FALSE(parsed({"channel", "list"}).exit_code);
    EXPECT_FALSE(parsed({"channel", "show", "c"}).exit_code);
    EXPECT_FALSE(parsed({"channel", "delete", "c"}).exit_code);
    EXPECT_FALSE(parsed({"channel", "purge", "c"}).exit_code);
    EXPECT_FALSE(parsed({"ping"}).exit_code);
    EXPECT_EQ(parsed({"--version"}).exit_code, 0);
    EXPECT_EQ(parsed({"send", "--help"}).exit_code, 0);
}

TEST(CommandLine, GlobalOptionsStandAnywhere) {
    for (const auto& given :
         {parsed({"--url", "baton://h:1", "--quiet", "--output", "json", "--connect-timeout", "250ms", "ping"}),
          parsed({"ping", "--url", "baton://h:1", "--quiet", "--output", "json", "--connect-timeout", "250ms"}),
          parsed(
              {"channel", "show", "--url=baton://h:1", "c", "--output=json", "--quiet", "--connect-timeout=250ms"})}) {
        EXPECT_FALSE(given.exit_code);
        EXPECT_EQ(given.global.url, "baton://h:1");
        EXPECT_TRUE(given.global.quiet);
        EXPECT_EQ(given.global.output, OutputFormat::json);
        EXPECT_EQ(given.global.connect_timeout, std::chrono::milliseconds{250});
    }
}

TEST(CommandLine, MessagesMayLookLikeAnything) {
    EXPECT_FALSE(parsed({"send", "send", "ping", "receive", "[1,2]", "{}", "++", ""}).exit_code);
    EXPECT_FALSE(parsed({"send", "c", "--", "-5", "--nothing"}).exit_code);
    EXPECT_EQ(parsed({"send", "c", "--nothing"}).exit_code, exit_usage);
}

TEST(CommandLine, BadUsageIsOneLineAndExitTwo) {
    for (const auto& given :
         {parsed({}), parsed({"nothing"}), parsed({"send"}), parsed({"send", ""}), parsed({"receive", "c", "-n", "x"}),
          parsed({"receive", "c", "-n", "0"}), parsed({"receive", "c", "--timeout", "5x"}),
          parsed({"receive", "c", "--ack", "never"}), parsed({"peek", "c", "--state", "gone"}), parsed({"channel"}),
          parsed({"channel", "create"}), parsed({"channel", "create", "c", "--max-bytes", "much"}),
          parsed({"channel", "create", "c", "--durable", "--memory"}), parsed({"send", "c", "--confirm", "replicated"}),
          parsed({"send", "c", "--confirm"}), parsed({"--output", "xml", "ping"}), parsed({"ping", "surplus"})}) {
        EXPECT_EQ(given.exit_code, exit_usage);
        EXPECT_TRUE(given.errors.starts_with("baton: ")) << given.errors;
        EXPECT_EQ(given.errors.find('\n'), given.errors.size() - 1) << given.errors;
    }
}

TEST(CommandLine, ErrorsOfTheParserHaveTheWishedForm) {
    const auto given = parsed({"receive", "c", "--timeout", "5x", "--output", "json"});
    EXPECT_EQ(given.exit_code, exit_usage);
    EXPECT_TRUE(given.errors.starts_with(R"({"error":{"code":"usage","retryable":false,"text":)")) << given.errors;
}

TEST(CommandLine, WhatThisVersionLacksIsRefused) {
    EXPECT_EQ(refusal_of({"send", "c", "m", "--ttl", "5s"}), exit_usage);
    EXPECT_EQ(refusal_of({"send", "c", "m", "--delay", "5s"}), exit_usage);
    EXPECT_EQ(refusal_of({"send", "c", "m", "--priority", "5"}), exit_usage);
    EXPECT_EQ(refusal_of({"receive", "c", "--subscription", "s"}), exit_usage);
    EXPECT_EQ(refusal_of({"receive", "c", "--from", "first"}), exit_usage);
    EXPECT_EQ(refusal_of({"peek", "c", "--state", "delayed"}), exit_usage);
    EXPECT_EQ(refusal_of({"peek", "c", "--state", "quarantined"}), exit_usage);
    EXPECT_EQ(refusal_of({"channel", "create", "c", "--kind", "topic"}), exit_usage);
    EXPECT_EQ(refusal_of({"channel", "create", "c", "--kind", "stream"}), exit_usage);
    EXPECT_EQ(refusal_of({"retry", "c", "--all"}), exit_usage);
    EXPECT_EQ(refusal_of({"retry", "c", "7"}), exit_usage);
    EXPECT_EQ(refusal_of({"move", "a", "b"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench"}), exit_usage);
}

TEST(CommandLine, WhatExcludesEachOther) {
    EXPECT_EQ(refusal_of({"send", "c", "--whole", "--null"}), exit_usage);
    EXPECT_EQ(refusal_of({"send", "c", "--jsonl", "m"}), exit_usage);
    EXPECT_EQ(refusal_of({"send", "c", "m", "--header", "no value"}), exit_usage);
    EXPECT_EQ(refusal_of({"receive", "c", "--null", "--jsonl"}), exit_usage);
}

TEST(ExitCodes, AreAContract) {
    EXPECT_EQ(exit_code_of(ClientErrc::bad_argument), 2);
    EXPECT_EQ(exit_code_of(ClientErrc::cannot_connect), 3);
    EXPECT_EQ(exit_code_of(ClientErrc::not_authorised), 4);
    EXPECT_EQ(exit_code_of(ClientErrc::not_found), 5);
    EXPECT_EQ(exit_code_of(ClientErrc::timed_out), 6);
    EXPECT_EQ(exit_code_of(ClientErrc::refused), 7);
    EXPECT_EQ(exit_code_of(ClientErrc::message_too_large), 7);
    EXPECT_EQ(exit_code_of(ClientErrc::interrupted), 130);
    EXPECT_EQ(exit_code_of(ClientErrc::protocol_error), 1);
}

TEST(Failures, OfTheDiskSayWhatHelps) {
    struct Case {
        std::uint32_t status;  // docs/protocol.md, section 13.
        const char* code;
        const char* step;
    };
    for (const auto& [status, code, step] :
         {Case{29, "disk_full", "free space on the broker's disk and try again"},
          Case{30, "storage_failed", "see the log of the broker, and start it again"},
          Case{31, "channel_damaged", "baton-inspect"}}) {
        const bool is_retryable = status == 29;
        const auto failure =
            failure_of(ClientError{ClientErrc::refused, "channel jobs: no", is_retryable, status}, "x");
        EXPECT_EQ(failure.exit_code(), exit_refused);
        EXPECT_EQ(failure.code(), code);
        EXPECT_EQ(failure.is_retryable(), is_retryable);
        EXPECT_NE(std::string{failure.what()}.find(step), std::string::npos) << failure.what();
        EXPECT_NE(std::string{failure.what()}.find("channel jobs"), std::string::npos) << failure.what();
    }
    EXPECT_EQ(std::string{failure_of(ClientError{ClientErrc::refused, "no"}, "x").what()}, "x: no");
}

TEST(ChannelReport, SaysWhereMessagesAre) {
    const nlohmann::json channel{{"name", "jobs"},     {"kind", "queue"},    {"storage", "durable"},
                                 {"messages_max", 7U}, {"bytes_max", 1024U}, {"message_size_max", 10U},
                                 {"ready", 1U},        {"in_flight", 2U},    {"bytes", 3U},
                                 {"receivers", 4U},    {"senders", 5U}};
    EXPECT_EQ(settings_text(channel), "queue, durable, at most 7 messages, 1k in all, 10 each");
    EXPECT_EQ(table_text(nlohmann::json::array({channel})),
              "NAME  STORAGE        READY  IN FLIGHT       BYTES  RECEIVERS  SENDERS\n"
              "jobs  durable            1          2           3          4        5\n");
}

TEST(Report, IsOneLine) {
    EXPECT_EQ(one_line("a\nb\tc\n\n"), "a b c");
}

TEST(Progress, SaysWhatIsKnown) {
    EXPECT_EQ(progress_text("sent", 100, -1, std::chrono::seconds{2}), "100 sent, 50/s");
    EXPECT_EQ(progress_text("sent", 100, 0.25, std::chrono::seconds{2}), "100 sent, 50/s, 25%, 6s left");
}

}  // namespace
}  // namespace baton::cli
