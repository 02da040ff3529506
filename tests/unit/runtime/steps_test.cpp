// Steps over channels of one shard and of two: everything or nothing, whatever is refused and whenever the power goes;
// what was done is known when it comes again.
#include "server/runtime/steps.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/channel/errc.hpp"
#include "server/runtime/errc.hpp"
#include "server/storage/checkpoint.hpp"
#include "tests/unit/runtime/two_shards.hpp"

namespace baton::runtime {
namespace {

using channel::SettleRange;
using Errc = channel::Errc;

/// A broker of two shards with channels that a worker receives from and sends to.
class Factory : public TwoShards {
public:
    Factory() : TwoShards{} { find_names(); }
    explicit Factory(sim::SimDisk& used) : TwoShards{used} { find_names(); }

    std::string in;      ///< On shard 0, where the session is. Its receiver has link 2.
    std::string near;    ///< On shard 0,
    std::string far;     ///< on shard 1,
    std::string memory;  ///< on shard 1 and in memory.

    /// Four messages are with the receiver.
    void open() {
        make(0);
        for (const auto& name : {near, far}) {
            EXPECT_TRUE(ask(name, {{"op", "channel.create"}, {"storage", "durable"}})["ok"].get<bool>());
        }
        EXPECT_TRUE(ask(memory, {{"op", "channel.create"}, {"storage", "memory"}})["ok"].get<bool>());
        publish(0, 1, 4);
        give_and_settle(0, 4, {{1, 4, 1, channel::Outcome::started}});
        EXPECT_EQ(session->delivered, 4U);
    }

    [[nodiscard]] StepSection settling(std::vector<SettleRange> ranges) const {
        StepSection section;
        section.link = session->link(receiver_link(0));
        section.channel = session->channels[receiver_link(0)];
        section.ranges = std::move(ranges);
        return section;
    }
    StepSection sending(const std::string& name, const Lines& bodies, const std::string& id = {}) {
        BatchBuilder builder;
        std::vector<std::byte> properties;
        if (!id.empty()) {
            properties = {std::byte{10}, static_cast<std::byte>(id.size()), std::byte{0}};
            properties.insert(properties.end(), as_bytes(id).begin(), as_bytes(id).end());
        }
        for (const auto& body : bodies) {
            builder.append(as_bytes(body), properties);
        }
        StepSection section;
        section.name = name;
        section.batch = builder.take(pool);
        return section;
    }
    std::byte producer{9};
    void begin(std::uint64_t number, std::vector<StepSection> sections) {
        auto request = std::make_shared<StepRequest>();
        request->session = session->id;
        request->request = number;
        request->producer.bytes[0] = producer;
        request->number = number;
        request->sections = std::move(sections);
        session->steps.clear();
        brokers[0]->step(std::move(request));
    }
    /// The answer; nothing if there is none.
    std::optional<std::error_code> step(std::uint64_t number, std::vector<StepSection> sections) {
        begin(number, std::move(sections));
        run();
        return answer();
    }
    [[nodiscard]] std::optional<std::error_code> answer() const {
        return session->steps.size() == 1 ? std::optional{session->steps.front().reason} : std::nullopt;
    }
    /// "body state" of each message; not there at all: "none".
    Lines messages(const std::string& name) {
        const auto reply = ask(name, {{"op", "channel.peek"}, {"count", 1000}});
        if (!reply.at("ok").get<bool>()) {
            return {"none"};
        }
        Lines lines;
        for (const auto& message : reply.at("messages")) {
            const auto body = base64_decode(message.at("body_base64").get<std::string>()).value();
            auto text = std::string{as_text(body)};  // Published ones are filled up with dots.
            text.resize(std::min(text.size(), text.find('.')));
            lines.push_back(text + " " + message.at("state").get<std::string>());
        }
        return lines;
    }

private:
    void find_names() {
        in = names[0];
        for (int i = 0; near.empty() || far.empty() || memory.empty(); ++i) {
            const auto name = "s" + std::to_string(i);
            const bool is_near = shard_of_channel(name, shards_total) == 0;
            std::string& wanted = is_near ? near : far.empty() ? far : memory;
            wanted = wanted.empty() ? name : wanted;
        }
    }
};

const std::error_code ok{};
const Lines held_1234{"1 in-flight", "2 in-flight", "3 in-flight", "4 in-flight"};
const Lines held_134{"1 in-flight", "3 in-flight", "4 in-flight"};

class StepsTest : public testing::Test {
protected:
    Factory factory;
    void SetUp() override { factory.open(); }
};

TEST_F(StepsTest, OnOneShard) {
    EXPECT_EQ(factory.step(1, {factory.settling({{2, 1, 1}}), factory.sending(factory.near, {"a", "b"})}), ok);
    EXPECT_EQ(factory.messages(factory.in), held_134);
    EXPECT_EQ(factory.messages(factory.near), (Lines{"a ready", "b ready"}));
}

TEST_F(StepsTest, OverShardsAndKindsOfStorage) {
    EXPECT_EQ(factory.step(1, {factory.sending(factory.far, {"f"}), factory.settling({{2, 1, 1}}),
                               factory.sending(factory.memory, {"m"}), factory.sending(factory.near, {"n"})}),
              ok);
    EXPECT_EQ(factory.messages(factory.in), held_134);
    EXPECT_EQ(factory.messages(factory.near), Lines{"n ready"});
    EXPECT_EQ(factory.messages(factory.far), Lines{"f ready"});
    EXPECT_EQ(factory.messages(factory.memory), Lines{"m ready"});
}

TEST_F(StepsTest, OfMemoryChannelsAlone) {
    EXPECT_EQ(factory.step(1, {factory.sending(factory.memory, {"m"})}), ok);
    EXPECT_EQ(factory.messages(factory.memory), Lines{"m ready"});
}

TEST_F(StepsTest, AChannelThatIsNotThereIsMade) {
    const std::string name = "new-" + factory.far;
    auto must_exist = factory.sending(name, {"x"});
    must_exist.must_exist = true;
    EXPECT_EQ(factory.step(1, {factory.settling({{2, 1, 1}}), must_exist}), make_error_code(runtime::Errc::not_found));
    EXPECT_EQ(factory.messages(factory.in), held_1234);
    EXPECT_EQ(factory.step(1, {factory.settling({{2, 1, 1}}), factory.sending(name, {"x"})}), ok);
    EXPECT_EQ(factory.messages(name), Lines{"x ready"});
}

TEST_F(StepsTest, ALostLeaseFailsAllOfIt) {
    for (const auto& out : {factory.near, factory.far}) {
        EXPECT_EQ(factory.step(1, {factory.sending(out, {"a"}), factory.settling({{1, 2, 1}, {3, 1, 2}})}),
                  Errc::lost_lease);
        EXPECT_EQ(factory.session->steps.front().section, 1U);
        EXPECT_EQ(factory.messages(out), Lines{});
    }
    EXPECT_EQ(factory.messages(factory.in), held_1234);
    // Whoever lost nothing goes on.
    factory.give_and_settle(0, 4, {{1, 2, 1}});
    EXPECT_EQ(factory.messages(factory.in), (Lines{"3 in-flight", "4 in-flight"}));
}

TEST_F(StepsTest, TwiceTheSameMessageIsALostLease) {
    EXPECT_EQ(factory.step(1, {factory.settling({{1, 1, 1}}), factory.settling({{1, 1, 1}})}), Errc::lost_lease);
    EXPECT_EQ(factory.messages(factory.in), held_1234);
}

TEST_F(StepsTest, AFullChannelFailsAllOfIt) {
    EXPECT_EQ(factory.step(1, {factory.sending(factory.far, {"0"})}), ok);
    for (const auto* overflow : {"reject", "block"}) {
        factory.ask(factory.far, {{"op", "channel.create"}, {"messages_max", 2}, {"overflow", overflow}});
        EXPECT_EQ(factory.step(2, {factory.settling({{1, 1, 1}}), factory.sending(factory.near, {"n"}),
                                   factory.sending(factory.far, {"a", "b"})}),
                  Errc::full);
        EXPECT_EQ(factory.messages(factory.in), held_1234);
        EXPECT_EQ(factory.messages(factory.near), Lines{});
        EXPECT_EQ(factory.messages(factory.far), Lines{"0 ready"});
    }
    // The number is free again, and so is the room.
    EXPECT_EQ(factory.step(2, {factory.settling({{1, 1, 1}}), factory.sending(factory.far, {"a"})}), ok);
    EXPECT_EQ(factory.messages(factory.far), (Lines{"0 ready", "a ready"}));
}

TEST_F(StepsTest, WhatDropsStillDrops) {
    factory.ask(factory.far, {{"op", "channel.create"}, {"messages_max", 2}, {"overflow", "drop-oldest"}});
    EXPECT_EQ(factory.step(1, {factory.sending(factory.far, {"a", "b"})}), ok);
    EXPECT_EQ(factory.step(2, {factory.sending(factory.far, {"c"})}), ok);
    EXPECT_EQ(factory.messages(factory.far), (Lines{"b ready", "c ready"}));
    EXPECT_EQ(factory.step(3, {factory.sending(factory.far, {"d", "e", "f"})}), Errc::too_large);
    factory.ask(factory.far, {{"op", "channel.create"}, {"overflow", "drop-newest"}});
    EXPECT_EQ(factory.step(4, {factory.sending(factory.far, {"g"})}), ok);
    EXPECT_EQ(factory.messages(factory.far), (Lines{"b ready", "c ready"}));
}

TEST_F(StepsTest, ATooLargeMessageFailsAllOfIt) {
    factory.ask(factory.far, {{"op", "channel.create"}, {"message_size_max", 10}});
    EXPECT_EQ(
        factory.step(1, {factory.settling({{1, 1, 1}}), factory.sending(factory.far, {"small", std::string(11, 'x')})}),
        Errc::too_large);
    EXPECT_EQ(factory.messages(factory.in), held_1234);
    EXPECT_EQ(factory.messages(factory.far), Lines{});
}

TEST_F(StepsTest, WhatComesAgainIsKnown) {
    EXPECT_EQ(factory.step(1, {factory.settling({{1, 1, 1}}), factory.sending(factory.far, {"a"})}), ok);
    EXPECT_EQ(factory.step(1, {factory.settling({{1, 1, 1}}), factory.sending(factory.far, {"a"})}), ok);
    EXPECT_EQ(factory.step(2, {factory.settling({{2, 1, 1}}), factory.sending(factory.near, {"b"})}), ok);
    EXPECT_EQ(factory.step(2, {factory.settling({{2, 1, 1}}), factory.sending(factory.near, {"b"})}), ok);
    EXPECT_EQ(factory.messages(factory.far), Lines{"a ready"});
    Factory again{factory.disk};
    EXPECT_EQ(again.step(2, {again.sending(factory.near, {"b"})}), ok);
    EXPECT_EQ(again.step(3, {again.sending(factory.near, {"c"})}), ok);
    EXPECT_EQ(again.messages(factory.far), Lines{"a ready"});
    EXPECT_EQ(again.messages(factory.near), (Lines{"b ready", "c ready"}));
}

TEST_F(StepsTest, TheSameStepUnderWayIsWaitedFor) {
    factory.begin(1, {factory.settling({{1, 1, 1}}), factory.sending(factory.far, {"a"})});
    factory.brokers[0]->end_turn();  // The other shard has not heard of it.
    auto request = std::make_shared<StepRequest>();
    request->session = factory.session->id;
    request->request = 77;
    request->producer.bytes[0] = std::byte{9};
    request->number = 1;
    request->sections = {factory.settling({{1, 1, 1}}), factory.sending(factory.far, {"a"})};
    factory.brokers[0]->step(request);
    factory.run();
    factory.ticks(2);
    ASSERT_EQ(factory.session->steps.size(), 2U);
    EXPECT_EQ(factory.session->steps[0].reason, ok);
    EXPECT_EQ(factory.session->steps[1].reason, ok);
    EXPECT_EQ(factory.messages(factory.far), Lines{"a ready"});
}

TEST_F(StepsTest, NothingHappensToWhatIsSetAside) {
    factory.ask(factory.in, {{"op", "channel.create"}, {"lease_ms", 100}});
    factory.begin(1, {factory.settling({{1, 2, 1}}), factory.sending(factory.far, {"a"})});
    factory.brokers[0]->end_turn();
    const SettleRange ranges[] = {{1, 4, 1, channel::Outcome::retry}};
    factory.brokers[0]->settle(factory.session->link(2), factory.session->channels[2], ranges, 0);
    factory.clock.advance(std::chrono::seconds{60});
    factory.brokers[0]->tick();
    factory.brokers[0]->detach(factory.session->link(2), factory.session->channels[2]);
    factory.run();
    EXPECT_EQ(factory.answer(), ok);
    EXPECT_EQ(factory.messages(factory.in), (Lines{"3 ready", "4 ready"}));
    EXPECT_EQ(factory.messages(factory.far), Lines{"a ready"});
}

TEST_F(StepsTest, WhatIsGivenBackToNobodyIsReady) {
    factory.ask(factory.far, {{"op", "channel.create"}, {"messages_max", 1}, {"overflow", "reject"}});
    EXPECT_EQ(factory.step(1, {factory.sending(factory.far, {"0"})}), ok);
    factory.begin(2, {factory.settling({{1, 2, 1}}), factory.sending(factory.far, {"a"})});
    factory.brokers[0]->detach(factory.session->link(2), factory.session->channels[2]);
    factory.run();
    EXPECT_EQ(factory.answer(), Errc::full);
    EXPECT_EQ(factory.messages(factory.in), (Lines{"1 ready", "2 ready", "3 ready", "4 ready"}));
}

TEST_F(StepsTest, ADeletedChannelTakesItsPartAlong) {
    factory.begin(
        1, {factory.settling({{1, 1, 1}}), factory.sending(factory.far, {"a"}), factory.sending(factory.near, {"b"})});
    factory.turn(0);
    factory.turn(1);
    factory.brokers[1]->admin(factory.session->id, 1, factory.far, Json{{"op", "channel.delete"}}.dump());
    factory.run();
    EXPECT_EQ(factory.answer(), ok);
    EXPECT_EQ(factory.messages(factory.near), Lines{"b ready"});
    Factory again{factory.disk};
    EXPECT_EQ(again.messages(factory.far), Lines{"none"});
    EXPECT_EQ(again.messages(factory.near), Lines{"b ready"});
}

// --- Power cuts ------------------------------------------------------------------------------------------------------

/// Settles message 2 and sends to the channels that are asked for.
std::optional<std::error_code> usual_step(Factory& factory, bool to_near, bool to_far) {
    std::vector<StepSection> sections{factory.settling({{2, 1, 1}})};
    if (to_near) {
        sections.push_back(factory.sending(factory.near, {"n"}));
    }
    if (to_far) {
        sections.push_back(factory.sending(factory.far, {"f", "g"}));
        sections.push_back(factory.sending(factory.memory, {"m"}));
    }
    return factory.step(1, std::move(sections));
}

/// True: all of it is there; false: nothing is.
bool is_done(Factory& again, bool to_near, bool to_far, std::uint64_t operation) {
    const auto in = again.messages(again.in);
    const bool done = in == Lines{"1 ready", "3 ready", "4 ready"};
    EXPECT_TRUE(done || in == (Lines{"1 ready", "2 ready", "3 ready", "4 ready"}))
        << operation << testing::PrintToString(in);
    EXPECT_EQ(again.messages(again.near), done && to_near ? Lines{"n ready"} : Lines{}) << operation;
    EXPECT_EQ(again.messages(again.far), done && to_far ? (Lines{"f ready", "g ready"}) : Lines{}) << operation;
    return done;
}

class StepsPowerTest : public testing::TestWithParam<std::pair<bool, bool>> {};

TEST_P(StepsPowerTest, PowerCutsAtAnyOperation) {
    const auto [to_near, to_far] = GetParam();
    Prng prng{11};
    int absent = 0;
    int present = 0;
    bool was_cut = true;
    for (std::uint64_t operation = 1; was_cut; ++operation) {
        for (int survival = 0; survival < 6; ++survival) {
            sim::SimDisk disk;
            bool was_said = false;
            {
                Factory factory{disk};
                factory.open();
                factory.ticks(2);
                disk.crash_at(disk.operations() + operation);
                was_said = usual_step(factory, to_near, to_far) == ok;
                factory.ticks(2);
                was_cut = disk.is_off();
            }
            survival == 0   ? disk.crash_losing_everything()
            : survival == 1 ? disk.crash_keeping_everything()
                            : disk.crash(prng);
            disk.clear_faults();
            bool was_done = false;
            for (int start = 0; start < 3; ++start) {
                Factory again{disk};
                const bool done = is_done(again, to_near, to_far, operation);
                EXPECT_TRUE(done || (!was_said && !was_done)) << operation << " " << survival << " " << start;
                EXPECT_TRUE(start == 0 || done == was_done) << operation;
                was_done = done;
                ++(done ? present : absent);
            }
        }
    }
    EXPECT_GT(absent, 2);
    EXPECT_GT(present, 10);
}

/// There is an answer whatever fails, and it is true: done, nothing of it, or `storage_failed`, and then either.
TEST_P(StepsPowerTest, DisksThatFailAtAnyOperation) {
    const auto [to_near, to_far] = GetParam();
    for (const auto fault : {sim::DiskFault::io_error, sim::DiskFault::no_space}) {
        int refused = 0;
        for (std::uint64_t operation = 1; operation <= 12; ++operation) {
            sim::SimDisk disk;
            std::optional<std::error_code> answer;
            {
                Factory factory{disk};
                factory.open();
                factory.ticks(2);
                disk.fail_at(disk.operations() + operation, fault, 1'000);
                static_cast<void>(usual_step(factory, to_near, to_far));
                factory.ticks(2);
                disk.clear_faults();  // A disk that was full has room again: what waited goes on.
                factory.ticks(8);
                answer = factory.answer();
            }
            ASSERT_TRUE(answer) << operation;
            refused += *answer != ok ? 1 : 0;
            disk.crash_losing_everything();
            Factory again{disk};
            const bool done = is_done(again, to_near, to_far, operation);
            EXPECT_TRUE(*answer != ok || done) << operation;
            EXPECT_TRUE(*answer == ok || *answer == Errc::storage_failed || !done) << operation << answer->message();
        }
        EXPECT_GT(refused, 0);
    }
}

INSTANTIATE_TEST_SUITE_P(Channels, StepsPowerTest,
                         testing::Values(std::pair{true, false}, std::pair{false, true}, std::pair{true, true}));

/// A step whose intent is on the disk, and of which nothing was done yet.
void decide_only(Factory& factory) {
    factory.begin(1, {factory.settling({{2, 1, 1}}), factory.sending(factory.near, {"n"}),
                      factory.sending(factory.far, {"f", "g"})});
    factory.turn(0);
    factory.turn(1);
    const auto submitted = factory.brokers[0]->store()->log().submitted();
    factory.turn(0);  // Submits the intent.
    ASSERT_GT(factory.brokers[0]->store()->log().submitted(), submitted);
    while (factory.sync[0].run_one(factory.disk)) {
    }
    ASSERT_TRUE(factory.session->steps.empty());
}

TEST_F(StepsTest, AChannelThatIsMadeForItIsThereBeforeItIsDecided) {
    factory.state.is_durable_by_default = true;
    std::string name = "new";
    while (shard_of_channel(name, shards_total) != 1) {
        name += "+";
    }
    factory.begin(1, {factory.settling({{2, 1, 1}}), factory.sending(name, {"x"})});
    factory.turn(0);
    factory.turn(1);
    factory.turn(0);
    while (factory.sync[0].run_one(factory.disk)) {
    }
    factory.disk.crash_losing_everything();  // The other shard's log has written nothing.
    Factory again{factory.disk};
    EXPECT_EQ(again.messages(again.in), (Lines{"1 ready", "2 ready", "3 ready", "4 ready"}));
    EXPECT_EQ(again.messages(name), Lines{"none"});
}

/// The section about steps in the newest checkpoint of a shard.
std::vector<std::byte> checkpointed_steps(Factory& factory, std::uint32_t shard) {
    bool is_done = false;
    factory.brokers[shard]->store()->checkpoint([&] { is_done = true; });
    while (factory.run_jobs()) {
    }
    EXPECT_TRUE(is_done);
    const auto generation = factory.brokers[shard]->store()->settings().generation;
    const auto found = storage::find_checkpoint(factory.disk, storage::shard_directory(generation, shard));
    for (const auto& section : found.value().checkpoint.sections) {
        if (section.stream == commit::shard_stream) {
            return section.body;
        }
    }
    return {};
}

/// Fills the log of a shard until what is in it now has been recycled; the other shard hears of nothing.
void recycle_log(Factory& factory, std::uint32_t shard) {
    ShardBroker& broker = *factory.brokers[shard];
    Listener filler{broker};
    std::string name = "filler";
    while (shard_of_channel(name, shards_total) != shard) {
        name += "+";
    }
    factory.state.is_durable_by_default = true;
    broker.attach(filler.link(1), {.name = name, .is_sender = true, .producer{}});
    const auto& files = broker.store()->local_log().wal().files();
    const auto last = files.back().number;
    const auto turn = [&] {
        broker.end_turn();
        while (factory.sync[shard].run_one(factory.disk) || factory.bulk[shard].run_one(factory.disk)) {
        }
    };
    turn();
    for (std::uint64_t sequence = 1; files.front().number <= last && sequence < 5'000; sequence += 20) {
        BatchBuilder builder;
        for (int i = 0; i < 20; ++i) {
            builder.append(std::vector<std::byte>(500));
        }
        broker.publish(filler.link(1), filler.channels[1], sequence, builder.take(factory.pool), false);
        turn();
        factory.clock.advance(std::chrono::milliseconds{250});
        broker.tick();
        turn();
    }
    EXPECT_GT(files.front().number, last);
    broker.close_session(filler.id);
}

TEST_F(StepsTest, ACheckpointKnowsWhatIsDecided) {
    decide_only(factory);
    EXPECT_FALSE(checkpointed_steps(factory, 0).empty());
    recycle_log(factory, 0);
    factory.disk.crash_losing_everything();
    Factory again{factory.disk};
    EXPECT_TRUE(is_done(again, true, true, 0));
}

TEST_F(StepsTest, ACheckpointKnowsWhatIsDone) {
    decide_only(factory);
    factory.brokers[0]->end_turn();
    factory.turn(1);
    recycle_log(factory, 1);  // The leader has not heard that it was done, and does it again if nobody knows.
    factory.disk.crash_losing_everything();
    Factory again{factory.disk};
    EXPECT_TRUE(is_done(again, true, true, 0));
}

TEST_F(StepsTest, WhatIsFinishedIsForgotten) {
    EXPECT_EQ(usual_step(factory, true, true), ok);
    factory.ticks(4);
    for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
        EXPECT_TRUE(checkpointed_steps(factory, shard).empty());
    }
}

TEST_F(StepsTest, WhatWasDoneIsKnownAlsoWhenTheMemoryIsUsedUp) {
    const auto again = [this](std::uint64_t number) {
        return factory.step(number, {factory.settling({{2, 1, 1}}), factory.sending(factory.near, {"a"})});
    };
    ASSERT_EQ(again(1), ok);
    const std::size_t rest = factory.state.memory.available();
    factory.state.memory.charge(rest);
    EXPECT_EQ(again(1), ok);
    EXPECT_EQ(factory.step(2, {factory.settling({{3, 1, 1}}), factory.sending(factory.near, {"b"})}), Errc::full);
    EXPECT_EQ(factory.messages(factory.in), held_134);
    EXPECT_EQ(factory.step(3, {factory.settling({{3, 1, 1}})}), ok) << "it needs none";
    factory.state.memory.discharge(rest);
    EXPECT_EQ(factory.messages(factory.near), Lines{"a ready"});
}

TEST_F(StepsTest, MessageIdsThatAreKnownAreNotStored) {
    for (const auto& name : {factory.near, factory.far}) {
        factory.ask(name, {{"op", "channel.create"}, {"dedupe_window_ms", 60'000}});
    }
    EXPECT_EQ(factory.step(1, {factory.sending(factory.far, {"a"}, "id"), factory.sending(factory.near, {"a"}, "id")}),
              ok);
    EXPECT_EQ(
        factory.step(2, {factory.sending(factory.far, {"b", "c"}, "id"), factory.sending(factory.near, {"b"}, "new")}),
        ok);
    EXPECT_EQ(factory.messages(factory.far), Lines{"a ready"});
    // The same when it is done by the next start.
    factory.begin(3, {factory.sending(factory.far, {"d"}, "id"), factory.sending(factory.near, {"d"}, "newer")});
    factory.turn(0);
    factory.turn(1);
    factory.turn(0);
    while (factory.sync[0].run_one(factory.disk)) {
    }
    factory.disk.crash_losing_everything();
    Factory again{factory.disk};
    EXPECT_EQ(again.messages(factory.far), Lines{"a ready"});
    EXPECT_EQ(again.messages(factory.near), (Lines{"a ready", "b ready", "d ready"}));
}

TEST_F(StepsTest, ABackupKnowsWhatIsDecided) {
    decide_only(factory);
    factory.session->replies.clear();
    // Each shard takes its picture before it hears of the decision.
    const auto waiting = std::exchange(factory.mail.queues[1], {});
    factory.brokers[0]->admin(factory.session->id, 1, "", Json{{"op", "backup.begin"}}.dump());
    factory.brokers[0]->end_turn();
    for (int i = 0; i < 8; ++i) {
        factory.turn(1);
        factory.run_jobs();
        factory.turn(0);
    }
    ASSERT_EQ(factory.session->replies.size(), 1U);
    const auto recovery = factory.recovered(factory.session->replies.front().at("id").get<std::string>());
    for (const auto& image : recovery.channels) {
        const auto& name = image.settings().name;
        EXPECT_EQ(image.live_messages(), name == factory.in ? 3U : name == factory.near ? 1U : 2U) << name;
    }
}

// --- Workers and brokers that die ------------------------------------------------------------------------------------

constexpr std::uint32_t jobs = 24;

/// A worker that does what it gets, a step for each message, until the power goes: offset n goes to `near`, `far` or
/// both. Each life of it has a producer of its own, since it does not know what became of its last step.
void work(Factory& factory, std::byte life, Prng& prng) {
    factory.producer = life;
    factory.brokers[0]->attach(factory.session->link(2), {.name = factory.in, .is_sender = false, .producer{}});
    factory.run();
    factory.brokers[0]->set_credit(factory.session->link(2), factory.session->channels[2], {jobs, 1U << 30U});
    factory.run();
    std::uint64_t number = 0;
    for (const SettleRange& slice : std::exchange(factory.session->slices, {})) {
        for (std::uint32_t i = 0; i < slice.count; ++i) {
            const auto offset = slice.first + i;
            std::vector<StepSection> sections{factory.settling({{offset, 1, slice.attempt}})};
            if (offset % 3 != 0) {
                sections.push_back(factory.sending(factory.near, {std::to_string(offset)}));
            }
            if (offset % 3 != 1) {
                sections.push_back(factory.sending(factory.far, {std::to_string(offset)}));
            }
            if (factory.step(++number, std::move(sections)) != ok) {
                return;
            }
            prng.below(3) == 0 ? factory.ticks(1) : void();
            if (prng.below(8) == 0) {
                factory.brokers[prng.below(shards_total)]->store()->checkpoint([] {});
            }
        }
    }
}

TEST(StepsOverCrashesTest, EachMessageIsWorkedOnOnceAsFarAsChannelsCanTell) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        Prng prng{seed};
        sim::SimDisk disk;
        {
            Factory factory{disk};
            factory.open();
            factory.publish(0, 5, jobs - 4);
            factory.run();
            factory.ticks(1);
        }
        for (std::uint8_t life = 1; life < 7; ++life) {
            {
                Factory factory{disk};
                disk.crash_at(disk.operations() + 1 + prng.below(60));
                work(factory, std::byte{life}, prng);
                factory.ticks(2);
            }
            prng.below(2) == 0 ? disk.crash_losing_everything() : disk.crash(prng);
            disk.clear_faults();
        }
        Factory last{disk};
        work(last, std::byte{9}, prng);
        last.run();
        EXPECT_EQ(last.messages(last.in), Lines{}) << seed;
        Lines near;
        Lines far;
        for (std::uint32_t offset = 1; offset <= jobs; ++offset) {
            const auto line = std::to_string(offset) + " ready";
            offset % 3 != 0 ? near.push_back(line) : void();
            offset % 3 != 1 ? far.push_back(line) : void();
        }
        auto found_near = last.messages(last.near);
        auto found_far = last.messages(last.far);
        for (Lines* lines : {&near, &far, &found_near, &found_far}) {
            std::ranges::sort(*lines);
        }
        EXPECT_EQ(found_near, near) << seed;
        EXPECT_EQ(found_far, far) << seed;
    }
}

/// What was decided stays decided when the start that does it is interrupted.
TEST_F(StepsTest, PowerCutsInTheStartBehindADecision) {
    decide_only(factory);
    factory.disk.crash_losing_everything();
    interrupt_each_start(factory.disk, [](sim::SimDisk& disk, std::uint64_t operation) {
        Factory again{disk};
        EXPECT_TRUE(is_done(again, true, true, operation)) << operation;
    });
}

}  // namespace
}  // namespace baton::runtime
