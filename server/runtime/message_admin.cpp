#include "server/runtime/message_admin.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "common/base/base64.hpp"
#include "common/base/properties_json.hpp"
#include "common/base/text_form.hpp"
#include "server/channel/errc.hpp"
#include "server/runtime/channel_settings.hpp"
#include "server/runtime/start_position.hpp"

namespace baton::runtime {

namespace {

using channel::Channel;
using channel::MessageState;
using channel::Subscription;

constexpr std::size_t peek_body_size_max = 64 * 1024;
constexpr std::size_t offsets_max = 1'000;
constexpr std::size_t subscriptions_per_reply = 100;  // 2 ms or so.
// For one answer: it is begun anew with each (looks.hpp). Who wants more asks again.
constexpr std::size_t peek_blocks_max = 16;
constexpr std::uint64_t peeked_at_once = 256;  // 2 to 3 ms.

const char* state_name(MessageState state) {
    switch (state) {
        case MessageState::ready: return "ready";
        case MessageState::delayed: return "delayed";
        case MessageState::in_flight: return "in-flight";
        case MessageState::quarantined: return "quarantined";
    }
    return "ready";
}

Json properties_json(Bytes block) {
    auto json = Json::object();
    const auto decoded = decode_properties(block);
    if (!decoded) {
        return json;
    }
    add_texts(json, *decoded);
    add_life(json, *decoded);
    add_headers(json, *decoded);
    return json;
}

void add_state(Json& json, const channel::PeekedMessage& peeked) {
    if (peeked.state == MessageState::delayed) {
        json["due_us"] = peeked.due.us;
    }
    if (peeked.note) {
        json["reason"] = reason_name(peeked.note->reason);
        json["note"] = shown_text(peeked.note->note);
        json["receiver"] = shown_text(peeked.note->receiver);
        json["quarantined_us"] = peeked.note->time.us;
    }
    if (peeked.receiver != nullptr) {
        json["receiver"] = shown_text(peeked.receiver->name);
        json["session"] = peeked.receiver->address.session.value();
    }
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
              {"state", state_name(peeked.state)},
              {"time_us", peeked.time.us},
              {"size", body.size()},
              {"body_base64", base64_encode(shown)}};
    add_state(json, peeked);
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

std::string subscription_name(const Json& request) {
    const auto name = name_from_text(text_of(request, "subscription", ""));
    if (!name) {
        throw Refusal{"bad_request", "\"subscription\" is not the text form of a name", {}};
    }
    return *name;
}

// Of one more than a reply shows it is known that there are more.
std::vector<channel::SubscriptionReport> wanted_subscriptions(Channel& channel, const Json& request) {
    const auto after = number_of(request, "after", 0, UINT32_MAX, 0);
    const std::string name = subscription_name(request);
    if (!request.contains("subscription")) {
        return channel.subscriptions(static_cast<channel::ReaderId>(after), subscriptions_per_reply + 1);
    }
    const auto* reader = name.empty() ? nullptr : channel.find_subscription(name);
    return reader != nullptr ? std::vector{Channel::report_of(*reader)} : std::vector<channel::SubscriptionReport>{};
}

}  // namespace

const char* reason_name(channel::QuarantineReason reason) {
    switch (reason) {
        case channel::QuarantineReason::rejected: return "rejected";
        case channel::QuarantineReason::attempts: return "attempts";
        case channel::QuarantineReason::expired: return "expired";
    }
    return "rejected";
}

// --- Arguments -----------------------------------------------------------------------------------------------------------

std::optional<MessageState> state_of(const Json& request) {
    const auto text = text_of(request, "state", "");
    for (const auto state :
         {MessageState::ready, MessageState::delayed, MessageState::in_flight, MessageState::quarantined}) {
        if (text == state_name(state)) {
            return state;
        }
    }
    if (!text.empty()) {
        throw Refusal{"unsupported",
                      "state \"" + text + "\" is not supported; use \"ready\", \"delayed\", \"in-flight\" or \"quarantined\"", {}};
    }
    return std::nullopt;
}

MessageState droppable_state_of(const Json& request) {
    const auto state = state_of(request).value_or(MessageState::quarantined);
    if (state == MessageState::in_flight) {
        throw Refusal{"unsupported", "messages that a receiver holds cannot be dropped; use ready, delayed or quarantined", {}};
    }
    return state;
}

Subscription& reader_of(Channel& channel, const Json& request) {
    const auto name = subscription_name(request);
    auto* reader = channel.find_subscription(name);
    if (reader != nullptr) {
        return *reader;
    }
    if (channel.options().kind == channel::Kind::queue) {
        throw Refusal{"unsupported", "a queue has no subscriptions: leave \"subscription\" out", {}};
    }
    if (name.empty()) {
        throw Refusal{"bad_request",
                      std::string{"a "} + kind_name(channel.options().kind) + " needs \"subscription\": the name of one", {}};
    }
    throw Refusal{"not_found", "no subscription named \"" + name_text(as_bytes(name)) + "\"", {}};
}

void refuse_damaged(const Channel& channel) {
    if (!channel.damage().empty()) {
        throw Refusal{"channel_damaged", "the channel's files are damaged: " + channel.damage(), {}};
    }
}

MessageSelection selection_of(const Json& request) {
    MessageSelection choice;
    const auto all = request.find("all");
    if (all != request.end() && !all->is_boolean()) {
        throw Refusal{"bad_request", "all is " + dump(*all) + ", allowed is true or false", {}};
    }
    choice.is_all = all != request.end() && all->get<bool>();
    const auto offsets = request.find("offsets");
    if (choice.is_all != (offsets == request.end())) {
        throw Refusal{"bad_request", "either \"offsets\" or \"all\": true is needed", {}};
    }
    if (choice.is_all) {
        return choice;
    }
    if (!offsets->is_array() || offsets->size() > offsets_max ||
        !std::ranges::all_of(*offsets, [](const Json& offset) { return offset.is_number_unsigned(); })) {
        throw Refusal{"bad_request", "offsets must be a list of up to 1,000 whole numbers", {}};
    }
    choice.offsets = offsets->get<std::vector<channel::Offset>>();
    return choice;
}

Channel& existing_channel(ChannelDirectory& directory, std::string_view name) {
    auto* channel = directory.find(name);
    if (channel == nullptr) {
        throw Refusal{"not_found", "no channel named \"" + name_text(as_bytes(name)) + "\"", {}};
    }
    return *channel;
}

Json wait_json(const channel::Wait& wait, MonotonicTime now) {
    std::string reason{channel::to_string(wait.reason)};
    std::ranges::replace(reason, ' ', '_');
    Json json{{"reason", std::move(reason)}};
    if (wait.reason != channel::WaitReason::none) {
        json["for_ms"] = milliseconds(now - wait.since);
    }
    return json;
}

Json subscription_json(const channel::SubscriptionReport& report, MonotonicTime now) {
    Json json{{"name", name_text(as_bytes(report.settings.name))},
            {"filter", report.settings.filter},
            {"overflow", overflow_name(report.settings.overflow)},
            {"backlog_max", report.settings.backlog_max},
            {"ready", report.ready},
            {"delayed", report.delayed},
            {"in_flight", report.in_flight},
            {"quarantined", report.quarantined},
            {"next_offset", report.next_offset},
            {"dropped", report.counters.dropped},
            {"expired", report.counters.expired},
            {"missed", report.missed},
            {"delivered", report.counters.delivered},
            {"settled", report.counters.settled},
            {"receivers", report.receivers},
            {"wait", wait_json(report.wait, now)}};
    if (report.counters.last_dropped_count > 0) {
        json["last_dropped"] = {{"first", report.counters.last_dropped_first}, {"count", report.counters.last_dropped_count}};
    }
    return json;
}

// --- Messages ------------------------------------------------------------------------------------------------------------

Json peek_channel(ChannelDirectory& directory, std::string_view name, const Json& request, std::size_t reply_size_max) {
    refuse_unknown_keys(request, {"state", "from", "count", "subscription"});
    auto& channel = existing_channel(directory, name);
    const auto state = state_of(request);
    const bool is_of_reader = channel.options().kind == channel::Kind::queue || request.contains("subscription");
    const Subscription* reader = is_of_reader ? &reader_of(channel, request) : nullptr;
    const auto count = number_of(request, "count", 1, 1000, 10);
    const auto from = number_of(request, "from", 0, ~std::uint64_t{0}, 0);
    auto messages = Json::array();
    std::size_t size = 0;
    std::optional<channel::Offset> next;
    std::size_t blocks = 0;
    channel.peek(
        reader, state, from,
        [&](const channel::PeekedMessage& peeked) {
            if (messages.size() >= std::min(count, peeked_at_once) || blocks > peek_blocks_max) {
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
        },
        [&](const storage::BlockRef& ref) {
            ++blocks;
            return directory.read_block(channel, ref);
        });
    Json reply{{"ok", true}, {"messages", std::move(messages)}, {"more", next.has_value()}};
    if (next) {
        reply["next"] = *next;
    }
    return reply;
}

Json retry_messages(ChannelDirectory& directory, std::string_view name, const Json& request) {
    refuse_unknown_keys(request, {"subscription", "offsets", "all"});
    auto& channel = existing_channel(directory, name);
    refuse_damaged(channel);
    const auto choice = selection_of(request);
    const auto count = reader_of(channel, request).retry(choice.offsets);
    channel.subscription_changed();
    directory.touch(channel);
    return {{"ok", true}, {"messages", count}};
}

// --- Subscriptions -------------------------------------------------------------------------------------------------------

Json create_subscription(ChannelDirectory& directory, std::string_view name, const Json& request) {
    refuse_unknown_keys(request, {"subscription", "from", "filter", "overflow", "backlog_max"});
    auto& channel = existing_channel(directory, name);
    refuse_damaged(channel);
    const auto wanted = subscription_name(request);
    if (wanted.empty() || wanted.size() > directory.broker_state().limits.channel_name_size_max) {
        throw Refusal{"bad_name", "a subscription's name has 1 to 255 bytes, this one has " + std::to_string(wanted.size()), {}};
    }
    const auto* before = channel.find_subscription(wanted);
    const bool is_new = before == nullptr;
    channel::SubscriptionSettings settings = is_new ? channel::SubscriptionSettings{} : before->settings();
    settings.name = wanted;
    settings.filter = text_of(request, "filter", settings.filter);
    settings.overflow = overflow_of(request, settings.overflow, true);
    settings.backlog_max = number_of(request, "backlog_max", 0, std::uint64_t{1} << 62U, settings.backlog_max);
    channel::StartPosition from;
    if (const auto found = request.find("from"); found != request.end()) {
        const auto position = start_position_of(*found);
        if (!position) {
            throw Refusal{"bad_request", "from is " + dump(*found) + ", allowed are " + start_positions_allowed, {}};
        }
        from = *position;
    }
    const bool is_changed = !is_new && settings != before->settings();
    if (const auto refused = channel.subscribe(settings, from)) {
        const bool is_conflict = refused == channel::Errc::incompatible_options;
        throw Refusal{is_conflict ? "incompatible_options" : "unsupported", refused.message(),
                      is_conflict ? Json{{"filter", {{"is", before->settings().filter}, {"wanted", settings.filter}}}}
                                  : Json{}};
    }
    directory.touch(channel);
    const auto report = channel::Channel::report_of(*channel.find_subscription(wanted));
    return {{"ok", true},
            {"created", is_new},
            {"changed", is_changed},
            {"subscription", subscription_json(report, directory.broker_state().clock.now())}};
}

Json list_subscriptions(ChannelDirectory& directory, std::string_view name, const Json& request,
                        std::size_t reply_size_max) {
    refuse_unknown_keys(request, {"after", "subscription"});
    auto& channel = existing_channel(directory, name);
    const auto reports = wanted_subscriptions(channel, request);
    auto list = Json::array();
    Json reply{{"ok", true}, {"more", false}};
    std::size_t size = frame_of_reply;
    for (const auto& report : reports) {
        auto json = subscription_json(report, directory.broker_state().clock.now());
        size += dump(json).size() + 1;
        if (list.size() == subscriptions_per_reply || (size > reply_size_max && !list.empty())) {
            reply["more"] = true;
            break;
        }
        reply["next"] = report.settings.id;
        list.push_back(std::move(json));
    }
    reply["subscriptions"] = std::move(list);
    return reply;
}

Json delete_subscription(ChannelDirectory& directory, std::string_view name, const Json& request) {
    refuse_unknown_keys(request, {"subscription", "force"});
    const bool is_forced = flag_of(request, "force");
    auto& channel = existing_channel(directory, name);
    refuse_damaged(channel);
    auto& reader = reader_of(channel, request);
    if (channel.options().kind == channel::Kind::queue) {
        throw Refusal{"unsupported", "a queue has no subscriptions", {}};
    }
    if (!reader.receivers().empty() && !is_forced) {
        throw Refusal{"in_use",
                      std::to_string(reader.receivers().size()) +
                          " receivers are attached to the subscription: stop them, or use force (baton "
                          "subscription delete --force)",
                      {}};
    }
    const auto count = channel.unsubscribe(reader);
    directory.touch(channel);
    return {{"ok", true}, {"messages", count}};
}

}  // namespace baton::runtime
