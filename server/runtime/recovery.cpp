#include "server/runtime/recovery.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "server/commit/joint_record.hpp"
#include "server/storage/checkpoint.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/pending_streams.hpp"
#include "server/storage/segment.hpp"
#include "server/storage/wal_reader.hpp"

namespace baton::runtime {

namespace {

using channel::ChannelImage;
using storage::StreamId;

/// One stream while a shard is read.
struct Stream {
    explicit Stream(StreamId id) : image{id} {}
    explicit Stream(ChannelImage restored) : image{std::move(restored)} {}
    ChannelImage image;
    std::uint64_t number = 0;  ///< Of its last record that is known.
    bool is_unproven = false;  ///< Something was lost, and no later record of it has shown that it is not concerned.
    std::string doubt;
};

std::string placeholder_name(StreamId stream) {
    return "damaged " + storage::stream_directory(stream);
}

class ShardReader final : public storage::WalVisitor {
public:
    ShardReader(ChunkPool& pool, const storage::Checkpoint& checkpoint, const RecoveryProgress& progress)
        : pool_{pool}, index_{checkpoint.header.index}, progress_{progress} {
        for (const auto& section : checkpoint.sections) {
            take_section(section);
        }
    }

    void on_record(const storage::WalRecord& record) override {
        if (record.stream != commit::shard_stream) {
            return apply(record.stream, record.number, record.body, record.index);
        }
        const auto of_shard = commit::decode_shard_record(record.body);
        if (!of_shard) {
            return doubt_all("record " + std::to_string(record.index) + " of the log, of the shard itself, is not understood");
        }
        switch (of_shard->type) {
            case commit::ShardRecordType::joint:
                for (const commit::RecordPart& part : of_shard->parts) {
                    apply(part.stream, part.number, part.body, record.index);
                }
                of_shard->step != 0 ? static_cast<void>(applied_.insert(of_shard->step)) : void();
                return;
            case commit::ShardRecordType::intent:
                intents_[of_shard->step].assign(record.body.begin(), record.body.end());
                return;
            case commit::ShardRecordType::finished:
                intents_.erase(of_shard->step);
                return;
        }
    }

    void on_damage(const storage::WalDamage& damage) override {
        const auto named = streams_.find(damage.stream);
        if (!damage.is_hole && named != streams_.end()) {
            named->second.image.mark_damaged(damage.text);
            ++named->second.number;
            return;
        }
        if (damage.end_index - 1 <= index_) {
            return;  // Older than the checkpoint: only contents can be missing, and that is looked at in the end.
        }
        doubt_all(damage.text);
    }

    void on_progress(std::uint64_t done, std::uint64_t total) override {
        if (progress_ && total > 0) {
            progress_(static_cast<double>(done) / static_cast<double>(total));
        }
    }

    /// Before any record is read: those of the checkpoint.
    void note_segments(SegmentNumbers& numbers) const {
        for (const auto& [id, stream] : streams_) {
            for (const auto& [first, block] : stream.image.blocks()) {
                numbers[id].insert(block.segment);
            }
        }
    }

    [[nodiscard]] const std::vector<std::string>& damaged_sections() const noexcept { return damaged_sections_; }

    /// Steps that are decided and perhaps not done, as records.
    [[nodiscard]] const std::map<std::uint64_t, std::vector<std::byte>>& intents() const noexcept { return intents_; }
    /// This shard's part of a decided step, unless it was done.
    void finish(const commit::ShardRecord& intent, std::uint32_t shard) {
        if (applied_.contains(intent.step)) {
            return;
        }
        for (const commit::RecordPart& part : intent.parts) {
            const auto found = streams_.find(part.stream);
            if (part.shard == shard && found != streams_.end() && !found->second.image.apply_decided(part.body, pool_)) {
                found->second.image.mark_damaged("a step's part is not understood");
            }
        }
    }

    /// The channels that exist, each marked if something of it is missing.
    std::vector<ChannelImage> take() {
        std::vector<ChannelImage> images;
        for (auto& [id, stream] : streams_) {
            ChannelImage& image = stream.image;
            if (!image.exists() || image.is_deleted()) {
                continue;
            }
            if (stream.is_unproven) {
                image.mark_damaged(stream.doubt);
            }
            if (const auto missing = image.settle_contents(); !missing.empty()) {
                image.mark_damaged(missing);
            }
            images.push_back(std::move(image));
        }
        return images;
    }

private:
    void apply(StreamId id, std::uint64_t number, Bytes body, storage::Index index) {
        Stream& stream = streams_.try_emplace(id, id).first->second;
        if (number > stream.number) {
            if (number != stream.number + 1) {
                stream.image.mark_damaged(stream.doubt.empty() ? "records are missing in the log" : stream.doubt);
            }
            stream.number = number;
            stream.is_unproven = false;
        }
        if (!stream.image.apply(body, pool_)) {
            stream.image.mark_damaged("record " + std::to_string(index) + " of the log is not understood");
        }
    }

    void doubt_all(const std::string& text) {
        for (auto& [id, stream] : streams_) {
            stream.is_unproven = true;
            stream.doubt = text;
        }
    }

    void take_steps(const storage::CheckpointSection& section) {
        const auto state = commit::decode_steps_state(section.body);
        if (section.is_damaged || !state) {
            damaged_sections_.push_back("the section of steps in a checkpoint is damaged: some may have been done in part");
            return;
        }
        applied_.insert(state->applied.begin(), state->applied.end());
        for (const auto& intent : state->intents) {
            intents_[commit::decode_shard_record(intent)->step] = intent;
        }
    }

    void take_section(const storage::CheckpointSection& section) {
        if (section.stream == commit::shard_stream) {
            return take_steps(section);
        }
        const auto state = channel::decode_state(section.body);
        if (!section.is_damaged && state) {
            Stream& stream = streams_.try_emplace(section.stream, ChannelImage{section.stream, *state}).first->second;
            stream.number = section.number;
            return;
        }
        channel::ChannelState unknown;
        unknown.settings.name = state ? state->settings.name : placeholder_name(section.stream);
        Stream& stream = streams_.try_emplace(section.stream, ChannelImage{section.stream, unknown}).first->second;
        stream.number = section.number;
        stream.image.mark_damaged("its section in the checkpoint is damaged");
        damaged_sections_.push_back(storage::stream_directory(section.stream) + ": the section in the checkpoint is damaged");
    }

    std::vector<std::string> damaged_sections_;
    ChunkPool& pool_;
    const storage::Index index_;
    const RecoveryProgress progress_;
    std::map<StreamId, Stream> streams_;
    std::set<std::uint64_t> applied_;                            ///< Steps of which this shard has done its part.
    std::map<std::uint64_t, std::vector<std::byte>> intents_;
};

using Readers = std::vector<std::unique_ptr<ShardReader>>;

/// What was decided and not done when the broker died is done now.
void finish_steps(const Readers& readers) {
    for (const auto& leader : readers) {
        for (const auto& [step, body] : leader->intents()) {
            const auto intent = commit::decode_shard_record(body);
            for (std::uint32_t shard = 0; shard < readers.size(); ++shard) {
                readers[shard]->finish(*intent, shard);
            }
        }
    }
}

Result<void> recover_shard(storage::FileSystem& files, const storage::Manifest& manifest, std::uint32_t shard,
                           ChunkPool& pool, const RecoveryProgress& progress, Recovery& recovery, Readers& readers) {
    const auto directory = storage::shard_directory(manifest.generation, shard);
    const auto found = storage::find_checkpoint(files, directory);
    if (!found) {
        return fail(with_context(found.error(), directory));
    }
    if (!found->damage_text.empty()) {
        recovery.damage.push_back(found->damage_text);
    }
    const auto& header = found->checkpoint.header;
    if (header.generation != manifest.generation || header.shard != shard) {
        return fail(storage::Errc::damaged, directory + ": its checkpoint is of generation " +
                                                std::to_string(header.generation) + ", shard " +
                                                std::to_string(header.shard));
    }
    ShardReader& reader = *readers.emplace_back(std::make_unique<ShardReader>(pool, found->checkpoint, progress));
    reader.note_segments(recovery.checkpointed);
    recovery.damage.insert(recovery.damage.end(), reader.damaged_sections().begin(), reader.damaged_sections().end());
    const auto report = storage::read_wal(files,
                                          {.directory = directory,
                                           .generation = manifest.generation,
                                           .shard = shard,
                                           .first_file = found->checkpoint.header.first_wal_file},
                                          reader);
    if (!report) {
        return fail(with_context(report.error(), directory));
    }
    recovery.log_bytes += report->bytes;
    recovery.log_records += report->records;
    if (!report->torn_text.empty()) {
        recovery.torn.push_back(report->torn_text);
    }
    for (const auto& damage : report->damage) {
        recovery.damage.push_back(damage.text);
    }
    return {};
}

}  // namespace

Result<Recovery> recover_generation(storage::FileSystem& files, const storage::Manifest& manifest, ChunkPool& pool,
                                    const RecoveryProgress& progress) {
    Recovery recovery;
    recovery.manifest = manifest;
    Readers readers;
    for (std::uint32_t shard = 0; shard < manifest.shards; ++shard) {
        const RecoveryProgress part = [&](double done) {
            if (progress) {
                progress((shard + done) / manifest.shards);
            }
        };
        if (auto read = recover_shard(files, manifest, shard, pool, part, recovery, readers); !read) {
            return fail(read.error());
        }
    }
    finish_steps(readers);
    for (const auto& reader : readers) {
        std::ranges::move(reader->take(), std::back_inserter(recovery.channels));
    }
    auto pending = storage::find_pending(files, manifest.generation);
    if (!pending) {
        return fail(pending.error());
    }
    recovery.pending = std::move(pending->streams);
    std::ranges::move(pending->damage, std::back_inserter(recovery.damage));
    std::erase_if(recovery.channels, [&](const ChannelImage& image) {
        return std::ranges::binary_search(recovery.pending, image.stream());
    });
    std::ranges::sort(recovery.channels, {}, [](const ChannelImage& image) { return image.settings().name; });
    return recovery;
}

Result<Recovery> recover(storage::FileSystem& files, ChunkPool& pool, const RecoveryProgress& progress) {
    const auto manifest = storage::load_manifest(files);
    if (!manifest) {
        return fail(manifest.error());
    }
    return *manifest ? recover_generation(files, **manifest, pool, progress) : Recovery{};
}

}  // namespace baton::runtime
