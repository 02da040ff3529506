// One shard with durable channels on a simulated disk, whose log and files are written when the test says so.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "server/runtime/storage_start.hpp"
#include "tests/sim/disk.hpp"

namespace baton::runtime {

class NoMail final : public MailboxPort {
public:
    void send(std::uint32_t, EnvelopeBatch) override { FAIL() << "there is one shard"; }
};

class Answers final : public SessionEvents {
public:
    void on_attached(std::uint16_t link, const Attachment& attachment) override {
        ++attached;
        channels[link] = attachment.channel;
    }
    void on_attach_failed(std::uint16_t, std::error_code reason) override { FAIL() << reason.message(); }
    void on_confirmed(std::uint16_t, std::uint64_t, channel::ConfirmLevel) noexcept override {}
    void on_refused(std::uint16_t, std::uint64_t, std::uint32_t, std::error_code) noexcept override {}
    void on_sender_credit(std::uint16_t, channel::Credit) noexcept override {}
    void on_state(std::uint16_t, const LinkStateReport&) noexcept override {}
    void on_deliver(std::uint16_t link, const channel::Slice& slice) noexcept override {
        delivered.push_back({link, {.first = slice.first, .count = slice.count, .attempt = slice.attempt}});
    }
    void on_settle_refused(std::uint16_t, const channel::SettleRange&, std::error_code) noexcept override {}
    void on_settled(std::uint16_t, std::uint64_t) noexcept override {}
    void on_closed(std::uint16_t, std::error_code) noexcept override {}
    void on_memory_granted(std::uint16_t) override {}
    void on_admin_reply(std::uint64_t, const std::string& json) override {
        replies.push_back(nlohmann::json::parse(json));
    }

    struct Delivered {
        std::uint16_t link = 0;
        channel::SettleRange range;
    };
    int attached = 0;
    std::map<std::uint16_t, ChannelRef> channels;
    std::vector<Delivered> delivered;
    std::vector<nlohmann::json> replies;
};

class DurableWorld {
public:
    explicit DurableWorld(const Limits& limits = {}) : state{limits, 1, clock} {
        state.is_durable_by_default = true;
        StorageStart start{disk};
        EXPECT_TRUE(start.recover(pool));
        EXPECT_TRUE(start.begin_generation(1));
        broker.open_store({.files = &disk,
                           .sync_queue = &sync,
                           .bulk_queue = &bulk,
                           .clock = &clock,
                           .pool = &pool,
                           .memory = &state.memory},
                          {.generation = start.generation(), .wal_file_size = 64 * 1024});
        EXPECT_TRUE(start.install({&broker}, [this] {
            const bool had_bulk = bulk.run_all(disk);
            return sync.run_all(disk) || had_bulk;
        }));
        EXPECT_TRUE(start.finish());
        session = broker.open_session(listener);
    }
    ~DurableWorld() {
        broker.close_session(session);
        broker.end_turn();
        write_log();
    }
    void ask(const std::string& name, const nlohmann::json& request) {
        broker.admin(session, 1, name, request.dump());
        broker.end_turn();
    }
    /// Everything that is on its way to the disk, and what follows from that.
    void run() {
        broker.end_turn();
        while (run_jobs()) {
            broker.end_turn();
        }
    }
    /// Of both queues. True if there were any.
    bool run_jobs() {
        const bool has_synced = sync.run_all(disk);
        return bulk.run_all(disk) || has_synced;
    }
    void write_log() {
        while (sync.run_all(disk)) {
            broker.end_turn();
        }
    }

    ManualClock clock;
    BrokerState state;
    NoMail mail;
    sim::SimDisk disk;
    ChunkPool pool{256 * 1024, 64, &state.memory};
    StartQueue sync;
    StartQueue bulk;
    Answers listener;
    ShardBroker broker{0, state, mail};
    channel::SessionId session{0};
};

}  // namespace baton::runtime
