#include "server/runtime/backup_files.hpp"

#include <algorithm>
#include <utility>

#include "server/channel/durable_records.hpp"
#include "server/commit/joint_record.hpp"
#include "server/runtime/storage_start.hpp"
#include "server/storage/checkpoint.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/segment_format.hpp"
#include "server/storage/wal_writer.hpp"

namespace baton::runtime {

namespace {

/// Written and synced at once. A log file is as large as it has to be for that, or larger if there is little.
constexpr std::uint64_t group_bytes = 4ULL << 20;
constexpr std::uint64_t wal_file_size_min = 64ULL << 10;

class NoEvents final : public storage::WalEvents {
public:
    void on_wal_synced(storage::Index) noexcept override {}
    void on_wal_failed(const Error& reason) noexcept override { error = reason; }
    Error error;
};

}  // namespace

/// What was in no segment, and what was submitted meanwhile. Without anything: no file, as for a log that was never written.
class BackupWriter::Log {
public:
    explicit Log(storage::WalSettings settings) : directory_{settings.directory}, writer_{queue_, events_, std::move(settings)} {}

    [[nodiscard]] Result<void> append(storage::FileSystem& files, storage::StreamId stream, std::uint64_t number, Bytes head,
                                      const Payload& body) {
        writer_.append(stream, number, head, body);
        return writer_.unsynced_bytes() >= group_bytes ? write_out(files) : Result<void>{};
    }
    [[nodiscard]] Result<void> finish(storage::FileSystem& files) {
        auto written = write_out(files);
        if (written && writer_.appended() > 0) {
            // A group of its own that says nothing new, but that all before it was synced: what is wrong there is damage,
            // and no torn tail with which everything behind it would go.
            commit::RecordGatherer nothing;
            writer_.append(commit::shard_stream, 1, nothing.take(commit::ShardRecordType::finished, 0));
            written = write_out(files);
        }
        return written;
    }

private:
    [[nodiscard]] Result<void> write_out(storage::FileSystem& files) {
        writer_.flush();
        while (queue_.run_all(files)) {
        }
        if (writer_.has_failed()) {
            return fail(events_.error);
        }
        return writer_.is_full() ? fail(storage::Errc::no_space, directory_) : Result<void>{};
    }

    const std::string directory_;
    StartQueue queue_;
    NoEvents events_;
    storage::WalWriter writer_;
};

BackupWriter::BackupWriter(std::string directory, std::uint64_t generation, std::uint32_t shard)
    : directory_{std::move(directory)},
      generation_{generation},
      shard_{shard},
      target_{directory_ + "/" + storage::shard_directory(generation, shard)},
      log_{std::make_unique<Log>(storage::WalSettings{
          .directory = target_, .generation = generation, .shard = shard, .file_size = wal_file_size_min})} {}

BackupWriter::~BackupWriter() = default;

void BackupWriter::prepare(storage::FileSystem& files) {
    if (!std::exchange(is_prepared_, true)) {
        done_ = storage::ensure_directories(files, target_);
    }
}

void BackupWriter::add(storage::FileSystem& files, BackupSlice slice) {
    prepare(files);
    for (const auto& part : slice.blocks) {  // First: the broker waits with the removal of segments for this job.
        done_ = done_ ? link_segments(files, part) : done_;
    }
    for (const auto& record : slice.records) {
        done_ = done_ ? log_->append(files, record.stream, record.number, record.head, record.body) : done_;
    }
    for (const auto& part : slice.logged) {
        for (const auto& batch : part.batches) {  // Not the last record that the state knows, so the number says nothing.
            done_ = done_ ? log_->append(files, part.stream, 1, batch.head, batch.messages) : done_;
        }
    }
    for (const auto& state : slice.states) {
        sections_.push_back({.stream = state.stream, .number = state.number, .body = encode(state.slices.result())});
    }
}

Result<void> BackupWriter::link_segments(storage::FileSystem& files, const BackupSlice::Blocks& part) {
    for (const auto& block : part.blocks) {
        const auto path = storage::segment_path(part.stream, block.segment);
        const std::uint64_t size = block.position + storage::block_header_size + storage::block_aligned(block.size);
        if (const auto known = segments_.find(path); known != segments_.end()) {
            known->second = std::max(known->second, size);
            continue;
        }
        const auto prepared = storage::ensure_directories(files, directory_ + "/" + storage::stream_directory(part.stream));
        if (!prepared) {
            return prepared;
        }
        auto linked = files.link(path, directory_ + "/" + path);
        if (linked) {
            segments_.emplace(path, size);
        } else if (linked.error().code != storage::Errc::not_found) {
            return linked;
        }  // Else of a damaged channel. The backup says of it what the broker says.
    }
    return {};
}

Result<void> BackupWriter::write_checkpoint(storage::FileSystem& files, const BackupEnd& end) {
    storage::CheckpointBuilder builder{{.generation = generation_, .shard = shard_, .index = 0, .first_wal_file = 1}};
    for (auto& section : std::exchange(sections_, {})) {
        const auto body = std::move(section.body);
        if (std::ranges::find(end.left_out, section.stream) == end.left_out.end()) {
            builder.add(section.stream, section.number, body);
        }
    }
    if (!end.steps.empty()) {
        builder.add(commit::shard_stream, 0, end.steps);
    }
    const auto checkpoint = builder.take();
    const Bytes parts[] = {checkpoint};
    return storage::write_atomically(files, target_ + "/" + storage::checkpoint_file_name(1), parts);
}

Result<std::vector<BackupFile>> BackupWriter::finish(storage::FileSystem& files, const BackupEnd& end) {
    prepare(files);
    std::vector<std::byte> deleted;
    encode(channel::DeletedRecord{}, deleted);
    for (const auto stream : end.left_out) {  // Records of it may be in the log.
        done_ = done_ ? log_->append(files, stream, 1, deleted, {}) : done_;
    }
    done_ = done_ ? log_->finish(files) : done_;
    log_.reset();
    done_ = done_ ? write_checkpoint(files, end) : done_;
    return done_ ? list(files) : fail(done_.error());
}

Result<std::vector<BackupFile>> BackupWriter::list(storage::FileSystem& files) const {
    std::vector<BackupFile> made;
    for (const auto& [path, size] : segments_) {
        made.push_back({path, size});
    }
    const auto names = files.list(target_);
    if (!names) {
        return fail(names.error());
    }
    for (const auto& name : *names) {
        const auto file = files.open(target_ + "/" + name, storage::OpenMode::read);
        const auto size = file ? (*file)->size() : fail(file.error());
        if (!size) {
            return fail(size.error());
        }
        made.push_back({storage::shard_directory(generation_, shard_) + "/" + name, *size});
    }
    return made;
}

Result<BackupFile> write_backup_manifest(storage::FileSystem& files, const std::string& directory,
                                         const storage::Manifest& manifest) {
    const auto text = storage::encode(manifest);
    const Bytes parts[] = {as_bytes(text)};
    if (auto written = storage::write_atomically(files, directory + "/MANIFEST", parts); !written) {
        return fail(written.error());
    }
    return BackupFile{"MANIFEST", text.size()};
}

Result<std::vector<std::byte>> read_backup_file(storage::FileSystem& files, const std::string& path,
                                                std::uint64_t position, std::size_t size) {
    const auto file = files.open(path, storage::OpenMode::read);
    if (!file) {
        return fail(file.error());
    }
    std::vector<std::byte> bytes(size);
    const auto count = (*file)->read(position, bytes);
    if (!count) {
        return fail(count.error());
    }
    if (*count != size) {
        return fail(storage::Errc::damaged, path + " is shorter than it was");
    }
    return bytes;
}

}  // namespace baton::runtime
