// `baton bench`: what its three verbs share, the settings and the end. Main thread. Next file: bench_load.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "client/cli/command.hpp"

namespace baton::cli {

enum class BenchVerb : std::uint8_t { throughput, latency, soak };

struct BenchSettings {
    std::vector<std::uint64_t> sizes;  ///< Bytes of a body.
    std::uint64_t channels = 1;
    std::uint64_t senders = 0;  ///< 0: one for each channel.
    std::uint64_t receivers = 0;
    bool has_receivers = false;  ///< 0 is meant.
    std::string kind = "queue";
    bool names_subscriptions = false;  ///< Each receiver has one that outlives its connection, and misses nothing meanwhile.
    std::string storage = "memory";
    std::string confirm = "durable";
    std::uint64_t window = 1'000;
    std::uint64_t receive_window = 8'192;
    std::uint64_t batch = 0;  ///< Messages in one frame at most; 0: as the library does it.
    std::uint64_t rate = 0;  ///< Messages a second of all senders together; 0: as fast as they can.
    std::chrono::nanoseconds duration = std::chrono::seconds{5};
    std::chrono::nanoseconds warm_up = std::chrono::seconds{1};
};

/// What a body must hold: the time of a latency message, the number and checksum of a soak message.
[[nodiscard]] std::uint64_t bench_size_min(BenchVerb verb) noexcept;
/// With what follows from other settings. Throws a usage failure.
[[nodiscard]] BenchSettings completed(BenchSettings settings, BenchVerb verb);

/// Each runs, prints its report and returns the exit code.
int bench_throughput(const Program& program, const BenchSettings& settings);
int bench_latency(const Program& program, const BenchSettings& settings);
int bench_soak(const Program& program, const BenchSettings& settings);

}  // namespace baton::cli
