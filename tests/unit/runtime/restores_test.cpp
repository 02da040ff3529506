// Restores into a running broker: the channels are what they were in the backup; all of them are there or none,
// whatever fails and whenever the power goes; and nothing of a restore stays but its channels.
#include "server/runtime/restores.hpp"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/runtime/two_shards.hpp"

namespace baton::runtime {
namespace {

/// A broker that is made a backup of, and what was fetched of it.
class Original : public TwoShards {
public:
    Original() {
        for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
            make(shard);
            publish(shard, 1, 20, 300);
            run();
        }
        give_and_settle(1, 5, {{4, 1, 1, channel::Outcome::started}, {1, 2, 1}});
    }
    void back_up() {
        const auto begun = ask("", {{"op", "backup.begin"}});
        fetch(begun.at("id").get<std::string>(), copy);
        EXPECT_TRUE(ask("", {{"op", "backup.end"}, {"id", begun.at("id")}})["ok"].get<bool>());
        // What it held comes back, with the attempt that the backup counts, too.
        brokers[0]->detach(session->link(receiver_link(1)), session->channels[receiver_link(1)]);
        run();
    }
    sim::SimDisk copy;
};

/// Begins a restore and sends the backup, each file in one piece. The id of the restore.
std::string upload(TwoShards& broker, sim::SimDisk& backup) {
    const auto id = broker.ask("", {{"op", "restore.begin"}})["id"].get<std::string>();
    for (const auto& path : backup.all_files()) {
        const auto content = storage::read_whole(backup, path).value();
        broker.ask("", {{"op", "restore.write"},
                        {"id", id},
                        {"path", path},
                        {"offset", 0},
                        {"body_base64", base64_encode(content)}});
    }
    return id;
}

/// As `baton restore` does, in small pieces. Until something is refused.
Json bring_in(TwoShards& broker, sim::SimDisk& backup, Json end = Json::object()) {
    auto begun = broker.ask("", {{"op", "restore.begin"}});
    if (!begun["ok"].get<bool>()) {
        return begun;
    }
    const auto id = begun["id"].get<std::string>();
    constexpr std::size_t piece = 40'000;
    for (const auto& path : backup.all_files()) {
        const auto content = storage::read_whole(backup, path).value();
        for (std::size_t offset = 0; offset == 0 || offset < content.size(); offset += piece) {
            const auto part = Bytes{content}.subspan(offset).first(std::min(piece, content.size() - offset));
            auto written = broker.ask("", {{"op", "restore.write"},
                                           {"id", id},
                                           {"path", path},
                                           {"offset", offset},
                                           {"body_base64", base64_encode(part)}});
            if (!written["ok"].get<bool>()) {
                static_cast<void>(broker.ask("", {{"op", "restore.abort"}, {"id", id}}));
                return written;
            }
        }
    }
    end["op"] = "restore.end";
    end["id"] = id;
    return broker.ask("", end);
}

Recovery backed_up(TwoShards& broker) {
    const auto begun = broker.ask("", {{"op", "backup.begin"}});
    auto recovery = broker.recovered(begun.at("id").get<std::string>());
    EXPECT_TRUE(broker.ask("", {{"op", "backup.end"}, {"id", begun.at("id")}})["ok"].get<bool>());
    return recovery;
}

std::vector<std::string> names_of(TwoShards& broker) {
    const auto listed = broker.ask("", {{"op", "channel.list"}});
    std::vector<std::string> names;
    for (const auto& channel : listed.at("channels")) {
        names.push_back(channel.at("name").get<std::string>());
    }
    return names;
}

/// A line for each message. Whether somebody holds it is left out.
Lines peeked(TwoShards& broker, const std::string& name) {
    Lines lines;
    for (const auto& message : broker.ask(name, {{"op", "channel.peek"}, {"count", 1000}}).at("messages")) {
        const auto body = base64_decode(message.at("body_base64").get<std::string>()).value();
        lines.push_back(message.at("offset").dump() + " attempt " + message.at("attempt").dump() + " at " +
                        message.at("time_us").dump() + " " + std::string{as_text(body)}.substr(0, 5) + " of " +
                        std::to_string(body.size()));
    }
    return lines;
}

std::string code_of(const Json& reply) {
    return reply.at("error").at("code").get<std::string>();
}

Lines streams_in(const sim::SimDisk& disk) {
    Lines streams;
    for (const auto& path : disk.all_files()) {
        if (path.starts_with("channels/")) {
            streams.push_back(path.substr(0, path.rfind('/')));
        }
    }
    return streams;
}

class RestoresTest : public ::testing::Test {
protected:
    RestoresTest() { original.back_up(); }

    Original original;
};

TEST_F(RestoresTest, ChannelsAreWhatTheyWere) {
    TwoShards target;
    const auto reply = bring_in(target, original.copy);
    ASSERT_TRUE(reply["ok"].get<bool>()) << reply;
    EXPECT_EQ(reply["channels"], 2);
    EXPECT_EQ(reply["messages"], 38);
    EXPECT_EQ(target.leftovers(), Lines{});
    const auto before = backed_up(original);
    const auto after = backed_up(target);
    for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
        const auto& was = original.image_of(before, shard);
        const auto& is = target.image_of(after, shard);
        EXPECT_EQ(is.settings(), was.settings());
        EXPECT_EQ(is.next_offset(), was.next_offset());
        EXPECT_EQ(is.queue().cursor(), was.queue().cursor());
        EXPECT_EQ(is.producers(), was.producers());
        EXPECT_EQ(is.entries(), was.entries());
        EXPECT_EQ(peeked(target, target.names[shard]), peeked(original, original.names[shard]));
    }
    // The duplicate window: what was there is known, what is new goes on behind it.
    AttachRequest sender{.name = target.names[0], .is_sender = true, .create = false, .producer{}};
    sender.producer.bytes[0] = std::byte{7};
    target.brokers[0]->attach(target.session->link(1), sender);
    target.run();
    target.publish(0, 20, 1);
    target.publish(0, 21, 1);
    target.run();
    EXPECT_EQ(target.session->confirmed, 21U);
    const auto shown = target.ask(target.names[0], {{"op", "channel.show"}}).at("channel");
    EXPECT_EQ(shown["ready"], 21);
    EXPECT_EQ(shown["duplicates"], 1);
}

TEST_F(RestoresTest, TheyStayThroughStarts) {
    sim::SimDisk disk;
    {
        TwoShards target{disk};
        ASSERT_TRUE(bring_in(target, original.copy)["ok"].get<bool>());
    }
    for (int i = 0; i < 3; ++i) {
        disk.crash_losing_everything();
        TwoShards again{disk};
        for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
            EXPECT_EQ(peeked(again, again.names[shard]), peeked(original, original.names[shard]));
        }
        again.ticks(40);  // A round of checkpoints.
    }
    EXPECT_EQ(streams_in(disk).size(), 2U);
}

TEST_F(RestoresTest, TheCheckpointBeforeTheLastKnowsThem) {
    sim::SimDisk disk;
    {
        TwoShards target{disk};
        ASSERT_TRUE(bring_in(target, original.copy)["ok"].get<bool>());
    }
    for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
        const auto directory = storage::shard_directory(1, shard);
        const auto names = disk.list(directory).value();
        ASSERT_TRUE(names[0].starts_with("checkpoint-") && names[1].starts_with("checkpoint-"));
        disk.flip_byte(directory + "/" + names[1], 100);
    }
    const auto recovery = recover(disk, original.pool);
    ASSERT_TRUE(recovery);
    EXPECT_EQ(recovery->damage.size(), 2U);
    ASSERT_EQ(recovery->channels.size(), 2U);
    for (const auto& image : recovery->channels) {
        EXPECT_EQ(image.settings().damage, "");
        EXPECT_EQ(image.live_messages(), image.settings().name == original.names[0] ? 20U : 18U);
    }
}

TEST_F(RestoresTest, ABacklogInSegmentsAndInTheLog) {
    Original large;
    std::uint64_t sent = 20;
    for (int i = 0; i < 60; ++i) {
        large.publish(0, sent + 1, 8, 2000);
        sent += 8;
        large.run();
    }
    large.ticks(8);
    large.back_up();
    const auto before = backed_up(large);
    ASSERT_FALSE(large.image_of(before, 0).blocks().empty());
    ASSERT_FALSE(large.image_of(before, 0).batches().empty());
    TwoShards target;
    const auto reply = bring_in(target, large.copy);
    ASSERT_TRUE(reply["ok"].get<bool>()) << reply;
    EXPECT_EQ(peeked(target, target.names[0]), peeked(large, large.names[0]));
    EXPECT_EQ(target.image_of(backed_up(target), 0).live_messages(), sent);
}

TEST_F(RestoresTest, NamesThatAreThereAreRefused) {
    const auto reply = bring_in(original, original.copy);
    EXPECT_EQ(code_of(reply), "incompatible_options");
    const auto text = reply["error"]["text"].get<std::string>();
    EXPECT_TRUE(text.contains("\"" + original.names[0] + "\"") && text.contains("\"" + original.names[1] + "\""))
        << text;
    EXPECT_EQ(original.leftovers(), Lines{});
    EXPECT_EQ(names_of(original).size(), 2U);
}

TEST_F(RestoresTest, SomeOfThemUnderOtherNames) {
    const auto& name = original.names[0];
    const auto reply = bring_in(original, original.copy, {{"only", {name}}, {"as", {{name, "another"}}}});
    ASSERT_TRUE(reply["ok"].get<bool>()) << reply;
    EXPECT_EQ(names_of(original).size(), 3U);
    EXPECT_EQ(peeked(original, "another"), peeked(original, name));
    EXPECT_EQ(code_of(bring_in(original, original.copy, {{"only", {"unknown"}}})), "not_found");
    EXPECT_EQ(code_of(bring_in(original, original.copy, {{"as", {{name, "x"}, {original.names[1], "x"}}}})),
              "bad_request");
    EXPECT_EQ(code_of(bring_in(original, original.copy, {{"as", {{name, std::string(2000, 'x')}}}})), "bad_name");
    EXPECT_EQ(original.session->replies.size(), 1U);
}

TEST_F(RestoresTest, ANameThatIsMadeMeanwhile) {
    bool was_refused_late = false;
    // After so many steps of the shards' work.
    for (int steps = 1; steps < 40; ++steps) {
        sim::SimDisk disk;
        TwoShards broker{disk};
        auto begun = broker.ask("", {{"op", "restore.begin"}});
        const auto id = begun["id"].get<std::string>();
        for (const auto& path : original.copy.all_files()) {
            const auto content = storage::read_whole(original.copy, path).value();
            ASSERT_TRUE(broker
                            .ask("", {{"op", "restore.write"},
                                      {"id", id},
                                      {"path", path},
                                      {"offset", 0},
                                      {"body_base64", base64_encode(content)}})["ok"]
                            .get<bool>());
        }
        broker.session->replies.clear();
        broker.brokers[0]->admin(broker.session->id, 1, "", Json{{"op", "restore.end"}, {"id", id}}.dump());
        for (int i = 0; i < steps; ++i) {
            broker.turn(0);
            broker.turn(1);
            broker.run_one_job();
        }
        const bool was_done = !broker.session->replies.empty();
        broker.brokers[0]->admin(broker.session->id, 2, broker.names[1],
                                 R"({"op":"channel.create","storage":"durable"})");
        broker.run();
        ASSERT_EQ(broker.session->replies.size(), 2U) << steps;
        const bool is_restored = names_of(broker).size() == 2;
        if (!is_restored) {
            was_refused_late = true;
            EXPECT_EQ(names_of(broker), Lines{broker.names[1]});
            EXPECT_EQ(broker.ask(broker.names[1], {{"op", "channel.show"}}).at("channel").at("ready"), 0);
        } else {
            EXPECT_EQ(peeked(broker, broker.names[1]), peeked(original, original.names[1]));
        }
        EXPECT_EQ(broker.leftovers(), Lines{});
        if (was_done) {
            break;
        }
    }
    EXPECT_TRUE(was_refused_late);
}

TEST_F(RestoresTest, WhoeverAsksForAHiddenNameWaits) {
    TwoShards target;
    const auto id = upload(target, original.copy);
    target.session->replies.clear();
    target.brokers[0]->admin(target.session->id, 1, "", Json{{"op", "restore.end"}, {"id", id}}.dump());
    while (!target.brokers[1]->store()->log().submitted()) {  // Its settings: it is installed.
        target.turn(0);
        target.turn(1);
        target.run_one_job();
    }
    ASSERT_TRUE(target.session->replies.empty());
    target.brokers[0]->attach(target.session->link(4), {.name = target.names[1], .is_sender = false, .producer{}});
    target.brokers[0]->admin(target.session->id, 2, target.names[1], R"({"op":"channel.show"})");
    target.turn(0);
    target.turn(1);
    target.turn(0);
    EXPECT_TRUE(target.session->replies.empty());
    target.run();
    ASSERT_EQ(target.session->replies.size(), 2U);
    EXPECT_EQ(target.session->replies[0].at("channel").at("ready"), 18) << target.session->replies[0];
    EXPECT_EQ(target.session->replies[1].at("messages"), 38) << target.session->replies[1];
    target.brokers[0]->set_credit(target.session->link(4), target.session->channels[4], {18, 1U << 30U});
    target.run();
    EXPECT_EQ(target.session->delivered, 18U);
}

TEST_F(RestoresTest, ItGoesWithItsSession) {
    for (const bool has_ended : {false, true}) {
        TwoShards target;
        auto begun = target.ask("", {{"op", "restore.begin"}});
        const auto id = begun["id"].get<std::string>();
        const auto content = storage::read_whole(original.copy, "MANIFEST").value();
        target.ask(
            "", {{"op", "restore.write"}, {"id", id}, {"path", "MANIFEST"}, {"body_base64", base64_encode(content)}});
        EXPECT_NE(target.leftovers(), Lines{});
        if (has_ended) {
            target.brokers[0]->admin(target.session->id, 1, "", Json{{"op", "restore.end"}, {"id", id}}.dump());
        }
        target.brokers[0]->close_session(target.session->id);
        target.session.reset();
        target.run();
        EXPECT_EQ(target.leftovers(), Lines{});
    }
}

TEST_F(RestoresTest, Refusals) {
    TwoShards target;
    const auto code = [&](const Json& request) { return code_of(target.ask("", request)); };
    EXPECT_EQ(code({{"op", "restore.begin"}, {"path", "/etc"}}), "unsupported");
    EXPECT_EQ(code({{"op", "restore.end"}, {"id", "restore-0000000100000001"}}), "not_found");
    const auto id = target.ask("", {{"op", "restore.begin"}})["id"].get<std::string>();
    EXPECT_EQ(code({{"op", "restore.begin"}}), "bad_request");
    EXPECT_EQ(code({{"op", "restore.show"}, {"id", id}}), "unsupported");
    const auto write = [&](const std::string& path, std::uint64_t offset, const std::string& body) {
        return code({{"op", "restore.write"}, {"id", id}, {"path", path}, {"offset", offset}, {"body_base64", body}});
    };
    for (const auto* path : {"", "LOCK", "/etc/passwd", "../MANIFEST", "MANIFEST/../../LOCK", "PENDING", "generation-1",
                             "generation-0000000000000001/shard-0000/../wal-0000000000000001",
                             "generation-0000000000000001/wal-0000000000000001", "channels/segment-00000001",
                             "channels/0000000100000001/x/segment-00000001", "channels/0000000100000001/segment-1",
                             "generation-0000000000000001/shard-0000/wal-0000000000000001.tmp"}) {
        EXPECT_EQ(write(path, 0, ""), "bad_request") << path;
    }
    EXPECT_EQ(write("MANIFEST", 0, "%"), "bad_request");
    EXPECT_EQ(write("MANIFEST", 1, ""), "bad_request");
    EXPECT_EQ(code({{"op", "restore.end"}, {"id", id}, {"only", "x"}}), "bad_request");
    EXPECT_EQ(code({{"op", "restore.end"}, {"id", id}, {"as", {"x"}}}), "bad_request");
    EXPECT_EQ(code({{"op", "restore.end"}, {"id", id}}), "channel_damaged") << "without a manifest";
    EXPECT_EQ(code({{"op", "restore.end"}, {"id", id}}), "not_found");
    const auto aborted = target.ask("", {{"op", "restore.begin"}})["id"];
    EXPECT_TRUE(target.ask("", {{"op", "restore.abort"}, {"id", aborted}})["ok"].get<bool>());
    EXPECT_EQ(target.leftovers(), Lines{});
}

TEST_F(RestoresTest, WithoutADataDirectory) {
    BrokerState state{Limits{}, 1, original.clock};
    Mail mail;
    ShardBroker memory{0, state, mail};
    Listener listener{memory};
    memory.admin(listener.id, 1, "", R"({"op":"restore.begin"})");
    ASSERT_EQ(listener.replies.size(), 1U);
    EXPECT_EQ(code_of(listener.replies[0]), "unsupported");
    memory.close_session(listener.id);
}

TEST_F(RestoresTest, WithoutChannels) {
    TwoShards empty;
    sim::SimDisk copy;
    const auto begun = empty.ask("", {{"op", "backup.begin"}});
    empty.fetch(begun.at("id").get<std::string>(), copy);
    TwoShards target;
    const auto reply = bring_in(target, copy);
    ASSERT_TRUE(reply["ok"].get<bool>()) << reply;
    EXPECT_EQ(reply["channels"], 0);
    EXPECT_EQ(code_of(bring_in(target, copy, {{"only", {"x"}}})), "not_found");
    EXPECT_EQ(target.leftovers(), Lines{});
}

TEST_F(RestoresTest, TooManyChannels) {
    TwoShards target;
    target.state.channels = target.state.limits.channels_max - 1;
    EXPECT_EQ(code_of(bring_in(target, original.copy)), "too_many_channels");
    EXPECT_EQ(names_of(target), Lines{});
    EXPECT_EQ(target.leftovers(), Lines{});
    EXPECT_EQ(streams_in(target.disk), Lines{});
    target.state.channels = 0;
    EXPECT_TRUE(bring_in(target, original.copy)["ok"].get<bool>());
}

/// A file that is missing, or a byte that is another: it is noticed, or changes nothing.
TEST_F(RestoresTest, DamagedBackups) {
    const auto expected = peeked(original, original.names[0]);
    int refused = 0;
    for (const auto& path : original.copy.all_files()) {
        const auto size = storage::read_whole(original.copy, path).value().size();
        for (std::uint64_t position = 0; position <= size;
             position += position < 4096 || path.contains("check") ? 97 : 1009) {
            sim::SimDisk backup;
            backup.restore(original.copy.snapshot());
            position == 0 ? static_cast<void>(backup.remove(path)) : backup.flip_byte(path, position - 1);
            TwoShards target;
            const auto reply = bring_in(target, backup);
            if (reply["ok"].get<bool>()) {
                EXPECT_EQ(peeked(target, target.names[0]), expected) << path << " " << position;
                EXPECT_EQ(names_of(target).size(), 2U);
            } else {
                ++refused;
                EXPECT_EQ(code_of(reply), "channel_damaged") << path << " " << position;
                EXPECT_EQ(names_of(target), Lines{});
                EXPECT_EQ(streams_in(target.disk), Lines{});
            }
            EXPECT_EQ(target.leftovers(), Lines{});
        }
    }
    EXPECT_GT(refused, 10);
}

/// Whatever fails: it is said, all are there or none, and the broker goes on or says that its disk has failed.
TEST_F(RestoresTest, EveryOperationThatFails) {
    for (const auto fault : {sim::DiskFault::no_space, sim::DiskFault::io_error}) {
        bool has_succeeded = false;
        for (std::uint64_t operation = 1; !has_succeeded; ++operation) {
            sim::SimDisk disk;
            bool was_refused = false;
            {
                TwoShards target{disk};
                const auto before = disk.operations();
                disk.fail_at(before + operation, fault);
                const auto reply = bring_in(target, original.copy);
                was_refused = !reply["ok"].get<bool>();
                has_succeeded = disk.operations() < before + operation;
                EXPECT_TRUE(!has_succeeded || !was_refused);
                disk.clear_faults();
                if (was_refused) {
                    const bool is_full = code_of(reply) == "disk_full";
                    EXPECT_TRUE(is_full || code_of(reply) == "storage_failed") << operation << reply;
                    EXPECT_TRUE(!is_full || fault == sim::DiskFault::no_space) << operation << reply;
                    EXPECT_EQ(names_of(target), Lines{}) << operation;
                    target.ticks(8);
                    // What it could not delete in the log is still listed.
                    for (const auto& path : target.leftovers()) {
                        EXPECT_TRUE(path.ends_with("/PENDING")) << path;
                    }
                } else {
                    EXPECT_EQ(names_of(target).size(), 2U) << operation;
                }
            }
            disk.crash_losing_everything();
            TwoShards again{disk};
            const auto count = names_of(again).size();
            EXPECT_EQ(count, was_refused ? 0U : 2U) << operation;
            EXPECT_EQ(again.leftovers(), Lines{}) << operation;
            EXPECT_EQ(streams_in(disk).size(), count) << operation;
        }
    }
}

/// After the start all are there or none; all, if it had been said.
TEST_F(RestoresTest, PowerCutsAtAnyOperation) {
    int absent = 0;
    int present = 0;
    Prng prng{7};
    bool was_cut = true;
    for (std::uint64_t operation = 1; was_cut; ++operation) {
        for (int survival = 0; survival < 4; ++survival) {
            sim::SimDisk disk;
            bool was_said = false;
            {
                TwoShards target{disk};
                disk.crash_at(disk.operations() + operation);
                was_said = bring_in(target, original.copy)["ok"].get<bool>();
                target.ticks(2);
                was_cut = disk.is_off();
            }
            survival == 0   ? disk.crash_losing_everything()
            : survival == 1 ? disk.crash_keeping_everything()
                            : disk.crash(prng);
            disk.clear_faults();
            for (int start = 0; start < 2; ++start) {
                TwoShards again{disk};
                const auto count = names_of(again).size();
                EXPECT_TRUE(count == 2 || (count == 0 && !was_said)) << operation << " " << survival << " " << count;
                for (std::uint32_t shard = 0; count == 2 && shard < shards_total; ++shard) {
                    EXPECT_EQ(peeked(again, again.names[shard]), peeked(original, original.names[shard])) << operation;
                }
                ++(count == 0 ? absent : present);
                EXPECT_EQ(again.leftovers(), Lines{}) << operation;
                EXPECT_EQ(streams_in(disk).size(), count) << operation;
            }
        }
    }
    EXPECT_GT(absent, 100);
    EXPECT_GT(present, 10);
}

/// And in the start behind it: what does not count must not come back because a start was interrupted.
TEST_F(RestoresTest, PowerCutsInTheStartBehindThem) {
    sim::SimDisk cut;
    {
        TwoShards target{cut};
        const auto id = upload(target, original.copy);
        target.brokers[0]->admin(target.session->id, 1, "", Json{{"op", "restore.end"}, {"id", id}}.dump());
        const auto checkpoint = storage::shard_directory(1, 0) + "/checkpoint-0000000000000003";
        while (!cut.exists(checkpoint)) {  // It names what does not count.
            target.turn(0);
            target.turn(1);
            target.run_one_job();
        }
        cut.crash_at(cut.operations() + 1);
    }
    cut.crash_losing_everything();
    cut.clear_faults();
    interrupt_each_start(cut, [](sim::SimDisk& disk, std::uint64_t operation) {
        TwoShards again{disk};
        EXPECT_EQ(names_of(again), Lines{}) << operation;
        EXPECT_EQ(again.leftovers(), Lines{}) << operation;
        EXPECT_EQ(streams_in(disk), Lines{}) << operation;
    });
}

/// A backup that is taken while a restore goes on has each channel of it with everything, or not at all.
TEST(BackupsOfRestores, HaveEachChannelWholeOrNotAtAll) {
    Original original;
    original.back_up();
    std::size_t with = 0;
    std::size_t without = 0;
    bool is_over = false;
    for (int begin = 0; !is_over; ++begin) {
        TwoShards target{3};
        const auto id = upload(target, original.copy);
        auto& replies = target.session->replies;
        replies.clear();
        target.brokers[0]->admin(target.session->id, 1, "", Json{{"op", "restore.end"}, {"id", id}}.dump());
        for (int turns = 0; replies.empty() || (turns > begin && replies.size() < 2); ++turns) {
            turns == begin ? target.brokers[0]->admin(target.session->id, 2, "", R"({"op":"backup.begin"})") : void();
            target.turn(0);
            target.turn(1);
            target.run_one_job();
        }
        is_over = replies.size() < 2;
        const auto backup = std::ranges::find_if(replies, [](const Json& reply) { return reply.contains("bytes"); });
        if (is_over || backup == replies.end()) {
            continue;
        }
        const auto recovery = target.recovered(backup->at("id").get<std::string>());
        for (const auto& image : recovery.channels) {
            EXPECT_EQ(image.live_messages(), image.settings().name == original.names[0] ? 20U : 18U) << begin;
        }
        with += recovery.channels.size();
        without += shards_total - recovery.channels.size();
    }
    EXPECT_GT(with, 0U);
    EXPECT_GT(without, 0U);
}

}  // namespace
}  // namespace baton::runtime
