#include "server/runtime/storage_start.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "common/base/assert.hpp"
#include "server/runtime/placement.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/segment.hpp"

namespace baton::runtime {

namespace {

/// Records of channels that are made gather before they are written: there may be very many channels, or large ones.
constexpr std::size_t flush_every = 256;
constexpr std::uint64_t flush_bytes = 4ULL << 20;
/// Of a channel in the log and the checkpoint, besides its messages.
constexpr std::uint64_t image_overhead = 512;

/// Those of a stream that are not to be kept.
Result<void> remove_segments(storage::FileSystem& files, storage::StreamId stream, const std::set<std::uint32_t>& kept) {
    const auto names = files.list(storage::stream_directory(stream));
    for (const auto& name : names ? *names : std::vector<std::string>{}) {
        const auto number = storage::segment_file_number(name);
        if (number && !kept.contains(*number)) {
            if (auto removed = files.remove(storage::segment_path(stream, *number)); !removed) {
                return removed;
            }
        }
    }
    return {};
}

void flush(const std::vector<ShardBroker*>& brokers, const std::function<bool()>& pump) {
    for (ShardBroker* broker : brokers) {
        broker->store()->flush();
    }
    pump();
}

}  // namespace

// --- StartQueue ------------------------------------------------------------------------------------------------------------

void StartQueue::submit(storage::IoJob job) {
    if (target_ != nullptr) {
        target_->submit(std::move(job));
    } else {
        jobs_.push_back(std::move(job));
    }
}

bool StartQueue::run_one(storage::FileSystem& files) {
    if (jobs_.empty()) {
        return false;
    }
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    job.run(files);
    job.done();
    return true;
}

bool StartQueue::run_all(storage::FileSystem& files) {
    const bool had_any = run_one(files);
    while (run_one(files)) {
    }
    return had_any;
}

void StartQueue::forward_to(storage::IoQueue& queue) {
    BATON_ASSERT(jobs_.empty());
    target_ = &queue;
}

// --- StorageStart ------------------------------------------------------------------------------------------------------------

Result<void> StorageStart::recover(ChunkPool& pool, const RecoveryProgress& progress) {
    auto recovered = runtime::recover(files_, pool, progress);
    if (!recovered) {
        return fail(recovered.error());
    }
    recovery_ = std::move(*recovered);
    has_damage_ = !recovery_.damage.empty();
    if (!recovery_.manifest) {
        // Folders without a manifest would look like damage after a crash.
        recovery_.manifest = storage::Manifest{};
        return storage::store_manifest(files_, *recovery_.manifest);
    }
    generation_ = recovery_.manifest->generation + 1;
    if (auto removed = storage::remove_leftovers(files_, *recovery_.manifest); !removed) {
        return removed;
    }
    return remove_unfinished_copies();
}

// Whatever was being copied to segments when the broker died is still in the log, which is about to be written once more: on a
// small file system there is no room for all three. What the checkpoint names stays until finish(): the log may say that
// nothing lives in it, but the end of the log is perhaps not durable yet.
Result<void> StorageStart::remove_unfinished_copies() {
    for (std::uint32_t shard = 0; shard < recovery_.manifest->shards; ++shard) {
        // The checkpoint that was read may be visible and yet not durable, and the one before it name other segments.
        const auto directory = storage::shard_directory(recovery_.manifest->generation, shard);
        if (auto synced = files_.sync_directory(directory); !synced) {
            return synced;
        }
    }
    return remove_unnamed(recovery_.checkpointed);
}

Result<void> StorageStart::begin_generation(std::uint32_t shards) {
    shards_ = shards;
    const auto directory = storage::generation_directory(generation_);
    if (auto removed = storage::remove_tree(files_, directory); !removed) {
        return removed;  // Of a start that was interrupted before there was a manifest.
    }
    if (auto made = storage::ensure_directory(files_, directory); !made) {
        return made;
    }
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
        if (auto made = storage::ensure_directory(files_, storage::shard_directory(generation_, shard)); !made) {
            return made;
        }
    }
    if (auto synced = files_.sync_directory(directory); !synced) {
        return synced;
    }
    return files_.sync_directory("");
}

std::uint64_t StorageStart::bytes_needed(std::uint64_t wal_file_size) const {
    std::uint64_t bytes = shards_ * wal_file_size;  // The last file of each log is not full.
    for (const auto& image : recovery_.channels) {
        bytes += image_overhead;
        for (const auto& [first, batch] : image.batches()) {
            bytes += batch.messages.size();
        }
    }
    return bytes;
}

Result<void> StorageStart::install(const std::vector<ShardBroker*>& brokers, const std::function<bool()>& pump) {
    BATON_ASSERT(brokers.size() == shards_);
    auto done = install_all(brokers, pump);
    if (!done) {
        // What is there is of no use, and in the way of who makes space. What stays is removed by the next start.
        static_cast<void>(storage::remove_tree(files_, storage::generation_directory(generation_)));
    }
    return done;
}

Result<void> StorageStart::install_all(const std::vector<ShardBroker*>& brokers, const std::function<bool()>& pump) {
    std::size_t waiting = 0;
    for (const auto& image : recovery_.channels) {
        const bool was_damaged = !image.settings().damage.empty();
        ShardBroker& broker = *brokers[shard_of_channel(image.settings().name, shards_)];
        if (!broker.install_channel(image) && !was_damaged) {
            recovery_.damage.push_back("channel \"" + image.settings().name + "\": a block of a segment cannot be read");
            has_damage_ = true;
        }
        // A damaged channel whose messages were in the log: they are only there.
        has_damage_ = has_damage_ || (was_damaged && !image.batches().empty());
        if (++waiting == flush_every || broker.store()->local_log().wal().unsynced_bytes() > flush_bytes) {
            waiting = 0;
            flush(brokers, pump);
        }
    }
    flush(brokers, pump);
    std::size_t done = 0;
    for (ShardBroker* broker : brokers) {
        broker->store()->checkpoint([&done] { ++done; });
    }
    while (done < brokers.size()) {
        if (!pump()) {
            break;
        }
    }
    if (done < brokers.size()) {
        for (ShardBroker* broker : brokers) {
            if (!broker->store()->trouble().empty()) {
                return fail(storage::Errc::io_error, broker->store()->trouble());
            }
        }
        return fail(storage::Errc::no_space, "the first checkpoint cannot be written");
    }
    return {};
}

Result<void> StorageStart::finish() {
    if (auto stored = storage::store_manifest(files_, {.generation = generation_, .shards = shards_}); !stored) {
        return stored;
    }
    if (recovery_.manifest->generation == 0) {
        return {};
    }
    for (const auto stream : recovery_.pending) {
        if (auto removed = storage::remove_tree(files_, storage::stream_directory(stream)); !removed) {
            return removed;
        }
    }
    if (auto removed = storage::remove_restores(files_); !removed) {
        return removed;  // Behind the switch: until then they say what does not count.
    }
    const auto old = storage::generation_directory(recovery_.manifest->generation);
    if (has_damage_) {
        if (auto kept = files_.rename(old, storage::damaged_directory(recovery_.manifest->generation)); !kept) {
            return kept;
        }
        return files_.sync_directory("");
    }
    if (auto removed = storage::remove_tree(files_, old); !removed) {
        return removed;
    }
    return remove_orphans();
}

// Segments that no channel knows: what was being written when the broker died, and what was about to be removed.
Result<void> StorageStart::remove_orphans() {
    SegmentNumbers known;
    for (const auto& image : recovery_.channels) {
        auto& segments = known[image.stream()];
        for (const auto& [first, block] : image.blocks()) {
            segments.insert(block.segment);
        }
    }
    return remove_unnamed(known);
}

// Only if nothing is damaged: then everything that is known is known. Unfinished restores are finish()'s.
Result<void> StorageStart::remove_unnamed(const SegmentNumbers& named) {
    const auto is_damaged = [](const channel::ChannelImage& image) { return !image.settings().damage.empty(); };
    if (has_damage_ || std::ranges::any_of(recovery_.channels, is_damaged)) {
        return {};
    }
    const auto directories = files_.list("channels");
    if (!directories) {
        return directories.error().code == storage::Errc::not_found ? Result<void>{} : fail(directories.error());
    }
    for (const auto& name : *directories) {
        const auto stream = storage::stream_of_directory(name);
        if (!stream || std::ranges::binary_search(recovery_.pending, *stream)) {
            continue;
        }
        const auto found = named.find(*stream);
        auto removed = found == named.end() ? storage::remove_tree(files_, storage::stream_directory(*stream))
                                            : remove_segments(files_, *stream, found->second);
        if (!removed) {
            return removed;
        }
    }
    return {};
}

}  // namespace baton::runtime
