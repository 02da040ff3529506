// The files of a backup on their way: bytes in the texts of questions and answers.
#include "client/cli/file_transfer.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace baton::cli {
namespace {

using Json = nlohmann::json;

TEST(FileTransfer, BodiesAreFoundInReplies) {
    EXPECT_EQ(body_in(R"({"ok":true,"more":false,"body_base64":"YWJj"})"), "YWJj");
    EXPECT_EQ(body_in(R"({"body_base64":"YQ==","more":true,"ok":true})"), "YQ==");
    EXPECT_EQ(body_in(R"({"note":"\"body_base64\":\"no","body_base64":"YWJj"})"), "YWJj") << "a text is no key";
    const Json parsed{{"ok", true}, {"note", R"("body_base64":"no")"}, {"body_base64", std::string(100'000, 'A')}};
    EXPECT_EQ(body_in(parsed.dump()), std::string(100'000, 'A'));
}

TEST(FileTransfer, WhatIsNoBodyIsEmpty) {
    EXPECT_EQ(body_in(""), "");
    EXPECT_EQ(body_in(R"({"ok":true})"), "");
    EXPECT_EQ(body_in(R"({"body_base64":""})"), "");
    EXPECT_EQ(body_in(R"({"body_base64":7})"), "");
    EXPECT_EQ(body_in(R"({"body_base64":"a\/b+"})"), "") << "nobody writes it like that";
}

TEST(FileTransfer, BodiesAreAddedToQuestions) {
    const auto body = [](std::string_view text) { return as_bytes(text); };
    EXPECT_EQ(with_body("{}", body("abc")), R"({"body_base64":"YWJj"})");
    EXPECT_EQ(with_body(R"({"offset":7,"path":"a}b"})", body("a")), R"({"offset":7,"path":"a}b","body_base64":"YQ=="})");
    EXPECT_EQ(Json::parse(with_body(R"({"id":"x"})", {})), (Json{{"id", "x"}, {"body_base64", ""}}));
}

}  // namespace
}  // namespace baton::cli
