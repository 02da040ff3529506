// What all shards share: limits (constant), the memory budget and a few counters, all thread-safe. One object, made by
// server/app and outliving every shard. Everything else in the broker belongs to one shard.
// Next file: shard_broker.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "common/base/clock.hpp"
#include "common/base/memory_budget.hpp"
#include "server/runtime/limits.hpp"

namespace baton::runtime {

struct BrokerState {
    BrokerState(const Limits& broker_limits, std::uint32_t shards, const Clock& broker_clock)
        : limits{broker_limits},
          shard_count{shards},
          clock{broker_clock},
          started{broker_clock.now()},
          memory{broker_limits.memory_max} {}

    const Limits limits;
    const std::uint32_t shard_count;
    const Clock& clock;
    const MonotonicTime started;
    MemoryBudget memory;
    std::atomic<std::uint32_t> connections{0};
    std::atomic<std::uint32_t> channels{0};
    std::atomic<std::uint64_t> accepted{0};   ///< Connections since the start.
    std::atomic<bool> is_draining{false};
};

}  // namespace baton::runtime
