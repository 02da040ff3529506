#include "server/runtime/shard_store.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/text_form.hpp"
#include "server/runtime/checkpointer.hpp"
#include "server/runtime/segment_compactor.hpp"
#include "server/storage/data_directory.hpp"
#include "server/storage/errc.hpp"

namespace baton::runtime {

namespace {

/// Written by one job when memory has to be freed: enough to be fast, little enough to let others have their turn.
constexpr std::uint64_t spill_bytes = 16ULL << 20;
/// What may wait for the log: little where its files are small because the file system is.
constexpr std::uint64_t congestion_min = 1ULL << 20;
constexpr std::uint64_t congestion_max = 64ULL << 20;
constexpr std::size_t small_disk_files_max = 8;  // A quarter of the file system, all shards together.
/// Looked at in one turn, for memory.
constexpr std::size_t channels_per_turn = 2048;
constexpr Duration space_period = std::chrono::milliseconds{100};
/// Somebody who ends the broker does not wait longer than this for a log without space: enough for a log file to become free.
constexpr Duration space_patience = std::chrono::seconds{1};

commit::LocalLogSettings log_settings(const ShardStoreSettings& settings) {
    return {.wal = {.directory = storage::shard_directory(settings.generation, settings.shard),
                    .generation = settings.generation,
                    .shard = settings.shard,
                    .salt = settings.wal_salt,
                    .file_size = settings.wal_file_size},
            .settle_interval = settings.settle_interval,
            .congestion_bytes = std::clamp(2 * settings.wal_file_size, congestion_min, congestion_max),
            .congestion_files = settings.is_disk_small ? small_disk_files_max : 0};
}

}  // namespace

ShardStore::ShardStore(DurableChannels& channels, const StorePorts& ports, const ShardStoreSettings& settings)
    : channels_{channels},
      ports_{ports},
      settings_{settings},
      log_{*ports.sync_queue, *this, *ports.clock, log_settings(settings)},
      checkpointer_{std::make_unique<Checkpointer>(*this)},
      compactor_{std::make_unique<SegmentCompactor>(*this)} {}

ShardStore::~ShardStore() = default;

// --- Channels ----------------------------------------------------------------------------------------------------------

// Unique: a generation is never used twice, nor a shard's number in it.
commit::StreamId ShardStore::new_stream() noexcept {
    constexpr unsigned generation_shift = 32;
    constexpr unsigned shard_shift = 22;
    ++streams_made_;
    BATON_ASSERT(streams_made_ < (1ULL << shard_shift) && settings_.shard < 1024);
    return commit::StreamId{(settings_.generation << generation_shift) |
                            (static_cast<std::uint64_t>(settings_.shard) << shard_shift) | streams_made_};
}

void ShardStore::adopt(channel::Channel& channel) {
    StreamFiles& files = streams_[channel.stream()];
    const auto dead = channel.take_dead_blocks();
    for (const auto& blocks : {channel.blocks(), dead}) {
        for (const auto& block : blocks) {
            files.add(block);
            files.newest = std::max(files.newest, block.segment);
        }
    }
    bury(channel.stream(), files, dead);
}

void ShardStore::forget(commit::StreamId stream) {
    streams_.erase(stream);
    std::erase_if(garbage_, [&](const Garbage& garbage) { return garbage.stream == stream; });
    log_.forget(stream);
    deleted_.push_back({stream, log_.submitted()});
}

// The deletion is committed: whatever happens now, nobody will ask for these files again.
void ShardStore::remove_deleted() {
    std::erase_if(deleted_, [this](const Deleted& deleted) {
        if (deleted.index > log_.committed()) {
            return false;
        }
        ports_.bulk_queue->submit({[stream = deleted.stream](storage::FileSystem& files) {
                                       // What stays is removed at the next start.
                                       static_cast<void>(
                                           storage::remove_tree(files, storage::stream_directory(stream)));
                                   },
                                   [] {}});
        return true;
    });
}

void ShardStore::fetch_block(commit::StreamId stream, const storage::BlockRef& ref, std::function<void(Result<Payload>)> done) {
    struct Reading {
        ChunkRef chunk;
        Result<void> done;
    };
    auto reading = std::make_shared<Reading>();
    reading->chunk = ports_.pool->allocate(ref.size);
    ports_.bulk_queue->submit({[reading, stream, ref](storage::FileSystem& files) {
                                   reading->done = storage::read_block(files, stream, ref, {reading->chunk.bytes(), ref.size});
                               },
                               [reading, size = ref.size, done = std::move(done)] {
                                   done(reading->done ? Result<Payload>{Payload{reading->chunk, 0, size}}
                                                      : Result<Payload>{std::unexpected{reading->done.error()}});
                               }});
}

void ShardStore::request_blocks(ChannelId id, channel::Channel& channel) {
    if (is_memory_short()) {
        // Who looks through a whole backlog reads more between two clock pulses than there is memory.
        channel.evict(2 * read_ahead(), keep_ahead());
    }
    for (const auto& ref : channel.take_wanted_blocks(read_ahead(), is_memory_short())) {
        fetch_block(channel.stream(), ref, [this, id, ref](const Result<Payload>& body) {
            auto* reader = channels_.find_channel(id);
            if (reader == nullptr) {
                return;
            }
            if (!body && body.error().code == storage::Errc::no_space) {
                reader->on_block_postponed(ref);  // No descriptor is left: the tick asks again.
                return;
            }
            const bool was_whole = reader->damage().empty();
            reader->on_block_read(ref, body.value_or(Payload{}));
            if (was_whole && !reader->damage().empty()) {
                tell("channel \"" + name_text(as_bytes(reader->name())) + "\" is damaged and quarantined: " + reader->damage());
            }
            channels_.touch_channel(id);
        });
    }
}

Payload ShardStore::read_block_now(commit::StreamId stream, const storage::BlockRef& ref) {
    ChunkRef chunk = ports_.pool->allocate(ref.size);
    if (!storage::read_block(*ports_.files, stream, ref, {chunk.bytes(), ref.size})) {
        return {};
    }
    return {std::move(chunk), 0, ref.size};
}

// --- Segments ------------------------------------------------------------------------------------------------------------

void ShardStore::write_plan(ChannelId id, channel::Channel& channel, channel::RelocationPlan plan,
                            std::function<void(const std::error_code&)> done) {
    const auto stream = channel.stream();
    struct Writing {
        channel::RelocationPlan plan;
        Result<std::vector<storage::BlockRef>> written;
    };
    auto writing = std::make_shared<Writing>();
    segment_bytes_written_ += plan.bytes;
    writing->plan = std::move(plan);
    ports_.bulk_queue->submit(
        {[writing, writer = streams_[stream].begin_writing(stream, settings_.segment_size)](storage::FileSystem& files) {
             std::vector<storage::BlockContent> blocks;
             for (const auto& planned : writing->plan.blocks) {
                 auto& block = blocks.emplace_back();
                 block.first = planned.first;
                 block.end = planned.end;
                 block.entries = static_cast<std::uint32_t>(planned.headers.size());
                 for (std::size_t i = 0; i < planned.headers.size(); ++i) {
                     block.parts.emplace_back(planned.headers[i]);
                     block.parts.push_back(planned.messages[i].bytes());
                 }
             }
             writing->written = writer->append(files, blocks);
         },
         [this, id, stream, writing, done = std::move(done)] {
             finish_plan(id, stream, writing->plan.bytes, writing->written);
             done(writing->written ? std::error_code{} : writing->written.error().code);
         }});
}

void ShardStore::finish_plan(ChannelId id, commit::StreamId stream, std::uint64_t bytes,
                             const Result<std::vector<storage::BlockRef>>& written) {
    auto* channel = channels_.find_channel(id);
    if (channel == nullptr) {
        return;  // Deleted meanwhile; its files go with the directory, now or at the next start.
    }
    StreamFiles& files = streams_[stream];
    --files.writing;
    if (written) {
        for (const auto& ref : *written) {
            files.add(ref);
            files.newest = ref.segment;  // Not the largest that ever was: when all are gone, numbers begin anew.
        }
        channel->finish_relocation(*written);
        copied_bytes_ += bytes;
        return;
    }
    channel->finish_relocation({});
    on_write_failed(written.error());
}

void ShardStore::on_write_failed(const Error& error) {
    trouble_ = error.message();
    if (error.code == storage::Errc::no_space) {
        log_.set_space_low(true);  // watch_space() says when there is space again.
    } else {
        log_.fail(error);
    }
}

void ShardStore::StreamFiles::add(const storage::BlockRef& ref) {
    Segment& segment = segments[ref.segment];
    ++segment.live_blocks;
    segment.size = std::max<std::uint64_t>(segment.size, ref.position + ref.size);
}

std::shared_ptr<storage::SegmentWriter> ShardStore::StreamFiles::begin_writing(commit::StreamId stream,
                                                                              std::uint64_t segment_size) {
    ++writing;
    if (!writer) {
        writer = std::make_shared<storage::SegmentWriter>(stream, segment_size);
    }
    return writer;
}

/// Segments in which nothing lives any more become garbage. The one that is being written is given up first.
void ShardStore::collect_dead_blocks(channel::Channel& channel) {
    const auto dead = channel.take_dead_blocks();
    const auto found = streams_.find(channel.stream());
    if (found == streams_.end()) {
        return;
    }
    bury(channel.stream(), found->second, dead);
}

void ShardStore::bury(commit::StreamId stream, StreamFiles& files, const std::vector<storage::BlockRef>& dead) {
    for (const auto& ref : dead) {
        auto& count = files.segments[ref.segment].live_blocks;
        BATON_ASSERT(count > 0);
        --count;
    }
    std::erase_if(files.segments, [&](const auto& entry) {
        if (entry.second.live_blocks > 0 || (entry.first == files.newest && files.writing > 0)) {
            return false;
        }
        if (entry.first == files.newest) {
            files.writer.reset();
        }
        garbage_.push_back({stream, entry.first});
        return true;
    });
}

// --- Memory --------------------------------------------------------------------------------------------------------------

/// When half of the memory is in use, what is far from being given leaves it: first what is on the disk already, then what is
/// in the log only. The largest channels first.
void ShardStore::keep_memory_in_bounds() {
    const MemoryBudget& memory = *ports_.memory;
    if (is_spilling_ || memory.used() < memory.limit() / 2) {
        resident_.clear();
        looked_at_ = ChannelId{0};
        return;
    }
    look_for_memory(channels_per_turn);
}

void ShardStore::look_for_memory(std::size_t count) {
    const auto ids = channels_.durable_channels(looked_at_, count);
    for (const auto id : ids) {
        if (const auto bytes = channels_.find_channel(id)->resident_bytes(); bytes > 0) {
            resident_.push_back({bytes, id});
        }
    }
    if (ids.size() == count) {
        looked_at_ = ids.back();
        return;  // The next tick goes on.
    }
    const auto largest = std::min(resident_.size(), channels_per_turn);
    const auto end = resident_.begin() + static_cast<std::ptrdiff_t>(largest);
    std::ranges::partial_sort(resident_, end, [](const auto& a, const auto& b) {
        return a.bytes != b.bytes ? a.bytes > b.bytes : a.id < b.id;
    });
    resident_.resize(largest);
    free_memory();
    resident_.clear();
    looked_at_ = ChannelId{0};
}

// In many channels, or in chunks that are shared, what is next can be all of it: senders must not wait for idle receivers.
channel::KeepAhead ShardStore::keep_ahead() const noexcept {
    return {.bytes = std::min(settings_.read_ahead * 2, memory_share()), .is_for_wanted_only = is_memory_short()};
}

void ShardStore::free_memory() {
    const MemoryBudget& memory = *ports_.memory;
    std::uint64_t wanted = (memory.used() - std::min(memory.used(), memory.limit() * 2 / 5)) / settings_.shard_count + 1;
    const channel::KeepAhead keep = keep_ahead();
    for (const auto& [bytes, id] : resident_) {
        auto* channel = channels_.find_channel(id);
        if (channel == nullptr) {
            continue;
        }
        const std::uint64_t evicted = channel->evict(wanted, keep);
        if (evicted >= wanted) {
            return;
        }
        wanted -= evicted;
        if (channel->is_relocating() || log_.condition() != commit::Condition::open) {
            continue;
        }
        auto plan = channel->begin_relocation(UINT64_MAX, keep, spill_bytes);
        if (plan.blocks.empty()) {
            continue;
        }
        is_spilling_ = true;
        write_plan(id, *channel, std::move(plan), [this](const std::error_code& error) {
            is_spilling_ = false;
            if (!error) {
                keep_memory_in_bounds();
            }
        });
        return;
    }
}

// --- Turns -----------------------------------------------------------------------------------------------------------------

/// A log that grows may fill a small disk between two looks at it: so there is one behind each new file.
void ShardStore::end_turn() {
    log_.end_turn();
    const auto& files = log_.wal().files();
    if (!files.empty() && files.back().number != space_file_) {
        space_file_ = files.back().number;
        ask_space(*ports_.sync_queue, [] {});
    }
}

void ShardStore::tick() {
    log_.tick();
    if (!log_.wal().is_full()) {
        full_since_.reset();
    } else if (!full_since_) {
        full_since_ = ports_.clock->now();
    }
    watch_space();
    keep_memory_in_bounds();
    compactor_->tick();
    checkpointer_->tick();
}

bool ShardStore::is_stuck() const noexcept { return full_since_ && ports_.clock->now() - *full_since_ >= space_patience; }

void ShardStore::watch_space() {
    const auto now = ports_.clock->now();
    if (is_asking_space_ || now - space_asked_ < space_period) {
        return;
    }
    is_asking_space_ = true;
    space_asked_ = now;
    ask_space(*ports_.bulk_queue, [this] { is_asking_space_ = false; });
}

void ShardStore::ask_space(storage::IoQueue& queue, std::function<void()> done) {
    auto answer = std::make_shared<Result<storage::Space>>();
    queue.submit({[answer](storage::FileSystem& files) { *answer = files.space(); },
                  [this, answer, done = std::move(done)] {
                      done();
                      if (*answer) {
                          const storage::Space& space = **answer;
                          const std::uint64_t least = settings_.disk_free_min.value_or(disk_free_min_auto(space.total));
                          log_.set_space_low(space.available < least + space_to_go_on(space.total));
                      }
                  }});
}

/// The next start writes once more what is alive in the log, before it removes any of that, and a checkpoint copies it to
/// segments before it does. A broker whose disk is so full that neither is possible could not be drained. What is copied already
/// needs no second room: it is removed if the next start comes before the checkpoint.
std::uint64_t ShardStore::space_to_go_on(std::uint64_t file_system_bytes) const {
    std::uint64_t bytes = 0;
    for (const auto& file : log_.wal().files()) {
        bytes += file.size;
    }
    bytes -= std::min(bytes, copied_bytes_);
    // The other shards will have about as much. On a small file system not all of it can be set aside.
    bytes = std::min(bytes * settings_.shard_count, file_system_bytes / 2);
    // What waits for the log needs room in it, and then once more; and the last file of each log is not full.
    return bytes + 2 * log_.wal().unsynced_bytes() + settings_.wal_file_size * settings_.shard_count;
}

void ShardStore::checkpoint(std::function<void()> done) { checkpointer_->request(std::move(done)); }

// --- Commits ---------------------------------------------------------------------------------------------------------------

void ShardStore::on_committed(commit::Index) noexcept {
    if (!deleted_.empty()) {
        remove_deleted();
    }
    channels_.on_committed();
    checkpointer_->on_committed();
}

void ShardStore::on_condition(commit::Condition condition, const Error& reason) noexcept {
    trouble_ = condition == commit::Condition::open ? std::string{} : reason.message();
    if (condition == commit::Condition::failed) {
        tell("the disk failed, durable channels confirm and take nothing until the next start: " + trouble_);
    } else {
        tell(condition == commit::Condition::full ? "disk full, durable channels take nothing: " + trouble_ : std::string{});
    }
    channels_.on_condition(condition, reason);
}

void ShardStore::tell(const std::string& trouble) const {
    if (settings_.on_trouble) {
        settings_.on_trouble(trouble);
    }
}

}  // namespace baton::runtime
