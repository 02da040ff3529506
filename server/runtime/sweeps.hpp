// Administration of all messages of a state, of which there may be millions: `channel.retry` and `channel.drop` with "all",
// `channel.purge`; and `channel.drop` of some, which may have to be read from the disk. In slices, one in a turn: senders,
// receivers and other channels get their turn in between. "All" are those with an offset that the channel had given out when the
// request came. Each slice of a durable channel is logged like everything else; the answer comes when the last one is on the
// disk. A broker that dies before has done a part, and doing it again does the rest.
// Not here: what becomes of a message (server/channel/subscription_admin.cpp), moves (moves.hpp).
// Thread: the shard's. Next file: sweeps.cpp.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "server/runtime/channel_admin.hpp"
#include "server/runtime/command_host.hpp"
#include "server/runtime/envelope.hpp"

namespace baton::runtime {

class Sweeps {
public:
    /// In one slice, at most: runs of messages that lie together in the same state.
    static constexpr std::uint64_t runs_per_slice = 2'048;
    /// Of messages that were named: each may lie in a block of its own.
    static constexpr std::size_t offsets_per_slice = 8;

    /// Both outlive the sweeps.
    Sweeps(ChannelDirectory& directory, CommandHost& host) noexcept : directory_{directory}, host_{host} {}
    Sweeps(const Sweeps&) = delete;
    Sweeps& operator=(const Sweeps&) = delete;

    [[nodiscard]] static bool is_request(std::string_view op, std::string_view json);
    /// A request for a channel of this shard, and its first slice. It is answered once, now or later, whether who asked is there
    /// still or not.
    void start(const AdminCommand& command);
    /// In each turn: one slice, of each sweep in turn. True if anything was done.
    bool go_on();
    [[nodiscard]] bool has_more() const noexcept { return !sweeps_.empty(); }

private:
    enum class Kind : std::uint8_t { retry, drop, drop_chosen, purge };
    struct Job {
        channel::SessionId session{0};
        std::uint64_t gathering = 0;
        std::string name;
        std::string request;  ///< JSON. Names the subscription, again for each slice: it may have gone.
        ChannelId channel{0};
        Kind kind = Kind::retry;
        channel::MessageState state = channel::MessageState::quarantined;  ///< That are dropped.
        std::vector<channel::Offset> offsets;                              ///< That are chosen.
        channel::Sweep sweep;
        channel::Channel::Purge purge;
        std::uint64_t messages = 0;
    };
    /// Throws Refusal.
    [[nodiscard]] Job job_of(const AdminCommand& command);
    [[nodiscard]] channel::Channel& channel_of(const Job& job);
    /// Does a slice. True: it was the last one, and is answered.
    [[nodiscard]] bool step(Job& job);
    void do_slice(Job& job, channel::Channel& channel);

    ChannelDirectory& directory_;
    CommandHost& host_;
    std::deque<Job> sweeps_;
};

}  // namespace baton::runtime
