#include "server/runtime/checkpointer.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/storage/checkpoint.hpp"
#include "server/storage/data_directory.hpp"
#include "server/storage/errc.hpp"

namespace baton::runtime {

namespace {

/// Log files that are kept: the one that is being written, and what was written just before, of which most will have been
/// settled by the time it has to move.
constexpr std::size_t files_kept = 2;
constexpr std::size_t files_max = 3;
/// A channel with so little in old files has it written again at the end of the log instead of a block of its own.
constexpr std::uint64_t move_bytes_max = 16 * 1024;
constexpr std::uint64_t relocate_bytes = 16ULL << 20;
/// Garbage waits for a checkpoint that is due anyway, but not longer than this; and after trouble there is a pause.
constexpr Duration garbage_wait = std::chrono::seconds{5};
/// While the disk is full each log file and each segment that becomes free counts, and no spare file is kept.
constexpr Duration short_wait = std::chrono::seconds{1};
constexpr Duration pause = std::chrono::milliseconds{200};

}  // namespace

void Checkpointer::tick() {
    if (phase_ == Phase::relocating) {
        return relocate_some();
    }
    const auto now = store_.ports_.clock->now();
    if (phase_ != Phase::idle || store_.condition() == commit::Condition::failed || now - last_end_ < pause) {
        return;
    }
    const auto& files = store_.log_.wal().files();
    if (!requested_.empty()) {
        return begin(files.empty() ? 1 : files.front().number);
    }
    if (files.size() > files_max) {
        return begin(files[files.size() - files_kept].number);
    }
    const bool is_short = store_.condition() == commit::Condition::full;
    if (is_short && now - last_end_ >= short_wait && files.size() > 1) {
        return begin(files.back().number);
    }
    if (now - last_end_ < (is_short ? short_wait : garbage_wait)) {
        return;
    }
    if (!collect_some()) {
        return;
    }
    if (!store_.garbage_.empty()) {
        begin(files.empty() ? 1 : files.front().number);
    } else {
        last_end_ = now;
    }
}

std::size_t Checkpointer::channels_per_turn() const noexcept {
    constexpr std::size_t in_a_turn = 1024;
    return answering_.empty() ? in_a_turn : SIZE_MAX;
}

// True: of all of them, and the next call begins anew.
bool Checkpointer::collect_some() {
    const std::size_t count = channels_per_turn();
    const auto ids = store_.channels_.durable_channels(visited_, count);
    for (const auto id : ids) {
        store_.collect_dead_blocks(*store_.channels_.find_channel(id));
    }
    const bool is_all = ids.size() < count;
    visited_ = is_all ? ChannelId{0} : ids.back();
    return is_all;
}

void Checkpointer::request(std::function<void()> done) {
    requested_.push_back(std::move(done));
    if (phase_ == Phase::idle) {
        const auto& files = store_.log_.wal().files();
        begin(files.empty() ? 1 : files.front().number);
    }
}

void Checkpointer::begin(std::uint64_t first_file) {
    BATON_ASSERT(phase_ == Phase::idle);
    phase_ = Phase::relocating;
    answering_ = std::exchange(requested_, {});
    first_file_ = first_file;
    below_ = 0;
    for (const auto& file : store_.log_.wal().files()) {
        if (file.number == first_file) {
            below_ = file.first_index;
        }
    }
    moved_bytes_ = 0;
    visited_ = ChannelId{0};
    relocate_some();
}

void Checkpointer::relocate_some() {
    if (is_writing_plan_ || phase_ != Phase::relocating) {
        return;
    }
    const std::size_t count = channels_per_turn();
    const auto ids = store_.channels_.durable_channels(visited_, count);
    for (const auto id : ids) {
        if (!relocate(id) || is_writing_plan_ || phase_ != Phase::relocating) {
            return;
        }
        visited_ = id;
    }
    if (ids.size() < count) {  // Who came meanwhile has nothing in old files.
        begin_snapshot();
    }
}

// False: it has to wait for something else. True: the channel is done with, or its plan is being written.
bool Checkpointer::relocate(ChannelId id) {
    auto* channel = store_.channels_.find_channel(id);
    if (channel == nullptr || channel->oldest_record() >= below_) {
        return true;
    }
    if (channel->is_relocating()) {
        return false;  // Memory is being freed; the next tick comes back.
    }
    const std::uint64_t bytes = channel->bytes_in_log(below_, move_bytes_max + 1);
    if (bytes <= move_bytes_max && moved_bytes_ + bytes <= store_.settings_.wal_file_size / 4) {
        moved_bytes_ += bytes;
        channel->move_in_log(below_);
        return true;
    }
    auto plan = channel->begin_relocation(below_, std::nullopt, relocate_bytes);
    if (plan.blocks.empty()) {
        return false;  // Not committed yet.
    }
    is_writing_plan_ = true;
    store_.write_plan(id, *channel, std::move(plan), [this](const std::error_code& error) {
        is_writing_plan_ = false;
        error ? give_up() : relocate_some();  // The same channel again, until nothing of it is in the way.
    });
    return true;
}

// Of each channel as it is when its turn comes, of a large one slice by slice; what happens to it afterwards is in the log that
// is kept, under higher numbers of its stream. The index is the one that all of them have reached. What a snapshot says about
// records that are not committed must not be believed before they are.
void Checkpointer::begin_snapshot() {
    builder_ = std::make_shared<storage::CheckpointBuilder>(
        storage::CheckpointHeader{.generation = store_.settings_.generation,
                                  .shard = store_.settings_.shard,
                                  .index = store_.log_.submitted(),
                                  .first_wal_file = first_file_});
    garbage_ = std::exchange(store_.garbage_, {});
    visited_ = ChannelId{0};
    phase_ = Phase::snapshotting;
    snapshot_some();
}

// A slice a turn. In between the bulk thread encodes what was taken, and whatever else is ready has its turn.
void Checkpointer::snapshot_some() {
    std::vector<Taken> taken;
    const bool is_all = take_some(taken);
    store_.ports_.bulk_queue->submit({[builder = builder_, taken = std::move(taken)](storage::FileSystem&) mutable {
                                          for (const Taken& part : taken) {
                                              if (part.slices.is_over) {
                                                  builder->add(part.stream, part.number, encode(part.slices.result()));
                                              }
                                          }
                                          taken.clear();  // Here: a million entries are not freed on the shard's thread.
                                      },
                                      [this, is_all] { is_all ? end_snapshot() : snapshot_some(); }});
}

// True: of all channels.
bool Checkpointer::take_some(std::vector<Taken>& taken) {
    const std::size_t count = channels_per_turn();
    std::uint64_t entries = store_.settings_.entries_per_slice;
    const auto ids = store_.channels_.durable_channels(visited_, count);
    for (const auto id : ids) {
        if (!take(id, entries, taken)) {
            return false;
        }
        visited_ = id;
    }
    return ids.size() < count;
}

// False: it is not done with, or the slice has no room for it.
bool Checkpointer::take(ChannelId id, std::uint64_t& entries, std::vector<Taken>& taken) {
    if (entries == 0) {
        return false;
    }
    auto& channel = *store_.channels_.find_channel(id);
    if (channel.has_notes()) {
        channel.write_notes();
    }
    if (taking_ && taking_->id != id) {
        taken.push_back(*std::exchange(taking_, {}));  // It was deleted meanwhile.
    }
    if (!taking_) {
        store_.collect_dead_blocks(channel);
        std::ranges::move(std::exchange(store_.garbage_, {}), std::back_inserter(garbage_));
        taking_.emplace(id, channel.stream(), store_.log_.number_of(channel.stream()), channel.begin_state());
        --entries;
    }
    channel.add_to_state(taking_->slices, entries);
    if (!taking_->slices.is_over) {
        return false;
    }
    taken.push_back(*std::exchange(taking_, {}));
    return true;
}

void Checkpointer::end_snapshot() {
    visited_ = ChannelId{0};
    taking_.reset();
    if (const auto steps = store_.channels_.steps_state(); !steps.empty()) {
        builder_->add(commit::shard_stream, store_.log_.number_of(commit::shard_stream), encode(steps));
    }
    named_bytes_ = store_.copied_bytes_;
    snapshot_index_ = store_.log_.submitted();
    phase_ = Phase::committing;
    store_.log_.flush();
    on_committed();
}

void Checkpointer::on_committed() {
    if (phase_ == Phase::committing && store_.log_.committed() >= snapshot_index_) {
        write();
    }
}

void Checkpointer::write() {
    phase_ = Phase::writing;
    const auto directory = storage::shard_directory(store_.settings_.generation, store_.settings_.shard);
    auto error = std::make_shared<Error>();
    store_.ports_.bulk_queue->submit(
        {[error, directory, number = ++number_, builder = std::exchange(builder_, {})](storage::FileSystem& files) {
             const auto snapshot = builder->take();
             const Bytes parts[] = {snapshot};
             const auto written =
                 storage::write_atomically(files, directory + "/" + storage::checkpoint_file_name(number), parts);
             if (!written) {
                 *error = written.error();
             } else if (number > 2) {
                 static_cast<void>(files.remove(directory + "/" + storage::checkpoint_file_name(number - 2)));
             }
         },
         [this, error] {
             if (error->code) {
                 store_.trouble_ = error->message();
                 error->code == storage::Errc::no_space ? store_.log_.set_space_low(true) : store_.log_.fail(*error);
             }
             finish(error->code);
         }});
}

void Checkpointer::finish(const std::error_code& error) {
    if (error) {
        return give_up();
    }
    store_.copied_bytes_ -= named_bytes_;
    store_.log_.recycle_before(first_file_);
    if (store_.condition() == commit::Condition::full) {
        store_.log_.drop_spares();
    }
    if (!garbage_.empty()) {
        store_.ports_.bulk_queue->submit({[garbage = std::exchange(garbage_, {})](storage::FileSystem& files) {
                                              for (const auto& [stream, segment] : garbage) {
                                                  static_cast<void>(files.remove(storage::segment_path(stream, segment)));
                                              }
                                          },
                                          [] {}});
    }
    phase_ = Phase::idle;
    last_end_ = store_.ports_.clock->now();
    for (auto& done : std::exchange(answering_, {})) {
        done();
    }
    if (!requested_.empty() && phase_ == Phase::idle) {  // Or an answer has asked for the next one.
        const auto& files = store_.log_.wal().files();
        begin(files.empty() ? 1 : files.front().number);
    }
}

// Tried again later; what waits for a checkpoint waits on.
void Checkpointer::give_up() {
    std::ranges::move(garbage_, std::back_inserter(store_.garbage_));
    garbage_.clear();
    std::ranges::move(answering_, std::back_inserter(requested_));
    answering_.clear();
    phase_ = Phase::idle;
    last_end_ = store_.ports_.clock->now();
}

}  // namespace baton::runtime
