// `baton-inspect DIR list`: manifest, generations, channels and files, with what the broker would find at its start.
#include <cstdio>

#include "common/base/text_form.hpp"
#include "server/inspect/record_json.hpp"
#include "server/inspect/verbs.hpp"
#include "server/runtime/recovery.hpp"
#include "server/storage/checkpoint.hpp"

namespace baton::inspect {

namespace {

Json files_json(const std::vector<FileEntry>& files) {
    auto json = Json::array();
    for (const auto& file : files) {
        json.push_back({{"file", file.path.substr(file.path.rfind('/') + 1)}, {"size", file.size}});
    }
    return json;
}

Json shard_json(Directory& directory, const storage::Manifest& manifest, std::uint32_t shard) {
    const auto folder = storage::shard_directory(manifest.generation, shard);
    Json json{{"shard", shard},
              {"directory", folder},
              {"wal", files_json(directory.files_in(folder, "wal-"))},
              {"checkpoints", files_json(directory.files_in(folder, "checkpoint-"))}};
    const auto found = storage::find_checkpoint(directory.files(), folder);
    if (!found) {
        json["damage"] = found.error().message();
        return json;
    }
    json["checkpoint"] = storage::checkpoint_file_name(found->number);
    json["index"] = found->checkpoint.header.index;
    json["first_wal_file"] = found->checkpoint.header.first_wal_file;
    if (!found->damage_text.empty()) {
        json["damage"] = found->damage_text;
    }
    return json;
}

Json channel_json(Directory& directory, const channel::ChannelImage& image) {
    std::uint64_t log_bytes = 0;
    for (const auto& [first, batch] : image.batches()) {
        log_bytes += batch.messages.size();
    }
    const auto segments = directory.files_in(storage::stream_directory(image.stream()), "segment-");
    std::uint64_t segment_bytes = 0;
    for (const auto& segment : segments) {
        segment_bytes += segment.size;
    }
    Json json{{"name", name_text(as_bytes(image.settings().name))},
              {"stream", stream_text(image.stream())},
              {"messages", image.live_messages()},
              {"next_offset", image.next_offset()},
              {"producers", image.producers().size()},
              {"log_bytes", log_bytes},
              {"segment_bytes", segment_bytes},
              {"segments", files_json(segments)}};
    if (!image.settings().damage.empty()) {
        json["damage"] = image.settings().damage;
    }
    return json;
}

/// Rows with a word in front that says what they are about; lists become a row each.
void print_text(const std::string& what, Json json) {
    std::vector<std::pair<std::string, Json>> lists;
    for (const auto* key : {"wal", "checkpoints", "segments"}) {
        if (json.contains(key)) {
            lists.emplace_back(key, json.at(key));
            json.erase(key);
        }
    }
    print_line(what + " " + row_text(json));
    for (const auto& [key, files] : lists) {
        for (const auto& file : files) {
            print_line("    " + row_text(file));
        }
    }
}

void print_text(const Json& json) {
    print_line("manifest " + row_text(json.at("manifest")));
    for (const auto* key : {"generations", "damaged_generations"}) {
        print_line(std::string{key} + " " + dump(json.at(key)));
    }
    for (const auto& shard : json.at("shards")) {
        print_text("shard", shard);
    }
    for (const auto& channel : json.at("channels")) {
        print_text("channel", channel);
    }
    for (const auto* key : {"torn", "damage"}) {
        for (const auto& text : json.at(key)) {
            print_line(std::string{key} + ": " + text.get<std::string>());
        }
    }
}

}  // namespace

int list(Directory& directory, Format format) {
    const auto manifest = directory.manifest();
    if (!manifest) {
        complain(manifest.error().message());
        return exit_unreadable;
    }
    Json json{{"manifest",
               {{"format", manifest->format}, {"generation", manifest->generation}, {"shards", manifest->shards}}},
              {"generations", directory.roots("generation-")},
              {"damaged_generations", directory.roots("damaged-")}};
    auto shards = Json::array();
    for (std::uint32_t shard = 0; shard < manifest->shards; ++shard) {
        shards.push_back(shard_json(directory, *manifest, shard));
    }
    json["shards"] = std::move(shards);
    json["channels"] = Json::array();
    json["torn"] = Json::array();
    json["damage"] = Json::array();
    ChunkPool pool;
    const auto recovery = runtime::recover_generation(directory.files(), *manifest, pool);
    if (recovery) {
        for (const auto& image : recovery->channels) {
            json["channels"].push_back(channel_json(directory, image));
        }
        json["torn"] = recovery->torn;
        json["damage"] = recovery->damage;
    } else {
        json["damage"].push_back(recovery.error().message());
    }
    format == Format::json ? print_line(dump(json)) : print_text(json);
    return recovery ? exit_sound : exit_damaged;
}

}  // namespace baton::inspect
