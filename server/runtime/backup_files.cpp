#include "server/runtime/backup_files.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "server/runtime/storage_start.hpp"
#include "server/storage/checkpoint.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/segment_format.hpp"
#include "server/storage/wal_writer.hpp"

namespace baton::runtime {

namespace {

/// Written and synced at once.
constexpr std::uint64_t group_bytes = 4ULL << 20;
constexpr std::uint64_t wal_file_size_min = 64ULL << 10;
constexpr std::uint64_t wal_file_size_max = 32ULL << 20;

class NoEvents final : public storage::WalEvents {
public:
    void on_wal_synced(storage::Index) noexcept override {}
    void on_wal_failed(const Error& reason) noexcept override { error = reason; }
    Error error;
};

std::uint64_t record_bytes(const BackupPart& part) {
    std::uint64_t bytes = 0;
    for (const auto& stream : part.streams) {
        for (const auto& batch : stream.batches) {
            bytes += storage::record_header_size + batch.head.size() + batch.messages.size();
        }
    }
    return bytes;
}

/// A log with what was in no segment. Without anything: no file, as for a log that was never written.
Result<void> write_log(storage::FileSystem& files, const std::string& directory, const BackupPart& part) {
    const auto bytes = record_bytes(part);
    StartQueue queue;
    NoEvents events;
    storage::WalWriter writer{queue,
                              events,
                              {.directory = directory,
                               .generation = part.generation,
                               .shard = part.shard,
                               .file_size = std::clamp(storage::wal_aligned(bytes + bytes / 8 + wal_file_size_min),
                                                       wal_file_size_min, wal_file_size_max)}};
    const auto write_out = [&]() -> Result<void> {
        writer.flush();
        while (queue.run_all(files)) {
        }
        if (writer.has_failed()) {
            return fail(events.error);
        }
        return writer.is_full() ? fail(storage::Errc::no_space, directory) : Result<void>{};
    };
    const BackupPart::Stream* last = nullptr;
    std::uint64_t number = 0;
    for (const auto& stream : part.streams) {
        last = stream.batches.empty() ? last : &stream;
        number = stream.batches.empty() ? number : 0;
        for (const auto& batch : stream.batches) {
            writer.append(stream.stream, ++number, batch.head, batch.messages);
            if (writer.unsynced_bytes() >= group_bytes) {
                if (auto written = write_out(); !written) {
                    return written;
                }
            }
        }
    }
    auto written = write_out();
    if (written && last != nullptr) {
        // A group of its own that says nothing new, but that all before it was synced: what is wrong there is damage,
        // and no torn tail with which everything behind it would go.
        writer.append(last->stream, ++number, last->settings);
        written = write_out();
    }
    return written;
}

Result<void> write_checkpoint(storage::FileSystem& files, const std::string& directory, const BackupPart& part) {
    storage::CheckpointBuilder builder{
        {.generation = part.generation, .shard = part.shard, .index = 0, .first_wal_file = 1}};
    for (const auto& stream : part.streams) {
        builder.add(stream.stream, 0, stream.state);
    }
    if (!part.steps.empty()) {
        builder.add(commit::shard_stream, 0, part.steps);
    }
    const auto checkpoint = builder.take();
    const Bytes parts[] = {checkpoint};
    return storage::write_atomically(files, directory + "/" + storage::checkpoint_file_name(1), parts);
}

Result<void> link_segments(storage::FileSystem& files, const std::string& directory, const BackupPart::Stream& stream,
                           std::vector<BackupFile>& made) {
    std::map<std::uint32_t, std::uint64_t> sizes;
    for (const auto& block : stream.blocks) {
        auto& size = sizes[block.segment];
        size = std::max(size, block.position + storage::block_header_size + storage::block_aligned(block.size));
    }
    if (sizes.empty()) {
        return {};
    }
    if (auto prepared = storage::ensure_directories(files, directory + "/" + storage::stream_directory(stream.stream)); !prepared) {
        return prepared;
    }
    for (const auto& [segment, size] : sizes) {
        const auto path = storage::segment_path(stream.stream, segment);
        auto linked = files.link(path, directory + "/" + path);
        if (!linked && linked.error().code == storage::Errc::not_found) {
            continue;  // Of a damaged channel. The backup says of it what the broker says.
        }
        if (!linked) {
            return linked;
        }
        made.push_back({path, size});
    }
    return {};
}

}  // namespace

Result<std::vector<BackupFile>> write_backup_part(storage::FileSystem& files, const std::string& directory,
                                                  const BackupPart& part) {
    const auto shard = storage::shard_directory(part.generation, part.shard);
    const auto target = directory + "/" + shard;
    auto done = storage::ensure_directories(files, target);
    std::vector<BackupFile> made;
    for (const auto& stream : part.streams) {  // First: the broker waits with the removal of segments for this job.
        done = done ? link_segments(files, directory, stream, made) : done;
    }
    done = done ? write_log(files, target, part) : done;
    done = done ? write_checkpoint(files, target, part) : done;
    if (!done) {
        return fail(done.error());
    }
    const auto names = files.list(target);
    if (!names) {
        return fail(names.error());
    }
    for (const auto& name : *names) {
        const auto file = files.open(target + "/" + name, storage::OpenMode::read);
        const auto size = file ? (*file)->size() : fail(file.error());
        if (!size) {
            return fail(size.error());
        }
        made.push_back({shard + "/" + name, *size});
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
