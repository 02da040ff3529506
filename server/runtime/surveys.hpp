// Requests about all channels of a shard (`broker.show`, `policy.show`, `policy.apply`), in slices: of a hundred thousand channels
// each turn looks at some, in the order of their names, and everybody else is served in between.
// A channel that comes or goes meanwhile may be in it or not. Control path. One owner, the shard's broker.
// Next file: channel_admin.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "server/runtime/channel_admin.hpp"
#include "server/runtime/command_host.hpp"

namespace baton::runtime {

class Surveys {
public:
    static constexpr std::size_t channels_per_slice = 1'024;

    /// Both outlive the surveys.
    Surveys(ChannelDirectory& directory, CommandHost& host) noexcept : directory_{directory}, host_{host} {}
    Surveys(const Surveys&) = delete;
    Surveys& operator=(const Surveys&) = delete;

    [[nodiscard]] static bool is_request(std::string_view op);
    /// The first slice. It is answered once, now or later.
    void start(const AdminCommand& command);
    /// In each turn: one slice, of each survey in turn. True if anything was done.
    bool go_on();
    [[nodiscard]] bool has_more() const noexcept { return !jobs_.empty(); }

private:
    struct Job {
        channel::SessionId session{0};
        std::uint64_t gathering = 0;
        std::unique_ptr<Survey> survey;
        std::string after;  ///< The name of the last channel that was looked at.
        bool has_changes = false;
    };
    /// Does a slice. True: it was the last one, and is answered.
    [[nodiscard]] bool step(Job& job);

    ChannelDirectory& directory_;
    CommandHost& host_;
    std::deque<Job> jobs_;
};

}  // namespace baton::runtime
