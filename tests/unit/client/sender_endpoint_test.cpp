// What a user's thread sees of sending: the window, reports of what was refused, and the words of a timeout.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "tests/unit/client/endpoint_world.hpp"

namespace baton::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using wire::FrameType;
using wire::Status;

class SenderEndpointTest : public testing::Test {
protected:
    void attach(const SendWindow& window = {}) {
        endpoint = std::make_shared<SenderEndpoint>(world.shared, "orders", window);
        endpoint->set_pool(world.dialogue.pool);
        endpoint->link = world.dialogue.sender("orders");
    }
    [[nodiscard]] Expected<std::uint64_t> post(const Message& message) {
        return endpoint->post(endpoint, message, WaitLimit::no_wait());
    }
    // "PUBLISH later", "STATE": what a turn writes, and whether it says that nobody waits.
    [[nodiscard]] std::vector<std::string> turn() {
        world.run_io();
        std::vector<std::string> lines;
        for (const Said& frame : world.dialogue.said()) {
            lines.push_back(std::string{wire::to_string(frame.header.type)} +
                            (frame.header.flags == wire::flag_confirm_later ? " later" : ""));
        }
        return lines;
    }
    void post_and_confirm(std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto number = post("m");
            ASSERT_TRUE(number.has_value());
            (void)turn();
            confirm(*number);
        }
    }
    void confirm(std::uint64_t up_to) { endpoint->on_confirmed(up_to, 1, world.completions); }

    EndpointWorld world;
    std::shared_ptr<SenderEndpoint> endpoint;
};

TEST_F(SenderEndpointTest, MessagesOfOneTurnAreOneBatchAndOneWake) {
    attach();
    for (int i = 1; i <= 100; ++i) {
        EXPECT_EQ(post("m" + std::to_string(i)), static_cast<std::uint64_t>(i));
    }
    EXPECT_EQ(world.wakes, 1);
    world.run_io();
    const Said publish = world.dialogue.said_one(FrameType::publish);
    EXPECT_EQ(Dialogue::messages_of(publish.bytes()).size(), 100U);
    EXPECT_EQ(endpoint->unconfirmed(), 100U);
    confirm(100);
    EXPECT_TRUE(endpoint->flush(endpoint, WaitLimit::no_wait())->all_stored());
}

TEST_F(SenderEndpointTest, SeveralThreadsPostWhileTurnsAreTaken) {
    constexpr std::uint64_t each = 5'000;
    attach({.messages = 300, .bytes = 1U << 20U});
    world.dialogue.credit(1, 2 * each);
    std::vector<std::string> posted(2 * each + 1);  // By number; a thread writes its own ones.
    std::atomic<int> running{2};
    const auto run = [&](char name) {
        for (std::uint64_t i = 0; i < each; ++i) {
            const std::string text = name + std::to_string(i);
            auto number = post(text);
            for (; !number; number = post(text)) {
                std::this_thread::yield();  // The window is full.
            }
            ASSERT_LE(*number, 2 * each);
            posted[*number] += text;
        }
        --running;
    };
    std::thread one{run, 'a'};
    std::thread other{run, 'b'};
    std::vector<std::string> sent{""};
    do {
        EXPECT_LE(endpoint->unconfirmed(), 300U);
        world.run_io();
        for (const Said& frame : world.dialogue.said()) {
            if (frame.header.type == FrameType::publish) {
                for (const auto& text : Dialogue::messages_of(frame.bytes())) {
                    sent.emplace_back(text);
                }
            }
        }
        confirm(sent.size() - 1);
    } while (running != 0 || endpoint->unconfirmed() != 0);
    one.join();
    other.join();
    EXPECT_EQ(sent, posted) << "each under the number that its thread was told";
}

TEST_F(SenderEndpointTest, WhoNeverAsksIsConfirmedWhenItSuitsTheBroker) {
    attach();
    post_and_confirm(SenderEndpoint::unwatched_min - 1);
    EXPECT_TRUE(post("m"));
    EXPECT_THAT(turn(), ElementsAre("PUBLISH later"));
    EXPECT_EQ(endpoint->confirmed_up_to(), SenderEndpoint::unwatched_min - 1);  // Somebody looks,
    EXPECT_TRUE(post("m"));
    EXPECT_THAT(turn(), ElementsAre("PUBLISH"));  // and is taken to look again.
}

TEST_F(SenderEndpointTest, FlushAsksForConfirms) {
    attach();
    post_and_confirm(SenderEndpoint::unwatched_min);
    EXPECT_TRUE(post("m"));
    EXPECT_THAT(turn(), ElementsAre("PUBLISH later"));
    EXPECT_FALSE(endpoint->flush(endpoint, WaitLimit::no_wait()));
    EXPECT_THAT(turn(), ElementsAre("STATE"));
    EXPECT_TRUE(post("m"));
    EXPECT_FALSE(endpoint->flush(endpoint, WaitLimit::no_wait()));
    EXPECT_THAT(turn(), ElementsAre("PUBLISH"));
}

TEST_F(SenderEndpointTest, WhoWaitsForRoomAsksForConfirms) {
    attach({.messages = 1'000, .bytes = 1'000});
    post_and_confirm(SenderEndpoint::unwatched_min);
    EXPECT_TRUE(post(std::string(100, 'x')));
    EXPECT_THAT(turn(), ElementsAre("PUBLISH later"));
    EXPECT_FALSE(post(std::string(950, 'x')));
    EXPECT_THAT(turn(), ElementsAre("STATE"));
}

TEST_F(SenderEndpointTest, BehindHalfOfTheWindowConfirmsAreWanted) {
    attach({.messages = 4, .bytes = 1'000'000});
    post_and_confirm(SenderEndpoint::unwatched_min);
    for (const char* expected : {"PUBLISH later", "PUBLISH later", "PUBLISH", "PUBLISH"}) {
        EXPECT_TRUE(post("m"));
        EXPECT_THAT(turn(), ElementsAre(expected));
    }
    confirm(SenderEndpoint::unwatched_min + 4);
    EXPECT_TRUE(post("m"));
    EXPECT_THAT(turn(), ElementsAre("PUBLISH later"));
}

TEST_F(SenderEndpointTest, WithSomebodyWhoIsCalledConfirmsAreWanted) {
    attach();
    post_and_confirm(SenderEndpoint::unwatched_min);
    endpoint->send_async(endpoint, "m", [](const auto&) {});
    EXPECT_THAT(turn(), ElementsAre("PUBLISH"));
    EXPECT_TRUE(post("m"));
    EXPECT_THAT(turn(), ElementsAre("PUBLISH"));
}

TEST_F(SenderEndpointTest, BatchesStayNearTheirLimit) {
    attach();
    for (int i = 0; i < 30; ++i) {
        ASSERT_TRUE(post(std::string(10'000, 'x')).has_value());
    }
    std::size_t messages = 0;
    for (int turn = 0; turn < 20 && messages < 30; ++turn) {
        endpoint->hand_over(world.dialogue.protocol, world.completions);
        for (const Said& frame : world.dialogue.said()) {
            EXPECT_LE(frame.body.size(), SenderEndpoint::batch_size_max);
            messages += Dialogue::messages_of(frame.bytes()).size();
        }
    }
    EXPECT_EQ(messages, 30U);
}

TEST_F(SenderEndpointTest, BatchesCanBeKeptSmall) {
    attach({.messages = 100, .bytes = 1'000'000, .batch_messages = 2});
    for (int i = 0; i < 5; ++i) {
        ASSERT_TRUE(post("m").has_value());
    }
    std::vector<std::size_t> sizes;
    for (int turn = 0; turn < 5; ++turn) {
        endpoint->hand_over(world.dialogue.protocol, world.completions);
        for (const Said& frame : world.dialogue.said()) {
            sizes.push_back(Dialogue::messages_of(frame.bytes()).size());
        }
    }
    EXPECT_THAT(sizes, ElementsAre(2U, 2U, 1U));
}

TEST_F(SenderEndpointTest, TheWindowIsAnUpperBound) {
    attach({.messages = 3, .bytes = 1'000'000});
    EXPECT_TRUE(post("a") && post("b") && post("c"));
    const auto refused = post("d");
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), ClientErrc::timed_out);
    EXPECT_TRUE(refused.error().retryable());
    confirm(1);
    EXPECT_EQ(post("d"), 4U);
}

TEST_F(SenderEndpointTest, OneMessageMayExceedTheByteWindow) {
    attach({.messages = 10, .bytes = 100});
    EXPECT_TRUE(post(std::string(500, 'x')).has_value());
    EXPECT_FALSE(post("y").has_value());
    confirm(1);
    EXPECT_TRUE(post("y").has_value());
}

TEST_F(SenderEndpointTest, ATimeoutSaysWhyTheBrokerTakesNoMore) {
    attach({.messages = 1, .bytes = 100});
    EXPECT_TRUE(post("a").has_value());
    EXPECT_TRUE(endpoint->on_blocked(5, std::chrono::milliseconds{5'200}));
    EXPECT_FALSE(endpoint->on_blocked(5, std::chrono::milliseconds{5'200}));
    const auto refused = post("b");
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), ClientErrc::blocked);
    EXPECT_THAT(refused.error().what(), HasSubstr("blocked: full for 5."));
    EXPECT_THAT(endpoint->blocked(), HasSubstr("full for"));
    endpoint->on_blocked(0, Duration::zero());
    EXPECT_EQ(endpoint->blocked(), "");
}

TEST_F(SenderEndpointTest, ATimeoutSaysWhyTheLinkIsNotAttached) {
    attach({.messages = 1, .bytes = 100});
    EXPECT_TRUE(post("a").has_value());
    EXPECT_TRUE(endpoint->on_attach_refused("too_many_producers: all are attached"));
    EXPECT_FALSE(endpoint->on_attach_refused("too_many_producers: all are attached")) << "said once";
    const auto refused = post("b");
    EXPECT_EQ(refused.error().code(), ClientErrc::blocked);
    EXPECT_THAT(refused.error().what(), HasSubstr("blocked: too_many_producers: all are attached"));
    endpoint->on_attached(0);
    EXPECT_EQ(endpoint->blocked(), "");
}

TEST_F(SenderEndpointTest, ATimeoutSaysWhetherTheMessageWasAccepted) {
    attach({.messages = 1, .bytes = 100});
    const auto first = endpoint->send(endpoint, "a", WaitLimit::no_wait());
    EXPECT_TRUE(first.error().is_accepted());
    const auto second = endpoint->send(endpoint, "b", WaitLimit::no_wait());
    EXPECT_FALSE(second.error().is_accepted());
    confirm(1);
    EXPECT_EQ(endpoint->flush(endpoint, WaitLimit::no_wait()).value().confirmed_up_to, 1U);
}

TEST_F(SenderEndpointTest, ATimeoutSaysThatThereIsNoConnection) {
    attach({.messages = 1, .bytes = 100});
    EXPECT_TRUE(post("a").has_value());
    world.shared->board.set_disconnected("the broker closed the connection");
    EXPECT_THAT(post("b").error().what(), HasSubstr("not connected for 0.0s: the broker closed the connection"));
}

TEST_F(SenderEndpointTest, SizesAreCheckedBeforeSending) {
    attach();
    const auto refused = post(std::string(1'000'001, 'x'));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), ClientErrc::message_too_large);
    EXPECT_THAT(refused.error().what(), HasSubstr("the message has 1000001 bytes, the limit is 1000000"));
    endpoint->on_attached(10);
    EXPECT_EQ(post("12345678901").error().code(), ClientErrc::message_too_large);
    EXPECT_TRUE(post("1234567890").has_value());
}

TEST_F(SenderEndpointTest, PropertiesTravelAndUnsupportedOnesAreRefused) {
    attach();
    MessageProperties properties;
    properties.key = "customer-7";
    EXPECT_TRUE(post({"x", properties}).has_value());
    world.run_io();
    const Said publish = world.dialogue.said_one(FrameType::publish);
    MessageCursor cursor{Dialogue::messages_of_region(publish.bytes()), true};
    MessageView message;
    ASSERT_TRUE(cursor.next(message));
    EXPECT_EQ(decode_properties(message.properties)->key, "customer-7");
}

TEST_F(SenderEndpointTest, PropertiesOutOfTheirRangeAreNotSent) {
    attach();
    const auto code_of = [this](const MessageProperties& properties) {
        const auto posted = post({"x", properties});
        return posted ? std::string{"sent"} : std::string{name_of(posted.error().code())};
    };
    EXPECT_EQ(code_of({.priority = 9, .ttl = std::chrono::seconds{1}, .delay = std::chrono::seconds{0}}), "sent");
    EXPECT_EQ(code_of({.not_before = std::chrono::sys_time<std::chrono::microseconds>::min()}), "sent");
    EXPECT_EQ(code_of({.priority = 10}), "bad_argument");
    EXPECT_EQ(code_of({.ttl = std::chrono::microseconds{-1}}), "bad_argument");
    EXPECT_EQ(code_of({.delay = std::chrono::microseconds{-1}}), "bad_argument");
}

TEST_F(SenderEndpointTest, RefusalsAreReportedOnce) {
    attach();
    EXPECT_TRUE(post("a") && post("b") && post("c") && post("d"));
    endpoint->on_refused(2, 2, Status::message_too_large);
    confirm(4);
    auto report = endpoint->flush(endpoint, WaitLimit::no_wait());
    ASSERT_TRUE(report.has_value());
    ASSERT_EQ(report->refused.size(), 1U);
    EXPECT_EQ(report->refused[0].first, 2U);
    EXPECT_EQ(report->refused[0].count, 2U);
    EXPECT_EQ(report->refused[0].error.code(), ClientErrc::message_too_large);
    EXPECT_THAT(endpoint->flush(endpoint, WaitLimit::no_wait())->refused, IsEmpty());
}

TEST_F(SenderEndpointTest, AFullDiskMayBeTriedAgainAndAFailedOneMayNot) {
    attach();
    EXPECT_TRUE(post("a") && post("b") && post("c"));
    endpoint->on_refused(1, 1, Status::disk_full);
    endpoint->on_refused(2, 1, Status::storage_failed);
    endpoint->on_refused(3, 1, Status::channel_damaged);
    confirm(3);
    const auto refused = endpoint->flush(endpoint, WaitLimit::no_wait())->refused;
    ASSERT_EQ(refused.size(), 3U);
    EXPECT_TRUE(refused[0].error.retryable());
    EXPECT_FALSE(refused[1].error.retryable());
    EXPECT_FALSE(refused[2].error.retryable());
    for (const Refusal& refusal : refused) {
        EXPECT_EQ(refusal.error.code(), ClientErrc::refused);
        EXPECT_THAT(refusal.error.what(), HasSubstr("orders"));
    }
    EXPECT_THAT(refused[0].error.what(), HasSubstr("disk_full: its disk has too little space left"));
    EXPECT_THAT(refused[1].error.what(), HasSubstr("storage_failed: its disk failed"));
    EXPECT_EQ(refused[2].error.status_name(), "channel_damaged");
}

TEST_F(SenderEndpointTest, AReceiptSaysTheLevelThatTheBrokerSaid) {
    attach();
    std::vector<ConfirmLevel> levels;
    const auto note = [&levels](const Expected<SendReceipt>& receipt) { levels.push_back(receipt->level); };
    endpoint->send_async(endpoint, "a", note);
    endpoint->on_confirmed(1, 2, world.completions);
    endpoint->send_async(endpoint, "b", note);
    endpoint->on_confirmed(2, 1, world.completions);
    world.run_completions();
    EXPECT_THAT(levels, ElementsAre(ConfirmLevel::durable, ConfirmLevel::received));
    EXPECT_EQ(name_of(ConfirmLevel::durable), "durable");
    EXPECT_EQ(name_of(static_cast<ConfirmLevel>(9)), "unknown");
}

// The broker says that its disk is full: nothing waits for that.
class FullDiskSenderTest : public SenderEndpointTest {
protected:
    void disk_full() {
        endpoint->on_blocked(wire::wait_reason_disk_full, Duration::zero());
        endpoint->hand_over(world.dialogue.protocol, world.completions);
        world.run_completions();
    }
    void send_async(const char* body) {
        endpoint->send_async(endpoint, body, [this](const Expected<SendReceipt>& receipt) {
            outcomes.emplace_back(receipt ? std::to_string(receipt->sequence) : receipt.error().status_name());
        });
    }
    [[nodiscard]] std::vector<std::string> refusals() {
        std::vector<std::string> ranges;
        const auto report = endpoint->flush(endpoint, WaitLimit::no_wait());
        EXPECT_TRUE(report.has_value());
        for (const Refusal& refusal : report->refused) {
            ranges.push_back(std::string{refusal.error.status_name()} + " " + std::to_string(refusal.first) + "+" +
                             std::to_string(refusal.count));
        }
        return ranges;
    }

    std::vector<std::string> outcomes;
};

TEST_F(FullDiskSenderTest, ASendFailsAtOnceAndWorksAgainOnTheSameLink) {
    attach();
    disk_full();
    const auto refused = post("a");
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), ClientErrc::refused);
    EXPECT_EQ(refused.error().status_name(), "disk_full");
    EXPECT_TRUE(refused.error().retryable());
    EXPECT_THAT(refused.error().what(), HasSubstr("orders"));
    EXPECT_EQ(endpoint->send(endpoint, "b", WaitLimit::forever()).error().status_name(), "disk_full");
    send_async("c");
    EXPECT_THAT(outcomes, ElementsAre("disk_full"));
    EXPECT_EQ(endpoint->unconfirmed(), 0U);
    endpoint->on_blocked(0, Duration::zero());
    EXPECT_EQ(post("d"), 1U);
    world.run_io();
    EXPECT_THAT(world.dialogue.said_in_short(), ElementsAre("PUBLISH 1#1"));
}

TEST_F(FullDiskSenderTest, WhatWaitsHereIsRefusedAndWhatWasWrittenKeepsItsOwnAnswer) {
    attach();
    send_async("a");
    EXPECT_EQ(post("b"), 2U);
    world.run_io();
    EXPECT_THAT(world.dialogue.said_in_short(), ElementsAre("PUBLISH 1#1"));
    EXPECT_EQ(post("c"), 3U);
    send_async("d");
    disk_full();
    EXPECT_THAT(outcomes, ElementsAre("disk_full"));
    EXPECT_EQ(endpoint->confirmed_up_to(), 0U) << "the first two are open";
    endpoint->on_refused(2, 1, Status::disk_full);
    confirm(2);
    world.run_completions();
    EXPECT_THAT(outcomes, ElementsAre("disk_full", "1"));
    EXPECT_EQ(endpoint->confirmed_up_to(), 4U);
    EXPECT_THAT(refusals(), ElementsAre("disk_full 2+2"));
}

TEST_F(FullDiskSenderTest, NumbersOnTheWireHaveNoGap) {
    attach();
    EXPECT_TRUE(post("1"));
    world.run_io();
    EXPECT_THAT(world.dialogue.said_in_short(), ElementsAre("PUBLISH 1#1"));
    EXPECT_TRUE(post("2") && post("3"));
    disk_full();
    endpoint->on_blocked(0, Duration::zero());
    EXPECT_EQ(post("4"), 4U);
    world.run_io();
    EXPECT_THAT(world.dialogue.said_in_short(), ElementsAre("PUBLISH 1#2"));
    EXPECT_TRUE(post("5"));
    disk_full();
    endpoint->on_blocked(0, Duration::zero());
    EXPECT_TRUE(post("6") && post("7"));
    world.run_io();
    EXPECT_THAT(world.dialogue.said_in_short(), ElementsAre("PUBLISH 1#3"));
    endpoint->on_refused(1, 4, Status::message_too_large);  // On the wire: 1, 4, 6 and 7.
    confirm(1);
    EXPECT_EQ(endpoint->confirmed_up_to(), 3U);
    confirm(3);
    EXPECT_EQ(endpoint->confirmed_up_to(), 6U);
    confirm(4);
    EXPECT_EQ(endpoint->confirmed_up_to(), 7U);
    EXPECT_THAT(refusals(), ElementsAre("message_too_large 1+1", "disk_full 2+2", "message_too_large 4+1",
                                        "disk_full 5+1", "message_too_large 6+2"));
    EXPECT_EQ(post("8"), 8U);
}

TEST_F(FullDiskSenderTest, WhatTheLinkHasForWantOfCreditIsRefused) {
    attach({.messages = 10'000, .bytes = 1U << 30U});
    for (int i = 0; i < 1'500; ++i) {
        ASSERT_TRUE(post("x"));
    }
    world.run_io();
    const Said publish = world.dialogue.said_one(FrameType::publish);
    const std::uint64_t written = Dialogue::messages_of(publish.bytes()).size();
    ASSERT_LT(written, 1'500U) << "the credit ends before";
    disk_full();
    confirm(written);
    EXPECT_EQ(endpoint->confirmed_up_to(), 1'500U);
    EXPECT_THAT(refusals(),
                ElementsAre("disk_full " + std::to_string(written + 1) + "+" + std::to_string(1'500 - written)));
    endpoint->on_blocked(0, Duration::zero());
    EXPECT_EQ(post("y"), 1'501U);
}

TEST_F(FullDiskSenderTest, WhatWasUnderWayWhenTheConnectionBrokeIsNotGivenUp) {
    attach();
    EXPECT_TRUE(post("a"));
    world.run_io();
    (void)world.dialogue.said();
    endpoint->on_connection_lost();
    EXPECT_EQ(post("b"), 2U) << "a new connection may find space";
    disk_full();
    EXPECT_EQ(endpoint->unconfirmed(), 2U);
    confirm(1);
    EXPECT_THAT(refusals(), ElementsAre("disk_full 2+1"));
}

TEST_F(FullDiskSenderTest, ClosingDoesNotWaitForSpace) {
    attach();
    EXPECT_TRUE(post("a"));
    endpoint->close_in_background(endpoint);
    disk_full();
    EXPECT_THAT(world.dialogue.said_in_short(), ElementsAre("DETACH 1#0"));
}

TEST_F(SenderEndpointTest, AsyncSendsCompleteInOrderWithTheirOwnOutcome) {
    attach();
    std::vector<std::string> outcomes;
    const auto send = [&](const char* body) {
        return endpoint->send_async(endpoint, body, [&outcomes](const Expected<SendReceipt>& receipt) {
            outcomes.emplace_back(receipt ? std::to_string(receipt->sequence) : receipt.error().status_name());
        });
    };
    send("a");
    send("b");
    const std::uint64_t third = send("c");
    send("d");
    endpoint->cancel_send(third);
    EXPECT_THAT(outcomes, ElementsAre("interrupted"));
    endpoint->on_refused(2, 1, Status::message_too_large);
    confirm(4);
    world.run_completions();
    EXPECT_THAT(outcomes, ElementsAre("interrupted", "1", "message_too_large", "4"));
    EXPECT_TRUE(endpoint->flush(endpoint, WaitLimit::no_wait())->all_stored());  // Told already.
}

TEST_F(SenderEndpointTest, TheEndOfTheLinkEndsEverything) {
    attach();
    EXPECT_TRUE(post("a").has_value());
    std::vector<std::string> outcomes;
    endpoint->send_async(endpoint, "b", [&outcomes](const Expected<SendReceipt>& receipt) {
        outcomes.emplace_back(name_of(receipt.error().code()));
    });
    endpoint->end(ClientError{ClientErrc::not_found, "no such channel"}, world.completions);
    world.run_completions();
    EXPECT_THAT(outcomes, ElementsAre("not_found"));
    EXPECT_EQ(post("c").error().code(), ClientErrc::not_found);
    EXPECT_EQ(endpoint->flush(endpoint, WaitLimit::forever()).error().code(), ClientErrc::not_found);
    EXPECT_TRUE(endpoint->is_over());
}

TEST_F(SenderEndpointTest, ClosingWaitsForConfirms) {
    attach();
    EXPECT_TRUE(post("a").has_value());
    endpoint->close_in_background(endpoint);
    EXPECT_EQ(post("b").error().code(), ClientErrc::closed);
    world.run_io();
    EXPECT_THAT(world.dialogue.said_in_short(), ElementsAre("PUBLISH 1#1"));
    world.dialogue.confirm(1, 1);
    EXPECT_THAT(world.dialogue.said_in_short(), ElementsAre("DETACH 1#0"));
}

TEST_F(SenderEndpointTest, AStopTokenEndsAWait) {
    attach({.messages = 1, .bytes = 100});
    EXPECT_TRUE(post("a").has_value());
    std::stop_source source;
    source.request_stop();
    EXPECT_EQ(endpoint->post(endpoint, "b", source.get_token()).error().code(), ClientErrc::interrupted);
    EXPECT_EQ(endpoint->flush(endpoint, source.get_token()).error().code(), ClientErrc::interrupted);
}

}  // namespace
}  // namespace baton::client
