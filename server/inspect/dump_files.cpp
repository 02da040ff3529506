// `baton-inspect DIR dump wal|segment|checkpoint`: what is in single files, a row for each record, block or section.
// Files are named as `list` shows them, with as much of the path in front as is needed; without names: all.
#include <algorithm>
#include <set>

#include "common/base/text_form.hpp"
#include "server/commit/joint_record.hpp"
#include "server/inspect/record_json.hpp"
#include "server/inspect/verbs.hpp"
#include "server/storage/checkpoint.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/wal_reader.hpp"

namespace baton::inspect {

namespace {

/// "wal-0000000000000001" and "shard-0000/wal-0000000000000001" name the file whose path ends so.
bool is_meant(const std::string& path, const std::string& name) {
    return path == name || path.ends_with("/" + name);
}

class Selection {
public:
    explicit Selection(const std::vector<std::string>& names) : names_{names} {}

    [[nodiscard]] bool contains(const std::string& path) {
        if (names_.empty()) {
            return true;
        }
        bool is_chosen = false;
        for (const auto& name : names_) {
            if (is_meant(path, name)) {
                found_.insert(name);
                is_chosen = true;
            }
        }
        return is_chosen;
    }
    /// After all files were asked for: complains of names that meant none.
    [[nodiscard]] int exit_code(int code) const {
        for (const auto& name : names_) {
            if (!found_.contains(name)) {
                complain("there is no file " + name + "; `baton-inspect DIR list` shows what there is");
                code = std::max<int>(code, exit_usage);
            }
        }
        return code;
    }

private:
    const std::vector<std::string>& names_;
    std::set<std::string> found_;
};

/// Shards of the generation that counts.
template <class Visit>
int for_each_shard(Directory& directory, const Visit& visit) {
    const auto manifest = directory.manifest();
    if (!manifest) {
        complain(manifest.error().message());
        return exit_unreadable;
    }
    int code = exit_sound;
    for (std::uint32_t shard = 0; shard < manifest->shards; ++shard) {
        code = std::max(code, visit(*manifest, shard, storage::shard_directory(manifest->generation, shard)));
    }
    return code;
}

class RecordRows final : public storage::WalVisitor {
public:
    /// What is missing in front of `first_needed` nobody misses: such files wait to be used again.
    RecordRows(Format format, std::string directory, std::set<std::uint64_t> numbers, std::uint64_t first_needed)
        : format_{format},
          directory_{std::move(directory)},
          numbers_{std::move(numbers)},
          first_needed_{first_needed} {}

    void on_record(const storage::WalRecord& record) override {
        if (numbers_.contains(record.file_number)) {
            Json row{{"file", path(record.file_number)},
                     {"position", record.position},
                     {"index", record.index},
                     {"stream", stream_text(record.stream)},
                     {"number", record.number}};
            row.update(record_json(record.stream, record.body));
            print_row(format_, row);
        }
    }
    void on_damage(const storage::WalDamage& damage) override {
        if (numbers_.contains(damage.file_number) && damage.file_number >= first_needed_) {
            has_damage = true;
            print_row(format_, {{"file", path(damage.file_number)},
                                {"position", damage.position},
                                {"damage", damage.text},
                                {"first_index", damage.first_index},
                                {"end_index", damage.end_index}});
        }
    }

    bool has_damage = false;

private:
    [[nodiscard]] std::string path(std::uint64_t number) const {
        return directory_ + "/" + storage::wal_file_name(number);
    }
    const Format format_;
    const std::string directory_;
    const std::set<std::uint64_t> numbers_;
    const std::uint64_t first_needed_;
};

/// False: the section is damaged.
bool add_steps(Json& row, const storage::CheckpointSection& section) {
    const auto steps = commit::decode_steps_state(section.body);
    if (section.is_damaged || !steps) {
        row["damage"] = section.is_damaged ? "the checksum is wrong" : "the state is not understood";
        return false;
    }
    row["steps_applied"] = steps->applied;
    row["intents"] = Json::array();
    for (const auto& intent : steps->intents) {
        row["intents"].push_back(record_json(commit::shard_stream, intent));
    }
    return true;
}

int dump_checkpoint(Directory& directory, Format format, const std::string& path) {
    const auto bytes = storage::read_whole(directory.files(), path);
    const auto checkpoint = bytes ? storage::decode_checkpoint(*bytes) : fail(bytes.error());
    if (!checkpoint) {
        complain(with_context(checkpoint.error(), path).message());
        return exit_damaged;
    }
    const auto& header = checkpoint->header;
    print_row(format, {{"file", path},
                       {"generation", header.generation},
                       {"shard", header.shard},
                       {"index", header.index},
                       {"first_wal_file", header.first_wal_file},
                       {"sections", checkpoint->sections.size()}});
    int code = exit_sound;
    for (const auto& section : checkpoint->sections) {
        Json row{{"stream", stream_text(section.stream)}, {"number", section.number}};
        if (section.stream == commit::shard_stream) {
            code = add_steps(row, section) ? code : exit_damaged;
            print_row(format, row);
            continue;
        }
        const auto state = channel::decode_state(section.body);
        if (section.is_damaged || !state) {
            row["damage"] = section.is_damaged ? "the checksum is wrong" : "the state is not understood";
            code = exit_damaged;
        }
        if (state) {
            row.update(state_json(*state));
        }
        print_row(format, row);
    }
    return code;
}

Json batches_json(Bytes body) {
    auto batches = Json::array();
    while (!body.empty()) {
        const auto header = decode_batch_header(body);
        if (!header || header->messages_size > body.size() - batch_header_size) {
            batches.push_back({{"damage", "no whole batch"}, {"bytes", body.size()}});
            break;
        }
        batches.push_back(batch_json(*header));
        body = body.subspan(batch_header_size + header->messages_size);
    }
    return batches;
}

int dump_segment(Directory& directory, Format format, storage::StreamId stream, const std::string& path) {
    const auto number = storage::segment_file_number(path.substr(path.rfind('/') + 1));
    if (!number) {
        return exit_sound;
    }
    int code = exit_sound;
    const storage::SegmentVisitor visitor{.on_block =
                                              [&](const storage::BlockRef& block, std::uint32_t entries, Bytes body) {
                                                  print_row(format, {{"file", path},
                                                                     {"position", block.position},
                                                                     {"size", block.size},
                                                                     {"first", block.first},
                                                                     {"end", block.end},
                                                                     {"entries", entries},
                                                                     {"batches", batches_json(body)}});
                                              },
                                          .on_damage =
                                              [&](std::uint64_t position, const std::string& text) {
                                                  code = exit_damaged;
                                                  print_row(format,
                                                            {{"file", path}, {"position", position}, {"damage", text}});
                                              }};
    if (const auto read = storage::read_segment(directory.files(), stream, *number, visitor); !read) {
        complain(with_context(read.error(), path).message());
        return exit_damaged;
    }
    return code;
}

}  // namespace

int dump_wal(Directory& directory, Format format, const std::vector<std::string>& names) {
    Selection selection{names};
    const int code = for_each_shard(
        directory, [&](const storage::Manifest& manifest, std::uint32_t shard, const std::string& folder) -> int {
            std::set<std::uint64_t> numbers;
            for (const auto& file : directory.files_in(folder, "wal-")) {
                const auto number = storage::wal_file_number(file.path.substr(folder.size() + 1));
                if (number && selection.contains(file.path)) {
                    numbers.insert(*number);
                }
            }
            if (numbers.empty()) {
                return exit_sound;
            }
            const auto first = *numbers.begin();
            const auto checkpoint = storage::find_checkpoint(directory.files(), folder);
            RecordRows rows{format, folder, std::move(numbers),
                            checkpoint ? checkpoint->checkpoint.header.first_wal_file : 0};
            const auto read = storage::read_wal(
                directory.files(),
                {.directory = folder, .generation = manifest.generation, .shard = shard, .first_file = first}, rows);
            if (!read) {
                complain(with_context(read.error(), folder).message());
                return exit_damaged;
            }
            return rows.has_damage ? exit_damaged : exit_sound;
        });
    return selection.exit_code(code);
}

int dump_checkpoints(Directory& directory, Format format, const std::vector<std::string>& names) {
    Selection selection{names};
    const int code =
        for_each_shard(directory, [&](const storage::Manifest&, std::uint32_t, const std::string& folder) -> int {
            int worst = exit_sound;
            for (const auto& file : directory.files_in(folder, "checkpoint-")) {
                if (selection.contains(file.path)) {
                    worst = std::max(worst, dump_checkpoint(directory, format, file.path));
                }
            }
            return worst;
        });
    return selection.exit_code(code);
}

int dump_segments(Directory& directory, Format format, const std::vector<std::string>& names) {
    Selection selection{names};
    int code = exit_sound;
    for (const auto stream : directory.streams()) {
        for (const auto& file : directory.files_in(storage::stream_directory(stream), "segment-")) {
            if (selection.contains(file.path)) {
                code = std::max(code, dump_segment(directory, format, stream, file.path));
            }
        }
    }
    return selection.exit_code(code);
}

}  // namespace baton::inspect
