// The client's half of the opening: preamble and HELLO out, the broker's preamble and WELCOME in.
// Not responsible for frames after WELCOME: client_protocol.hpp. One thread. Next file: client_protocol.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "client/src/protocol_events.hpp"
#include "common/base/bytes.hpp"
#include "common/base/outbox.hpp"
#include "common/wire/frame.hpp"
#include "common/wire/handshake.hpp"

namespace baton::client {

//   idle --begin--> preamble --8 bytes--> hello --WELCOME--> done
class Handshake {
public:
    enum class Phase : std::uint8_t { idle, preamble, hello, done };

    [[nodiscard]] Phase phase() const noexcept { return phase_; }

    // Preamble and HELLO go out together: with one version there is nothing to wait for in between.
    void begin(Outbox& outbox, const wire::Hello& hello);
    void reset() noexcept { phase_ = Phase::idle; }

    // In phase `preamble`, with preamble_size bytes or fewer. Nothing: go on (look at phase()).
    [[nodiscard]] std::optional<ConnectionFailure> on_preamble(Bytes bytes);
    // In phase `hello`: the first frame, which must be WELCOME (or an ERROR that says why not).
    [[nodiscard]] std::optional<ConnectionFailure> on_frame(const wire::Frame& frame, wire::Welcome& welcome);

private:
    Phase phase_ = Phase::idle;
};

}  // namespace baton::client
