// A small broker for tests that stop the disk at each of its operations: ShardBrokers with their stores on a SimDisk, a
// session that writes down what it was told, and the facts that must hold in the next life of the broker.
// Not responsible for chance (simulation.hpp) or for what happens when (crash_steps_test.cpp). One thread.
// Next file: crash_steps_test.cpp.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "server/runtime/shard_broker.hpp"
#include "server/runtime/storage_start.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/disk_queue.hpp"

namespace baton::sim {

/// What a client knows of one channel, whose only producer numbers its messages from 1.
struct StepChannel {
    std::string name;
    bool is_made = false;  ///< The answer has come.
    bool is_deletion_asked = false;
    bool is_deleted = false;
    std::uint64_t sent = 0;
    std::set<std::uint64_t> stored;  ///< Confirmed, or found in a later life.
    std::set<std::uint64_t> refused;
    std::set<std::uint64_t> gone_asked, gone;  ///< Settled or purged: asked for, and answered.
    std::map<std::uint64_t, std::uint32_t> attempt_least, attempt_most;  ///< Of the next delivery; absent: 1.
    std::uint64_t confirmed = 0;
};

using StepFacts = std::map<std::string, StepChannel>;

/// One life of the broker. Every function does nothing once the power has gone.
class StepLife final : private runtime::MailboxPort, private runtime::SessionEvents {
public:
    StepLife(SimDisk& disk, std::uint32_t shards, StepFacts& facts);
    ~StepLife() override;

    /// Recovers what is there. An error: how the start failed.
    [[nodiscard]] Result<void> start();
    [[nodiscard]] bool is_off() const { return disk_.is_off(); }
    [[nodiscard]] const runtime::Recovery& recovery() const { return recovery_; }

    void create(const std::string& channel);
    void remove(const std::string& channel);
    void purge(const std::string& channel);
    void publish(const std::string& channel, std::uint32_t count, std::size_t size);
    /// The receiver may have so many more messages.
    void take(const std::string& channel, std::uint64_t count);
    /// Of those that it holds, oldest first.
    void settle(const std::string& channel, std::size_t count, channel::Outcome outcome, bool is_answer_wanted);
    void stop_receiving(const std::string& channel);
    void checkpoint();
    void tick(int count = 1);

    struct Found {
        std::uint64_t number = 0;
        std::uint32_t attempt = 0;
    };
    /// Everything that is in the channel, by taking it; `is_there`: whether the channel is.
    [[nodiscard]] std::vector<Found> contents(const std::string& channel, bool& is_there);
    /// A number that channel.show says; 0: it says nothing.
    [[nodiscard]] std::uint64_t shown(const std::string& channel, const std::string& key);
    [[nodiscard]] std::uint64_t segment_bytes_written() const;
    /// The last number of the producer that the channel knows.
    [[nodiscard]] std::uint64_t known_of_producer(const std::string& channel);

    /// Compares what is there with the facts, and makes what is there the facts.
    void check();

    std::vector<std::string> complaints;  ///< What must never happen.

private:
    struct Link {
        std::string channel;
        bool is_sender = false;
        bool is_attached = false;
        runtime::Attachment attachment;
        std::uint64_t limit = 0;
        channel::Credit credit, used;  // Of a sender.
        struct Held {
            std::uint64_t offset = 0;
            std::uint64_t number = 0;
            std::uint32_t attempt = 0;
        };
        std::deque<Held> held;
        std::uint64_t receipts = 0;
        std::map<std::uint64_t, std::vector<Held>> answered_gone, answered_started;  ///< By receipt.
    };

    void run();
    void check(StepChannel& facts);
    void check_message(StepChannel& facts, std::uint64_t number, const Found* found);
    [[nodiscard]] Link* link_of(const std::string& channel, bool is_sender);
    [[nodiscard]] std::uint16_t number_of(const Link& link) const;
    std::string ask(const std::string& channel, const std::string& json);

    void send(std::uint32_t shard, runtime::EnvelopeBatch batch) override;
    void on_attached(std::uint16_t link, const runtime::Attachment& attachment) override;
    void on_attach_failed(std::uint16_t, std::error_code) override {}
    void on_confirmed(std::uint16_t link, std::uint64_t sequence, channel::ConfirmLevel level) noexcept override;
    void on_refused(std::uint16_t link, std::uint64_t first, std::uint32_t count, std::error_code) noexcept override;
    void on_sender_credit(std::uint16_t link, channel::Credit limit) noexcept override {
        links_[link - 1U].credit = limit;
    }
    void on_state(std::uint16_t, const runtime::LinkStateReport&) noexcept override {}
    void on_deliver(std::uint16_t link, const channel::Slice& slice) noexcept override;
    void on_settle_refused(std::uint16_t, const channel::SettleRange&, std::error_code) noexcept override;
    void on_settled(std::uint16_t link, std::uint64_t receipt) noexcept override;
    void on_closed(std::uint16_t link, std::error_code reason) noexcept override;
    void on_memory_granted(std::uint16_t) override {}
    void on_admin_reply(std::uint64_t, const std::string& json) override { reply_ = json; }

    SimDisk& disk_;
    StepFacts& facts_;
    ManualClock clock_;
    runtime::BrokerState state_;
    ChunkPool pool_;
    SimQueue sync_queue_;
    SimQueue bulk_queue_;
    std::vector<std::unique_ptr<runtime::ShardBroker>> brokers_;
    std::vector<std::deque<runtime::EnvelopeBatch>> mail_;
    runtime::Recovery recovery_;
    channel::SessionId session_{0};
    std::vector<Link> links_;  // Number n is at n - 1.
    std::string reply_;
};

/// The message with this number.
[[nodiscard]] std::string step_body(std::uint64_t number, std::size_t size);

}  // namespace baton::sim
