// What the parser accepts, what this version refuses, and what errors mean to a script.
#include "client/cli/command_line.hpp"

#include <initializer_list>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "client/cli/channel_report.hpp"
#include "client/cli/channel_settings.hpp"
#include "client/cli/execute.hpp"
#include "client/cli/progress.hpp"
#include "tests/unit/cli/refusal.hpp"

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
    for (const char* blank : {"", " ", "\t\n"}) {
        const auto given = parsed({"receive", "c", "--exec", blank});
        EXPECT_EQ(given.exit_code, exit_usage);
        EXPECT_NE(given.errors.find("is no command"), std::string::npos) << given.errors;
    }
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

TEST(CommandLine, AConnectTimeoutLeavesTimeToTry) {
    for (const char* timeout : {"0", "0s", "999us"}) {
        const auto given = parsed({"--connect-timeout", timeout, "ping"});
        EXPECT_EQ(given.exit_code, exit_usage);
        EXPECT_NE(given.errors.find("leaves no time to try; it is 1ms or longer"), std::string::npos) << given.errors;
    }
    EXPECT_FALSE(parsed({"send", "c", "m", "--connect-timeout", "1ms"}).exit_code);
}

TEST(CommandLine, AnEmptyPathIsNone) {
    for (const auto& given : {parsed({"send", "c", "--file", ""}), parsed({"backup", ""}), parsed({"restore", ""})}) {
        EXPECT_EQ(given.exit_code, exit_usage);
        EXPECT_NE(given.errors.find("\"\" is no path: it is empty"), std::string::npos) << given.errors;
    }
}

TEST(CommandLine, AChannelIsRestoredUnderOneName) {
    EXPECT_EQ(refusal_of({"restore", "/nowhere", "--as", "a=b", "--as", "a=c"}), exit_usage);
    EXPECT_EQ(refusal_of({"restore", "/nowhere", "--as", "a=b", "--as", "%61=c"}), exit_usage);
}

TEST(CommandLine, AnOutageIsSaidOnce) {
    OutageNotice notice;
    bool is_first_away = false;
    bool is_second_away = false;
    notice.on_away(is_first_away);
    EXPECT_TRUE(notice.is_news());
    notice.on_away(is_second_away);
    notice.on_away(is_second_away);
    EXPECT_FALSE(notice.is_news());
    notice.on_back(is_first_away);
    EXPECT_FALSE(notice.is_news()) << "the second one still waits";
    notice.on_back(is_second_away);
    notice.on_back(is_second_away);
    notice.on_away(is_first_away);
    EXPECT_TRUE(notice.is_news());
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

TEST(CommandLine, AVerbThatDoesNotExistIsNamedWithThoseThatDo) {
    struct Case {
        std::vector<const char*> words;
        const char* told;
    };
    for (const auto& [words, told] : {Case{{"channel", "crate", "x"}, "there is no verb \"crate\", only create, list, show"},
                                      Case{{"channel", "ls"}, "there is no verb \"ls\", only create"},
                                      Case{{"policy", "frob", "x"}, "there is no verb \"frob\", only list"},
                                      Case{{"channel", "--frob", "create", "x"}, "--frob"},
                                      Case{{"channel", "--frob"}, "there is no option \"--frob\""},
                                      Case{{"sned", "c"}, "there is no verb \"sned\", only send, receive"},
                                      Case{{"[1]"}, "there is no verb \"[1]\", only send"}}) {
        Program program;
        define(program);
        testing::internal::CaptureStderr();
        EXPECT_EQ(parse(program, words), exit_usage);
        const auto errors = testing::internal::GetCapturedStderr();
        EXPECT_NE(errors.find(told), std::string::npos) << errors;
        EXPECT_EQ(errors.find('\n'), errors.size() - 1) << errors;
    }
}

TEST(CommandLine, ErrorsOfTheParserHaveTheWishedForm) {
    const auto given = parsed({"receive", "c", "--timeout", "5x", "--output", "json"});
    EXPECT_EQ(given.exit_code, exit_usage);
    EXPECT_TRUE(given.errors.starts_with(R"({"error":{"code":"usage","retryable":false,"text":)")) << given.errors;
}

TEST(CommandLine, TheLifeOfMessages) {
    EXPECT_FALSE(
        parsed({"send", "c", "m", "--ttl", "5s", "--delay", "1m", "--at", "2026-01-31T12:00:00Z", "--priority", "9"})
            .exit_code);
    EXPECT_FALSE(parsed({"send", "c", "m", "--at", "1767225600.5", "--priority=0"}).exit_code);
    for (const auto& given :
         {parsed({"send", "c", "m", "--priority", "10"}), parsed({"send", "c", "m", "--priority", "-1"}),
          parsed({"send", "c", "m", "--priority", "high"})}) {
        EXPECT_EQ(given.exit_code, exit_usage);
        EXPECT_NE(given.errors.find("from 0 to 9"), std::string::npos) << given.errors;
    }
    EXPECT_NE(parsed({"send", "c", "m", "--priority", "10"}).errors.find("\"10\""), std::string::npos);
    EXPECT_EQ(parsed({"send", "c", "m", "--at", "tomorrow"}).exit_code, exit_usage);
    EXPECT_EQ(parsed({"send", "c", "m", "--ttl", "5"}).exit_code, exit_usage);
}

TEST(CommandLine, Subscriptions) {
    EXPECT_FALSE(parsed({"receive", "c", "--subscription", "s", "--from", "first", "--filter", "a.*.>", "--exclusive",
                         "--lease", "5s"})
                     .exit_code);
    for (const char* from : {"first", "last", "new", "0", "17", "2026-01-31T12:00:00+01:00", "5m"}) {
        EXPECT_FALSE(parsed({"receive", "c", "--from", from}).exit_code) << from;
    }
    for (const char* from : {"", "newest", "-1", "2026-01-31", "5 m", "99999999999999999999"}) {
        EXPECT_EQ(parsed({"receive", "c", "--from", from}).exit_code, exit_usage) << from;
    }
    EXPECT_EQ(parsed({"receive", "c", "--filter", "a..b"}).exit_code, exit_usage);
    EXPECT_EQ(parsed({"subscription", "create", "c", "s", "--filter", ">.a"}).exit_code, exit_usage);
    EXPECT_EQ(parsed({"receive", "c", "--lease", "99ms"}).exit_code, exit_usage);
    EXPECT_EQ(parsed({"receive", "c", "--lease", "25h"}).exit_code, exit_usage);
    EXPECT_FALSE(parsed({"subscription", "create", "c", "s", "--from", "5m", "--filter", "a", "--overflow",
                         "drop-oldest", "--backlog-max", "10"})
                     .exit_code);
    EXPECT_FALSE(parsed({"subscription", "list", "c"}).exit_code);
    EXPECT_FALSE(parsed({"subscription", "delete", "c", "s", "--force"}).exit_code);
    EXPECT_EQ(parsed({"subscription", "create", "c"}).exit_code, exit_usage);
    EXPECT_EQ(parsed({"subscription", "create", "c", "s", "--overflow", "reject"}).exit_code, exit_usage);
}

TEST(CommandLine, MessagesThatSomebodyLooksAfter) {
    for (const char* state : {"ready", "delayed", "in-flight", "quarantined"}) {
        EXPECT_FALSE(parsed({"peek", "c", "--state", state, "--subscription", "s"}).exit_code) << state;
    }
    EXPECT_FALSE(parsed({"retry", "c", "--all"}).exit_code);
    EXPECT_FALSE(parsed({"retry", "c", "7", "8", "--subscription", "s"}).exit_code);
    EXPECT_FALSE(parsed({"move", "a", "b"}).exit_code);
    EXPECT_FALSE(parsed({"move", "a", "b", "7", "--state", "quarantined"}).exit_code);
    EXPECT_FALSE(parsed({"drop", "c", "--all", "--state", "delayed"}).exit_code);
    EXPECT_FALSE(parsed({"explain", "c"}).exit_code);
    EXPECT_FALSE(parsed({"explain", "c", "7"}).exit_code);
    EXPECT_FALSE(parsed({"channel", "delete", "c", "--force"}).exit_code);
    EXPECT_EQ(refusal_of({"retry", "c"}), exit_usage);
    EXPECT_EQ(refusal_of({"drop", "c"}), exit_usage);
    EXPECT_EQ(refusal_of({"retry", "c", "7", "--all"}), exit_usage);
    EXPECT_EQ(refusal_of({"retry", "c", "seven"}), exit_usage);
    EXPECT_EQ(refusal_of({"explain", "c", "seven"}), exit_usage);
    EXPECT_EQ(refusal_of({"drop", "c", "--all", "--state", "in-flight"}), exit_usage);
}

// What `channel create` would ask for; the words behind the name.
nlohmann::json settings_of(const std::vector<const char*>& words) {
    CLI::App app;
    ChannelFlags flags;
    add_channel_settings(app, flags);
    std::vector<std::string> reversed{words.rbegin(), words.rend()};
    app.parse(reversed);
    return finished_settings(flags);
}

TEST(ChannelSettings, OnlyWhatIsGivenIsAskedFor) {
    EXPECT_EQ(settings_of({}).dump(), "{}");
    EXPECT_FALSE(parsed({"channel", "create", "c", "--kind", "topic", "--durable", "--max-messages", "5"}).exit_code);
}

TEST(ChannelSettings, EachHasItsFlag) {
    EXPECT_EQ(settings_of({"--kind",
                           "stream",
                           "--messages-max",
                           "1k",
                           "--bytes-max",
                           "1m",
                           "--message-size-max",
                           "64k",
                           "--max-age",
                           "1h",
                           "--overflow",
                           "drop-oldest",
                           "--lease",
                           "5s",
                           "--lease-max",
                           "1m",
                           "--attempts-max",
                           "0",
                           "--retry-first",
                           "0",
                           "--retry-max",
                           "1m",
                           "--retry-factor",
                           "1.5",
                           "--retry-jitter",
                           "20",
                           "--expired",
                           "quarantine",
                           "--late",
                           "drop",
                           "--ordered-by-key",
                           "--no-exclusive",
                           "--fair-by",
                           "header:tenant",
                           "--fair-weight",
                           "a=2",
                           "--fair-weight",
                           "b=c=1000",
                           "--dedupe-window",
                           "10m",
                           "--compact"})
                  .dump(),
              R"({"age_max_ms":3600000,"attempts_max":0,"bytes_max":1048576,"compact":true,"dedupe_window_ms":600000,)"
              R"("exclusive":false,"expired":"quarantine","fair_by":"header:tenant","fair_weights":{"a":2,"b=c":1000},)"
              R"("kind":"stream","late":"drop","lease_max_ms":60000,"lease_ms":5000,"message_size_max":65536,)"
              R"("messages_max":1024,"ordered_by_key":true,"overflow":"drop-oldest","retry_factor_percent":150,)"
              R"("retry_first_ms":0,"retry_jitter_percent":20,"retry_max_ms":60000})");
    EXPECT_EQ(settings_of({"--max-attempts", "3", "--max-messages", "7", "--age-max", "1d", "--fair-by", "none",
                           "--retry-factor", "300%", "--no-compact", "--no-ordered-by-key"})
                  .dump(),
              R"({"age_max_ms":86400000,"attempts_max":3,"compact":false,"fair_by":"","messages_max":7,)"
              R"("ordered_by_key":false,"retry_factor_percent":300})");
}

TEST(ChannelSettings, RangesAreNamed) {
    struct Case {
        const char* flag;
        const char* value;
        const char* range;
    };
    for (const auto& [flag, value, range] :
         {Case{"--lease", "99ms", "from 100ms to"}, Case{"--lease", "25h", "to 1d"}, Case{"--lease-max", "8d", "to 7d"},
          Case{"--attempts-max", "1000001", "from 0 to 1000000"}, Case{"--retry-factor", "0.5", "from 1 to 100"},
          Case{"--retry-factor", "200", "from 1 to 100"}, Case{"--retry-jitter", "101", "from 0 to 100"},
          Case{"--overflow", "explode", "explode"}, Case{"--fair-by", "header:", "header:NAME"},
          Case{"--retry-first", "1us", "whole milliseconds"}, Case{"--expired", "forget", "forget"},
          Case{"--kind", "log", "log"}}) {
        const auto given = parsed({"channel", "create", "c", flag, value});
        EXPECT_EQ(given.exit_code, exit_usage) << flag;
        EXPECT_NE(given.errors.find(range), std::string::npos) << given.errors;
        EXPECT_NE(given.errors.find(value), std::string::npos) << given.errors;
    }
    EXPECT_EQ(refusal_of({"channel", "create", "c", "--fair-weight", "a=0"}), exit_usage);
    EXPECT_EQ(refusal_of({"channel", "create", "c", "--fair-weight", "a"}), exit_usage);
    EXPECT_EQ(parsed({"channel", "create", "c", "--compact", "--no-compact"}).exit_code, exit_usage);
}

TEST(Failures, AConflictSaysWhatDiffers) {
    ClientError error{ClientErrc::refused, "channel jobs exists with other settings", false, 15};
    error.set_details(R"({"diff":{"kind":{"is":"queue","wanted":"topic"},"lease_ms":{"is":5,"wanted":6}}})");
    const auto failure = failure_of(error, "channel.create");
    EXPECT_EQ(failure.exit_code(), exit_refused);
    EXPECT_EQ(
        std::string{failure.what()},
        "channel.create: channel jobs exists with other settings; kind is queue, wanted topic; lease_ms is 5, wanted "
        "6");
    EXPECT_EQ(failure.details(), error.details());
    const auto in_use = failure_of(ClientError{ClientErrc::refused, "2 links", false, 33}, "channel.delete");
    EXPECT_NE(std::string{in_use.what()}.find("--force"), std::string::npos);
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

TEST(Failures, NameTheSettingOfTheBroker) {
    const auto told = [](ClientErrc code, const char* text, std::uint32_t status) {
        return std::string{failure_of(ClientError{code, text, false, status}, "x").what()};
    };
    EXPECT_NE(told(ClientErrc::cannot_connect, "as many as limits.connections_max allows (1)", 0)
                  .find("raise limits.connections_max of the broker"),
              std::string::npos);
    EXPECT_NE(told(ClientErrc::message_too_large, "the limit is 9", 0).find("limits.message_size_max"), std::string::npos);
    EXPECT_NE(told(ClientErrc::refused, "message_size_max is 9, allowed are whole numbers from 1 to 8", 0)
                  .find("the most is limits.message_size_max of the broker"),
              std::string::npos);
    EXPECT_NE(told(ClientErrc::refused, "the backup is damaged: a file", 31).find("`baton-inspect DIR verify`"),
              std::string::npos);
}

TEST(CommandLine, APasswordIsNotShown) {
    GlobalOptions global;
    for (const char* url : {"baton://user:secret@host", "tcp://user:se@cret@host:1", "user:secret@host"}) {
        global.url = url;
        try {
            (void)question_options(global);
            FAIL() << url;
        } catch (const Failure& failure) {
            EXPECT_EQ(failure.exit_code(), exit_usage);
            EXPECT_EQ(std::string{failure.what()}.find("cret"), std::string::npos) << failure.what();
        }
    }
    global.url = "unix:///tmp/a@b";
    EXPECT_EQ(question_options(global).url, "baton+unix:///tmp/a@b");
}

TEST(ChannelReport, SaysWhereMessagesAre) {
    const nlohmann::json channel{{"name", "jobs"},     {"kind", "queue"},    {"storage", "durable"},
                                 {"messages_max", 7U}, {"bytes_max", 1024U}, {"message_size_max", 10U},
                                 {"ready", 1U},        {"in_flight", 2U},    {"bytes", 3U},
                                 {"receivers", 4U},    {"senders", 5U},    {"quarantined", 6U}};
    EXPECT_EQ(settings_text(channel), "queue, durable, at most 7 messages, 1k in all, 10 bytes each");
    EXPECT_EQ(table_text(nlohmann::json::array({channel})),
              "NAME  KIND    STORAGE        READY     DELAYED  IN FLIGHT  QUARANTINED       BYTES  RECEIVERS  SENDERS\n"
              "jobs  queue   durable            1           -          2            6           3          4        5\n");
}

TEST(ChannelReport, SaysWhatWaitsForWhom) {
    const auto quarantined = nlohmann::json::parse(
        R"({"offset":7,"state":"quarantined","attempt":3,"reason":"rejected","note":"no such user","receiver":"pid 7",)"
        R"("quarantined_us":1500000})");
    EXPECT_EQ(
        message_text(quarantined),
        "offset 7: quarantined at 1970-01-01T00:00:01.500000Z, attempt 3, reason rejected, receiver pid 7, note no "
        "such user");
    const auto delayed = nlohmann::json::parse(R"({"offset":8,"state":"delayed","attempt":1,"due_us":2000000})");
    EXPECT_EQ(message_text(delayed), "offset 8: delayed until 1970-01-01T00:00:02.000000Z, attempt 1");
    EXPECT_EQ(explanation_text({{"waits", nlohmann::json::array()}}), "nobody waits\n");
    const auto reply = nlohmann::json::parse(
        R"({"waits":[{"who":"receiver","reason":"empty","for_ms":3250,"text":"session 3 link 1 has nothing to get"}],)"
        R"("text":"offset 9 is not in the channel"})");
    EXPECT_EQ(explanation_text(reply),
              "offset 9 is not in the channel\nreceiver: session 3 link 1 has nothing to get (empty for 3.2s)\n");
}

TEST(ChannelReport, SaysWhatToDoAboutQuarantine) {
    EXPECT_EQ(quarantine_text({{"name", "c"}, {"quarantined", 0U}}), "");
    EXPECT_EQ(quarantine_text({{"name", "c"}, {"quarantined", 1U}}),
              "1 message is quarantined: `baton peek c --state quarantined` says why, and `baton retry`, `move` or `drop` what "
              "becomes of it\n");
    const auto topic = nlohmann::json::parse(
        R"({"name":"t","quarantined":2,"subscriptions":[{"name":"a","quarantined":2},{"name":"b","quarantined":0}]})");
    EXPECT_EQ(quarantine_text(topic),
              "subscription \"a\": 2 messages are quarantined: `baton peek t --subscription a --state quarantined` says why, and "
              "`baton retry`, `move` or `drop` what becomes of them\n");
}

TEST(ChannelReport, EverythingThatABrokerShows) {
    auto channel = nlohmann::json::parse(
        R"({"name":"jobs","kind":"queue","storage":"memory","messages_max":7,"bytes_max":1024,"message_size_max":10,)"
        R"("age_max_ms":0,"overflow":"reject","lease_ms":30000,"lease_max_ms":43200000,"attempts_max":0,)"
        R"("retry_first_ms":1000,"retry_max_ms":300000,"retry_factor_percent":200,"retry_jitter_percent":10,)"
        R"("expired":"drop","late":"fire","ordered_by_key":true,"exclusive":false,"fair_by":"key","dedupe_window_ms":60000,)"
        R"("compact":false,"ready":1,"delayed":2,"in_flight":3,"quarantined":4,"parked":5,"bytes":6,"published":7,)"
        R"("delivered":8,"redelivered":9,"settled":10,"duplicates":11,"refused":12,"purged":13,"retried":14,"rejected":15,)"
        R"("expired_messages":16,"dropped":17,"moved":18,"unwanted":19,)"
        R"("stored":10,"last_dropped":{"first":5,"count":17},"wait":{"reason":"none"},"links":[]})");
    EXPECT_EQ(
        report_text(channel),
        "jobs: queue, memory, at most 7 messages, 1k in all, 10 bytes each\n"
        "  lease 30s, at most 12h; attempts without limit, retry after 1s to 5m, each 200% of the one before, "
        "jitter 10%\n"
        "  overflow reject, expired drop, late fire, dedupe window 1m, fair by key, ordered by key\n"
        "  ready 1, delayed 2, in flight 3, quarantined 4, parked 5, stored 10, in 6 bytes\n"
        "  published 7, delivered 8, redelivered 9, settled 10, duplicates 11, refused 12, purged 13, retried 14, "
        "rejected 15, expired 16, dropped 17, moved 18, unwanted 19\n"
        "  last dropped: 17 from offset 5\n"
        "  messages wait: -\n");
    channel["expired"] = 18U;  // A broker for which this is the counter.
    channel.erase("expired_messages");
    EXPECT_NE(report_text(channel).find("rejected 15, expired 18"), std::string::npos);
    channel["subscriptions"] = nlohmann::json::array({{{"name", "s"}}});
    EXPECT_NE(report_text(channel).find("\nsubscriptions:\nNAME"), std::string::npos);
}

TEST(ChannelReport, OneIsNotMany) {
    EXPECT_EQ(counted(0, "message"), "0 messages");
    EXPECT_EQ(counted(1, "message"), "1 message");
    EXPECT_EQ(counted(2, "message"), "2 messages");
    const nlohmann::json channel{{"kind", "queue"},    {"storage", "memory"},     {"messages_max", 1U},
                                 {"bytes_max", 1000U}, {"message_size_max", 1U}};
    EXPECT_EQ(settings_text(channel), "queue, memory, at most 1 message, 1000 bytes in all, 1 byte each");
}

TEST(ChannelReport, ASubscriptionIsALine) {
    const auto list = nlohmann::json::parse(
        R"([{"name":"billing","filter":"a.>","ready":1,"delayed":2,"in_flight":3,"quarantined":4,"dropped":5,)"
        R"("next_offset":6,"receivers":7},{"name":"b"}])");
    EXPECT_EQ(subscriptions_text(list),
              "NAME            READY     DELAYED  IN FLIGHT  QUARANTINED     DROPPED        NEXT  RECEIVERS  FILTER\n"
              "billing             1           2          3            4           5           6          7  a.>\n"
              "b                   0           0          0            0           0           0          0  -\n");
}

TEST(LastLine, IsTheLastThatSaysSomething) {
    const auto last_of = [](std::initializer_list<std::string_view> pieces) {
        LastLine last;
        for (const auto piece : pieces) {
            last.feed(piece);
        }
        return last.text();
    };
    EXPECT_EQ(last_of({}), "");
    EXPECT_EQ(last_of({"one\ntwo\n"}), "two");
    EXPECT_EQ(last_of({"one\ntw", "o"}), "two");
    EXPECT_EQ(last_of({"one\n\n", "\n"}), "one");
    EXPECT_EQ(last_of({std::string(5'000, 'x')}).size(), 1'024U);
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
