// Where messages come from: cutting streams at separators, lines of JSON, and the words of the command line.
#include "client/cli/inputs.hpp"

#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "client/cli/arguments.hpp"

namespace baton::cli {
namespace {

using Pieces = std::vector<std::string>;

// Feeds the text in parts of `size` bytes.
Pieces cut(std::string_view text, std::size_t size, char separator = '\n') {
    Splitter splitter{separator};
    Pieces pieces;
    const auto take = [&](std::string_view piece) { pieces.emplace_back(piece); };
    for (std::size_t at = 0; at < text.size(); at += size) {
        splitter.feed(text.substr(at, size), take);
    }
    splitter.finish(take);
    return pieces;
}

TEST(Splitter, EveryWayToFeedGivesTheSameLines) {
    const std::string text = "one\n\nthree with words\n\n\nsix";
    const Pieces lines{"one", "", "three with words", "", "", "six"};
    for (std::size_t size = 1; size <= text.size(); ++size) {
        EXPECT_EQ(cut(text, size), lines) << size;
    }
}

TEST(Splitter, LastLineCountsWithoutSeparatorUnlessEmpty) {
    EXPECT_EQ(cut("", 1), Pieces{});
    EXPECT_EQ(cut("a", 1), Pieces{"a"});
    EXPECT_EQ(cut("a\n", 2), Pieces{"a"});
    EXPECT_EQ(cut("\n", 1), Pieces{""});
}

TEST(Splitter, OtherSeparatorsLeaveLineBreaksAlone) {
    EXPECT_EQ(cut(std::string_view{"a\nb\0\r\0", 6}, 2, '\0'), (Pieces{"a\nb", "\r"}));
}

TEST(JsonLine, BodyAndProperties) {
    const auto message = parse_json_line(
        R"({"body":"Grüße","key":"k","id":"7","content_type":"text/plain","headers":{"a":"1","b":["2","3"]}})");
    EXPECT_EQ(message.body, "Grüße");
    ASSERT_TRUE(message.properties.has_value());
    EXPECT_EQ(message.properties->key, "k");
    EXPECT_EQ(message.properties->message_id, "7");
    EXPECT_EQ(message.properties->content_type, "text/plain");
    EXPECT_EQ(message.properties->headers,
              (std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", "2"}, {"b", "3"}}));
}

TEST(JsonLine, TheLifeOfAMessage) {
    const auto message =
        parse_json_line(R"({"body":"b","ttl":"5m","delay":"250ms","at":"1970-01-01T00:00:02Z","priority":9})");
    ASSERT_TRUE(message.properties.has_value());
    EXPECT_EQ(message.properties->ttl, std::chrono::minutes{5});
    EXPECT_EQ(message.properties->delay, std::chrono::milliseconds{250});
    EXPECT_EQ(message.properties->not_before->time_since_epoch(), std::chrono::seconds{2});
    EXPECT_EQ(message.properties->priority, 9);
    EXPECT_EQ(parse_json_line(R"({"body":"b","at":1.5})").properties->not_before->time_since_epoch(),
              std::chrono::milliseconds{1'500});
}

TEST(JsonLine, BytesThatAreNoText) {
    EXPECT_EQ(parse_json_line(R"({"body_base64":"/wA="})").body, std::string("\xFF\0", 2));
    EXPECT_FALSE(parse_json_line(R"({"body_base64":""})").properties.has_value());
}

TEST(JsonLine, WhatReceivePrintsCanBeSentAgain) {
    const auto message = parse_json_line(
        R"({"channel":"c","offset":7,"attempt":2,"redelivered":true,"time":"2026-01-01T00:00:00Z","body":"b"})");
    EXPECT_EQ(message.body, "b");
}

TEST(JsonLine, PropertiesThatAreNoText) {
    const auto message = parse_json_line(
        R"({"body":"b","key":"%FF","key_base64":"/w==","id_base64":"AA==","trace_context":"00-1-2-00",)"
        R"("headers":{"a":"%FE","b":["1","2"]},"headers_base64":[["YQ==","/g=="],["Yg==","MQ=="],["Yg==","Mg=="]]})");
    ASSERT_TRUE(message.properties.has_value());
    EXPECT_EQ(message.properties->key, "\xFF");
    EXPECT_EQ(message.properties->message_id, std::string(1, '\0'));
    EXPECT_EQ(message.properties->trace_context, "00-1-2-00");
    EXPECT_EQ(message.properties->headers,
              (std::vector<std::pair<std::string, std::string>>{{"a", "\xFE"}, {"b", "1"}, {"b", "2"}}));
}

TEST(JsonLine, WhatPeekPrintsCanBeSentAgain) {
    const auto message = parse_json_line(
        R"({"attempt":3,"body":"b","due_us":5,"note":"n","offset":7,"quarantined_us":5,"reason":"rejected","receiver":"r",)"
        R"("session":1,"size":1,"state":"quarantined","time_us":5,"properties":{"key":"k","key_base64":"/w==","ttl_us":5,)"
        R"("delay_us":6,"not_before_us":7,"priority":8,"headers":{"a":"1"}}})");
    EXPECT_EQ(message.body, "b");
    ASSERT_TRUE(message.properties.has_value());
    EXPECT_EQ(message.properties->key, "\xFF");
    EXPECT_EQ(message.properties->ttl, std::chrono::microseconds{5});
    EXPECT_EQ(message.properties->delay, std::chrono::microseconds{6});
    EXPECT_EQ(message.properties->not_before->time_since_epoch(), std::chrono::microseconds{7});
    EXPECT_EQ(message.properties->priority, 8);
    EXPECT_EQ(message.properties->headers.size(), 1U);
}

TEST(JsonLine, WhatBatonInspectPrintsCanBeSentAgain) {
    const auto message = parse_json_line(
        R"({"attempt":1,"body":"b","channel":"c","offset":7,"time":"2026-01-01T00:00:00Z","key":"k","ttl_us":5,"delay_us":6,)"
        R"("not_before_us":7,"priority":8})");
    ASSERT_TRUE(message.properties.has_value());
    EXPECT_EQ(message.properties->ttl, std::chrono::microseconds{5});
    EXPECT_EQ(message.properties->delay, std::chrono::microseconds{6});
    EXPECT_EQ(message.properties->not_before->time_since_epoch(), std::chrono::microseconds{7});
    EXPECT_EQ(message.properties->priority, 8);
    const auto edited = parse_json_line(R"({"body":"b","ttl_us":5,"ttl":"1s","not_before_us":7,"at":2})");
    EXPECT_EQ(edited.properties->ttl, std::chrono::seconds{1});
    EXPECT_EQ(edited.properties->not_before->time_since_epoch(), std::chrono::seconds{2});
}

TEST(JsonLine, WhatIsNotJsonSaysWhere) {
    try {
        (void)parse_json_line(R"({"body":"a",})");
        FAIL();
    } catch (const BadLine& error) {
        EXPECT_STREQ(error.what(), "it is not JSON, see byte 13");
    }
}

TEST(JsonLine, AListSaysHowToGetLines) {
    try {
        (void)parse_json_line(R"([{"body":"a"}])");
        FAIL();
    } catch (const BadLine& error) {
        EXPECT_NE(std::string{error.what()}.find("--output jsonl prints a message a line"), std::string::npos);
    }
}

TEST(JsonLine, BadOnesAreRefused) {
    for (const auto* line : {"",
                             "hello",
                             "[]",
                             "{",
                             R"({"key":"no body"})",
                             R"({"body":1})",
                             R"({"body":"a","body_base64":"YQ=="})",
                             R"({"body_base64":"!"})",
                             R"({"body":"a","headers":[]})",
                             R"({"body":"a","headers":{"n":1}})",
                             R"({"body":"a","key":null})",
                             R"({"body":"a","bdoy":"b"})",
                             R"({"body":"a","ttl":"5 s"})",
                             R"({"body":"a","ttl":5})",
                             R"({"body":"a","priority":10})",
                             R"({"body":"a","priority":-1})",
                             R"({"body":"a","priority":"1"})",
                             R"({"body":"a","delay":1})",
                             R"({"body":"a","at":"soon"})",
                             R"({"body":"a","properties":[]})",
                             R"({"body":"a","properties":{"colour":"red"}})",
                             R"({"body":"a","properties":{"ttl_us":-1}})",
                             R"({"body":"a","properties":{"ttl_us":"1"}})",
                             R"({"body":"a","ttl_us":"1s"})",
                             R"({"body":"a","not_before_us":1.5})",
                             R"({"body":"a","delay_us":-1})",
                             R"({"body":"a","key_base64":"!"})",
                             R"({"body":"a","headers_base64":{}})",
                             R"({"body":"a","headers_base64":[["YQ=="]]})",
                             R"({"body":"a","headers_base64":[["YQ==",1]]})",
                             R"({"body":"a","properties_truncated":true})",
                             R"({"body":"a","truncated":true})"}) {
        EXPECT_THROW((void)parse_json_line(line), BadLine) << line;
    }
}

TEST(Arguments, WordsSurviveTheParser) {
    const std::array words{"send", "[1,2]", "{}", "++", "", "\x01", "plain", "--key", "-", "a[b]"};
    const auto marked = guarded(words);
    ASSERT_EQ(marked.size(), words.size());
    for (std::size_t i = 0; i < words.size(); ++i) {
        EXPECT_EQ(unguarded(marked[i]), words[i]);
    }
    EXPECT_EQ(marked[0], "send");
    EXPECT_EQ(marked[7], "--key");
    EXPECT_NE(marked[1].front(), '[');
}

TEST(Arguments, BehindDoubleDashNothingIsAnOption) {
    const std::array words{"send", "c", "--", "-5", "--", "--url=x"};
    const auto marked = guarded(words);
    ASSERT_EQ(marked.size(), 5U);
    for (std::size_t i = 2; i < marked.size(); ++i) {
        EXPECT_NE(marked[i].front(), '-');
        EXPECT_EQ(unguarded(marked[i]), words[i + 1]);
    }
}

}  // namespace
}  // namespace baton::cli
