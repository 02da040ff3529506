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

    /// The message itself; what delayed it has had its effect. False: it needs a step of its own, commit first. Throws
    /// what Step::send does if no step can hold it.
    [[nodiscard]] bool add(Delivery&& delivery);
    /// What a command has made of it; nothing, if that wrote nothing. Too much is rejected.
    void add_output(Delivery&& delivery, const std::string& output);
    [[nodiscard]] bool takes_more() const;
    [[nodiscard]] std::size_t deliveries() const { return step_.deliveries(); }

    enum class End : std::uint8_t {
        done,
        lost,         ///< They come again, to us or to others; it has been said.
        interrupted,  ///< They go back.
    };
    /// Waits while the other channel is full. Throws other failures.
    [[nodiscard]] End commit();

private:
    const Program& program_;
    Client& client_;
    const std::string& channel_;
    Step step_;
    bool has_said_full_ = false;
};

}  // namespace baton::cli
