// What a simulated run looks like. All of it follows from the seed. Plain values. Next file: simulation.hpp.
#pragma once

#include <cstdint>
#include <string>

#include "client/src/client_protocol.hpp"
#include "common/base/clock.hpp"
#include "common/base/prng.hpp"
#include "server/runtime/limits.hpp"

namespace baton::sim {

struct DelayRange {
    Duration least{};
    Duration most{};
    [[nodiscard]] Duration take(Prng& prng) const {
        return Duration{static_cast<Duration::rep>(
            prng.range(static_cast<std::uint64_t>(least.count()), static_cast<std::uint64_t>(most.count())))};
    }
};

// How the bytes of all connections travel.
struct NetworkOptions {
    DelayRange delay;                   // Of each segment; order is kept.
    std::uint64_t segment_max = 4096;   // Writes are split into segments of 1 to so many bytes; 0: never.
    std::uint64_t read_max = 0;         // One read takes at most 1 to so many bytes; 0: everything.
    std::uint64_t capacity = 65'536;    // Bytes under way in one direction before writes block.
    std::uint64_t partial_percent = 0;  // Of writes that take only a part.
};

// How often something goes wrong until the calm begins. Per second and connection, in thousandths; 0: never.
struct FaultOptions {
    std::uint64_t reset = 0;
    std::uint64_t half_open = 0;  // One side, or both, never hear again.
    std::uint64_t crash = 0;      // Of the client's process, which comes back as another one.
    std::uint64_t stall = 0;      // A client does not read for a while.
    DelayRange stall_time;
};

enum class DurableChannels : std::uint8_t {
    none,   // There is no data directory.
    all,    // By default.
    named,  // Those that a policy names: every other one.
    asked,  // The same ones, because an administrator made them.
};

// The disk and the deaths of the broker. Faults per second, in thousandths, until the calm begins.
struct StorageOptions {
    DurableChannels durable = DurableChannels::none;
    std::uint32_t shards_max = 4;  // Each life of the broker has another number of them.
    Duration backlog_time{};       // Receivers do nothing before.
    DelayRange sync_time;          // Of one job of the log,
    DelayRange bulk_time;          // and of all others.
    std::uint64_t wal_file_size = 65'536;
    std::uint64_t segment_size = 262'144;
    std::uint64_t read_ahead = 65'536;
    std::uint64_t entries_per_slice = 3;  // Of a checkpoint.
    std::uint64_t disk_free_min = 65'536;
    std::uint64_t capacity = 1ULL << 30U;
    Duration settle_interval = std::chrono::milliseconds{15};
    std::uint64_t received_percent = 0;  // Of senders that want no more than "received".
    std::uint64_t death = 0;
    std::uint64_t interrupted_start_percent = 0;
    std::uint64_t failure = 0;  // An operation, or a few, that fail.
    std::uint64_t full = 0;     // No space, for a while:
    DelayRange full_time;
    std::uint64_t unreadable = 0;  // A segment can be read no more.
    DelayRange restart_pause;
};

struct SimOptions {
    std::uint64_t seed = 0;
    std::uint32_t shards = 1;
    std::uint32_t channels = 1;
    std::uint32_t clients = 2;
    std::uint32_t senders_max = 2;  // Per client, at least one of both kinds in all.
    std::uint32_t receivers_max = 2;
    std::uint32_t raw_senders = 0;    // That send too much again after a reconnect.
    std::uint32_t messages = 200;     // Per sender.
    std::uint64_t body_max = 500;     // Usual bodies have 0 to so many bytes,
    std::uint64_t large_percent = 0;  // and these are large:
    std::uint64_t large_max = 0;
    std::uint64_t batch_max = 20;
    DelayRange publish_pause;
    DelayRange work_pause;  // Of a receiver, between steps.
    std::uint64_t give_back_percent = 5;
    std::uint64_t receipt_percent = 20;
    std::uint64_t link_close_percent = 0;  // Of a receiver's steps: closes its link and opens another.
    client::ReceiverWindow window;
    Duration client_heartbeat = std::chrono::seconds{10};
    DelayRange mailbox_delay;
    DelayRange reconnect_pause;
    Duration faults_time = std::chrono::seconds{5};
    bool is_drained_under_load = false;  // The end comes while everybody is still at work.
    bool is_left_over = false;           // Receivers stop before everything is received.
    NetworkOptions network;
    FaultOptions faults;
    StorageOptions storage;
    runtime::Limits limits;
};

[[nodiscard]] SimOptions make_options(std::uint64_t seed);
[[nodiscard]] std::string describe(const SimOptions& options);

}  // namespace baton::sim
