// The key `policies` of the configuration file: how it is read and shown, and what is said of a bad one.
#include "server/runtime/policy_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/app/options.hpp"
#include "tests/unit/app/scratch.hpp"

namespace baton::app {
namespace {

using OrderedJson = nlohmann::ordered_json;
using test::Scratch;
using ::testing::HasSubstr;

std::string policy_error(const std::string& text) {
    Scratch scratch;
    Configuration configuration;
    const auto applied = apply_file(configuration, scratch.write("c.json", text));
    return applied ? "none" : applied.error().context;
}

TEST(Policies, AreReadFromTheFile) {
    Scratch scratch;
    Configuration configuration;
    const auto applied = apply_file(configuration, scratch.write("c.json", R"({"policies": [
        {"match": "jobs.*", "storage": "durable", "messages_max": 1000, "bytes_max": "1g", "message_size_max": "1m"},
        {"match": "a%FF?", "messages_max": "12", "storage": "memory"},
        {"match": "*"}
    ]})"));
    ASSERT_TRUE(applied) << applied.error().context;
    const std::vector<runtime::ChannelPolicy> expected{{.match = "jobs.*",
                                                        .is_durable = true,
                                                        .messages_max = 1000,
                                                        .bytes_max = 1 << 30,
                                                        .message_size_max = 1 << 20},
                                                       {.match = "a\xff?", .is_durable = false, .messages_max = 12},
                                                       {.match = "*"}};
    EXPECT_EQ(configuration.options.policies, expected);
    EXPECT_EQ(configuration.origins.at("policies"), Origin::file);

    const auto text = show(configuration, false);
    Configuration again;
    ASSERT_TRUE(apply_file(again, scratch.write("again.json", text)));
    EXPECT_EQ(again.options.policies, expected);
    EXPECT_EQ(show(again, false), text);
    const auto told = OrderedJson::parse(show(configuration, true))["policies"];
    EXPECT_EQ(told["origin"], "file");
    EXPECT_EQ(told["value"][0]["bytes_max"], "1g");
}

TEST(Policies, ErrorsNameIndexKeyValueAndWhatIsAllowed) {
    struct Case {
        const char* policies;
        std::vector<const char*> words;
    };
    for (const auto& [policies, words] :
         {Case{R"(5)", {"policies is 5", "a list"}}, Case{R"({"match":"a"})", {"policies is", "a list"}},
          Case{R"([5])", {"policies[0] is 5", "an object"}},
          Case{R"([{"match":"a"},{}])", {"policies[1]", "match is missing"}},
          Case{R"([{"match":""}])", {"policies[0].match is \"\"", "a pattern"}},
          Case{R"([{"match":7}])", {"policies[0].match is 7", "a pattern"}},
          Case{R"([{"match":"a"},{"match":"b","storage":"disk"}])",
               {"policies[1].storage is \"disk\"", "memory or durable"}},
          Case{R"([{"match":"a","messages_max":"1k"}])", {"policies[0].messages_max is \"1k\"", "a whole number"}},
          Case{R"([{"match":"a","messages_max":0}])", {"policies[0].messages_max is 0", "at least 1"}},
          Case{R"([{"match":"a","messages_max":-1}])", {"policies[0].messages_max is -1"}},
          Case{R"([{"match":"a","bytes_max":"lots"}])", {"policies[0].bytes_max is \"lots\"", "a size"}},
          Case{R"([{"match":"a","bytes_max":1.5}])", {"policies[0].bytes_max is 1.5"}},
          Case{R"([{"match":"a","message_size_max":null}])", {"policies[0].message_size_max is null", "a size"}},
          Case{R"([{"match":"a","colour":"red"}])", {"policies[0]", "\"colour\" is unknown", "messages_max"}}}) {
        const auto text = policy_error(std::string{R"({"policies":)"} + policies + "}");
        EXPECT_THAT(text, HasSubstr("c.json"));
        for (const auto* word : words) {
            EXPECT_THAT(text, HasSubstr(word)) << policies;
        }
    }
}

TEST(Policies, AreLimitedInNumber) {
    std::string list = R"({"match":"a"})";
    for (int i = 1; i < 1'001; ++i) {
        list += R"(,{"match":"a"})";
    }
    EXPECT_THAT(policy_error(R"({"policies":[)" + list + "]}"), HasSubstr("policies is 1001 long"));
}

}  // namespace
}  // namespace baton::app
