// Steps in a conversation: what is sent, what is asked again after a broken connection, and what is not sent at all.
#include "client/src/steps.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/client/dialogue.hpp"

namespace baton::client {
namespace {

using wire::FrameType;
using wire::Status;
using Lines = std::vector<std::string>;

class StepsTest : public testing::Test, public Dialogue {
protected:
    void SetUp() override {
        welcome_body.features = {"step"};
        connect();
        receiver_ = receiver("in");
        deliver(1, 1, 5, {"a", "b"});
        (void)said();
        (void)reported();
    }
    StepPlan plan(bool is_settling = true, std::uint64_t number = 1) {
        StepPlan made;
        made.producer[0] = std::byte{7};
        made.number = number;
        const Payload messages = batch({"x"});
        made.sendings.push_back({"out", false, {messages.bytes().begin(), messages.bytes().end()}});
        if (is_settling) {
            made.settlings.push_back({receiver_,
                                      delivered.back().epoch,
                                      {{.first = 5, .count = 2, .attempt = 1, .outcome = 1, .argument = 0}}});
        }
        return made;
    }
    void answer(std::uint64_t request, Status status) {
        feed([&](Outbox& out) {
            wire::put_stepped(out, request, {.status = status, .section = wire::no_section, .text = {}});
        });
    }
    /// The links that its settlements name.
    static std::vector<std::uint16_t> links_of(const Said& frame) {
        std::vector<std::uint16_t> links;
        const auto step = wire::decode_step(frame.bytes());
        EXPECT_TRUE(step);
        for (const auto& section : step->sections) {
            if (section.kind == wire::StepSection::Kind::settlements) {
                links.push_back(section.link);
            }
        }
        return links;
    }
    LinkId receiver_;
};

TEST_F(StepsTest, OneFrameAndOneAnswer) {
    protocol.commit(RequestId{9}, plan());
    const Said frame = said_one(FrameType::step);
    EXPECT_EQ(frame.header.sequence, 9U);
    EXPECT_EQ(links_of(frame), std::vector<std::uint16_t>{1});
    EXPECT_FALSE(protocol.wants_close());
    answer(9, Status::ok);
    EXPECT_EQ(reported(), Lines{"stepped R9 ok"});
    answer(9, Status::ok);
    EXPECT_EQ(reported(), Lines{}) << "nobody has asked";
}

TEST_F(StepsTest, AStreamGoesOnBehindWhatStepsHaveDone) {
    const LinkId stream = receiver("log", {}, R"({"kind":"stream"})");
    deliver(2, 1, 10, {"a", "b", "c"});
    (void)said();
    (void)reported();
    StepPlan first = plan(false);
    const wire::Settlement done{.first = 10, .count = 2, .attempt = 1, .outcome = 1, .argument = 0};
    first.settlings.push_back({stream, delivered.back().epoch, {done}});
    protocol.commit(RequestId{9}, std::move(first));
    (void)said_one(FrameType::step);
    answer(9, Status::ok);
    disconnect();
    connect();
    bool was_asked = false;
    for (const Said& frame : said()) {
        const auto attach = frame.header.type == FrameType::attach ? wire::decode_attach(frame.bytes()) : std::nullopt;
        was_asked = was_asked || (attach && attach->options.find("\"offset\":12") != std::string_view::npos);
    }
    EXPECT_TRUE(was_asked) << "message 12 was not done";
}

TEST_F(StepsTest, WithoutAnAnswerItIsAskedAgain) {
    protocol.commit(RequestId{9}, plan());
    (void)said();
    disconnect();
    EXPECT_EQ(reported(), Lines{"deliveries_lost L1"});
    connect();
    const Said frame = said_one(FrameType::step);
    EXPECT_EQ(links_of(frame), std::vector<std::uint16_t>{0}) << "what was held is lost; whether it was done is asked";
    (void)reported();
    answer(9, Status::lost_lease);
    EXPECT_EQ(reported(), Lines{"stepped R9 lost_lease"});
}

TEST_F(StepsTest, WhatIsLostAlreadyIsNotSent) {
    StepPlan old = plan();
    disconnect();
    protocol.commit(RequestId{9}, old);
    protocol.commit(RequestId{10}, plan(false));
    connect();
    const Said frame = said_one(FrameType::step);
    EXPECT_EQ(frame.header.sequence, 10U) << "it settles nothing";
    const auto lines = reported();
    EXPECT_EQ(std::ranges::count(lines, "stepped R9 lost_lease"), 1);
}

TEST_F(StepsTest, AnOlderBrokerKnowsNone) {
    disconnect();
    welcome_body.features = {};
    connect();
    (void)said();
    (void)reported();
    protocol.commit(RequestId{9}, plan(false));
    EXPECT_EQ(reported(), Lines{"stepped R9 unsupported"});
    EXPECT_EQ(said_in_short(), Lines{});
}

TEST_F(StepsTest, WhatDoesNotFitIsNotSent) {
    StepPlan large = plan(false);
    large.sendings.front().batch.resize(300'000);
    protocol.commit(RequestId{9}, large);
    EXPECT_EQ(reported(), Lines{"stepped R9 message_too_large"});
}

TEST_F(StepsTest, SomeWaitForTheAnswersOfOthers) {
    for (std::uint64_t i = 1; i <= wire::steps_pending_max + 1; ++i) {
        protocol.commit(RequestId{i}, plan(false, i));
    }
    EXPECT_EQ(said_in_short().size(), wire::steps_pending_max);
    answer(1, Status::full);
    EXPECT_EQ(said_in_short(), Lines{"STEP 0#65"});
}

TEST_F(StepsTest, WhatIsForgottenIsNotAskedAgain) {
    protocol.commit(RequestId{9}, plan());
    (void)said();
    protocol.forget(RequestId{9});
    disconnect();
    connect();
    for (const Said& frame : said()) {
        EXPECT_NE(frame.header.type, FrameType::step);
    }
}

}  // namespace
}  // namespace baton::client
