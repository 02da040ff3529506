// `channel.move`: messages of a channel of this shard go to another channel, wherever that lives, and are forgotten here
// when it has taken them. A move is a sender inside the broker: it attaches to the target like a session, has its credit, and
// hears of its confirms. In pieces: one is under way at a time, and a turn does one.
//
//     start -> attach -> take a piece out -> publish -> confirmed: forget | refused: put back, stop -> the next piece -> reply
//
// What is under way is held by the source (subscription_move.cpp): nobody else gets it. What is forgotten was confirmed
// before, by a durable target as durable: a crash in between leaves messages in both channels, never in none.
// Thread: the shard's. Next file: moves.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/payload.hpp"
#include "server/runtime/channel_admin.hpp"
#include "server/runtime/command_host.hpp"
#include "server/runtime/envelope.hpp"

namespace baton::runtime {

class ShardBroker;
class Move;

class Moves {
public:
    /// All are the same object, which outlives the moves.
    Moves(ShardBroker& broker, ChannelDirectory& directory, CommandHost& host) noexcept;
    Moves(const Moves&) = delete;
    Moves& operator=(const Moves&) = delete;
    ~Moves();

    /// A request for a channel of this shard. It is answered once, now or later, whether who asked is there still or not.
    void start(const AdminCommand& command);
    /// In each turn: what is due. True if anything was done.
    bool go_on();
    [[nodiscard]] bool has_more() const noexcept;
    /// Clock pulse: nobody waits for ever.
    void tick();

private:
    friend class Move;
    void on_block_read(channel::SessionId session, const storage::BlockRef& ref, const Result<Payload>& body);

    ShardBroker& broker_;
    ChannelDirectory& directory_;
    CommandHost& host_;
    std::unique_ptr<ChunkPool> pool_;  ///< Of the pieces; made for the first one.
    std::vector<std::unique_ptr<Move>> moves_;
};

}  // namespace baton::runtime
