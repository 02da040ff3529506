#include "server/runtime/channel_admin.hpp"

#include <algorithm>
#include <optional>

#include "common/base/text_form.hpp"
#include "server/channel/errc.hpp"
#include "server/runtime/admin_json.hpp"
#include "server/runtime/channel_settings.hpp"
#include "server/runtime/errc.hpp"
#include "server/runtime/message_admin.hpp"
#include "server/runtime/policy_admin.hpp"

namespace baton::runtime {

namespace {

using channel::Channel;
using channel::ChannelOptions;

// --- Descriptions ------------------------------------------------------------------------------------------------------

const char* storage_name(bool is_durable) { return is_durable ? "durable" : "memory"; }

Json settings_json(const Channel& channel) {
    auto json = channel_settings_json(channel.options());
    json["name"] = name_text(as_bytes(channel.name()));
    json["storage"] = storage_name(channel.options().is_durable);
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
            {"producers", stats.producers},  {"committing", stats.committing},   {"resident_bytes", stats.resident_bytes},
            {"delayed", stats.delayed},      {"quarantined", stats.quarantined}, {"stored", stats.stored},
            {"retried", stats.retried},      {"rejected", stats.rejected},       {"expired_messages", stats.expired},
            {"dropped", stats.dropped},      {"leases_ended", stats.leases_ended}, {"trimmed", stats.trimmed},
            {"compacted", stats.compacted},  {"keys", stats.keys},
            {"unwanted", stats.unwanted},    {"moved", stats.moved}};
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
    if (stats.last_dropped_count > 0) {
        json["last_dropped"] = {{"first", stats.last_dropped_first}, {"count", stats.last_dropped_count}};
    }
    auto size = dump(json).size() + frame_of_reply;
    bool has_more = false;
    if (channel.options().kind != channel::Kind::queue) {
        auto subscriptions = Json::array();
        for (const auto& report : stats.subscriptions) {
            auto shown = subscription_json(report, now);
            size += dump(shown).size() + 1;
            has_more = size > reply_size_max / 2;
            if (has_more) {
                break;
            }
            subscriptions.push_back(std::move(shown));
        }
        json["subscriptions"] = std::move(subscriptions);
    }
    std::uint64_t receivers = 0;
    auto links = Json::array();
    for (const auto& link : stats.links) {
        receivers += link.is_sender ? 0U : 1U;
        if (links.size() >= links_shown_max || size > reply_size_max) {
            continue;  // There may be 10,000 of them, of 5 µs each: the rest is only counted.
        }
        auto shown = link_json(link, now);
        size += dump(shown).size() + 1;
        if (size <= reply_size_max) {
            links.push_back(std::move(shown));
        }
    }
    json["receivers"] = receivers;
    json["senders"] = stats.links.size() - receivers;
    has_more = has_more || stats.has_more_subscriptions || links.size() < stats.links.size();
    json["links"] = std::move(links);
    return {{"ok", true}, {"channel", std::move(json)}, {"more", has_more}};
}

// --- Operations --------------------------------------------------------------------------------------------------------

bool wanted_durability(const Json& request, bool is_durable) {
    const auto value = text_of(request, "storage", storage_name(is_durable));
    if (value != "memory" && value != "durable") {
        throw Refusal{"unsupported",
                      "storage \"" + value + "\" is not supported by this broker; use \"memory\" or \"durable\"", {}};
    }
    return value == "durable";
}

ChannelOptions wanted_options(const Json& request, const ChannelOptions& current, const Limits& limits) {
    for (const auto& [key, value] : request.items()) {
        if (key != "op" && key != "storage" && !is_channel_setting(key)) {
            throw Refusal{"unsupported", "this broker does not know the argument \"" + key + "\"", {}};
        }
    }
    auto options = current;
    apply_settings(options, request, limits.message_size_max);
    return options;
}

/// Kind and storage cannot change: all that is in conflict is said at once.
void refuse_conflicts(const ChannelOptions& options, bool is_wanted_durable, channel::Kind wanted_kind) {
    Json diff;
    std::string is;
    std::string wanted;
    const auto compare = [&](const std::string& key, const std::string& old_value, const std::string& new_value) {
        if (old_value != new_value) {
            const auto* joint = diff.is_null() ? "" : " and ";
            is += joint + key + " " + old_value;
            wanted += joint + key + " " + new_value;
            diff[key] = {{"is", old_value}, {"wanted", new_value}};
        }
    };
    compare("kind", kind_name(options.kind), kind_name(wanted_kind));
    compare("storage", storage_name(options.is_durable), storage_name(is_wanted_durable));
    if (!diff.is_null()) {
        throw Refusal{"incompatible_options",
                      "the channel exists with " + is + ", and " + wanted +
                          " is wanted: that cannot change; use another name, or delete it first",
                      diff};
    }
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
    const bool is_durable =
        wanted_durability(request, is_new ? default_options(state, name).is_durable : channel->is_durable());
    const auto current = is_new ? options_with_storage(name, limits, is_durable, state.policies.view()->effective)
                                : channel->options();
    const auto options = wanted_options(request, current, limits);
    if (!is_new) {
        refuse_conflicts(current, is_durable, options.kind);
    }
    const bool is_changed = !is_new && options != channel->options();
    if (is_new) {
        const auto made = directory.create(name, options);
        if (!made) {
            throw create_refusal(made.error().code, limits);
        }
        channel = *made;
    } else if (is_changed) {
        directory.reconfigure(*channel, options);
    }
    return {{"ok", true}, {"created", is_new}, {"changed", is_changed}, {"channel", settings_json(*channel)}};
}

Json show_channel(ChannelDirectory& directory, std::string_view name, const Json& request,
                  std::size_t reply_size_max) {
    refuse_unknown_keys(request, {});
    return describe(existing_channel(directory, name), directory.broker_state(), reply_size_max);
}

Json delete_channel(ChannelDirectory& directory, std::string_view name, const Json& request) {
    refuse_unknown_keys(request, {"force"});
    const bool is_forced = flag_of(request, "force");
    const auto stats = existing_channel(directory, name).stats();
    if (!stats.links.empty() && !is_forced) {
        throw Refusal{"in_use",
                      std::to_string(stats.links.size()) +
                          " senders and receivers are attached: stop them, or use force (baton channel delete --force)",
                      {}};
    }
    directory.erase(name);
    return {{"ok", true}, {"messages", stats.stored}};
}

/// However many were asked for: more would be a step of some ten milliseconds, in each shard and where they are put together.
std::uint64_t page_of(const Json& request) {
    constexpr std::uint64_t channels_per_page = 50;
    return std::min(number_of(request, "limit", 1, 500, 500), channels_per_page);
}

Json list_part(ChannelDirectory& directory, const Json& request) {
    refuse_unknown_keys(request, {"after", "limit"});
    const auto limit = page_of(request);
    const auto after = name_from_text(text_of(request, "after", ""));
    if (!after) {
        throw Refusal{"bad_request", "\"after\" is not the text form of a channel name"};
    }
    auto channels = Json::array();
    directory.visit(*after, [&](const std::string&, const channel::Channel& channel) {
        if (channels.size() > limit) {
            return false;
        }
        const auto stats = channel.stats();
        auto json = settings_json(channel);
        json["ready"] = stats.ready;
        json["delayed"] = stats.delayed;
        json["in_flight"] = stats.in_flight;
        json["quarantined"] = stats.quarantined;
        json["bytes"] = stats.bytes;
        json["receivers"] = std::ranges::count(stats.links, false, &channel::LinkReport::is_sender);
        json["senders"] = std::ranges::count(stats.links, true, &channel::LinkReport::is_sender);
        channels.push_back(std::move(json));
        return true;
    });
    return {{"ok", true}, {"channels", std::move(channels)}};
}

/// Of one shard: is its log open, and what is wrong.
Json storage_part(const ShardStore& store, Json damages) {
    auto problems = Json::array();
    const bool is_open = store.condition() == commit::Condition::open;
    if (!is_open) {
        problems.push_back(std::string{store.condition() == commit::Condition::full ? "disk full: " : "storage failed: "} +
                           store.trouble());
    }
    for (auto& damage : damages) {
        problems.push_back(std::move(damage));
    }
    const auto& log = store.local_log();
    const auto& wal = log.wal().counters();
    return {{"problems", std::move(problems)},
            {"groups", wal.groups},
            {"records", log.submitted()},
            {"log_bytes", wal.bytes_written},
            {"zeroed_bytes", wal.bytes_zeroed},
            {"segment_bytes", store.segment_bytes_written()},
            {"log_files", log.wal().files().size()},
            {"unsynced_bytes", log.wal().unsynced_bytes()}};
}

class BrokerSurvey final : public Survey {
public:
    explicit BrokerSurvey(ChannelDirectory& directory) : directory_{directory} {}

    void add(const std::string& name, channel::Channel& channel) override {
        const auto totals = channel.totals();
        sums_.ready += totals.ready;
        sums_.in_flight += totals.in_flight;
        sums_.bytes += totals.bytes;
        sums_.published += totals.published;
        sums_.delivered += totals.delivered;
        if (!channel.damage().empty() && damages_.size() < damages_max) {
            damages_.push_back("channel \"" + name_text(as_bytes(name)) + "\" is quarantined: " + channel.damage());
        }
    }
    Json result() override {
        const ShardStore* store = directory_.storage();
        return {{"ok", true},
                {"messages",
                 {{"ready", sums_.ready},
                  {"in_flight", sums_.in_flight},
                  {"bytes", sums_.bytes},
                  {"published", sums_.published},
                  {"delivered", sums_.delivered}}},
                {"storage", store != nullptr ? storage_part(*store, std::move(damages_)) : Json{}}};
    }

private:
    static constexpr std::size_t damages_max = 1'000;

    ChannelDirectory& directory_;
    channel::Channel::Totals sums_;
    Json damages_ = Json::array();
};

Json dispatch(ChannelDirectory& directory, std::string_view name, const Json& request, std::size_t reply_size_max) {
    const auto op = text_of(request, "op", "");
    if (op == "channel.create") { return create_channel(directory, name, request); }
    if (op == "channel.show") { return show_channel(directory, name, request, reply_size_max); }
    if (op == "channel.delete") { return delete_channel(directory, name, request); }
    if (op == "channel.peek") { return peek_channel(directory, name, request, reply_size_max); }
    if (op == "channel.retry") { return retry_messages(directory, name, request); }
    if (op == "channel.explain") { return explain_channel(directory, name, request, reply_size_max); }
    if (op == "subscription.create") { return create_subscription(directory, name, request); }
    if (op == "subscription.list") { return list_subscriptions(directory, name, request, reply_size_max); }
    if (op == "subscription.delete") { return delete_subscription(directory, name, request); }
    if (op == "channel.list") { return list_part(directory, request); }
    if (op == "policy.list") { return list_policies(directory.broker_state(), request, reply_size_max); }
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
    const auto limit = page_of(request);
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

std::unique_ptr<Survey> survey_of_broker(ChannelDirectory& directory, const Json& request) {
    refuse_unknown_keys(request, {});
    return std::make_unique<BrokerSurvey>(directory);
}

bool admin_changes(std::string_view op) {
    return op == "channel.create" || op == "channel.delete" || op == "channel.purge" || op == "channel.retry" ||
           op == "channel.drop" || op == "channel.move" || op == "subscription.create" || op == "subscription.delete" ||
           op == "policy.apply";
}

AdminScope admin_scope(std::string_view op) {
    if (op == "channel.list" || op == "broker.show" || op == "policy.show" || op == "policy.apply") {
        return AdminScope::every_shard;
    }
    if (op == "policy.set" || op == "policy.delete") {
        return AdminScope::first_shard;
    }
    const bool is_anybodys = op == "policy.list" || op.empty();  // Empty: whoever gets it says that it is not understood.
    return is_anybodys ? AdminScope::any_shard : AdminScope::channel;
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
    } catch (const Json::exception& unforeseen) {  // A value of another type than is needed.
        return admin_error("bad_request", unforeseen.what());
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
    const auto& op = request.at("op");
    if (op == "policy.show" || op == "policy.apply") {
        return dump(merge_policy_parts(parsed));
    }
    return dump(op == "channel.list" ? merge_lists(request, parsed, reply_size_max) : merge_broker(parsed, state));
}

}  // namespace baton::runtime
