#include "server/runtime/channel_admin.hpp"

#include <algorithm>
#include <chrono>
#include <optional>

#include "common/base/base64.hpp"
#include "common/base/properties.hpp"
#include "common/base/text_form.hpp"
#include "common/base/utf8.hpp"
#include "server/channel/errc.hpp"
#include "server/runtime/admin_json.hpp"
#include "server/runtime/errc.hpp"

namespace baton::runtime {

namespace {

using channel::Channel;
using channel::ChannelOptions;

constexpr std::size_t peek_body_size_max = 64 * 1024;
Channel& existing(ChannelDirectory& directory, std::string_view name) {
    auto* channel = directory.find(name);
    if (channel == nullptr) {
        throw Refusal{"not_found", "no channel named \"" + name_text(as_bytes(name)) + "\""};
    }
    return *channel;
}

std::uint64_t milliseconds(Duration duration) {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

// --- Descriptions ------------------------------------------------------------------------------------------------------

const char* storage_name(bool is_durable) { return is_durable ? "durable" : "memory"; }

Json settings_json(const Channel& channel) {
    const auto& options = channel.options();
    return {{"name", name_text(as_bytes(channel.name()))},
            {"kind", "queue"},
            {"storage", storage_name(options.is_durable)},
            {"messages_max", options.messages_max},
            {"bytes_max", options.bytes_max},
            {"message_size_max", options.message_size_max}};
}

/// With the names of docs/protocol.md, section 8.
Json wait_json(const channel::Wait& wait, MonotonicTime now) {
    std::string reason{channel::to_string(wait.reason)};
    std::ranges::replace(reason, ' ', '_');
    Json json{{"reason", std::move(reason)}};
    if (wait.reason != channel::WaitReason::none) {
        json["for_ms"] = milliseconds(now - wait.since);
    }
    return json;
}

Json link_json(const channel::LinkReport& link, MonotonicTime now) {
    Json json{{"session", link.address.session.value()},
              {"link", link.address.link},
              {"role", link.is_sender ? "sender" : "receiver"},
              {"wait", wait_json(link.wait, now)},
              {"messages", link.total},
              {"credit", {{"messages", link.credit_left.messages}, {"bytes", link.credit_left.bytes}}}};
    if (link.is_sender) {
        json["parked"] = link.in_flight;
    } else {
        json["in_flight"] = link.in_flight;
        json["in_flight_bytes"] = link.in_flight_bytes;
        json["started"] = link.started;
    }
    return json;
}

Json counters_json(const channel::ChannelStats& stats) {
    return {{"ready", stats.ready},          {"in_flight", stats.in_flight},     {"parked", stats.parked},
            {"bytes", stats.bytes},          {"published", stats.published},     {"duplicates", stats.duplicates},
            {"refused", stats.refused},      {"delivered", stats.delivered},     {"redelivered", stats.redelivered},
            {"settled", stats.settled},      {"purged", stats.purged},           {"next_offset", stats.next_offset},
            {"producers", stats.producers},  {"committing", stats.committing},   {"resident_bytes", stats.resident_bytes}};
}

constexpr std::size_t links_shown_max = 200;

/// The reply of `channel.show`, with as many links as fit.
Json describe(const Channel& channel, const BrokerState& state, std::size_t reply_size_max) {
    const auto stats = channel.stats();
    const auto now = state.clock.now();
    auto json = settings_json(channel);
    json.update(counters_json(stats));
    json["wait"] = wait_json(stats.wait, now);
    if (!channel.damage().empty()) {
        json["damage"] = channel.damage();
    }
    if (stats.oldest_offset != 0) {
        json["oldest"] = {{"offset", stats.oldest_offset}, {"time_us", stats.oldest_time.us}};
    }
    std::uint64_t receivers = 0;
    auto links = Json::array();
    auto size = dump(json).size() + frame_of_reply;
    for (const auto& link : stats.links) {
        receivers += link.is_sender ? 0U : 1U;
        auto shown = link_json(link, now);
        size += dump(shown).size() + 1;
        if (links.size() < links_shown_max && size <= reply_size_max) {
            links.push_back(std::move(shown));
        }
    }
    json["receivers"] = receivers;
    json["senders"] = stats.links.size() - receivers;
    const bool has_more = links.size() < stats.links.size();
    json["links"] = std::move(links);
    return {{"ok", true}, {"channel", std::move(json)}, {"more", has_more}};
}

// --- Operations --------------------------------------------------------------------------------------------------------

/// Whether the channel shall be durable. Of one that exists this cannot change.
bool wanted_durability(const Json& request, bool is_durable, bool is_new) {
    const auto value = text_of(request, "storage", storage_name(is_durable));
    if (value != "memory" && value != "durable") {
        throw Refusal{"unsupported",
                      "storage \"" + value + "\" is not supported by this broker; use \"memory\" or \"durable\"", {}};
    }
    const bool is_wanted_durable = value == "durable";
    if (!is_new && is_wanted_durable != is_durable) {
        throw Refusal{"incompatible_options",
                      "the channel exists with storage " + std::string{storage_name(is_durable)} + " and " + value +
                          " is wanted: that cannot change; use another name, or delete it first",
                      {{"storage", {{"is", storage_name(is_durable)}, {"wanted", value}}}}};
    }
    return is_wanted_durable;
}

ChannelOptions wanted_options(const Json& request, const ChannelOptions& current, const Limits& limits) {
    refuse_unknown_keys(request, {"kind", "storage", "messages_max", "bytes_max", "message_size_max"});
    if (const auto value = text_of(request, "kind", "queue"); value != "queue") {
        throw Refusal{"unsupported", "kind \"" + value + "\" is not supported by this broker; use \"queue\"", {}};
    }
    constexpr auto huge = std::uint64_t{1} << 62U;
    auto options = current;
    options.messages_max = number_of(request, "messages_max", 1, huge, current.messages_max);
    options.bytes_max = number_of(request, "bytes_max", 1, huge, current.bytes_max);
    options.message_size_max =
        number_of(request, "message_size_max", 1, limits.message_size_max, current.message_size_max);
    return options;
}

Refusal create_refusal(const std::error_code& reason, const Limits& limits) {
    if (reason == Errc::too_many_channels) {
        return {"too_many_channels",
                "the broker has as many channels as limits.channels_max allows (" + std::to_string(limits.channels_max) + ")",
                {}};
    }
    if (reason == channel::Errc::disk_full) {
        return {"disk_full", reason.message(), {}};
    }
    return {reason == Errc::no_storage ? "unsupported" : "storage_failed", reason.message(), {}};
}

Json create_channel(ChannelDirectory& directory, std::string_view name, const Json& request) {
    const auto& limits = directory.broker_state().limits;
    if (name.empty() || name.size() > limits.channel_name_size_max) {
        throw Refusal{"bad_name", "a channel name has 1 to " + std::to_string(limits.channel_name_size_max) +
                                      " bytes, this one has " + std::to_string(name.size())};
    }
    auto* channel = directory.find(name);
    const bool is_new = channel == nullptr;
    if (!is_new && !channel->damage().empty()) {
        throw Refusal{"channel_damaged", "the channel's files are damaged: " + channel->damage(), {}};
    }
    const auto& state = directory.broker_state();
    const bool is_durable = wanted_durability(
        request, is_new ? default_options(state, name).is_durable : channel->is_durable(), is_new);
    const auto options = wanted_options(
        request, is_new ? options_with_storage(name, limits, is_durable, state.policies) : channel->options(), limits);
    if (is_new) {
        const auto made = directory.create(name, options);
        if (!made) {
            throw create_refusal(made.error().code, limits);
        }
        channel = *made;
    } else if (options != channel->options()) {
        channel->reconfigure(options);
        directory.touch(*channel);
    }
    return {{"ok", true}, {"created", is_new}, {"channel", settings_json(*channel)}};
}

Json show_channel(ChannelDirectory& directory, std::string_view name, const Json& request,
                  std::size_t reply_size_max) {
    refuse_unknown_keys(request, {});
    return describe(existing(directory, name), directory.broker_state(), reply_size_max);
}

Json delete_channel(ChannelDirectory& directory, std::string_view name, const Json& request) {
    refuse_unknown_keys(request, {});
    const auto stats = existing(directory, name).stats();
    directory.erase(name);
    return {{"ok", true}, {"messages", stats.ready + stats.in_flight}};
}

Json purge_channel(ChannelDirectory& directory, std::string_view name, const Json& request) {
    refuse_unknown_keys(request, {});
    auto& channel = existing(directory, name);
    if (!channel.damage().empty()) {
        throw Refusal{"channel_damaged", "the channel's files are damaged: " + channel.damage(), {}};
    }
    const auto dropped = channel.purge();
    directory.touch(channel);
    return {{"ok", true}, {"messages", dropped}};
}

Json properties_json(Bytes block) {
    auto json = Json::object();
    const auto decoded = decode_properties(block);
    if (!decoded) {
        return json;
    }
    const auto text = [&](const char* key, const std::string& value) {
        if (!value.empty()) {
            json[key] = is_valid_utf8(as_bytes(value)) ? value : name_text(as_bytes(value));
        }
    };
    text("key", decoded->key);
    text("content_type", decoded->content_type);
    text("reply_to", decoded->reply_to);
    text("correlation_id", decoded->correlation_id);
    text("id", decoded->message_id);
    for (const auto& [name, value] : decoded->headers) {
        json["headers"][name_text(as_bytes(name))] = is_valid_utf8(as_bytes(value)) ? value : name_text(as_bytes(value));
    }
    return json;
}

/// At most `size_max` bytes of JSON: long properties are left out, a long body is cut.
Json peeked_json(const channel::PeekedMessage& peeked, std::size_t size_max) {
    auto properties = properties_json(peeked.message.properties);
    const auto properties_size = dump(properties).size();
    const bool are_properties_shown = properties_size <= size_max / 2;
    const auto room = size_max - (are_properties_shown ? properties_size : 0) - frame_of_reply;
    const auto body = peeked.message.payload;
    const auto shown = body.first(std::min({body.size(), peek_body_size_max, room / 4 * 3}));
    Json json{{"offset", peeked.offset},
              {"attempt", peeked.attempt},
              {"state", peeked.state == channel::PeekedMessage::State::ready ? "ready" : "in-flight"},
              {"time_us", peeked.time.us},
              {"size", body.size()},
              {"body_base64", base64_encode(shown)}};
    if (shown.size() < body.size()) {
        json["truncated"] = true;
    }
    if (!are_properties_shown) {
        json["properties_truncated"] = true;
    } else if (!peeked.message.properties.empty()) {
        json["properties"] = std::move(properties);
    }
    return json;
}

Json peek_channel(ChannelDirectory& directory, std::string_view name, const Json& request,
                  std::size_t reply_size_max) {
    refuse_unknown_keys(request, {"state", "from", "count"});
    auto& channel = existing(directory, name);
    const auto state = text_of(request, "state", "");
    if (state != "" && state != "ready" && state != "in-flight") {
        throw Refusal{"unsupported", "state \"" + state + "\" is not supported by this broker; use \"ready\" or \"in-flight\""};
    }
    const auto count = number_of(request, "count", 1, 1000, 10);
    const auto from = number_of(request, "from", 0, ~std::uint64_t{0}, 0);
    auto messages = Json::array();
    std::size_t size = 0;
    std::optional<channel::Offset> next;
    channel.peek(from, [&](const channel::PeekedMessage& peeked) {
        const bool is_ready = peeked.state == channel::PeekedMessage::State::ready;
        if (!state.empty() && is_ready != (state == "ready")) {
            return true;
        }
        if (messages.size() >= count) {
            next = peeked.offset;
            return false;
        }
        auto json = peeked_json(peeked, reply_size_max - frame_of_reply);
        const auto json_size = dump(json).size() + 1;
        if (!messages.empty() && size + json_size > reply_size_max - frame_of_reply) {
            next = peeked.offset;
            return false;
        }
        size += json_size;
        messages.push_back(std::move(json));
        return true;
    }, [&](const storage::BlockRef& ref) { return directory.read_block(channel, ref); });
    Json reply{{"ok", true}, {"messages", std::move(messages)}, {"more", next.has_value()}};
    if (next) {
        reply["next"] = *next;
    }
    return reply;
}

Json list_part(ChannelDirectory& directory, const Json& request) {
    refuse_unknown_keys(request, {"after", "limit"});
    const auto limit = number_of(request, "limit", 1, 500, 500);
    const auto after = name_from_text(text_of(request, "after", ""));
    if (!after) {
        throw Refusal{"bad_request", "\"after\" is not the text form of a channel name"};
    }
    auto channels = Json::array();
    for (const auto& name : directory.names()) {
        if (name <= *after) {
            continue;
        }
        if (channels.size() > limit) {
            break;
        }
        const auto& channel = *directory.find(name);
        const auto stats = channel.stats();
        auto json = settings_json(channel);
        json["ready"] = stats.ready;
        json["in_flight"] = stats.in_flight;
        json["bytes"] = stats.bytes;
        json["receivers"] = std::ranges::count(stats.links, false, &channel::LinkReport::is_sender);
        json["senders"] = std::ranges::count(stats.links, true, &channel::LinkReport::is_sender);
        channels.push_back(std::move(json));
    }
    return {{"ok", true}, {"channels", std::move(channels)}};
}

/// Of one shard: is its log open, and what is wrong.
Json storage_part(ChannelDirectory& directory) {
    const auto* store = directory.storage();
    if (store == nullptr) {
        return nullptr;
    }
    auto problems = Json::array();
    const bool is_open = store->condition() == commit::Condition::open;
    if (!is_open) {
        problems.push_back(std::string{store->condition() == commit::Condition::full ? "disk full: " : "storage failed: "} +
                           store->trouble());
    }
    for (const auto& name : directory.names()) {
        const auto& channel = *directory.find(name);
        if (!channel.damage().empty()) {
            problems.push_back("channel \"" + name_text(as_bytes(name)) + "\" is quarantined: " + channel.damage());
        }
    }
    const auto& log = store->local_log();
    const auto& wal = log.wal().counters();
    return {{"problems", std::move(problems)},
            {"groups", wal.groups},
            {"records", log.submitted()},
            {"log_bytes", wal.bytes_written},
            {"zeroed_bytes", wal.bytes_zeroed},
            {"segment_bytes", store->segment_bytes_written()},
            {"log_files", log.wal().files().size()},
            {"unsynced_bytes", log.wal().unsynced_bytes()}};
}

Json broker_part(ChannelDirectory& directory, const Json& request) {
    refuse_unknown_keys(request, {});
    Json sums{{"ready", 0U}, {"in_flight", 0U}, {"bytes", 0U}, {"published", 0U}, {"delivered", 0U}};
    for (const auto& name : directory.names()) {
        const auto stats = counters_json(directory.find(name)->stats());
        for (auto& [key, value] : sums.items()) {
            value = value.get<std::uint64_t>() + stats.at(key).get<std::uint64_t>();
        }
    }
    return {{"ok", true}, {"messages", std::move(sums)}, {"storage", storage_part(directory)}};
}

Json dispatch(ChannelDirectory& directory, std::string_view name, const Json& request, std::size_t reply_size_max) {
    const auto op = text_of(request, "op", "");
    if (op == "channel.create") { return create_channel(directory, name, request); }
    if (op == "channel.show") { return show_channel(directory, name, request, reply_size_max); }
    if (op == "channel.delete") { return delete_channel(directory, name, request); }
    if (op == "channel.purge") { return purge_channel(directory, name, request); }
    if (op == "channel.peek") { return peek_channel(directory, name, request, reply_size_max); }
    if (op == "channel.list") { return list_part(directory, request); }
    if (op == "broker.show") { return broker_part(directory, request); }
    throw Refusal{"unsupported", "this broker does not know the operation \"" + op + "\""};
}

// --- One reply of many parts -----------------------------------------------------------------------------------------------

Json merge_lists(const Json& request, const std::vector<Json>& parts, std::size_t reply_size_max) {
    std::vector<Json> channels;
    for (const auto& part : parts) {
        for (const auto& channel : part.at("channels")) {
            channels.push_back(channel);
        }
    }
    const auto name_of = [](const Json& channel) {
        return name_from_text(channel.at("name").get<std::string>()).value_or("");
    };
    std::ranges::sort(channels, {}, name_of);
    const auto limit = number_of(request, "limit", 1, 500, 500);
    auto shown = Json::array();
    std::size_t size = 0;
    for (auto& channel : channels) {
        size += dump(channel).size() + 1;
        if (shown.size() >= limit || size > reply_size_max - frame_of_reply) {
            return {{"ok", true}, {"channels", std::move(shown)}, {"more", true}};
        }
        shown.push_back(std::move(channel));
    }
    return {{"ok", true}, {"channels", std::move(shown)}, {"more", false}};
}

/// The shards' storage in sums; null without a data directory.
Json merge_storage(const std::vector<Json>& parts, Json& problems) {
    constexpr std::size_t problems_max = 20;
    Json sums;
    for (const auto& part : parts) {
        const auto& storage = part.at("storage");
        if (storage.is_null()) {
            continue;
        }
        for (const auto& [key, value] : storage.items()) {
            if (key == "problems") {
                for (const auto& problem : value) {
                    if (problems.size() < problems_max) {
                        problems.push_back(problem);
                    }
                }
            } else {
                sums[key] = (sums.contains(key) ? sums[key].get<std::uint64_t>() : 0) + value.get<std::uint64_t>();
            }
        }
    }
    return sums;
}

Json merge_broker(const std::vector<Json>& parts, const BrokerState& state) {
    auto sums = parts.front().at("messages");
    for (std::size_t i = 1; i < parts.size(); ++i) {
        for (auto& [key, value] : sums.items()) {
            value = value.get<std::uint64_t>() + parts[i].at("messages").at(key).get<std::uint64_t>();
        }
    }
    const auto& limits = state.limits;
    auto problems = Json::array();
    const auto storage = merge_storage(parts, problems);
    return {{"ok", true},
            {"version", BATON_VERSION},
            {"health", problems.empty() ? "ok" : "degraded"},
            {"problems", std::move(problems)},
            {"storage", storage},
            {"uptime_ms", milliseconds(state.clock.now() - state.started)},
            {"shards", state.shard_count},
            {"draining", state.is_draining.load(std::memory_order_relaxed)},
            {"connections", state.connections.load(std::memory_order_relaxed)},
            {"connections_accepted", state.accepted.load(std::memory_order_relaxed)},
            {"channels", state.channels.load(std::memory_order_relaxed)},
            {"memory_used", state.memory.used()},
            {"messages", std::move(sums)},
            {"limits",
             {{"memory_max", limits.memory_max},
              {"connections_max", limits.connections_max},
              {"links_max", limits.links_max},
              {"channels_max", limits.channels_max},
              {"channel_name_size_max", limits.channel_name_size_max},
              {"message_size_max", limits.message_size_max}}}};
}

}  // namespace

bool admin_changes(std::string_view json) {
    const auto request = parse_object(json);
    const auto op = request ? request->value("op", Json{}) : Json{};
    return op == "channel.create" || op == "channel.delete" || op == "channel.purge";
}

AdminScope admin_scope(std::string_view json) {
    const auto request = parse_object(json);
    if (!request) {
        return AdminScope::invalid;
    }
    const auto op = request->value("op", Json{});
    return op == "channel.list" || op == "broker.show" ? AdminScope::every_shard : AdminScope::channel;
}

std::string run_admin(ChannelDirectory& directory, std::string_view name, std::string_view json,
                      std::size_t reply_size_max) {
    const auto request = parse_object(json);
    if (!request) {
        return admin_error("bad_request", "the request is not a JSON object");
    }
    try {
        return dump(dispatch(directory, name, *request, reply_size_max));
    } catch (const Refusal& refusal) {
        return refusal_json(refusal);
    }
}

std::string merge_admin_parts(std::string_view request_json, const std::vector<std::string>& parts,
                              const BrokerState& state, std::size_t reply_size_max) {
    std::vector<Json> parsed;
    for (const auto& part : parts) {
        parsed.push_back(Json::parse(part));
        if (!parsed.back().at("ok").get<bool>()) {
            return part;
        }
    }
    const auto request = Json::parse(request_json);
    return dump(request.at("op") == "channel.list" ? merge_lists(request, parsed, reply_size_max) : merge_broker(parsed, state));
}

}  // namespace baton::runtime
