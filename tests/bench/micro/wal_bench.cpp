// Appending to the write-ahead log and making groups of it, on a disk in memory: what the shard and the sync worker
// compute, without what a disk costs. Items are records, each a batch of 64 messages of 128 bytes.
#include <benchmark/benchmark.h>

#include "server/storage/wal_writer.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/disk_queue.hpp"

namespace baton::bench {
namespace {

class NoEvents final : public storage::WalEvents {
public:
    void on_wal_synced(storage::Index index) noexcept override { synced = index; }
    void on_wal_failed(const Error&) noexcept override { has_failed = true; }
    storage::Index synced = 0;
    bool has_failed = false;
};

void wal_append(benchmark::State& state) {
    constexpr std::size_t record_size = 64 * 132;
    constexpr std::size_t head_size = 40;
    sim::SimDisk disk;
    BATON_ASSERT(disk.make_directory("shard").has_value());
    sim::SimQueue queue{disk};
    NoEvents events;
    storage::WalWriter writer{queue, events, {.directory = "shard", .generation = 1, .shard = 0, .salt = 1}};
    ChunkPool pool;
    const std::string bytes(record_size, 'x');
    const auto body = Payload::copy_of(pool, as_bytes(bytes));
    const std::array<std::byte, head_size> head{};
    std::uint64_t number = 0;
    for (auto _ : state) {
        for (std::int64_t i = 0; i < state.range(0); ++i) {
            benchmark::DoNotOptimize(writer.append(storage::StreamId{1}, ++number, head, body));
        }
        writer.flush();
        queue.run_all();
        writer.recycle_before(writer.files().back().number);
    }
    queue.run_all();
    if (events.has_failed || events.synced != number) {
        state.SkipWithError("the log did not take everything");
    }
    state.SetItemsProcessed(state.range(0) * state.iterations());
    state.SetBytesProcessed(state.range(0) * state.iterations() * static_cast<std::int64_t>(record_size));
}
BENCHMARK(wal_append)->ArgName("group")->Arg(1)->Arg(16)->Arg(64);

}  // namespace
}  // namespace baton::bench
