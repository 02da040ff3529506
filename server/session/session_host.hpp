// What a session's protocol needs from whoever carries its bytes: the connection in the broker (session.hpp), the network
// of the simulation, or a test. Called on the session's shard.
#pragma once

#include <cstdint>
#include <string>

#include "common/wire/status.hpp"

namespace baton::session {

class SessionHost {
public:
    /// There is something to write: call prepare_flush and write the outbox at the end of this turn. Cheap to repeat.
    virtual void output_ready() noexcept = 0;
    /// Nothing more will come: close once the outbox is written. `text` says why, for the log.
    virtual void close_after_flush(wire::Status reason, const std::string& text) noexcept = 0;

    /// The first channel of the session lives on that shard. True: the session goes on there (SessionProtocol::greeting),
    /// with the bytes that were not used; nothing is used any more. The Outbox is empty then, and stays so.
    [[nodiscard]] virtual bool move_to(std::uint32_t /*shard*/) noexcept { return false; }

protected:
    ~SessionHost() = default;
};

}  // namespace baton::session
