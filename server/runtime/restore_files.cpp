#include "server/runtime/restore_files.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/batch.hpp"
#include "common/base/text_form.hpp"
#include "server/channel/message_region.hpp"
#include "server/channel/message_rules.hpp"
#include "server/channel/relocation.hpp"
#include "server/runtime/recovery.hpp"
#include "server/storage/data_directory.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/folder_view.hpp"

namespace baton::runtime {

using channel::ChannelImage;
using channel::Offset;

namespace {

/// Copied by one job: enough to be fast, little enough to let others have their turn.
constexpr std::uint64_t step_bytes = 4ULL << 20;
/// Each has files of its own to sync.
constexpr std::size_t step_channels = 16;
constexpr std::size_t chunk_size = 256UL << 10;

std::string shown(const std::string& name) {
    return "\"" + name_text(as_bytes(name)) + "\"";
}

RestoreTrouble cannot_read(const Error& error) {
    const bool is_disk = error.code == storage::Errc::io_error || error.code == storage::Errc::not_permitted;
    return {is_disk ? "storage_failed" : "channel_damaged", "the backup cannot be read: " + error.message()};
}

RestoreTrouble cannot_write(const Error& error) {
    return {error.code == storage::Errc::no_space ? "disk_full" : "storage_failed",
            "the backup cannot be brought in: " + error.message()};
}

/// Bytes of all log files of a backup.
Result<std::uint64_t> log_bytes(storage::FileSystem& backup, const storage::Manifest& manifest) {
    std::uint64_t bytes = 0;
    for (std::uint32_t shard = 0; shard < manifest.shards; ++shard) {
        const auto directory = storage::shard_directory(manifest.generation, shard);
        const auto names = backup.list(directory);
        if (!names) {
            return fail(names.error());
        }
        for (const auto& name : *names) {
            const auto file = backup.open(directory + "/" + name, storage::OpenMode::read);
            const auto size = file ? (*file)->size() : fail(file.error());
            if (!size) {
                return fail(size.error());
            }
            bytes += storage::wal_file_number(name) ? *size : 0;
        }
    }
    return bytes;
}

void append_batch(std::vector<std::byte>& body, Offset base, const ChannelImage::Batch& batch) {
    std::array<std::byte, batch_header_size> header{};
    encode(BatchHeader{.count = batch.count,
                       .flags = batch.flags,
                       .base_offset = base,
                       .time_us = batch.time.us,
                       .crc32c = batch.crc32c,
                       .messages_size = static_cast<std::uint32_t>(batch.messages.size())},
           header);
    body.insert(body.end(), header.begin(), header.end());
    body.insert(body.end(), batch.messages.bytes().begin(), batch.messages.bytes().end());
}

/// Batches in the body of a block; nothing if it is not made of them.
std::optional<std::uint32_t> batches_in(Bytes body) {
    std::uint32_t count = 0;
    for (; !body.empty(); ++count) {
        const auto header = channel::front_batch(body);
        if (!header) {
            return std::nullopt;
        }
        body = body.subspan(batch_header_size + header->messages_size);
    }
    return count;
}

/// Of some message of these batches.
bool has_rules(Bytes batches) {
    while (!batches.empty()) {
        const auto header = channel::front_batch(batches);
        if (!header) {
            return false;
        }
        if (header->has_properties() &&
            channel::have_rules(batches.subspan(batch_header_size, header->messages_size))) {
            return true;
        }
        batches = batches.subspan(batch_header_size + header->messages_size);
    }
    return false;
}

/// When the newest message of these batches was accepted.
WallTime newest_time(Bytes batches) {
    WallTime newest;
    while (const auto header = channel::front_batch(batches)) {
        newest = std::max(newest, WallTime{header->time_us});
        batches = batches.subspan(batch_header_size + header->messages_size);
    }
    return newest;
}

}  // namespace

Result<void> write_restore_piece(storage::FileSystem& files, const std::string& path, std::uint64_t position,
                                 Bytes bytes) {
    if (position == 0) {
        if (auto made = storage::ensure_directories(files, path.substr(0, path.rfind('/'))); !made) {
            return made;
        }
    }
    auto file = files.open(path, position == 0 ? storage::OpenMode::create : storage::OpenMode::read_write);
    if (!file) {
        return fail(file.error());
    }
    return (*file)->write(position, {&bytes, 1});
}

Result<void> remove_restore(storage::FileSystem& files, const std::string& directory,
                            const std::vector<storage::StreamId>& streams, bool are_pending) {
    Result<void> result;
    const auto remove = [&](const std::string& path) {
        auto removed = storage::remove_tree(files, path);
        result = result ? removed : result;
    };
    for (const auto stream : streams) {
        remove(storage::stream_directory(stream));
    }
    if (!are_pending) {
        remove(directory);
        return result;
    }
    const auto names = files.list(directory);
    for (const auto& name : names ? *names : std::vector<std::string>{}) {
        if (storage::generation_number(name) || name == "channels" || name == "MANIFEST") {
            remove(directory + "/" + name);
        }
    }
    return result;
}

/// A channel of the backup, and how far it is copied.
struct RestoreCopy::Source {
    Source(ChannelImage found, std::string new_name)
        : image{std::move(found)},
          name{std::move(new_name)},
          batch{image.batches().begin()},
          block{image.blocks().begin()} {}

    [[nodiscard]] bool has_more() const { return batch != image.batches().end() || block != image.blocks().end(); }
    [[nodiscard]] bool is_batch_next() const {
        return batch != image.batches().end() && (block == image.blocks().end() || batch->first < block->first);
    }

    const ChannelImage image;
    const std::string name;
    std::map<Offset, ChannelImage::Batch>::const_iterator batch;
    std::map<Offset, storage::BlockRef>::const_iterator block;
    std::unique_ptr<storage::SegmentWriter> writer;
    std::vector<storage::BlockRef> written;
    std::map<Offset, std::vector<std::byte>> bodies;
    std::vector<WallTime> times;  // Of what is in the written blocks.
    std::vector<Offset> ruled;  // First offsets of written blocks whose messages have rules.
};

struct RestoreCopy::Block {
    Offset first = 0;
    Offset end = 0;
    std::uint32_t entries = 0;
    std::vector<std::byte> body;
};

RestoreCopy::RestoreCopy(std::string directory, std::uint64_t segment_size)
    : directory_{std::move(directory)}, segment_size_{segment_size} {}

RestoreCopy::~RestoreCopy() = default;

RestoreTrouble RestoreCopy::open(storage::FileSystem& files, MemoryBudget& memory, const RestoreWishes& wishes) {
    storage::FolderView backup{files, directory_};
    const auto manifest = storage::load_manifest(backup);
    if (!manifest) {
        return cannot_read(manifest.error());
    }
    if (!*manifest) {
        return {"channel_damaged", "the backup has no MANIFEST, so it is not complete"};
    }
    const auto bytes = log_bytes(backup, **manifest);
    if (!bytes) {
        return cannot_read(bytes.error());
    }
    if (*bytes > memory.limit() / 2) {
        return {"unsupported", "the backup's log has " + std::to_string(*bytes) +
                                   " bytes, more than half of limits.memory_max (" + std::to_string(memory.limit()) +
                                   "): raise that, or bring it back offline (baton-inspect)"};
    }
    block_size_max_ = memory.limit() / 2;
    pool_ = std::make_unique<ChunkPool>(chunk_size, 0, &memory);
    auto recovery = recover_generation(backup, **manifest, *pool_);
    if (!recovery) {
        return cannot_read(recovery.error());
    }
    if (!recovery->damage.empty()) {
        return {"channel_damaged", "the backup is damaged: " + recovery->damage.front()};
    }
    return choose(std::move(recovery->channels), wishes);
}

RestoreTrouble RestoreCopy::choose(std::vector<ChannelImage> images, const RestoreWishes& wishes) {
    std::set<std::string> missing;
    if (wishes.only) {
        missing.insert(wishes.only->begin(), wishes.only->end());
    }
    for (const auto& [name, new_name] : wishes.renamed) {
        missing.insert(name);
    }
    std::set<std::string> names;
    for (auto& image : images) {
        const std::string name = image.settings().name;
        missing.erase(name);
        if (wishes.only && std::ranges::find(*wishes.only, name) == wishes.only->end()) {
            continue;
        }
        if (!image.settings().damage.empty()) {
            return {"channel_damaged",
                    "the channel " + shown(name) + " is damaged in the backup: " + image.settings().damage};
        }
        const auto renamed = wishes.renamed.find(name);
        auto new_name = renamed == wishes.renamed.end() ? name : renamed->second;
        if (!names.insert(new_name).second) {
            return {"bad_request", "two channels would be called " + shown(new_name)};
        }
        sources_.push_back(std::make_unique<Source>(std::move(image), std::move(new_name)));
    }
    if (!missing.empty()) {
        return {"not_found", "the backup has no channel named " + shown(*missing.begin())};
    }
    return {};
}

std::vector<std::string> RestoreCopy::names() const {
    std::vector<std::string> names;
    for (const auto& source : sources_) {
        names.push_back(source->name);
    }
    return names;
}

void RestoreCopy::set_streams(std::vector<storage::StreamId> streams) {
    BATON_ASSERT(streams.size() == sources_.size());
    streams_ = std::move(streams);
}

// One of the backup, or neighbouring batches of its log.
Result<RestoreCopy::Block> RestoreCopy::next_block(storage::FileSystem& backup) {
    Source& source = *sources_[next_];
    Block made;
    if (!source.is_batch_next()) {
        const auto& ref = source.block->second;
        if (ref.size > block_size_max_) {
            return fail(storage::Errc::damaged, "a block of " + std::to_string(ref.size) + " bytes");
        }
        made = {.first = ref.first, .end = ref.end, .entries = 0, .body = std::vector<std::byte>(ref.size)};
        if (auto read = storage::read_block(backup, source.image.stream(), ref, made.body); !read) {
            return fail(read.error());
        }
        const auto batches = batches_in(made.body);
        if (!batches) {
            return fail(storage::Errc::damaged,
                        storage::segment_path(source.image.stream(), ref.segment) + ": a block without batches");
        }
        made.entries = *batches;
        ++source.block;
        return made;
    }
    made.first = made.end = source.batch->first;
    while (source.is_batch_next() && source.batch->first == made.end) {
        const auto& batch = source.batch->second;
        if (made.entries > 0 && made.body.size() + batch.messages.size() > channel::block_size_wanted) {
            break;
        }
        append_batch(made.body, made.end, batch);
        made.end += batch.count;
        ++made.entries;
        ++source.batch;
    }
    return made;
}

/// Of the channels that one step may come to: their names become durable together.
Result<void> RestoreCopy::make_writers(storage::FileSystem& files) {
    const std::size_t end = std::min(next_ + step_channels, sources_.size());
    const auto is_new = [&](std::size_t at) { return !sources_[at]->writer && sources_[at]->has_more(); };
    std::vector<storage::StreamId> begun;
    for (std::size_t at = next_; at < end; ++at) {
        if (is_new(at)) {
            begun.push_back(streams_[at]);
        }
    }
    if (auto made = storage::make_stream_directories(files, begun); !made) {
        return made;
    }
    for (std::size_t at = next_; at < end; ++at) {
        if (is_new(at)) {
            constexpr bool has_directory = true;
            sources_[at]->writer = std::make_unique<storage::SegmentWriter>(streams_[at], segment_size_, has_directory);
        }
    }
    return {};
}

RestoreTrouble RestoreCopy::step(storage::FileSystem& files) {
    storage::FolderView backup{files, directory_};
    if (const auto made = make_writers(files); !made) {
        return cannot_write(made.error());
    }
    std::uint64_t bytes = 0;
    for (std::size_t channels = 0; !is_done() && bytes < step_bytes && channels < step_channels; ++channels) {
        Source& source = *sources_[next_];
        std::vector<Block> blocks;
        while (source.has_more() && bytes < step_bytes) {
            auto block = next_block(backup);
            if (!block) {
                return cannot_read(block.error());
            }
            bytes += block->body.size();
            blocks.push_back(std::move(*block));
        }
        if (!blocks.empty()) {
            std::vector<storage::BlockContent> contents;
            for (const auto& block : blocks) {
                contents.push_back(
                    {.first = block.first, .end = block.end, .entries = block.entries, .parts = {block.body}});
            }
            const auto written = source.writer->append(files, contents);
            if (!written) {
                return cannot_write(written.error());
            }
            source.written.insert(source.written.end(), written->begin(), written->end());
        }
        for (auto& block : blocks) {
            source.times.push_back(newest_time(block.body));
            const bool is_ruled = has_rules(block.body);
            if (is_ruled) {
                source.ruled.push_back(block.first);
            }
            const storage::BlockRef place{.segment = 0, .size = 0, .position = 0, .first = block.first, .end = block.end};
            if (!source.image.can_stay_on_disk(place, is_ruled)) {
                source.bodies.emplace(block.first, std::move(block.body));
            }
        }
        if (!source.has_more()) {
            // Its place may be needed for the next one.
            static_cast<void>(storage::remove_tree(backup, storage::stream_directory(source.image.stream())));
            finish_channel();
        }
    }
    return {};
}

void RestoreCopy::finish_channel() {
    Source& source = *sources_[next_];
    auto state = source.image.state();
    state.settings.name = source.name;
    state.blocks = std::move(source.written);
    state.ruled_blocks = std::move(source.ruled);
    state.block_times = std::move(source.times);
    auto& restored = restored_.emplace_back(ChannelImage{streams_[next_], state});
    restored.bodies = std::move(source.bodies);
    sources_[next_].reset();
    ++next_;
}

}  // namespace baton::runtime
