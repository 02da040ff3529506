// `baton-inspect DIR verify`: reads every log file, checkpoint and segment and says what is wrong, with file and
// position. Damage is what somebody may miss. What an interrupted write left in a segment and no channel refers to is a
// remark.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <set>

#include "common/base/text_form.hpp"
#include "server/channel/durable_records.hpp"
#include "server/commit/joint_record.hpp"
#include "server/inspect/record_json.hpp"
#include "server/inspect/verbs.hpp"
#include "server/runtime/policy_admin.hpp"
#include "server/runtime/recovery.hpp"
#include "server/storage/checkpoint.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/wal_reader.hpp"

namespace baton::inspect {

namespace {

/// A line on stderr that is written over and over; only on a terminal.
class ProgressLine {
public:
    explicit ProgressLine(std::uint64_t bytes_total) : total_{bytes_total}, is_on_{::isatty(STDERR_FILENO) != 0} {}
    ~ProgressLine() { clear(); }
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;

    void add(std::uint64_t bytes) {
        done_ += bytes;
        const auto now = std::chrono::steady_clock::now();
        if (is_on_ && now >= next_) {
            next_ = now + std::chrono::milliseconds{200};
            is_shown_ = true;
            const auto percent =
                total_ == 0 ? 100.0 : std::min(100.0, 100.0 * static_cast<double>(done_) / static_cast<double>(total_));
            std::fprintf(stderr, "\r%.0f %%, %llu MiB read", percent, static_cast<unsigned long long>(done_ >> 20U));
        }
    }
    /// Before another line.
    void clear() {
        if (is_shown_) {
            std::fputs("\r\033[K", stderr);
            is_shown_ = false;
        }
    }

private:
    const std::uint64_t total_;
    const bool is_on_;
    bool is_shown_ = false;
    std::uint64_t done_ = 0;
    std::chrono::steady_clock::time_point next_ = std::chrono::steady_clock::now() + std::chrono::seconds{1};
};

/// Counts records and sees that each is one that a channel can have.
/// Of a record of the shard itself each part has to be one, too.
bool is_sound(storage::StreamId stream, Bytes body) {
    if (stream != commit::shard_stream) {
        return channel::decode_record(body).has_value();
    }
    const auto record = commit::decode_shard_record(body);
    return record && std::ranges::all_of(record->parts, [](const commit::RecordPart& part) {
               return channel::decode_record(part.body).has_value();
           });
}

class RecordCheck final : public storage::WalVisitor {
public:
    explicit RecordCheck(std::string directory) : directory_{std::move(directory)} {}
    void on_record(const storage::WalRecord& record) override {
        if (!is_sound(record.stream, record.body)) {
            unknown.push_back(directory_ + "/" + storage::wal_file_name(record.file_number) + ": position " +
                              std::to_string(record.position) + ": the record is not understood");
        }
    }
    void on_damage(const storage::WalDamage&) override {}  // It is in the report.

    std::vector<std::string> unknown;

private:
    const std::string directory_;
};

class Verification {
public:
    Verification(Directory& directory, Format format)
        : directory_{directory}, format_{format}, progress_{bytes_total()} {
        directory_.files().watch([this](std::uint64_t bytes) { progress_.add(bytes); });
    }
    ~Verification() { directory_.files().watch({}); }
    Verification(const Verification&) = delete;
    Verification& operator=(const Verification&) = delete;

    int run();

private:
    using Place = std::pair<std::uint32_t, std::uint64_t>;  ///< Segment and position.
    /// What channels say of a stream.
    struct Known {
        std::map<Place, storage::BlockRef> blocks;
        bool is_damaged = false;
    };

    [[nodiscard]] std::uint64_t bytes_total();
    void say(const char* what, const std::string& text);
    void damage(const std::string& text);
    void check_shard(const storage::Manifest& manifest, std::uint32_t shard);
    void check_channels(const storage::Manifest& manifest);
    void check_stream(storage::StreamId stream);
    void check_segment(storage::StreamId stream, const Known* known, const std::string& path, std::set<Place>& sound);

    Directory& directory_;
    const Format format_;
    ProgressLine progress_;
    std::set<std::string> said_;
    std::map<storage::StreamId, Known> known_;
    bool is_complete_ = true;  ///< Every channel is known: what is in no channel is nobody's.
    std::uint64_t damages_ = 0;
    std::uint64_t blocks_ = 0;
    std::uint64_t records_ = 0;
    std::uint64_t channels_ = 0;
    std::uint64_t messages_ = 0;
};

std::uint64_t Verification::bytes_total() {
    std::uint64_t total = 0;
    for (const auto stream : directory_.streams()) {
        for (const auto& file : directory_.files_in(storage::stream_directory(stream), "segment-")) {
            total += file.size;
        }
    }
    const auto manifest = directory_.manifest();
    for (std::uint32_t shard = 0; manifest && shard < manifest->shards; ++shard) {
        const auto folder = storage::shard_directory(manifest->generation, shard);
        for (const auto& file : directory_.files_in(folder, "")) {
            total += 2 * file.size;  // Alone, and as a whole.
        }
    }
    return total;
}

void Verification::say(const char* what, const std::string& text) {
    if (!said_.insert(text).second) {
        return;
    }
    progress_.clear();
    if (format_ == Format::json) {
        print_line(dump({{what, text}}));
    } else {
        print_line(std::string{what} + ": " + text);
    }
}

void Verification::damage(const std::string& text) {
    damages_ += said_.contains(text) ? 0 : 1;
    say("damage", text);
}

void Verification::check_shard(const storage::Manifest& manifest, std::uint32_t shard) {
    const auto folder = storage::shard_directory(manifest.generation, shard);
    for (const auto& file : directory_.files_in(folder, "checkpoint-")) {
        if (!storage::checkpoint_file_number(file.path.substr(folder.size() + 1))) {
            continue;
        }
        const auto bytes = storage::read_whole(directory_.files(), file.path);
        const auto checkpoint = bytes ? storage::decode_checkpoint(*bytes) : fail(bytes.error());
        if (!checkpoint) {
            damage(with_context(checkpoint.error(), file.path).message());
            continue;
        }
        for (const auto& section : checkpoint->sections) {
            const bool is_of_shard = section.stream == commit::shard_stream;
            const bool is_understood = is_of_shard ? commit::decode_steps_state(section.body).has_value()
                                                   : channel::decode_state(section.body).has_value();
            if (section.is_damaged || !is_understood) {
                damage(file.path + ": the section of stream " + stream_text(section.stream) + " is damaged");
            }
        }
    }
    // What is in front of it waits to be used again, and holds nothing.
    const auto counted = storage::find_checkpoint(directory_.files(), folder);
    if (!counted) {
        return damage(with_context(counted.error(), folder).message());
    }
    RecordCheck check{folder};
    const auto report = storage::read_wal(directory_.files(),
                                          {.directory = folder,
                                           .generation = manifest.generation,
                                           .shard = shard,
                                           .first_file = counted->checkpoint.header.first_wal_file},
                                          check);
    if (!report) {
        return damage(with_context(report.error(), folder).message());
    }
    records_ += report->records;
    for (const auto& found : report->damage) {
        damage(found.text);
    }
    for (const auto& text : check.unknown) {
        damage(text);
    }
}

void Verification::check_channels(const storage::Manifest& manifest) {
    ChunkPool pool;
    const auto recovery = runtime::recover_generation(directory_.files(), manifest, pool);
    if (!recovery) {
        is_complete_ = false;
        return damage(recovery.error().message());
    }
    for (const auto& text : recovery->torn) {
        say("note", "an unfinished write at the end of the log, which the next start cuts off: " + text);
    }
    for (const auto& text : recovery->damage) {
        damage(text);
    }
    for (const auto& image : recovery->channels) {
        ++channels_;
        messages_ += image.live_messages();
        Known& known = known_[image.stream()];
        for (const auto& [first, block] : image.blocks()) {
            known.blocks.emplace(Place{block.segment, block.position}, block);
        }
        if (!image.settings().damage.empty()) {
            known.is_damaged = true;
            is_complete_ = false;
            damage("channel \"" + name_text(as_bytes(image.settings().name)) + "\" (stream " +
                   stream_text(image.stream()) + "): " + image.settings().damage);
        }
    }
}

void Verification::check_segment(storage::StreamId stream, const Known* known, const std::string& path,
                                 std::set<Place>& sound) {
    const auto number = storage::segment_file_number(path.substr(path.rfind('/') + 1));
    if (!number) {
        return say("note", path + ": not a file of Baton's");
    }
    const auto is_needed_from = [&](std::uint64_t position) {
        if (known == nullptr || known->is_damaged) {
            return !is_complete_;
        }
        const auto next = known->blocks.lower_bound({*number, position});
        return next != known->blocks.end() && next->first.first == *number;
    };
    const storage::SegmentVisitor visitor{
        .on_block =
            [&](const storage::BlockRef& block, std::uint32_t, Bytes) {
                ++blocks_;
                const Place place{block.segment, block.position};
                if (known == nullptr) {
                    return;
                }
                if (const auto named = known->blocks.find(place);
                    named != known->blocks.end() && named->second == block) {
                    sound.insert(place);
                }
            },
        .on_damage =
            [&](std::uint64_t position, const std::string& text) {
                const auto line = path + ": position " + std::to_string(position) + ": " + text;
                const bool is_named = known != nullptr && known->blocks.contains({*number, position});
                is_named || is_needed_from(position) ? damage(line)
                                                     : say("note", line + "; nothing that lives is there");
            }};
    if (const auto read = storage::read_segment(directory_.files(), stream, *number, visitor); !read) {
        damage(with_context(read.error(), path).message());
    }
}

void Verification::check_stream(storage::StreamId stream) {
    const auto found = known_.find(stream);
    const Known* known = found != known_.end() ? &found->second : nullptr;
    std::set<Place> sound;
    for (const auto& file : directory_.files_in(storage::stream_directory(stream), "")) {
        check_segment(stream, known, file.path, sound);
    }
    if (known == nullptr) {
        return;
    }
    for (const auto& [place, block] : known->blocks) {
        if (!sound.contains(place)) {
            damage(storage::segment_path(stream, block.segment) + ": position " + std::to_string(block.position) +
                   ": the block with messages " + std::to_string(block.first) + " to " + std::to_string(block.end - 1) +
                   " cannot be read");
        }
    }
}

int Verification::run() {
    const auto manifest = directory_.manifest();
    if (!manifest) {
        complain(manifest.error().message());
        return manifest.error().code == storage::Errc::damaged ? exit_damaged : exit_unreadable;
    }
    for (std::uint32_t shard = 0; shard < manifest->shards; ++shard) {
        check_shard(*manifest, shard);
    }
    if (const auto policies = runtime::load_policies(directory_.files()); !policies) {
        damage(policies.error().message());
    }
    check_channels(*manifest);
    std::set<storage::StreamId> streams;
    for (const auto stream : directory_.streams()) {
        streams.insert(stream);
    }
    for (const auto& [stream, known] : known_) {
        streams.insert(stream);
    }
    for (const auto stream : streams) {
        check_stream(stream);
    }
    for (const auto& name : directory_.roots("damaged-")) {
        say("note", name + " is kept from a start that found damage");
    }
    progress_.clear();
    const Json summary{{"channels", channels_},
                       {"messages", messages_},
                       {"records", records_},
                       {"blocks", blocks_},
                       {"damage", damages_}};
    print_line(format_ == Format::json ? dump(summary)
                                       : std::string{damages_ == 0 ? "sound" : "DAMAGED"} + ": " + row_text(summary));
    return damages_ == 0 ? exit_sound : exit_damaged;
}

}  // namespace

int verify(Directory& directory, Format format) {
    return Verification{directory, format}.run();
}

}  // namespace baton::inspect
