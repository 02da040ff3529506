// The preamble, and what the three JSON bodies of the handshake refuse. Their exact bytes: tests/golden.
#include "common/wire/handshake.hpp"

#include <initializer_list>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "common/base/hex.hpp"
#include "common/base/utf8.hpp"
#include "common/wire/frame.hpp"

namespace baton::wire {
namespace {

// --- Preamble --------------------------------------------------------------------------------------------------------

TEST(Preamble, RefusesWhatIsNotWellFormed) {
    const auto client = [](std::string_view hex) {
        return decode_client_preamble(hex_decode(hex).value()).has_value();
    };
    EXPECT_TRUE(client("4241544e 01 01 0000"));
    EXPECT_TRUE(client("4241544e 00 ff 0000"));
    EXPECT_FALSE(client("4241544e 02 01 0000"));
    EXPECT_FALSE(client("4241544e 01 01 0100"));
    EXPECT_FALSE(client("4241544e 01 01 0001"));
    EXPECT_FALSE(client("6241544e 01 01 0000"));

    const auto broker = [](std::string_view hex) {
        return decode_broker_preamble(hex_decode(hex).value()).has_value();
    };
    EXPECT_TRUE(broker("4241544e 01 01 01 00"));
    EXPECT_TRUE(broker("4241544e 00 01 01 00"));
    EXPECT_TRUE(broker("4241544e 02 01 03 00"));
    EXPECT_FALSE(broker("4241544e 01 02 03 00"));  // Chosen, but not spoken.
    EXPECT_FALSE(broker("4241544e 04 02 03 00"));
    EXPECT_FALSE(broker("4241544e 00 03 02 00"));
    EXPECT_FALSE(broker("4241544e 01 01 01 01"));
    EXPECT_FALSE(broker("4241544f 01 01 01 00"));
}

TEST(Preamble, FirstBytesTellWhoIsThere) {
    EXPECT_TRUE(may_be_preamble({}));
    EXPECT_FALSE(looks_like_http({}));
    for (const std::string_view text : {"b", "BA ", "BATM", "X", "\x16\x03\x01", "GET / HTTP/1.1\r\n"}) {
        EXPECT_FALSE(may_be_preamble(as_bytes(text))) << text;
    }
    for (const std::string_view text :
         {"G", "GE", "GET ", "GET / HTTP/1.1\r\n", "HEAD /", "POST /x", "PUT /", "DELETE /", "OPTIONS *", "PATCH /",
          "CONNECT a:1", "TRACE /", "PRI * HTTP/2.0\r\n"}) {
        EXPECT_TRUE(looks_like_http(as_bytes(text))) << text;
    }
    for (const std::string_view text : {"get /", "GETX", "GOT", "BATN", "HELLO", "\x16\x03\x01", "AMQP", "*1\r\n"}) {
        EXPECT_FALSE(looks_like_http(as_bytes(text))) << text;
    }
}

TEST(Preamble, HighestCommonVersion) {
    const auto choose = [](std::uint8_t client_low, std::uint8_t client_high, std::uint8_t low, std::uint8_t high) {
        return int{choose_version({.low = client_low, .high = client_high}, {.chosen = 0, .low = low, .high = high})};
    };
    EXPECT_EQ(choose(1, 1, 1, 1), 1);
    EXPECT_EQ(choose(1, 5, 1, 3), 3);
    EXPECT_EQ(choose(1, 2, 1, 3), 2);
    EXPECT_EQ(choose(3, 5, 1, 3), 3);
    EXPECT_EQ(choose(4, 5, 1, 3), 0);
    EXPECT_EQ(choose(1, 1, 2, 3), 0);
    EXPECT_EQ(choose(0, 0, 0, 1), 0);
    EXPECT_EQ(choose(255, 255, 1, 255), 255);
}

// --- JSON ------------------------------------------------------------------------------------------------------------

std::string hello_error(std::string_view json) {
    const auto hello = decode_hello(as_bytes(json));
    return hello ? "" : hello.error();
}

std::string with(std::string_view key, std::string_view value) {
    return "{\"" + std::string{key} + "\":" + std::string{value} + "}";
}

constexpr std::string_view welcome_limits =
    R"("heartbeat_ms":10000,"frame_size_max":262144,"fragment_size_max":65536,)"
    R"("message_size_max":67108864,"links_max":1024,"channel_name_size_max":255)";

// Later keys win: the limits with one of them replaced.
std::string welcome_error(std::string_view key, std::string_view value) {
    const auto welcome = decode_welcome(
        as_bytes("{" + std::string{welcome_limits} + ",\"" + std::string{key} + "\":" + std::string{value} + "}"));
    return welcome ? "" : welcome.error();
}

TEST(Hello, RangesOfNumbers) {
    for (const char* good : {"100", "3600000"}) {
        EXPECT_EQ(hello_error(with("heartbeat_ms", good)), "") << good;
    }
    for (const char* bad : {"99", "3600001", "0", "-1", "100.0", "1e3", "\"100\"", "null", "true", "[100]", "{}",
                            "18446744073709551616"}) {
        EXPECT_EQ(hello_error(with("heartbeat_ms", bad)).substr(0, 62),
                  "heartbeat_ms must be a whole number from 100 to 3600000, not " + std::string{bad}.substr(0, 1))
            << bad;
    }
    EXPECT_NE(hello_error(with("frame_size_max", "65551")), "");
    EXPECT_EQ(hello_error(with("frame_size_max", "65552")), "");
    // "65,552 or more": what does not fit here is still more.
    const auto huge = decode_hello(as_bytes(with("frame_size_max", "18446744073709551615")));
    ASSERT_TRUE(huge);
    EXPECT_EQ(huge->frame_size_max, 0xffff'ffffU);
}

TEST(Hello, Texts) {
    for (const char* key : {"agent", "name"}) {
        EXPECT_EQ(hello_error(with(key, "\"" + std::string(200, 'x') + "\"")), "");
        EXPECT_NE(hello_error(with(key, "\"" + std::string(201, 'x') + "\"")), "");
        for (const char* bad : {"1", "null", "[]", "{}", "false"}) {
            EXPECT_EQ(hello_error(with(key, bad)),
                      std::string{key} + " must be a text of at most 200 bytes, not " + bad);
        }
    }
}

TEST(Hello, Features) {
    EXPECT_EQ(hello_error(R"({"features":[]})"), "");
    EXPECT_EQ(hello_error(R"({"features":["a","b","a"]})"), "");
    for (const char* bad : {"1", "\"a\"", "{}", "[1]", "[[]]", "[\"a\",[[]]]", "[{\"a\":1}]", "[null]"}) {
        EXPECT_EQ(hello_error(with("features", bad)).substr(0, 33), "features must be a list of texts,") << bad;
    }
}

TEST(Hello, UnknownKeysAreIgnored) {
    EXPECT_EQ(hello_error(R"({"later":{"a":[{"b":[1,2,{"c":null}]}]},"agent":"x"})"), "");
}

TEST(Hello, BodiesThatAreNotObjects) {
    for (const std::string_view bad :
         {"", " ", "[]", "1", "null", "\"a\"", "{", "{}}", "{} x", "{'a':1}", "{\"a\":1,}", "{\"agent\":\"\xff\"}",
          "{\"agent\":\"\xed\xa0\x80\"}", "{\"agent\":\"\\ud800\"}", "{\"agent\":\"a\nb\"}", "/**/{}"}) {
        EXPECT_EQ(hello_error(bad), "the body is not a JSON object in UTF-8") << bad;
    }
}

TEST(Hello, ErrorTextsStayShort) {
    const auto error = hello_error(with("heartbeat_ms", "\"" + std::string(3'000, 'x') + "\""));
    EXPECT_LT(error.size(), 200U);
    EXPECT_TRUE(is_valid_utf8(as_bytes(hello_error(with("heartbeat_ms", "\"" + std::string(59, 'x') + "\u20ac\"")))));
}

// As deep as a whole frame: neither parsing nor throwing away may exhaust the stack.
TEST(Handshake, DeepNesting) {
    constexpr std::size_t depth = frame_size_max_default;
    const std::string open(depth, '[');
    const std::string close(depth, ']');
    std::string objects;
    for (std::size_t i = 0; i < depth / 5; ++i) {
        objects += "{\"a\":";
    }
    for (const std::string& value : {open + close, objects + "1" + std::string(depth / 5, '}')}) {
        EXPECT_EQ(hello_error(with("later", value)), "");
        EXPECT_NE(hello_error(with("features", value)), "");
        EXPECT_NE(hello_error(with("agent", value)), "");
        EXPECT_EQ(hello_error(value).empty(), value.front() == '{');  // An object with one unknown key.
        EXPECT_NE(welcome_error("heartbeat_ms", value), "");
        EXPECT_FALSE(decode_goaway(as_bytes(with("code", value))));
    }
    EXPECT_NE(hello_error(open), "");
    EXPECT_NE(hello_error(with("later", open)), "");
    EXPECT_NE(hello_error(objects), "");
}

TEST(Welcome, EveryLimitMustBeThere) {
    EXPECT_EQ(welcome_error("later", "1"), "");
    for (const char* key : {"heartbeat_ms", "frame_size_max", "fragment_size_max", "message_size_max", "links_max",
                            "channel_name_size_max"}) {
        std::string json = "{" + std::string{welcome_limits} + "}";
        json.replace(json.find(key), 1, "x");
        const auto welcome = decode_welcome(as_bytes(json));
        ASSERT_FALSE(welcome);
        EXPECT_EQ(welcome.error(), std::string{key} + " is missing");
    }
}

TEST(Welcome, RangesOfNumbers) {
    const auto expect = [](std::string_view key, std::initializer_list<const char*> good,
                           std::initializer_list<const char*> bad) {
        for (const char* value : good) {
            EXPECT_EQ(welcome_error(key, value), "") << key << value;
        }
        for (const char* value : bad) {
            EXPECT_TRUE(welcome_error(key, value).starts_with(key)) << key << value;
        }
    };
    expect("session", {"0", "18446744073709551615"}, {"-1", "1.5", "\"7\""});
    expect("heartbeat_ms", {"1", "3600000"}, {"0", "3600001", "-1"});
    expect("frame_size_max", {"65552", "4294967295"}, {"65551", "4294967296"});
    expect("fragment_size_max", {"1", "65536"}, {"0", "65537"});
    expect("message_size_max", {"1", "18446744073709551615"}, {"0", "-1"});
    expect("links_max", {"1", "65535"}, {"0", "65536"});
    expect("channel_name_size_max", {"1", "65535"}, {"0", "65536"});
    expect("features", {"[]", "[\"a\"]"}, {"[1]", "1"});
    expect("draining", {"true", "false"}, {"0", "\"true\"", "null"});
    expect("time_us", {"0", "-9223372036854775808", "9223372036854775807"}, {"9223372036854775808", "1.0", "\"0\""});
    expect("agent", {"\"\""}, {"1"});
}

TEST(Goaway, RangesOfNumbers) {
    EXPECT_TRUE(decode_goaway(as_bytes("{}")));
    EXPECT_EQ(decode_goaway(as_bytes(R"({"code":"moved"})"))->code, "moved");
    EXPECT_TRUE(decode_goaway(as_bytes(with("reconnect_after_ms", "4294967295"))));
    for (const char* bad : {"4294967296", "-1", "1.0", "\"1\""}) {
        EXPECT_FALSE(decode_goaway(as_bytes(with("reconnect_after_ms", bad)))) << bad;
    }
    EXPECT_FALSE(decode_goaway(as_bytes(with("text", "7"))));
}

// What an application gives as its name cannot make HELLO unreadable.
TEST(Encode, AnyTextIsAccepted) {
    for (const std::string& text : {std::string(300, 'x'), std::string(150, '\xff'), std::string(199, 'x') + "\u20ac",
                                    std::string(1, '\0'), std::string{"a\nb\"c\\"}}) {
        const auto hello = decode_hello(as_bytes(encode(Hello{.agent = text, .name = text, .features = {text}})));
        ASSERT_TRUE(hello) << hello.error();
        EXPECT_LE(hello->agent.size(), 200U);
        EXPECT_EQ(hello->agent, hello->name);
        EXPECT_EQ(hello->agent.empty(), text.empty());
        EXPECT_TRUE(decode_welcome(as_bytes(encode(Welcome{.agent = text, .features = {text}}))));
        EXPECT_TRUE(decode_goaway(as_bytes(encode(Goaway{.code = text, .text = text}))));
    }
    EXPECT_EQ(decode_hello(as_bytes(encode(Hello{.name = std::string(199, 'x') + "\u20ac"})))->name,
              std::string(199, 'x'));
}

}  // namespace
}  // namespace baton::wire
