// `baton receive --forward`: what is received goes on to another channel, each message in one step with its ack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "client/cli/command.hpp"
#include <baton/client.hpp>

namespace baton::cli {

/// Throws a refusal if what goes to this channel would be nowhere: it is a topic that nobody has subscribed to. The
/// channel is made if it does not exist, as the first message would do.
void check_target(const Program& program, Client& client, const std::string& channel);

class Forwarder {
public:
    /// What a command may write: well inside of what a step can hold.
    static constexpr std::size_t output_bytes_max = 200 * 1024;

    Forwarder(const Program& program, Client& client, const std::string& channel)
        : program_{program}, client_{client}, channel_{channel}, step_{client.step()} {}

    /// The message itself; what delayed it has had its effect. False: it needs a step of its own, commit first. One that no step
    /// can hold is rejected, and that is said.
    [[nodiscard]] bool add(Delivery&& delivery);
    /// What a command has made of it; nothing, if that wrote nothing. Too much is rejected, and
    /// that is said.
    void add_output(Delivery&& delivery, const std::string& output);
    [[nodiscard]] bool takes_more() const;

    enum class End : std::uint8_t {
        done,
        lost,         ///< They come again, to us or to others; it has been said.
        interrupted,  ///< They go back.
    };
    /// Waits while the other channel is full, or the broker's disk. Throws other failures. What is more than the other channel has
    /// room for goes in smaller steps, a message that never has is rejected, and that is said.
    [[nodiscard]] End commit();
    /// Of the last commit: so many were not settled by it.
    [[nodiscard]] std::size_t left() const { return left_; }

private:
    [[nodiscard]] End commit_parts();
    [[nodiscard]] End wait(const ClientError& error);
    /// Says the cause; the note is `before` and the cause.
    void reject(Delivery&& delivery, const std::string& before, const std::string& cause);

    const Program& program_;
    Client& client_;
    const std::string& channel_;
    Step step_;
    static constexpr std::size_t messages_most = 256;  // In a step,
    std::size_t messages_max_ = messages_most;         // as far as the other channel has room for so many.
    std::size_t left_ = 0;
    bool is_output_ = false;  // What it holds is what a command has written: not to be made again.
    bool has_said_full_ = false;
    bool has_said_draining_ = false;
};

}  // namespace baton::cli
