// `channel.peek` and `channel.explain` of messages that are on the disk only. The request is carried out as always, and where it
// needs a block that is not there yet it is given up, the block is read while the shard goes on, and it is carried out again, from
// the beginning: then it finds that one. Nothing is changed by it, and nothing stays in the channel's memory.
// One that waits keeps the blocks that it has seen, so those that have to wait do it one after the other.
// Not here: what is shown (message_admin.cpp, explain.cpp). Thread: the shard's. Next file: looks.cpp.
#pragma once

#include <deque>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "server/runtime/channel_admin.hpp"
#include "server/runtime/command_host.hpp"
#include "server/runtime/envelope.hpp"

namespace baton::runtime {

class Looks {
public:
    /// Both outlive the looks.
    Looks(ChannelDirectory& directory, CommandHost& host) noexcept : directory_{directory}, host_{host} {}
    Looks(const Looks&) = delete;
    Looks& operator=(const Looks&) = delete;

    [[nodiscard]] static bool is_request(std::string_view op) noexcept { return op == "channel.peek" || op == "channel.explain"; }
    /// A request for a channel of this shard. It is answered once, now or later, whether who asked is there still or not.
    void start(const AdminCommand& command);

    /// A request is being carried out: it gets its blocks here.
    [[nodiscard]] bool is_looking() const noexcept { return looking_ != nullptr; }
    /// Empty if it could not be read. Where it has not been read yet this ends the request.
    [[nodiscard]] Payload block(const storage::BlockRef& ref) const;

private:
    struct Look {
        AdminCommand command;
        std::vector<std::pair<storage::BlockRef, Payload>> blocks{};
    };
    /// Answers it, or says what it needs first.
    [[nodiscard]] std::optional<storage::BlockRef> run(const Look& look);
    void fetch(const storage::BlockRef& ref);

    ChannelDirectory& directory_;
    CommandHost& host_;
    std::deque<Look> waiting_;  ///< For the first one a block is being read.
    const Look* looking_ = nullptr;
};

}  // namespace baton::runtime
