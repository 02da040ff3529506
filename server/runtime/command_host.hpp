// What a shard's broker does for commands that take more than one turn: moves (moves.hpp), sweeps (sweeps.hpp), looks (looks.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/base/error.hpp"
#include "common/base/payload.hpp"
#include "server/channel/types.hpp"
#include "server/runtime/envelope.hpp"

namespace baton::runtime {

class CommandHost {
public:
    CommandHost() = default;
    CommandHost(const CommandHost&) = delete;
    CommandHost& operator=(const CommandHost&) = delete;
    virtual ~CommandHost() = default;
    /// 0: there is none.
    [[nodiscard]] virtual ChannelId id_of(const std::string& name) const = 0;
    /// The reply, when what was changed in the channel of this name so far is as safe as it can be.
    virtual void answer_command(channel::SessionId session, std::uint64_t gathering, const std::string& name,
                                std::string json) = 0;
    /// The reply of one that has changed nothing.
    virtual void answer_at_once(channel::SessionId session, std::uint64_t gathering, std::string json) = 0;
    /// Reads a block of a durable channel, which is there, while the shard goes on. `done` is called in another turn, whatever
    /// has become of the channel.
    virtual void fetch_block(ChannelId id, const storage::BlockRef& ref, std::function<void(Result<Payload>)> done) = 0;
};

}  // namespace baton::runtime
