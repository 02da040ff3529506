// `channel.explain`: why a message, a sender or a receiver waits, since when, and who can change it: the stored reasons, in words.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "common/base/counted.hpp"
#include "common/base/text_form.hpp"
#include "server/runtime/channel_settings.hpp"
#include "server/runtime/message_admin.hpp"

namespace baton::runtime {

namespace {

using channel::WaitReason;

// Any of them may be what holds up the senders.
constexpr std::size_t subscriptions_explained_max = 1'000;

/// What it means, and who can change it.
std::string text_of_reason(WaitReason reason) {
    switch (reason) {
        case WaitReason::none: return "does not wait";
        case WaitReason::empty: return "nothing is ready: it waits for a sender";
        case WaitReason::no_message_credit:
            return "holds as many unsettled messages as it allows: it has to settle some, or allow more (--window)";
        case WaitReason::no_byte_credit:
            return "holds as many unsettled bytes as it allows: it has to settle some, or allow more";
        case WaitReason::slow_reader: return "its socket is not read: the receiving program or its network is slow";
        case WaitReason::full:
            return "the channel is full: receivers have to settle messages, or an administrator raises messages_max or "
                   "bytes_max, or sets another overflow";
        case WaitReason::memory:
            return "the broker's memory limit is reached: receivers have to drain channels, or limits.memory_max be raised";
        case WaitReason::draining: return "the broker is going down";
        case WaitReason::no_receiver: return "nobody is attached: start a receiver";
        case WaitReason::receivers_busy:
            return "every receiver has all that it allows, or is slow: they have to settle, or more receivers are needed";
        case WaitReason::in_flight: return "all messages are with receivers, who have not settled them";
        case WaitReason::loading: return "the next messages are being read from the disk";
        case WaitReason::committing: return "the last messages are on their way to the disk";
        case WaitReason::disk_full: return "the broker's disk has too little space: an administrator has to make some";
        case WaitReason::storage_failed: return "the broker's disk failed: it has to be replaced and the broker started again";
        case WaitReason::damaged: return "the channel's files are damaged: see baton-inspect";
        case WaitReason::delayed: return "the time of the next message has not come";
        case WaitReason::key_busy:
            return "earlier messages with the same keys are with receivers or wait to be tried again: they have to be settled";
        case WaitReason::standby: return "another receiver has the subscription to itself; this one takes over when it ends";
    }
    return "";
}

/// The list of a reply. What is behind the last entry that fits is not even put into words: there may be 10,000 links.
class Waits {
public:
    Waits(MonotonicTime now, std::size_t size_max) : now_{now}, size_max_{size_max} {}

    [[nodiscard]] bool is_full() const noexcept { return size_ >= size_max_; }
    void add(const char* who, std::string text, const channel::Wait& wait) {
        Json json = wait_json(wait, now_);
        json["who"] = who;
        json["text"] = std::move(text);
        size_ += dump(json).size() + 1;
        if (!is_full()) {
            entries_.push_back(std::move(json));
        }
    }
    [[nodiscard]] Json take() noexcept { return std::move(entries_); }

private:
    const MonotonicTime now_;
    const std::size_t size_max_;
    std::size_t size_ = frame_of_reply;
    Json entries_ = Json::array();
};

/// Of a receiver for which there is nothing now: what is there waits for something else.
std::string text_of_empty(WaitReason head) {
    switch (head) {
        case WaitReason::key_busy:
        case WaitReason::delayed:
        case WaitReason::loading:
        case WaitReason::committing:
            return std::string{"gets nothing now: "} + text_of_reason(head);
        case WaitReason::in_flight:
            return "nothing is ready: it waits for a sender, or for messages that come back from other receivers";
        default:
            return text_of_reason(WaitReason::empty);
    }
}

/// Of a sender to a channel that is full, where nobody could receive anything.
std::string text_of_full(const channel::ChannelStats& stats) {
    return "the channel is full: " + counted(stats.delayed, "message") + " wait for their time and " +
           std::to_string(stats.quarantined) +
           " are quarantined; an administrator drops, moves or retries some, raises messages_max or bytes_max, or sets another "
           "overflow";
}

std::string ready_text(std::uint64_t count) { return counted(count, "ready message") + ":"; }

std::string subscription_text(const channel::SubscriptionReport& report) {
    return report.settings.name.empty() ? std::string{"a subscription without a name"}
                                        : "subscription \"" + name_text(as_bytes(report.settings.name)) + "\"";
}

std::string link_name(const channel::LinkReport& link) {
    return std::string{link.is_sender ? "sender" : "receiver"} + " (session " +
           std::to_string(link.address.session.value()) + ", link " + std::to_string(link.address.link) + ")";
}

std::string since_text(Duration time) {
    const auto ms = milliseconds(time);
    return " (for " + std::to_string(ms / 1000) + "." + std::to_string(ms % 1000 / 100) + " s)";
}

std::string text_of_message(const channel::PeekedMessage& peeked, const channel::Subscription& reader, MonotonicTime now) {
    const std::string offset = "message " + std::to_string(peeked.offset) + " ";
    const channel::Wait& head = reader.head_wait();
    switch (peeked.state) {
        case channel::MessageState::delayed:
            return offset + "waits for its time (due_us " + std::to_string(peeked.due.us) + ")";
        case channel::MessageState::in_flight:
            return offset + "is with a receiver, which has to settle it or loses it when its lease ends";
        case channel::MessageState::quarantined:
            return offset + "is quarantined: an administrator can retry, move or drop it";
        case channel::MessageState::ready:
            break;
    }
    if (reader.is_behind_key(peeked.offset)) {
        return offset + "is ready: an earlier message with the same key has to be settled first; it is with a receiver, waits "
                        "to be tried again, or is ready itself";
    }
    return head.reason == WaitReason::none ? offset + "is ready"
                                           : offset + "is ready: " + text_of_reason(head.reason) + since_text(now - head.since);
}

/// There was one with such an offset, or it was passed over.
std::string text_of_missing(const channel::Channel& channel, bool is_of_subscription) {
    if (channel.options().kind != channel::Kind::stream) {
        return "it was settled, expired or dropped";
    }
    return is_of_subscription ? "the subscription has settled it, or retention or compaction has removed it"
                              : "retention or compaction has removed it; if it is in a subscription's quarantine, name that";
}

void explain_message(ChannelDirectory& directory, channel::Channel& channel, const Json& request, Json& reply,
                     std::size_t reply_size_max) {
    const auto offset = number_of(request, "offset", 1, ~std::uint64_t{0}, 1);
    Json question{{"from", std::uint64_t{offset}}, {"count", 1U}};
    if (request.contains("subscription")) {
        question["subscription"] = request["subscription"];
    }
    const auto peeked = peek_channel(directory, channel.name(), question, reply_size_max / 2);
    const auto& messages = peeked.at("messages");
    if (messages.empty() || messages[0].at("offset").get<std::uint64_t>() != offset) {
        const auto stats = channel.stats();
        reply["text"] = "there is no message " + std::to_string(offset) + ": " +
                        (offset >= stats.next_offset
                             ? "the next one that is sent gets offset " + std::to_string(stats.next_offset)
                             : text_of_missing(channel, request.contains("subscription")));
        return;
    }
    reply["message"] = messages[0];
    const bool is_of_reader = channel.options().kind == channel::Kind::queue || request.contains("subscription");
    const auto* reader = is_of_reader ? &reader_of(channel, request) : nullptr;
    channel.peek(
        reader, std::nullopt, offset,
        [&](const channel::PeekedMessage& found) {
            reply["text"] = reader != nullptr ? text_of_message(found, *reader, directory.broker_state().clock.now())
                                              : "message " + std::to_string(offset) +
                                                    " is stored; what it waits for is another thing in each subscription: "
                                                    "name one";
            return false;
        },
        [&](const storage::BlockRef& ref) { return directory.read_block(channel, ref); });
}

std::string text_of_link(const channel::LinkReport& link, const channel::ChannelStats& stats, const std::string& holding_up) {
    const std::string name = link_name(link) + " ";
    if (link.wait.reason == WaitReason::full && !holding_up.empty()) {
        return name + holding_up +
               " has as many ready messages as its backlog_max allows: its receivers have to settle some, or an "
               "administrator raises it, or sets another overflow";
    }
    if (link.wait.reason == WaitReason::full && stats.ready + stats.in_flight == 0) {
        return name + text_of_full(stats);
    }
    return name + (link.wait.reason == WaitReason::empty ? text_of_empty(link.source) : text_of_reason(link.wait.reason));
}

void add_head(Waits& waits, const std::string& whose, std::uint64_t ready, const channel::Wait& wait) {
    if (wait.reason != WaitReason::none && !waits.is_full()) {
        waits.add("channel", whose + ready_text(ready) + " " + text_of_reason(wait.reason), wait);
    }
}

void add_link(Waits& waits, const channel::LinkReport& link, const channel::ChannelStats& stats, const std::string& holding_up) {
    if (link.wait.reason != WaitReason::none) {
        waits.add(link.is_sender ? "sender" : "receiver", text_of_link(link, stats, holding_up), link.wait);
    }
}

/// Of everybody.
void add_all(Waits& waits, const channel::Channel& channel) {
    const auto stats = channel.stats();
    add_head(waits, "", stats.ready, stats.wait);
    std::string holding_up;
    for (const auto& report : channel.subscriptions(0, subscriptions_explained_max)) {
        const auto who = subscription_text(report);
        add_head(waits, who + ", ", report.ready, report.wait);
        holding_up = report.holds_up_senders ? who : holding_up;
    }
    for (auto link = stats.links.begin(); link != stats.links.end() && !waits.is_full(); ++link) {
        add_link(waits, *link, stats, holding_up);
    }
}

/// Of one subscription: what the others and the senders wait for has nothing to do with a message in it.
void add_those_of(Waits& waits, const channel::Channel& channel, const channel::Subscription& reader) {
    const auto stats = channel.stats();
    if (stats.wait.reason == WaitReason::damaged) {
        add_head(waits, "", stats.ready, stats.wait);
    }
    const auto report = channel::Channel::report_of(reader);
    add_head(waits, subscription_text(report) + ", ", report.ready, report.wait);
    std::vector<channel::LinkAddress> receivers;
    for (const channel::Receiver* receiver : reader.receivers()) {
        receivers.push_back(receiver->address);
    }
    std::ranges::sort(receivers);
    for (auto link = stats.links.begin(); link != stats.links.end() && !waits.is_full(); ++link) {
        if (std::ranges::binary_search(receivers, link->address)) {
            add_link(waits, *link, stats, {});
        }
    }
}

}  // namespace

Json explain_channel(ChannelDirectory& directory, std::string_view name, const Json& request,
                     std::size_t reply_size_max) {
    refuse_unknown_keys(request, {"offset", "subscription"});
    auto& channel = existing_channel(directory, name);
    const bool is_of_message = request.contains("offset");
    Waits waits{directory.broker_state().clock.now(), reply_size_max / 2};
    if (is_of_message && request.contains("subscription")) {
        add_those_of(waits, channel, reader_of(channel, request));
    } else {
        add_all(waits, channel);
    }
    Json reply{{"ok", true}, {"waits", waits.take()}};
    if (is_of_message) {
        explain_message(directory, channel, request, reply, reply_size_max);
    }
    return reply;
}

}  // namespace baton::runtime
