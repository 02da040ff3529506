#include "tests/sim/options.hpp"

#include <initializer_list>
#include <vector>

#include "common/wire/frame.hpp"

namespace baton::sim {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

template <class Value>
Value one_of(Prng& prng, std::initializer_list<Value> values) {
    return std::data(values)[prng.below(values.size())];
}

NetworkOptions make_network(Prng& prng) {
    return {.delay = one_of<DelayRange>(prng, {{microseconds{1}, microseconds{50}},
                                               {microseconds{100}, milliseconds{5}},
                                               {milliseconds{1}, milliseconds{80}}}),
            .segment_max = one_of<std::uint64_t>(prng, {0, 0, 1'448, 9'000, 40}),
            .read_max = one_of<std::uint64_t>(prng, {0, 0, 4'096, 100}),
            .capacity = one_of<std::uint64_t>(prng, {1'000, 20'000, 65'536, 1'000'000}),
            .partial_percent = one_of<std::uint64_t>(prng, {0, 10, 60})};
}

FaultOptions make_faults(Prng& prng) {
    FaultOptions faults;
    faults.stall_time = {milliseconds{10}, seconds{3}};
    if (prng.chance(1, 5)) {
        return faults;  // A quiet day.
    }
    faults.reset = one_of<std::uint64_t>(prng, {0, 50, 300, 2'000});
    faults.half_open = one_of<std::uint64_t>(prng, {0, 50, 200});
    faults.crash = one_of<std::uint64_t>(prng, {0, 50, 300});
    faults.stall = one_of<std::uint64_t>(prng, {0, 200});
    return faults;
}

StorageOptions make_storage(Prng& prng) {
    StorageOptions storage;
    if (prng.chance(1, 4)) {
        return storage;  // A broker without a data directory.
    }
    storage.durable = one_of(prng, {DurableChannels::all, DurableChannels::named, DurableChannels::asked});
    storage.sync_time = one_of<DelayRange>(prng, {{microseconds{10}, microseconds{200}},
                                                  {milliseconds{1}, milliseconds{8}},
                                                  {milliseconds{1}, milliseconds{90}}});
    storage.bulk_time =
        one_of<DelayRange>(prng, {{microseconds{10}, milliseconds{1}}, {milliseconds{1}, milliseconds{60}}});
    storage.segment_size = one_of<std::uint64_t>(prng, {65'536, 1U << 20U});
    storage.read_ahead = one_of<std::uint64_t>(prng, {1'000, 65'536, 1U << 20U});
    storage.settle_interval = one_of<Duration>(prng, {milliseconds{0}, milliseconds{15}, milliseconds{200}});
    storage.received_percent = one_of<std::uint64_t>(prng, {0, 0, 30});
    storage.full_time = {milliseconds{100}, seconds{3}};
    storage.restart_pause = {milliseconds{1}, one_of<Duration>(prng, {milliseconds{20}, milliseconds{800}})};
    if (prng.chance(1, 8)) {
        return storage;  // Of a better make.
    }
    storage.death = one_of<std::uint64_t>(prng, {0, 200, 600, 2'000});
    storage.interrupted_start_percent = one_of<std::uint64_t>(prng, {0, 30, 60});
    storage.failure = one_of<std::uint64_t>(prng, {0, 0, 0, 300});
    storage.full = one_of<std::uint64_t>(prng, {0, 0, 200});
    storage.unreadable = one_of<std::uint64_t>(prng, {0, 0, 0, 0, 0, 300});
    return storage;
}

runtime::Limits make_limits(Prng& prng) {
    runtime::Limits limits;
    limits.heartbeat_interval = one_of<Duration>(prng, {seconds{1}, seconds{10}});
    limits.frame_size_max = one_of<std::uint32_t>(prng, {wire::frame_size_max_minimum, 100'000, 262'144});
    limits.outbox_high_water = one_of<std::uint64_t>(prng, {4'000, 100'000, 4U << 20U});
    limits.outbox_low_water = limits.outbox_high_water / 4;
    // Answers are bounded by the low mark: a peer that reads slowly must not be mistaken for one that does not read.
    limits.outbox_low_water = std::max<std::uint64_t>(limits.outbox_low_water, 64'000);
    limits.outbox_high_water = std::max(limits.outbox_high_water, limits.outbox_low_water);
    auto& channel = limits.channel_defaults;
    channel.messages_max = one_of<std::uint64_t>(prng, {1, 7, 100, 10'000'000});
    channel.bytes_max = one_of<std::uint64_t>(prng, {400'000, 5'000'000, 512U << 20U});
    channel.sender_window = one_of<channel::Credit>(prng, {{65'536, 4U << 20U}, {3, 5'000}, {100, 20'000}});
    return limits;
}

}  // namespace

SimOptions make_options(std::uint64_t seed) {
    Prng prng{seed ^ 0x5eed5eed5eed5eedU};
    SimOptions options;
    options.seed = seed;
    options.shards = one_of<std::uint32_t>(prng, {1, 2, 4});
    options.channels = static_cast<std::uint32_t>(prng.range(1, 4));
    options.clients = static_cast<std::uint32_t>(prng.range(2, 6));
    options.raw_senders = static_cast<std::uint32_t>(prng.below(3));
    options.messages = one_of<std::uint32_t>(prng, {30, 200, 500});
    options.body_max = one_of<std::uint64_t>(prng, {40, 500, 6'000});
    if (prng.chance(1, 2)) {
        options.large_percent = prng.range(1, 5);
        options.large_max = one_of<std::uint64_t>(prng, {70'000, 200'000, 390'000});
    }
    options.batch_max = one_of<std::uint64_t>(prng, {1, 20, 60});
    options.publish_pause = one_of<DelayRange>(prng, {{microseconds{0}, microseconds{10}},
                                                      {milliseconds{0}, milliseconds{20}},
                                                      {milliseconds{5}, milliseconds{200}}});
    options.work_pause = one_of<DelayRange>(prng, {{microseconds{0}, microseconds{10}},
                                                   {microseconds{10}, milliseconds{5}},
                                                   {milliseconds{1}, milliseconds{40}}});
    options.give_back_percent = one_of<std::uint64_t>(prng, {0, 5, 25});
    options.receipt_percent = one_of<std::uint64_t>(prng, {0, 20, 100});
    options.link_close_percent = one_of<std::uint64_t>(prng, {0, 0, 2, 15});
    options.window = {.messages = one_of<std::uint64_t>(prng, {1, 2, 64, 1'000}),
                      .bytes = one_of<std::uint64_t>(prng, {1, 1'000, 100'000, 4U << 20U}),
                      .is_on_demand = prng.chance(1, 4)};
    options.client_heartbeat = one_of<Duration>(prng, {milliseconds{500}, seconds{2}, seconds{10}});
    options.mailbox_delay = one_of<DelayRange>(
        prng,
        {{microseconds{0}, microseconds{5}}, {microseconds{1}, milliseconds{2}}, {milliseconds{0}, milliseconds{60}}});
    options.reconnect_pause = {milliseconds{1}, one_of<Duration>(prng, {milliseconds{10}, seconds{2}})};
    options.faults_time = seconds{prng.range(1, 8)};
    options.is_drained_under_load = prng.chance(1, 5);
    options.is_left_over = prng.chance(1, 4);
    options.network = make_network(prng);
    options.faults = make_faults(prng);
    options.storage = make_storage(prng);
    options.limits = make_limits(prng);
    // Each shard keeps two chunks of its own; a large message may take half of what there is.
    const std::uint32_t shards_max = options.storage.durable == DurableChannels::none ? options.shards : 4;
    options.limits.memory_max = one_of<std::uint64_t>(prng, {shards_max * (2U << 20U), 20U << 20U, 1U << 30U});
    // Credit that was promised is never taken back: idle senders with large windows would keep a small memory for
    // themselves, for ever.
    auto& window = options.limits.channel_defaults.sender_window;
    window.bytes = std::min<std::uint64_t>(window.bytes, options.limits.memory_max / 64);
    options.limits.durable_defaults = options.limits.channel_defaults;
    options.limits.durable_defaults.is_durable = true;
    return options;
}

std::string describe(const SimOptions& options) {
    const auto number = [](const char* name, std::uint64_t value) {
        return std::string{" "} + name + "=" + std::to_string(value);
    };
    const auto& channel = options.limits.channel_defaults;
    return "seed " + std::to_string(options.seed) + ":" + number("shards", options.shards) +
           number("channels", options.channels) + number("clients", options.clients) +
           number("raw_senders", options.raw_senders) + number("messages", options.messages) +
           number("body_max", options.body_max) + number("large_percent", options.large_percent) +
           number("large_max", options.large_max) + number("window.messages", options.window.messages) +
           number("window.bytes", options.window.bytes) + number("on_demand", options.window.is_on_demand) +
           number("messages_max", channel.messages_max) + number("bytes_max", channel.bytes_max) +
           number("memory_max", options.limits.memory_max) + number("high_water", options.limits.outbox_high_water) +
           number("segment_max", options.network.segment_max) + number("read_max", options.network.read_max) +
           number("capacity", options.network.capacity) + number("reset", options.faults.reset) +
           number("half_open", options.faults.half_open) + number("crash", options.faults.crash) +
           number("stall", options.faults.stall) + number("under_load", options.is_drained_under_load) +
           number("left_over", options.is_left_over) +
           number("durable", static_cast<std::uint64_t>(options.storage.durable)) +
           number("death", options.storage.death) + number("interrupted", options.storage.interrupted_start_percent) +
           number("failure", options.storage.failure) + number("full", options.storage.full) +
           number("unreadable", options.storage.unreadable) + number("read_ahead", options.storage.read_ahead);
}

}  // namespace baton::sim
