#include "server/runtime/segment_compactor.hpp"

#include <algorithm>
#include <map>
#include <memory>

#include "server/channel/block_copy.hpp"
#include "server/storage/errc.hpp"

namespace baton::runtime {

namespace {

constexpr Duration period = std::chrono::milliseconds{500};
constexpr std::size_t channels_per_look = 1024;
/// A channel with less is let alone.
constexpr std::uint64_t dead_bytes_min = 256 * 1024;
/// Read by one job: little enough to let others have their turn.
constexpr std::uint64_t copy_bytes = 8ULL << 20;

}  // namespace

struct SegmentCompactor::Copying {
    commit::StreamId stream{0};
    std::uint32_t segment = 0;
    std::vector<Copy> blocks;
    bool is_unreadable = false;
    Result<std::vector<storage::BlockRef>> written;
};

void SegmentCompactor::tick() {
    const auto now = store_.ports_.clock->now();
    if (is_copying_ || store_.condition() != commit::Condition::open || now - looked_ < period) {
        return;
    }
    const auto ids = store_.channels_.durable_channels(visited_, channels_per_look);
    for (const auto id : ids) {
        auto& channel = *store_.channels_.find_channel(id);
        if (channel.dead_bytes() >= dead_bytes_min && begin(id, channel)) {
            return;  // The same channel again, until there is nothing to gain.
        }
        visited_ = id;
    }
    if (ids.size() < channels_per_look) {
        visited_ = ChannelId{0};
        looked_ = now;
    }
}

/// The one with most to gain of those of which less than a half is alive.
std::optional<std::uint32_t> SegmentCompactor::sparse_segment(const channel::Channel& channel) const {
    const auto files = store_.streams_.find(channel.stream());
    if (files == store_.streams_.end()) {
        return std::nullopt;
    }
    std::map<std::uint32_t, std::uint64_t> alive;
    channel.visit_blocks([&](const commit::BlockRef& ref, std::uint64_t dead) {
        alive[ref.segment] += ref.size - std::min<std::uint64_t>(dead, ref.size);
    });
    std::optional<std::uint32_t> best;
    std::uint64_t most = dead_bytes_min / 2;
    for (const auto& [number, bytes] : alive) {
        const auto segment = files->second.segments.find(number);
        const std::uint64_t size = segment != files->second.segments.end() ? segment->second.size : 0;
        const bool is_being_written = number == files->second.newest && files->second.writing > 0;
        if (bytes < size / 2 && size - bytes > most && !is_being_written &&
            !unreadable_.contains({channel.stream(), number})) {
            most = size - bytes;
            best = number;
        }
    }
    return best;
}

bool SegmentCompactor::begin(ChannelId id, channel::Channel& channel) {
    const auto segment = sparse_segment(channel);
    if (!segment) {
        return false;
    }
    auto copying = std::make_shared<Copying>();
    copying->stream = channel.stream();
    copying->segment = *segment;
    std::uint64_t bytes = 0;
    channel.visit_blocks([&](const commit::BlockRef& ref, std::uint64_t dead) {
        if (ref.segment == *segment && bytes < copy_bytes) {
            bytes += ref.size;
            copying->blocks.push_back({.ref = ref, .removed = channel.removed_in(ref.first, ref.end), .dead_bytes = dead});
        }
    });
    std::ranges::sort(copying->blocks, {}, [](const Copy& copy) { return copy.ref.first; });
    auto& files = store_.streams_[copying->stream];
    if (*segment == files.newest) {
        files.writer.reset();  // What is copied begins a new file.
    }
    is_copying_ = true;
    store_.ports_.bulk_queue->submit(
        {[copying, writer = files.begin_writing(copying->stream, store_.settings_.segment_size)](storage::FileSystem& disk) {
             std::vector<storage::BlockContent> contents;
             for (Copy& copy : copying->blocks) {
                 std::vector<std::byte> whole(copy.ref.size);
                 const bool is_read{storage::read_block(disk, copying->stream, copy.ref, whole)};
                 copying->is_unreadable =
                     !is_read || !channel::copy_without(whole, copy.removed, copy.body, copy.entries) || copy.body.empty();
                 if (copying->is_unreadable) {
                     return;
                 }
                 contents.push_back(
                     {.first = copy.ref.first, .end = copy.ref.end, .entries = copy.entries, .parts = {copy.body}});
             }
             copying->written = writer->append(disk, contents);
         },
         [this, id, copying] { finish(id, *copying); }});
    return true;
}

void SegmentCompactor::finish(ChannelId id, const Copying& copying) {
    is_copying_ = false;
    auto* channel = store_.channels_.find_channel(id);
    if (channel == nullptr) {
        return;  // Deleted meanwhile.
    }
    auto& files = store_.streams_[copying.stream];
    --files.writing;
    if (copying.is_unreadable) {
        unreadable_.emplace(copying.stream, copying.segment);
        return;
    }
    if (!copying.written) {
        return store_.on_write_failed(copying.written.error());
    }
    for (std::size_t i = 0; i < copying.blocks.size(); ++i) {
        const storage::BlockRef& ref = (*copying.written)[i];
        files.add(ref);
        files.newest = ref.segment;
        store_.segment_bytes_written_ += ref.size;
        channel->replace_block(copying.blocks[i].ref, ref, copying.blocks[i].dead_bytes);
    }
    store_.channels_.touch_channel(id);
}

}  // namespace baton::runtime
