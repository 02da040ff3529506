// A broker of two shards on a simulated disk, without threads, and a client that makes backups of it as `baton backup`
// does and brings them back as `baton restore` does. For tests. Next files: backups_test.cpp, restores_test.cpp.
#pragma once

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

using channel::LinkAddress;
using Json = nlohmann::json;
using Lines = std::vector<std::string>;

inline constexpr std::uint32_t shards_total = 2;

class Mail final : public MailboxPort {
public:
    void send(std::uint32_t shard, EnvelopeBatch batch) override { queues[shard].push_back(std::move(batch)); }
    std::deque<EnvelopeBatch> queues[shards_total];
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
    void on_deliver(std::uint16_t, const channel::Slice& slice) noexcept override {
        delivered += slice.count;
        slices.push_back({slice.first, slice.count, slice.attempt});
    }
    void on_settle_refused(std::uint16_t, const channel::SettleRange&, std::error_code) noexcept override {}
    void on_settled(std::uint16_t, std::uint64_t receipt) noexcept override { settled = receipt; }
    void on_closed(std::uint16_t, std::error_code) noexcept override {}
    void on_memory_granted(std::uint16_t) override {}
    void on_admin_reply(std::uint64_t, const std::string& json) override { replies.push_back(Json::parse(json)); }
    void on_step(std::uint64_t request, std::error_code reason, std::uint32_t section) override {
        steps.push_back({request, reason, section});
    }

    const channel::SessionId id;
    ChannelRef channels[10];
    std::uint64_t confirmed = 0;
    std::uint64_t refused = 0;
    std::uint64_t delivered = 0;
    std::vector<channel::SettleRange> slices;  ///< What was delivered.
    std::uint64_t settled = 0;
    std::vector<Json> replies;
    struct Stepped {
        std::uint64_t request = 0;
        std::error_code reason;
        std::uint32_t section = 0;
    };
    std::vector<Stepped> steps;
};

class TwoShards {
public:
    explicit TwoShards(std::uint64_t slice = 16'384)
        : own_{std::make_unique<sim::SimDisk>()}, disk{*own_}, entries_per_slice{slice} {
        must_start();
    }
    /// On what another one has left there.
    explicit TwoShards(sim::SimDisk& used) : disk{used} { must_start(); }
    struct NotYet {};
    TwoShards(sim::SimDisk& used, NotYet) : disk{used} {}
    TwoShards(const TwoShards&) = delete;
    TwoShards& operator=(const TwoShards&) = delete;
    ~TwoShards() {
        if (session) {
            brokers[0]->close_session(session->id);
        }
        run();
    }

    void must_start() {
        const auto done = start();
        ASSERT_TRUE(done) << done.error().message();
    }
    [[nodiscard]] Result<void> start() {
        StorageStart start{disk};
        auto done = start.recover(pool);
        EXPECT_EQ(start.recovery().damage, Lines{});
        done = done ? start.begin_generation(shards_total) : done;
        if (!done) {
            return done;
        }
        std::vector<ShardBroker*> all;
        for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
            brokers.push_back(std::make_unique<ShardBroker>(shard, state, mail));
            brokers.back()->open_store(
                {.files = &disk,
                 .sync_queue = &sync[shard],
                 .bulk_queue = &bulk[shard],
                 .clock = &clock,
                 .pool = &pool,
                 .memory = &state.memory},
                {.generation = start.generation(), .shard = shard, .shard_count = shards_total, .wal_file_size = 64 * 1024,
                 .entries_per_slice = entries_per_slice});
            all.push_back(brokers.back().get());
        }
        done = start.install(all, [this] { return run_jobs(); });
        done = done ? start.finish() : done;
        for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
            for (int i = 0; names[shard].empty(); ++i) {
                const auto candidate = "c" + std::to_string(i);
                names[shard] = shard_of_channel(candidate, shards_total) == shard ? candidate : "";
            }
        }
        session = std::make_unique<Listener>(*brokers[0]);
        return done;
    }

    /// At most one of each queue.
    void run_one_job() {
        for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
            sync[shard].run_one(disk);
            bulk[shard].run_one(disk);
        }
    }
    bool run_jobs() {
        bool worked = false;
        for (std::uint32_t shard = 0; shard < shards_total; ++shard) {
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
        for (bool worked = brokers.size() == shards_total; worked;) {
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
        std::erase_if(
            all, [](const std::string& path) { return !path.starts_with("backup-") && !path.starts_with("restore-"); });
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

private:
    std::unique_ptr<sim::SimDisk> own_;

public:
    ManualClock clock;
    sim::SimDisk& disk;
    const std::uint64_t entries_per_slice = 16'384;  ///< Of a picture or a checkpoint, in one turn.
    BrokerState state{Limits{}, shards_total, clock};
    ChunkPool pool;
    Mail mail;
    StartQueue sync[shards_total];
    StartQueue bulk[shards_total];
    std::string names[shards_total];
    std::vector<std::unique_ptr<ShardBroker>> brokers;
    std::unique_ptr<Listener> session;
};

/// The power goes in a start on what is on this disk: at its first operation, its second one, and so on until it comes to its
/// end. `check` looks each time at a copy on which nothing survived that was not synced.
template <class Check>
void interrupt_each_start(const sim::SimDisk& used, Check check) {
    const auto before = used.snapshot();
    bool was_cut = true;
    for (std::uint64_t operation = 1; was_cut; ++operation) {
        sim::SimDisk disk;
        disk.restore(before);
        disk.crash_at(disk.operations() + operation);
        {
            TwoShards interrupted{disk, TwoShards::NotYet{}};
            const bool has_started = interrupted.start().has_value();
            was_cut = disk.is_off();
            EXPECT_EQ(has_started, !was_cut) << operation;
        }
        disk.crash_losing_everything();
        disk.clear_faults();
        check(disk, operation);
    }
}

}  // namespace baton::runtime
