// Administration of channels: what ADMIN requests (docs/protocol.md, section 11) do on one shard, as JSON in and out.
// Control path: allocates freely, never on the path of a message. Thread: the shard's.
// Next file: channel_admin.cpp; routing and gathering are in shard_broker.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/channel/channel.hpp"
#include "server/runtime/admin_json.hpp"
#include "server/runtime/broker_state.hpp"
#include "server/runtime/shard_store.hpp"

namespace baton::runtime {

/// The channels of one shard, as administration needs them.
class ChannelDirectory {
public:
    ChannelDirectory() = default;
    ChannelDirectory(const ChannelDirectory&) = delete;
    ChannelDirectory& operator=(const ChannelDirectory&) = delete;
    virtual ~ChannelDirectory() = default;
    [[nodiscard]] virtual channel::Channel* find(std::string_view name) = 0;
    /// Errors: the broker has as many channels as it may have, no data directory, or no space on the disk.
    [[nodiscard]] virtual Result<channel::Channel*> create(std::string_view name,
                                                           const channel::ChannelOptions& options) = 0;
    /// A block of a durable channel, read at once, or for a look read before (looks.hpp); empty if it cannot be read.
    [[nodiscard]] virtual Payload read_block(channel::Channel& channel, const storage::BlockRef& ref) = 0;
    /// Closes its links and forgets the channel.
    virtual void erase(std::string_view name) = 0;
    /// The channel has these options from now on.
    virtual void reconfigure(channel::Channel& channel, const channel::ChannelOptions& options) = 0;
    /// The channel may have something to dispatch.
    virtual void touch(channel::Channel& channel) = 0;
    /// The channels whose names come behind `after`, in the order of their names, until it returns false. They stay.
    using Visit = std::function<bool(const std::string& name, channel::Channel& channel)>;
    virtual void visit(std::string_view after, const Visit& visit) = 0;
    [[nodiscard]] virtual const BrokerState& broker_state() const = 0;
    /// Null: no data directory.
    [[nodiscard]] virtual const ShardStore* storage() const = 0;
};

/// What a request wants to know of every channel of a shard, one after the other (surveys.hpp).
class Survey {
public:
    Survey() = default;
    Survey(const Survey&) = delete;
    Survey& operator=(const Survey&) = delete;
    virtual ~Survey() = default;
    virtual void add(const std::string& name, channel::Channel& channel) = 0;
    /// The shard's part of the reply.
    [[nodiscard]] virtual Json result() = 0;
};
/// `broker.show`. Throws Refusal. The directory outlives it.
[[nodiscard]] std::unique_ptr<Survey> survey_of_broker(ChannelDirectory& directory, const Json& request);

/// Whether the operation changes something that may be durable, so that its answer waits for the commit.
[[nodiscard]] bool admin_changes(std::string_view op);

/// Where a request must be carried out.
enum class AdminScope : std::uint8_t { channel, every_shard, first_shard, any_shard };
[[nodiscard]] AdminScope admin_scope(std::string_view op);

/// Replies fit one frame of the default size, or a smaller one that was negotiated.
inline constexpr std::size_t admin_reply_size_max = 240'000;

/// Carries out a request on this shard and returns its reply, or its part of one (AdminScope::every_shard).
[[nodiscard]] std::string run_admin(ChannelDirectory& directory, std::string_view name, std::string_view json,
                                    std::size_t reply_size_max = admin_reply_size_max);

/// Makes one reply of all shards' parts.
[[nodiscard]] std::string merge_admin_parts(std::string_view request_json, const std::vector<std::string>& parts,
                                            const BrokerState& state,
                                            std::size_t reply_size_max = admin_reply_size_max);

/// `{"ok":false,"error":{...}}`. `code` is a status name of docs/protocol.md, section 13.
[[nodiscard]] std::string admin_error(std::string_view code, const std::string& text, bool is_retryable = false);

}  // namespace baton::runtime
