// Texts of JSON whose long strings no parser sees.
#include "client/src/json_text.hpp"

#include <random>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace baton::client {
namespace {

using Json = nlohmann::json;

const std::string plain(long_string, 'A');

std::string quoted(const std::string& content) {
    return '"' + content + '"';
}

bool is_json(const std::string& text) {
    return Json::accept(text);
}

TEST(LongStrings, ThosePlainAreEmptied) {
    EXPECT_EQ(without_long_strings(R"({"a":)" + quoted(plain) + R"(,"b":[)" + quoted(plain + " ~/+=") + R"(,1]})"),
              R"({"a":"","b":["",1]})");
    EXPECT_EQ(without_long_strings(quoted(plain)), R"("")");
}

TEST(LongStrings, EverythingElseStays) {
    const std::string texts[] = {"",
                                 "{}",
                                 R"({"ok":true,"text":"a \"b\" \\"})",
                                 "\"",
                                 "1" + plain,
                                 quoted(plain.substr(1)),
                                 quoted(plain + R"(\")"),
                                 quoted(plain + R"(\\)"),
                                 quoted(plain + "\n"),
                                 quoted(plain + "\u00e4"),
                                 quoted(plain + "\x1f"),
                                 quoted(std::string(1, '\0') + plain)};
    for (const auto& text : texts) {
        EXPECT_EQ(without_long_strings(text), text);
    }
}

TEST(LongStrings, WhatIsNoStringDoesNotBecomeOne) {
    EXPECT_EQ(without_long_strings('"' + plain), R"(")");
    EXPECT_EQ(without_long_strings(quoted(plain) + plain), R"("")" + plain);
    EXPECT_EQ(without_long_strings(R"({"a":"\")" + plain), R"({"a":"\")" + plain);
}

// Pieces put together at random: some of it is JSON, most is not, and both texts are it or neither.
TEST(LongStrings, TheResultIsJsonIfTheTextIs) {
    const std::string pieces[] = {"{", "}",    "[",  "]", ":",      ",",    "\"",  "\\",         "\"k\"",
                                  "1", "true", "\n", " ", "\u00e4", "\xff", plain, quoted(plain)};
    std::mt19937 random{7};
    int sound = 0;
    for (int round = 0; round < 100'000; ++round) {
        std::string text;
        for (auto count = random() % 6; count > 0; --count) {
            text += pieces[random() % std::size(pieces)];
        }
        ASSERT_EQ(is_json(without_long_strings(text)), is_json(text)) << text;
        sound += is_json(text) ? 1 : 0;
    }
    EXPECT_GT(sound, 1'000);
}

TEST(RequestText, HasOperationAndArguments) {
    const auto request = [](const std::string& arguments) { return Json::parse(request_text("a.b", arguments).value()); };
    EXPECT_EQ(request(""), Json::parse(R"({"op":"a.b"})"));
    EXPECT_EQ(request(" {} "), Json::parse(R"({"op":"a.b"})"));
    EXPECT_EQ(request(" { \"a\" : {\"op\":1} } "), Json::parse(R"({"op":"a.b","a":{"op":1}})"));
    EXPECT_EQ(request(R"({"a":)" + quoted(plain) + "}"), (Json{{"op", "a.b"}, {"a", plain}}));
    EXPECT_EQ(request(R"({"op":"other","a":)" + quoted(plain) + "}"), (Json{{"op", "a.b"}, {"a", plain}}))
        << "the operation is the caller's";
}

TEST(RequestText, ArgumentsAreAnObject) {
    const std::string texts[] = {"no JSON",     "[]",          "7", " ", "{", R"({"a":)" + quoted(plain),
                                 R"({"a":1}})", quoted(plain), R"({"a":)" + quoted(plain + '\xff') + '}'};
    for (const auto& arguments : texts) {
        EXPECT_FALSE(request_text("a.b", arguments)) << arguments;
    }
}

}  // namespace
}  // namespace baton::client
