// What a shard's broker does for commands that take more than one turn: moves (moves.hpp) and sweeps (sweeps.hpp).
#pragma once

#include <cstdint>
#include <string>

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
};

}  // namespace baton::runtime
