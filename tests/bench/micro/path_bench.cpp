// The steps of a message's path through one shard, one by one and together. What a step needs from those before it
// happens while the clock stands still. Items are messages.
#include <benchmark/benchmark.h>

#include "tests/bench/broker_path.hpp"

namespace baton::bench {
namespace {

TurnShape shape_of(const benchmark::State& state) {
    return {.frames = 4,
            .batch = static_cast<std::uint32_t>(state.range(0)),
            .size = static_cast<std::size_t>(state.range(1)),
            .receivers = 1};
}

void count(benchmark::State& state, const BrokerPath& path) {
    state.SetItemsProcessed(static_cast<std::int64_t>(path.messages_per_turn()) * state.iterations());
}

/// For those that settle: a number is worth nothing if messages stayed behind.
void count_settled(benchmark::State& state, const BrokerPath& path) {
    if (path.settled() != path.messages_per_turn() * state.iterations()) {
        state.SkipWithError("not all messages went all the way");
    }
    count(state, path);
}

void frame_decode(benchmark::State& state) {
    BrokerPath path{shape_of(state)};
    for (auto _ : state) {
        path.decode();
    }
    count(state, path);
}

Payload batch_of(ChunkPool& pool, const benchmark::State& state) {
    BatchBuilder builder;
    const std::string payload(static_cast<std::size_t>(state.range(1)), 'x');
    for (std::int64_t i = 0; i < state.range(0); ++i) {
        builder.append(as_bytes(payload));
    }
    return builder.take(pool);
}

void batch_walk(benchmark::State& state) {
    ChunkPool pool;
    const auto batch = batch_of(pool, state);
    for (auto _ : state) {
        MessageCursor cursor{messages_of(batch.bytes()), false};
        MessageView message;
        while (cursor.next(message)) {
            benchmark::DoNotOptimize(message.payload.data());
        }
    }
    state.SetItemsProcessed(state.range(0) * state.iterations());
}

void batch_check_crc(benchmark::State& state) {
    ChunkPool pool;
    const auto batch = batch_of(pool, state);
    for (auto _ : state) {
        benchmark::DoNotOptimize(check_batch_crc(batch.bytes()));
    }
    state.SetItemsProcessed(state.range(0) * state.iterations());
}

/// From the bytes of a sender to the settlement of the receivers.
void go_all_the_way(benchmark::State& state, const TurnShape& shape) {
    BrokerPath path{shape};
    for (auto _ : state) {
        path.decode();
        path.publish();
        path.dispatch();
        path.settle();
    }
    count_settled(state, path);
}

void memory_channel(benchmark::State& state) { go_all_the_way(state, shape_of(state)); }

void whole_turn(benchmark::State& state) {
    BrokerPath path{shape_of(state)};
    for (auto _ : state) {
        path.turn();
    }
    count_settled(state, path);
}

/// Of a channel with so many competing receivers.
void dispatcher(benchmark::State& state) {
    go_all_the_way(state,
                   {.frames = 4, .batch = 64, .size = 128, .receivers = static_cast<std::uint16_t>(state.range(0))});
}

/// The same slices for any number of receivers, four messages each: what the choice costs, and not the cutting.
void dispatcher_choice(benchmark::State& state) {
    go_all_the_way(state,
                   {.frames = 64, .batch = 4, .size = 128, .receivers = static_cast<std::uint16_t>(state.range(0))});
}

/// Frames with a payload of this size in and out again: small ones are copied, large ones referenced.
void outbox(benchmark::State& state) {
    constexpr std::size_t frames = 16;
    ChunkPool pool;
    Outbox box{pool};
    const std::string bytes(static_cast<std::size_t>(state.range(0)), 'x');
    const auto payload = Payload::copy_of(pool, as_bytes(bytes));
    std::array<iovec, 64> buffers{};
    for (auto _ : state) {
        for (std::size_t i = 0; i < frames; ++i) {
            box.begin_frame(Lane::data);
            box.append(payload);
            box.end_frame();
        }
        while (const auto count = box.gather(buffers, std::size_t{1} << 30U)) {
            std::size_t size = 0;
            for (std::size_t i = 0; i < count; ++i) {
                size += buffers[i].iov_len;
            }
            box.consume(size);
        }
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(frames) * state.iterations());
}

void shapes(benchmark::internal::Benchmark* benchmark) {
    benchmark->ArgNames({"batch", "size"})->Args({1, 128})->Args({64, 128})->Args({16, 1024});
}

BENCHMARK(frame_decode)->Apply(shapes);
BENCHMARK(batch_walk)->Apply(shapes);
BENCHMARK(batch_check_crc)->Apply(shapes);
BENCHMARK(memory_channel)->Apply(shapes);
BENCHMARK(whole_turn)->Apply(shapes);
BENCHMARK(dispatcher)->ArgName("receivers")->Arg(1)->Arg(4)->Arg(64);
BENCHMARK(dispatcher_choice)->ArgName("receivers")->Arg(1)->Arg(64)->Arg(4096);
BENCHMARK(outbox)->ArgName("size")->Arg(128)->Arg(4096);

}  // namespace
}  // namespace baton::bench
