// Administration of single messages and of subscriptions: peek, retry, drop, explain, subscribe. Part of channel_admin.
// Moving takes more than one turn: moves.hpp.
// Control path. Thread: the shard's. Next file: message_admin.cpp.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "server/runtime/admin_json.hpp"
#include "server/runtime/channel_admin.hpp"

namespace baton::runtime {

/// Throws Refusal.
[[nodiscard]] channel::Channel& existing_channel(ChannelDirectory& directory, std::string_view name);

/// What a request selects: `offsets` or `all`.
struct MessageSelection {
    std::vector<channel::Offset> offsets;
    bool is_all = false;
};
// These throw Refusal.
[[nodiscard]] MessageSelection selection_of(const Json& request);
[[nodiscard]] std::optional<channel::MessageState> state_of(const Json& request);
/// Of `channel.drop`.
[[nodiscard]] channel::MessageState droppable_state_of(const Json& request);
/// The reader that the request names; of a queue the only one.
[[nodiscard]] channel::Subscription& reader_of(channel::Channel& channel, const Json& request);
void refuse_damaged(const channel::Channel& channel);

[[nodiscard]] const char* reason_name(channel::QuarantineReason reason);
/// With the names of docs/protocol.md, section 8.
[[nodiscard]] Json wait_json(const channel::Wait& wait, MonotonicTime now);
[[nodiscard]] Json subscription_json(const channel::SubscriptionReport& report, MonotonicTime now);

[[nodiscard]] Json peek_channel(ChannelDirectory& directory, std::string_view name, const Json& request,
                                std::size_t reply_size_max);
[[nodiscard]] Json retry_messages(ChannelDirectory& directory, std::string_view name, const Json& request);
[[nodiscard]] Json explain_channel(ChannelDirectory& directory, std::string_view name, const Json& request,
                                   std::size_t reply_size_max);
[[nodiscard]] Json create_subscription(ChannelDirectory& directory, std::string_view name, const Json& request);
[[nodiscard]] Json list_subscriptions(ChannelDirectory& directory, std::string_view name, const Json& request,
                                      std::size_t reply_size_max);
[[nodiscard]] Json delete_subscription(ChannelDirectory& directory, std::string_view name, const Json& request);

}  // namespace baton::runtime
