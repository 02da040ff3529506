// Expected failures of channels. Not the wire's status numbers: those are mapped in server/session/status_mapping.cpp.
#pragma once

#include <system_error>

namespace baton::channel {

enum class Errc {
    sequence_gap = 1,     ///< A sender skipped sequence numbers; the link is closed.
    superseded,           ///< Another link attached with the same producer id; the older one is closed.
    too_large,            ///< A message exceeds the channel's limit for one message, or could never fit.
    bad_batch,            ///< The batch is not well formed; the link is closed.
    over_credit,          ///< A sender went on without credit; the link is closed.
    lost_lease,           ///< A settlement of messages that this receiver does not hold with that attempt number.
    unsupported_outcome,  ///< The outcome is reserved for later.
    channel_deleted,      ///< The channel was deleted; its links are closed.
    draining,             ///< The broker is going down in order and takes no new messages.
    too_many_producers,   ///< The table for duplicate detection is full of producers that are attached.
    disk_full,            ///< Durable channels take nothing until there is space again; what was sent is not stored.
    storage_failed,       ///< The disk failed: durable channels take nothing until the broker is started again.
    damaged,              ///< The channel's files are damaged: it takes and gives nothing.
    full,                 ///< The channel is full and refuses what has no room.
    slow_subscriber,      ///< The subscription's backlog is over its limit; its receivers are cut off.
    incompatible_options, ///< The subscription is there with other settings.
    not_supported,        ///< This kind of channel has no such thing.
    not_found,            ///< There is no such subscription or message.
    bad_filter,           ///< It is not a pattern for keys.
    too_many_subscriptions,
    step_known,           ///< The step was done before; its messages are here.
    step_under_way,       ///< The same step is being done.
};

[[nodiscard]] const std::error_category& channel_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(Errc code) noexcept {
    return {static_cast<int>(code), channel_category()};
}

}  // namespace baton::channel

template <>
struct std::is_error_code_enum<baton::channel::Errc> : std::true_type {};
