// Backups: what is in one, that all shards have the same moment, and that nothing of it stays. Two shards on a
// simulated disk; a client fetches as `baton backup` does, and what it fetched is recovered.
#include "server/runtime/backups.hpp"

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "common/base/base64.hpp"
#include "common/base/batch_builder.hpp"
#include "server/runtime/placement.hpp"
#include "server/runtime/storage_start.hpp"
#include "server/storage/errc.hpp"
#include "tests/sim/disk.hpp"

namespace baton::runtime {
namespace {

using channel::LinkAddress;
using Json = nlohmann::json;
using Lines = std::vector<std::string>;

constexpr std::uint32_t shards = 2;

class Mail final : public MailboxPort {
public:
    void send(std::uint32_t shard, EnvelopeBatch batch) override { queues[shard].push_back(std::move(batch)); }
    std::deque<EnvelopeBatch> queues[shards];
};

class Listener final : public SessionEvents {
public:
    explicit Listener(ShardBroker& broker) : id{broker.open_session(*this)} {}
    [[nodiscard]] LinkAddress link(std::uint16_t number) const { return {id, number}; }

    void on_attached(std::uint16_t number, const Attachment& attachment) override {
        channels[number] = attachment.channel;
    }
    void on_attach_failed(std::uint16_t, std::error_code reason) override { FAIL() << reason.message(); }
    void on_confirmed(std::uint16_t, std::uint64_t sequence, channel::ConfirmLevel) noexcept override {
        confirmed = sequence;
    }
    void on_refused(std::uint16_t, std::uint64_t, std::uint32_t, std::error_code) noexcept override { ++refused; }
    void on_sender_credit(std::uint16_t, channel::Credit) noexcept override {}
    void on_state(std::uint16_t, const LinkStateReport&) noexcept override {}
    void on_deliver(std::uint16_t, const channel::Slice& slice) noexcept override { delivered += slice.count; }
    void on_settle_refused(std::uint16_t, const channel::SettleRange&, std::error_code) noexcept override {}
    void on_settled(std::uint16_t, std::uint64_t receipt) noexcept override { settled = receipt; }
    void on_closed(std::uint16_t, std::error_code) noexcept override {}
    void on_memory_granted(std::uint16_t) override {}
    void on_admin_reply(std::uint64_t, const std::string& json) override { replies.push_back(Json::parse(json)); }

    const channel::SessionId id;
    ChannelRef channels[10];
    std::uint64_t confirmed = 0;
    std::uint64_t refused = 0;
    std::uint64_t delivered = 0;
    std::uint64_t settled = 0;
    std::vector<Json> replies;
};

class BackupsTest : public ::testing::Test {
protected:
    BackupsTest() {
        StorageStart start{disk};
        EXPECT_TRUE(start.recover(pool));
        EXPECT_TRUE(start.begin_generation(shards));
        std::vector<ShardBroker*> all;
        for (std::uint32_t shard = 0; shard < shards; ++shard) {
            brokers.push_back(std::make_unique<ShardBroker>(shard, state, mail));
            brokers.back()->open_store(
                {.files = &disk,
                 .sync_queue = &sync[shard],
                 .bulk_queue = &bulk[shard],
                 .clock = &clock,
                 .pool = &pool,
                 .memory = &state.memory},
                {.generation = start.generation(), .shard = shard, .shard_count = shards, .wal_file_size = 64 * 1024});
            all.push_back(brokers.back().get());
        }
        EXPECT_TRUE(start.install(all, [this] { return run_jobs(); }));
        EXPECT_TRUE(start.finish());
        for (std::uint32_t shard = 0; shard < shards; ++shard) {
            for (int i = 0; names[shard].empty(); ++i) {
                const auto candidate = "c" + std::to_string(i);
                names[shard] = shard_of_channel(candidate, shards) == shard ? candidate : "";
            }
        }
        session = std::make_unique<Listener>(*brokers[0]);
    }
    ~BackupsTest() override {
        if (session) {
            brokers[0]->close_session(session->id);
        }
        run();
    }

    bool run_jobs() {
        bool worked = false;
        for (std::uint32_t shard = 0; shard < shards; ++shard) {
            worked = sync[shard].run_all(disk) || worked;
            worked = bulk[shard].run_all(disk) || worked;
        }
        return worked;
    }
    /// All mail of a shard, and the end of its turn.
    bool turn(std::uint32_t shard) {
        bool worked = false;
        while (!mail.queues[shard].empty()) {
            auto batch = std::move(mail.queues[shard].front());
            mail.queues[shard].pop_front();
            brokers[shard]->receive(std::move(batch));
            worked = true;
        }
        return brokers[shard]->end_turn() || worked;
    }
    void run() {
        for (bool worked = true; worked;) {
            worked = turn(0);
            worked = turn(1) || worked;
            worked = run_jobs() || worked;
        }
    }
    void ticks(int count) {
        for (int i = 0; i < count; ++i) {
            clock.advance(std::chrono::milliseconds{250});
            for (auto& broker : brokers) {
                broker->tick();
            }
            run();
        }
    }
    Json ask(const std::string& name, const Json& request) {
        session->replies.clear();
        brokers[0]->admin(session->id, 1, name, request.dump());
        run();
        return session->replies.size() == 1 ? session->replies.front() : Json{"replies", session->replies.size()};
    }
    void make(std::uint32_t shard) {
        EXPECT_TRUE(ask(names[shard], {{"op", "channel.create"}, {"storage", "durable"}})["ok"].get<bool>());
        AttachRequest sender{.name = names[shard], .is_sender = true, .create = false, .producer{}};
        sender.producer.bytes[0] = std::byte{7};
        brokers[0]->attach(session->link(sender_link(shard)), sender);
        brokers[0]->attach(session->link(receiver_link(shard)),
                           {.name = names[shard], .is_sender = false, .producer{}});
        run();
    }
    static std::uint16_t sender_link(std::uint32_t shard) { return static_cast<std::uint16_t>(1 + 2 * shard); }
    static std::uint16_t receiver_link(std::uint32_t shard) { return static_cast<std::uint16_t>(2 + 2 * shard); }
    /// Sequences are those of one link: one channel a test publishes to, or each from its own first.
    void publish(std::uint32_t shard, std::uint64_t first, std::uint32_t count, std::size_t size = 4) {
        BatchBuilder builder;
        for (std::uint32_t i = 0; i < count; ++i) {
            auto body = std::to_string(first + i);
            body.resize(std::max(size, body.size()), '.');
            builder.append(as_bytes(body));
        }
        brokers[0]->publish(session->link(sender_link(shard)), session->channels[sender_link(shard)], first,
                            builder.take(pool), false);
    }
    void give_and_settle(std::uint32_t shard, std::uint32_t given, std::vector<channel::SettleRange> ranges) {
        const auto link = receiver_link(shard);
        brokers[0]->set_credit(session->link(link), session->channels[link], {given, 1U << 30U});
        run();
        brokers[0]->settle(session->link(link), session->channels[link], ranges, 1);
        run();
    }
    [[nodiscard]] std::vector<std::string> leftovers() const {
        auto all = disk.all_files();
        std::erase_if(all, [](const std::string& path) { return !path.starts_with("backup-"); });
        return all;
    }
    /// What `baton backup` does; into `target`.
    void fetch(const std::string& id, storage::FileSystem& target) {
        for (std::uint64_t from = 0;;) {
            const auto listed = ask("", {{"op", "backup.list"}, {"id", id}, {"from", from}});
            for (const auto& file : listed.at("files")) {
                fetch_file(id, file.at("path").get<std::string>(), file.at("size").get<std::uint64_t>(), target);
            }
            if (!listed.at("more").get<bool>()) {
                return;
            }
            from = listed.at("next").get<std::uint64_t>();
        }
    }
    void fetch_file(const std::string& id, const std::string& path, std::uint64_t size, storage::FileSystem& target) {
        for (auto end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
            ASSERT_TRUE(storage::ensure_directory(target, path.substr(0, end)));
        }
        auto file = target.open(path, storage::OpenMode::create);
        ASSERT_TRUE(file) << path;
        for (std::uint64_t offset = 0; offset < size;) {
            const auto reply = ask("", {{"op", "backup.read"}, {"id", id}, {"path", path}, {"offset", offset}});
            ASSERT_TRUE(reply["ok"].get<bool>()) << reply;
            const auto bytes = base64_decode(reply["body_base64"].get<std::string>()).value();
            const Bytes part = bytes;
            ASSERT_TRUE((*file)->write(offset, {&part, 1}));
            offset += bytes.size();
            ASSERT_EQ(reply["more"].get<bool>(), offset < size);
        }
    }
    Recovery recovered(const std::string& id) {
        sim::SimDisk copy;
        fetch(id, copy);
        auto recovery = recover(copy, pool);
        EXPECT_TRUE(recovery) << recovery.error().message();
        EXPECT_EQ(recovery->damage, Lines{});
        for (const auto& image : recovery->channels) {
            EXPECT_EQ(image.settings().damage, "");
            for (const auto& [first, block] : image.blocks()) {
                std::vector<std::byte> body(block.size);
                EXPECT_TRUE(storage::read_block(copy, image.stream(), block, body)) << first;
            }
        }
        return std::move(*recovery);
    }
    const channel::ChannelImage& image_of(const Recovery& recovery, std::uint32_t shard) {
        return *std::ranges::find(recovery.channels, names[shard],
                                  [](const auto& image) { return image.settings().name; });
    }

    ManualClock clock;
    sim::SimDisk disk;
    BrokerState state{Limits{}, shards, clock};
    ChunkPool pool;
    Mail mail;
    StartQueue sync[shards];
    StartQueue bulk[shards];
    std::string names[shards];
    std::vector<std::unique_ptr<ShardBroker>> brokers;
    std::unique_ptr<Listener> session;
};

TEST_F(BackupsTest, WhatWasConfirmedIsInItAndWhatWasSettledIsNot) {
    make(0);
    make(1);
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
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

TEST_F(BackupsTest, NobodyHearsOfAnythingBetweenTheFirstPictureAndTheLast) {
    make(0);
    make(1);
    publish(0, 1, 1);
    run();
    session->confirmed = 0;
    session->replies.clear();
    brokers[0]->admin(session->id, 1, "", R"({"op":"backup.begin"})");  // Shard 0 has its picture.
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
    EXPECT_EQ(begun["files"], shards + 1);
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
