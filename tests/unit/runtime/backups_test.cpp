// Backups: what is in one, that all shards have the same moment, and that nothing of it stays. Two shards on a
// simulated disk; a client fetches as `baton backup` does, and what it fetched is recovered.
#include "server/runtime/backups.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/runtime/two_shards.hpp"

namespace baton::runtime {
namespace {

class BackupsTest : public ::testing::Test, protected TwoShards {};

TEST_F(BackupsTest, WhatWasConfirmedIsInItAndWhatWasSettledIsNot) {
    make(0);
    make(1);
    for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
        publish(shard, 1, 10);
        run();
        ASSERT_EQ(session->confirmed, 10U);
    }
    // Of ten, five are given: 1 and 2 are done, 4 was begun.
    give_and_settle(1, 5, {{4, 1, 1, channel::Outcome::started}, {1, 2, 1}});
    ASSERT_EQ(session->settled, 1U);
    const auto begun = ask("", {{"op", "backup.begin"}});
    ASSERT_TRUE(begun["ok"].get<bool>()) << begun;
    publish(0, 11, 5);  // Later.
    run();
    const auto recovery = recovered(begun["id"].get<std::string>());
    ASSERT_EQ(recovery.channels.size(), 2U);
    const auto& whole = image_of(recovery, 0);
    EXPECT_EQ(whole.live_messages(), 10U);
    EXPECT_EQ(whole.next_offset(), 11U);
    ASSERT_EQ(whole.producers().size(), 1U);
    EXPECT_EQ(whole.producers().begin()->second, 10U);
    const auto& used = image_of(recovery, 1);
    EXPECT_EQ(used.live_messages(), 8U);
    EXPECT_EQ(used.queue().cursor(), 6U);
    std::vector<std::pair<channel::Offset, std::uint32_t>> live;
    for (const auto& [first, range] : used.queue().entries()) {
        for (auto offset = first; offset < range.end; ++offset) {
            live.emplace_back(offset, range.attempt);
        }
    }
    EXPECT_EQ(live, (std::vector<std::pair<channel::Offset, std::uint32_t>>{{3, 1}, {4, 2}, {5, 1}}));
    EXPECT_TRUE(ask("", {{"op", "backup.end"}, {"id", begun["id"]}})["ok"].get<bool>());
    EXPECT_EQ(leftovers(), Lines{});
}

/// A turn has a slice, and what happens in between is in the backup as if all had been taken in the end.
TEST(BackupsInSlices, WhatHappensMeanwhileIsInIt) {
    constexpr std::uint64_t slice = 5;
    TwoShards broker{slice};
    std::uint64_t sent = 0;
    for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
        broker.make(shard);
        for (std::uint64_t i = 1; i <= 40; ++i) {
            broker.publish(shard, i, 1);
            broker.run();
        }
    }
    sent = 40;
    broker.give_and_settle(1, 10, {{2, 3, 1}});
    broker.session->replies.clear();
    broker.brokers[0]->admin(broker.session->id, 1, "", R"({"op":"backup.begin"})");
    const auto link = TwoShards::receiver_link(1);
    std::uint64_t turns = 0;
    for (; broker.session->replies.empty() && turns < 1'000; ++turns) {
        if (turns < 6) {
            broker.publish(1, ++sent, 1);
            const std::vector<channel::SettleRange> done{{10 - turns, 1, 1}};
            broker.brokers[0]->settle(broker.session->link(link), broker.session->channels[link], done, 2 + turns);
        }
        broker.turn(0);
        broker.turn(1);
        broker.run_one_job();
    }
    EXPECT_GE(turns, 40 / slice + 2) << "and two for the moment";
    const auto recovery = broker.recovered(broker.session->replies.at(0).at("id").get<std::string>());
    EXPECT_EQ(broker.session->settled, 7U);
    EXPECT_EQ(broker.image_of(recovery, 0).live_messages(), 40U);
    EXPECT_EQ(broker.image_of(recovery, 1).next_offset(), sent + 1);
    EXPECT_EQ(broker.image_of(recovery, 1).live_messages(), sent - 9);
}

/// A worker passes messages on from one shard to the other, and settles each when its copy is confirmed: wherever it is with that
/// while the slices are taken, each message is in at least one of the channels of the backup.
TEST(BackupsInSlices, WhatIsPassedOnIsInOneOfTheChannels) {
    constexpr std::uint64_t messages = 60;
    std::uint64_t in_both = 0;
    for (std::uint64_t begin = 0; begin < 40; ++begin) {
        TwoShards broker{3 + begin % 7};
        broker.make(0);
        broker.make(1);
        for (std::uint64_t i = 1; i <= messages; ++i) {
            broker.publish(0, i, 1);
            broker.run();
        }
        Listener& worker = *broker.session;
        const auto link = TwoShards::receiver_link(0);
        broker.brokers[0]->set_credit(worker.link(link), worker.channels[link], {messages, 1U << 30U});
        broker.run();
        worker.confirmed = 0;
        worker.replies.clear();
        std::uint64_t settled = 0;
        for (std::uint64_t turns = 0; worker.replies.empty(); ++turns) {
            if (turns == begin) {
                broker.brokers[0]->admin(worker.id, 1, "", R"({"op":"backup.begin"})");
            }
            if (turns < messages) {
                broker.publish(1, turns + 1, 1);
            }
            for (; settled < worker.confirmed; ++settled) {
                const std::vector<channel::SettleRange> done{{settled + 1, 1, 1}};
                broker.brokers[0]->settle(worker.link(link), worker.channels[link], done, 0);
            }
            broker.turn(turns % 2);
            broker.turn(1 - turns % 2);
            broker.run_one_job();
        }
        const auto recovery = broker.recovered(worker.replies.front().at("id").get<std::string>());
        const std::uint64_t passed_on = broker.image_of(recovery, 1).next_offset() - 1;
        const auto& queue = broker.image_of(recovery, 0).queue();
        for (channel::Offset offset = 1; offset <= messages; ++offset) {
            const bool is_live = offset >= queue.cursor() || std::ranges::any_of(queue.entries(), [&](const auto& entry) {
                                     return entry.first <= offset && offset < entry.second.end;
                                 });
            EXPECT_TRUE(is_live || offset <= passed_on) << offset << " of a backup that began in turn " << begin;
            in_both += is_live && offset <= passed_on ? 1 : 0;
        }
    }
    EXPECT_GT(in_both, 0U) << "some were under way";
}

/// A channel that goes while it is looked at is not there, one that comes is.
TEST(BackupsInSlices, ChannelsThatComeAndGoMeanwhile) {
    TwoShards broker{3};
    broker.make(0);
    broker.make(1);
    for (std::uint64_t i = 1; i <= 40; ++i) {
        broker.publish(0, i, 1);
        broker.run();
    }
    broker.session->replies.clear();
    broker.brokers[0]->admin(broker.session->id, 1, "", R"({"op":"backup.begin"})");
    for (int i = 0; i < 8; ++i) {  // In the middle of the first one.
        broker.turn(0);
        broker.turn(1);
        broker.run_one_job();
    }
    ASSERT_TRUE(broker.session->replies.empty());
    broker.brokers[0]->admin(broker.session->id, 2, broker.names[0], R"({"op":"channel.delete","force":true})");
    broker.brokers[0]->admin(broker.session->id, 3, "new", R"({"op":"channel.create","storage":"durable"})");
    broker.run();
    ASSERT_EQ(broker.session->replies.size(), 3U);
    const auto backup = std::ranges::find_if(broker.session->replies, [](const Json& reply) { return reply.contains("id"); });
    const auto recovery = broker.recovered(backup->at("id").get<std::string>());
    Lines found;
    for (const auto& image : recovery.channels) {
        found.push_back(image.settings().name);
    }
    EXPECT_EQ(found, (Lines{broker.names[1], "new"}));
}

TEST(BackupWriterTest, AChannelThatDoesNotCountIsLeftOutWithItsRecords) {
    sim::SimDisk disk;
    ChunkPool pool;
    ASSERT_TRUE(storage::ensure_directory(disk, "x"));
    BackupWriter writer{"x", 3, 0};
    BackupSlice slice;
    for (const std::uint64_t number : {1U, 2U}) {
        channel::SettingsRecord settings{.name = "c" + std::to_string(number), .options = {.is_durable = true}, .damage{}};
        std::vector<std::byte> record;
        encode(settings, record);
        slice.records.push_back({storage::StreamId{number}, 1, std::move(record), {}});
        channel::ChannelState state{.settings = settings, .producers{}, .live{}, .blocks{}};
        slice.states.push_back({storage::StreamId{number}, 1, {.state = std::move(state), .is_over = true}});
    }
    writer.add(disk, std::move(slice));
    ASSERT_TRUE(writer.finish(disk, {.left_out = {storage::StreamId{2}}, .steps{}}));
    ASSERT_TRUE(disk.rename("x/generation-0000000000000003", "generation-0000000000000003"));
    ASSERT_TRUE(storage::store_manifest(disk, {.generation = 3, .shards = 1}));
    const auto recovery = recover(disk, pool);
    ASSERT_TRUE(recovery && recovery->damage.empty());
    ASSERT_EQ(recovery->channels.size(), 1U);
    EXPECT_EQ(recovery->channels.front().settings().name, "c1");
}

TEST_F(BackupsTest, NobodyHearsOfAnythingBetweenTheFirstPictureAndTheLast) {
    make(0);
    make(1);
    publish(0, 1, 1);
    run();
    session->confirmed = 0;
    session->replies.clear();
    brokers[0]->admin(session->id, 1, "", R"({"op":"backup.begin"})");
    for (std::uint32_t shard = 0; shard < shards_total; ++shard) {  // Each has been through its channels,
        turn(shard);
        bulk[shard].run_all(disk);
        turn(shard);
    }
    turn(0);  // and shard 0 has its picture.
    publish(0, 2, 1);
    turn(0);
    sync[0].run_all(disk);  // On the disk.
    turn(0);
    EXPECT_EQ(session->confirmed, 0U) << "shard 1 has no picture yet";
    turn(1);
    turn(0);
    EXPECT_EQ(session->confirmed, 2U) << "it has";
    run();
    ASSERT_EQ(session->replies.size(), 1U);
    const auto id = session->replies[0].at("id").get<std::string>();
    EXPECT_EQ(image_of(recovered(id), 0).next_offset(), 2U) << "what came behind the picture is not in it";
}

TEST_F(BackupsTest, WhatCommitsBeforeTheLastPictureIsInIt) {
    make(0);
    make(1);
    session->replies.clear();
    publish(1, 1, 1);  // On its way to shard 1.
    brokers[0]->admin(session->id, 1, "", R"({"op":"backup.begin"})");
    turn(0);
    turn(1);
    run();
    EXPECT_EQ(session->confirmed, 1U);
    ASSERT_EQ(session->replies.size(), 1U);
    const auto id = session->replies[0].at("id").get<std::string>();
    EXPECT_EQ(image_of(recovered(id), 1).next_offset(), 2U);
}

TEST_F(BackupsTest, SegmentsStayForItWhenTheBrokerHasNoUseForThemAnyMore) {
    make(0);
    std::uint64_t sent = 0;
    for (int i = 0; i < 60; ++i) {
        publish(0, sent + 1, 8, 2000);
        sent += 8;
        run();
    }
    ticks(8);
    const auto begun = ask("", {{"op", "backup.begin"}});
    ASSERT_TRUE(begun["ok"].get<bool>()) << begun;
    const auto in_backup = leftovers();
    ASSERT_TRUE(std::ranges::any_of(in_backup, [](const std::string& path) { return path.contains("/segment-"); }));
    EXPECT_TRUE(ask(names[0], {{"op", "channel.delete"}, {"force", true}})["ok"].get<bool>());
    ticks(40);
    ASSERT_TRUE(
        std::ranges::none_of(disk.all_files(), [](const std::string& path) { return path.starts_with("channels/"); }));
    const auto recovery = recovered(begun["id"].get<std::string>());
    EXPECT_EQ(image_of(recovery, 0).live_messages(), sent);
    EXPECT_FALSE(image_of(recovery, 0).blocks().empty());
    EXPECT_FALSE(image_of(recovery, 0).batches().empty());
}

TEST_F(BackupsTest, AFetchedBackupCanBeStartedOn) {
    make(0);
    make(1);
    publish(0, 1, 100);
    publish(1, 1, 50);
    run();
    const auto begun = ask("", {{"op", "backup.begin"}});
    sim::SimDisk copy;
    fetch(begun["id"].get<std::string>(), copy);
    StorageStart start{copy};
    ASSERT_TRUE(start.recover(pool));
    EXPECT_EQ(start.generation(), brokers[0]->store()->settings().generation + 1)
        << "streams that are made stay unique";
    EXPECT_EQ(start.recovery().channels.size(), 2U);
}

TEST_F(BackupsTest, WithoutChannels) {
    const auto begun = ask("", {{"op", "backup.begin"}});
    ASSERT_TRUE(begun["ok"].get<bool>()) << begun;
    EXPECT_EQ(begun["files"], shards_total + 1);
    EXPECT_TRUE(recovered(begun["id"].get<std::string>()).channels.empty());
}

TEST_F(BackupsTest, ItGoesWithItsSession) {
    make(0);
    ASSERT_TRUE(ask("", {{"op", "backup.begin"}})["ok"].get<bool>());
    EXPECT_NE(leftovers(), Lines{});
    brokers[0]->close_session(session->id);
    session.reset();
    run();
    EXPECT_EQ(leftovers(), Lines{});
}

TEST_F(BackupsTest, ASessionThatGoesBeforeItIsReady) {
    make(0);
    brokers[0]->admin(session->id, 1, "", R"({"op":"backup.begin"})");
    brokers[0]->close_session(session->id);
    session.reset();
    run();
    EXPECT_EQ(leftovers(), Lines{});
    session = std::make_unique<Listener>(*brokers[0]);
    EXPECT_TRUE(ask("", {{"op", "backup.begin"}})["ok"].get<bool>());
    brokers[0]->attach(session->link(1), {.name = names[0], .is_sender = true, .create = false, .producer{}});
    run();
    publish(0, 1, 1);
    run();
    EXPECT_EQ(session->confirmed, 1U) << "commits are told again";
}

TEST_F(BackupsTest, Refusals) {
    const auto code = [&](const Json& request) { return ask("", request).at("error").at("code").get<std::string>(); };
    EXPECT_EQ(code({{"op", "backup.begin"}, {"path", "/etc"}}), "unsupported");
    EXPECT_EQ(code({{"op", "backup.show"}}), "not_found");
    EXPECT_EQ(code({{"op", "backup.end"}, {"id", "backup-0000000100000001"}}), "not_found");
    const auto id = ask("", {{"op", "backup.begin"}})["id"].get<std::string>();
    EXPECT_EQ(code({{"op", "backup.begin"}}), "bad_request");
    EXPECT_EQ(code({{"op", "backup.show"}, {"id", id}}), "unsupported");
    EXPECT_EQ(code({{"op", "backup.end"}, {"id", 7}}), "bad_request");
    EXPECT_EQ(code({{"op", "backup.read"}, {"id", id}, {"path", "../LOCK"}}), "not_found");
    EXPECT_EQ(code({{"op", "backup.read"}, {"id", id}, {"path", "MANIFEST"}, {"offset", 1000}}), "bad_request");
    const auto all = ask("", {{"op", "backup.read"}, {"id", id}, {"path", "MANIFEST"}});
    const auto size = base64_decode(all["body_base64"].get<std::string>())->size();
    const auto end = ask("", {{"op", "backup.read"}, {"id", id}, {"path", "MANIFEST"}, {"offset", size}});
    EXPECT_EQ(end["body_base64"], "");
    EXPECT_FALSE(end["more"].get<bool>());
}

TEST_F(BackupsTest, NotOnADiskThatIsFull) {
    disk.set_capacity(1);  // Below the watermark.
    ticks(8);
    const auto refused = ask("", {{"op", "backup.begin"}});
    EXPECT_EQ(refused["error"]["code"], "disk_full") << refused;
    EXPECT_TRUE(refused["error"]["retryable"].get<bool>());
    EXPECT_EQ(leftovers(), Lines{});
}

TEST_F(BackupsTest, WithoutADataDirectory) {
    ShardBroker memory{0, state, mail};
    Listener listener{memory};
    memory.admin(listener.id, 1, "", R"({"op":"backup.begin"})");
    ASSERT_EQ(listener.replies.size(), 1U);
    EXPECT_EQ(listener.replies[0]["error"]["code"], "unsupported");
    memory.close_session(listener.id);
}

/// Whatever fails while its files are made: it is said, nothing stays, and the broker goes on.
TEST_F(BackupsTest, EveryOperationThatFails) {
    make(0);
    make(1);
    publish(0, 1, 3);
    publish(1, 1, 3);
    run();
    std::uint64_t sequence = 3;
    for (const auto fault : {sim::DiskFault::no_space, sim::DiskFault::io_error}) {
        bool has_succeeded = false;
        for (std::uint64_t operation = 1; !has_succeeded && operation < 200; ++operation) {
            disk.fail_at(disk.operations() + operation, fault);
            const auto begun = ask("", {{"op", "backup.begin"}});
            disk.clear_faults();
            has_succeeded = begun["ok"].get<bool>();
            if (has_succeeded) {
                EXPECT_GT(operation, 10U);
                EXPECT_TRUE(ask("", {{"op", "backup.end"}, {"id", begun["id"]}})["ok"].get<bool>());
            } else {
                EXPECT_EQ(begun["error"]["code"], fault == sim::DiskFault::no_space ? "disk_full" : "storage_failed");
            }
            EXPECT_EQ(leftovers(), Lines{}) << operation;
            publish(0, ++sequence, 1);
            run();
            EXPECT_EQ(session->confirmed, sequence);
        }
        EXPECT_TRUE(has_succeeded);
    }
}

}  // namespace
}  // namespace baton::runtime
