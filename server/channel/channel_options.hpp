// Settings of one channel. Plain values. Next file: channel.hpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

/// Who gets a message, and when it is forgotten (docs/protocol.md, section 10a).
enum class Kind : std::uint8_t { queue = 0, topic = 1, stream = 2 };

/// What happens to messages for which there is no room.
enum class Overflow : std::uint8_t {
    block = 0,        ///< They wait, and their senders get no credit.
    reject = 1,       ///< They are refused.
    drop_oldest = 2,  ///< The oldest that nobody holds make room.
    drop_newest = 3,  ///< They are dropped, and confirmed.
    disconnect = 4,   ///< Subscriptions only: its receivers are cut off.
};

/// Limits are exact for what is stored in a queue: what arrives beyond them under credit that was already granted is parked
/// unconfirmed until there is room, and the sender is told `blocked: full`, unless `overflow` says otherwise.
struct ChannelOptions {
    Kind kind = Kind::queue;                                 ///< Cannot change while the channel exists.
    std::uint64_t messages_max = 10'000'000;                 ///< Stored messages (ready and in flight), at least 1.
    std::uint64_t bytes_max = 512ULL * 1024 * 1024;          ///< Stored bytes (message regions), at least 1.
    std::uint64_t message_size_max = 64ULL * 1024 * 1024;    ///< Properties and payload of one message, in bytes.
    std::uint32_t producers_max = 10'000;                    ///< Producers remembered for duplicate detection.
    Duration producer_retention = std::chrono::minutes{10};  ///< How long one is remembered after its last link closed.
    Credit sender_window{65'536, 4ULL * 1024 * 1024};        ///< Most credit that one sender can have outstanding.
    bool is_durable = false;  ///< Survives the broker; cannot change while the channel exists.

    Overflow overflow = Overflow::block;
    Duration age_max{};  ///< Zero: none. Stream: retention; else every message expires then.
    Duration lease = std::chrono::seconds{30};
    Duration lease_max = std::chrono::hours{12};    ///< How long one delivery can be extended; at least `lease`.
    std::uint32_t attempts_max = 10;                ///< 0: no limit.
    Duration retry_first = std::chrono::seconds{1};
    Duration retry_max = std::chrono::minutes{5};
    std::uint32_t retry_factor_percent = 200;       ///< At least 100.
    std::uint32_t retry_jitter_percent = 10;        ///< At most 100.
    bool quarantines_expired = false;               ///< Else they are dropped.
    bool drops_late = false;                        ///< Delayed messages whose time came while the broker was down.
    bool is_ordered_by_key = false;
    bool is_exclusive = false;
    bool is_compacted = false;                      ///< Streams: the newest message of each key stays.
    Duration tombstone_age = std::chrono::hours{24};  ///< Compacted: so long a newest message with an empty body stays.
    Duration dedupe_window{};                       ///< By message id; zero: off.
    std::string fair_by{};                          ///< "", "key" or "header:NAME".
    std::map<std::string, std::uint32_t> fair_weights{};  ///< By tenant; 1 if it is not there.
    friend bool operator==(const ChannelOptions&, const ChannelOptions&) = default;
};

/// Options that do not change any more, shared by channels that have the same: there may be a hundred thousand of those.
class SharedOptions {
public:
    SharedOptions(const ChannelOptions& options)  // NOLINT(google-explicit-constructor): a value becomes one of its own.
        : options_{std::make_shared<const ChannelOptions>(options)} {}

    [[nodiscard]] const ChannelOptions& operator*() const noexcept { return *options_; }
    [[nodiscard]] const ChannelOptions* operator->() const noexcept { return options_.get(); }

private:
    std::shared_ptr<const ChannelOptions> options_;
};

/// Finds those that were shared last. Most brokers have a few kinds of channels. Not thread-safe.
class OptionsPool {
public:
    [[nodiscard]] SharedOptions share(const ChannelOptions& options);

private:
    static constexpr std::size_t remembered_max = 16;
    std::vector<SharedOptions> remembered_;  // The one that was used last is the first.
};

}  // namespace baton::channel
