// What all shards share: limits (constant), the memory budget and a few counters, all thread-safe. One object, made by
// server/app and outliving every shard. Everything else in the broker belongs to one shard.
// Next file: shard_broker.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/memory_budget.hpp"
#include "server/runtime/channel_policy.hpp"
#include "server/runtime/limits.hpp"
#include "server/runtime/policy_book.hpp"

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
    // What a channel gets that is created without settings of its own.
    PolicyBook policies;
    bool is_durable_by_default = false;  // Set before the shards run.
    MemoryBudget memory;
    std::atomic<std::uint32_t> connections{0};
    std::atomic<std::uint32_t> channels{0};
    std::atomic<std::uint64_t> accepted{0};   ///< Connections since the start.
    std::atomic<bool> is_draining{false};
};

/// Of a channel that is created without settings.
[[nodiscard]] inline channel::ChannelOptions default_options(const BrokerState& state, std::string_view name) {
    return options_for(name, state.limits, state.is_durable_by_default, state.policies.view()->effective);
}

}  // namespace baton::runtime
