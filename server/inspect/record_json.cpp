#include "server/inspect/record_json.hpp"

#include <algorithm>
#include <variant>

#include "common/base/base64.hpp"
#include "common/base/hex.hpp"
#include "common/base/properties_json.hpp"
#include "common/base/text_form.hpp"
#include "common/base/units.hpp"
#include "common/base/utf8.hpp"
#include "server/commit/joint_record.hpp"
#include "server/storage/numbered_name.hpp"

namespace baton::inspect {

namespace {

constexpr std::size_t stream_width = 16;
constexpr int hex_base = 16;

Json settings_json(const channel::SettingsRecord& record) {
    const auto& options = record.options;
    Json json{{"name", name_text(as_bytes(record.name))},
              {"messages_max", options.messages_max},
              {"bytes_max", options.bytes_max},
              {"message_size_max", options.message_size_max}};
    if (!record.damage.empty()) {
        json["damage"] = record.damage;
    }
    return json;
}

const char* kind_text(channel::ReaderEntryKind kind) {
    switch (kind) {
        case channel::ReaderEntryKind::settled: return "settled";
        case channel::ReaderEntryKind::ready: return "ready";
        case channel::ReaderEntryKind::waiting: return "waiting";
        case channel::ReaderEntryKind::quarantined: return "quarantined";
        case channel::ReaderEntryKind::kept: return "kept";
        case channel::ReaderEntryKind::placed: return "placed";
    }
    return "unknown";
}

Json entries_json(const std::vector<channel::ReaderEntry>& entries) {
    auto list = Json::array();
    for (const auto& entry : entries) {
        Json json{{"kind", kind_text(entry.kind)},
                  {"first", entry.first},
                  {"end", entry.end},
                  {"attempt", entry.attempt}};
        if (entry.kind == channel::ReaderEntryKind::waiting) {
            json["due"] = time_text(entry.due);
        }
        if (entry.kind == channel::ReaderEntryKind::placed) {
            json["priority"] = entry.priority;
            json["expires"] = entry.due == WallTime{} ? Json{} : Json(time_text(entry.due));
        }
        if (entry.note) {
            json["note"] = shown_text(entry.note->note);
            json["receiver"] = shown_text(entry.note->receiver);
            json["time"] = time_text(entry.note->time);
        }
        list.push_back(std::move(json));
    }
    return list;
}

Json subscription_json(const channel::SubscriptionSettings& settings) {
    return {{"reader", settings.id}, {"name", name_text(as_bytes(settings.name))}, {"filter", settings.filter}};
}

Json ranges_json(const std::vector<channel::OffsetRange>& ranges) {
    auto list = Json::array();
    for (const auto& range : ranges) {
        list.push_back({{"first", range.first}, {"count", range.count}});
    }
    return list;
}

struct AsJson {
    Json operator()(const channel::SettingsRecord& record) const {
        Json json{{"type", "settings"}};
        json.update(settings_json(record));
        return json;
    }
    Json operator()(const channel::PublishRecord& record) const {
        Json json{{"type", "publish"}};
        json.update(batch_json(record.header));
        if (!record.producer.is_anonymous()) {
            json["producer"] = hex_encode(record.producer.bytes);
            json["last_sequence"] = record.last_sequence;
        }
        return json;
    }
    Json operator()(const channel::SettledRecord& record) const {
        return {{"type", "settled"}, {"cursor", record.cursor}, {"ranges", ranges_json(record.ranges)}};
    }
    Json operator()(const channel::StartedRecord& record) const {
        auto ranges = Json::array();
        for (const auto& range : record.ranges) {
            ranges.push_back({{"first", range.first}, {"count", range.count}, {"attempt", range.attempt}});
        }
        return {{"type", "started"}, {"cursor", record.cursor}, {"ranges", std::move(ranges)}};
    }
    Json operator()(const channel::DeletedRecord&) const { return {{"type", "deleted"}}; }
    Json operator()(const channel::ProgressRecord& record) const {
        auto started = Json::array();
        for (const auto& range : record.started) {
            started.push_back({{"first", range.first}, {"count", range.count}, {"attempt", range.attempt}});
        }
        return {{"type", "progress"},
                {"reader", record.reader},
                {"cursor", record.cursor},
                {"started", std::move(started)},
                {"entries", entries_json(record.entries)}};
    }
    Json operator()(const channel::SubscribedRecord& record) const {
        Json json{{"type", "subscribed"}, {"cursor", record.cursor}};
        json.update(subscription_json(record.settings));
        return json;
    }
    Json operator()(const channel::UnsubscribedRecord& record) const {
        return {{"type", "unsubscribed"}, {"reader", record.reader}};
    }
    Json operator()(const channel::CompactedRecord& record) const {
        return {{"type", "compacted"}, {"ranges", ranges_json(record.ranges)}};
    }
    Json operator()(const channel::TrimmedRecord& record) const { return {{"type", "trimmed"}, {"end", record.end}}; }
};

void add_properties(Json& json, Bytes block) {
    const auto properties = decode_properties(block);
    if (!properties) {
        return;
    }
    add_texts(json, *properties);
    add_life(json, *properties);
    add_headers(json, *properties);
}

}  // namespace

std::string stream_text(storage::StreamId stream) {
    return storage::numbered_name("", stream.value(), stream_width, hex_base);
}

std::string time_text(WallTime time) { return utc_text(time.us); }

namespace {

/// Of the shard itself: what it says of channels is in its parts.
Json shard_record_json(Bytes body) {
    const auto record = commit::decode_shard_record(body);
    if (!record) {
        return {{"type", "unknown"}, {"bytes", body.size()}};
    }
    static constexpr const char* names[] = {"joint", "intent", "finished"};
    auto parts = Json::array();
    for (const auto& part : record->parts) {
        Json json{{"stream", stream_text(part.stream)}, {"number", part.number}, {"shard", part.shard}};
        json.update(record_json(part.stream, part.body));
        parts.push_back(std::move(json));
    }
    return {{"type", names[static_cast<std::size_t>(record->type) - 1]}, {"step", record->step}, {"parts", std::move(parts)}};
}

}  // namespace

Json record_json(storage::StreamId stream, Bytes body) {
    if (stream == commit::shard_stream) {
        return shard_record_json(body);
    }
    const auto record = channel::decode_record(body);
    if (!record) {
        return {{"type", "unknown"}, {"bytes", body.size()}};
    }
    return std::visit(AsJson{}, *record);
}

Json state_json(const channel::ChannelState& state) {
    auto json = settings_json(state.settings);
    json["next_offset"] = state.next_offset;
    json["cursor"] = state.cursor;
    json["producers"] = state.producers.size();
    auto live = Json::array();
    for (const auto& range : state.live) {
        live.push_back({{"first", range.first}, {"end", range.end}, {"attempt", range.attempt}});
    }
    json["live"] = std::move(live);
    if (!state.is_plain()) {
        json["special"] = entries_json(state.special);
        json["trimmed_end"] = state.trimmed_end;
        json["ruled_blocks"] = state.ruled_blocks;
        auto times = Json::array();
        for (const WallTime time : state.block_times) {
            times.push_back(time_text(time));
        }
        json["block_times"] = std::move(times);
        auto subscriptions = Json::array();
        for (const auto& reader : state.subscriptions) {
            auto shown = subscription_json(reader.settings);
            shown["cursor"] = reader.cursor;
            shown["entries"] = entries_json(reader.entries);
            subscriptions.push_back(std::move(shown));
        }
        json["subscriptions"] = std::move(subscriptions);
        json["ids"] = state.ids.size();
    }
    if (!state.removed.empty()) {
        json["removed"] = ranges_json(state.removed);
    }
    auto blocks = Json::array();
    for (const auto& block : state.blocks) {
        blocks.push_back(block_json(block));
    }
    json["blocks"] = std::move(blocks);
    return json;
}

Json block_json(const storage::BlockRef& block) {
    return {{"segment", block.segment},
            {"position", block.position},
            {"size", block.size},
            {"first", block.first},
            {"end", block.end}};
}

Json batch_json(const BatchHeader& header) {
    return {{"first", header.base_offset},
            {"count", header.count},
            {"time", time_text({header.time_us})},
            {"bytes", header.messages_size}};
}

Json envelope_json(const Envelope& envelope, Format format) {
    Json json{{"channel", name_text(as_bytes(envelope.channel))},
              {"offset", envelope.offset},
              {"attempt", envelope.attempt},
              {"time", time_text(envelope.time)}};
    if (!envelope.message.properties.empty()) {
        if (format == Format::json) {
            json["properties"] = Json::object();
        }
        add_properties(format == Format::json ? json["properties"] : json, envelope.message.properties);
    }
    if (is_valid_utf8(envelope.message.payload)) {
        json["body"] = as_text(envelope.message.payload);
    } else {
        json["body_base64"] = base64_encode(envelope.message.payload);
    }
    return json;
}

}  // namespace baton::inspect
