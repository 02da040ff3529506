// What the parts of ClientProtocol share: where frames go, who is told, what the broker has promised.
// One thread; owned by ClientProtocol, which outlives all parts. Next file: link.hpp.
#pragma once

#include <cstddef>

#include "client/src/protocol_events.hpp"
#include "common/base/clock.hpp"
#include "common/base/outbox.hpp"
#include "common/base/payload.hpp"
#include "common/base/prng.hpp"
#include "common/wire/handshake.hpp"

namespace baton::client {

struct ProtocolContext {
    // Above so much waiting data nothing is added to the outbox: messages then gather into larger batches, and small
    // ones of other links need not wait behind more than this.
    static constexpr std::size_t outbox_data_max = 256 * 1024;

    ChunkPool& pool;
    Outbox& outbox;
    ProtocolEvents& events;
    Prng& prng;  // Producer ids and jitter: nothing else here is left to chance.

    MonotonicTime now{};
    wire::Welcome welcome;  // Of this connection, or of the last.
    bool is_ready = false;  // WELCOME has come and the connection stands.
    bool is_going_away = false;
    bool has_retries = false;  // Some link waits to attach again.

    [[nodiscard]] bool has_room() const noexcept { return outbox.data_bytes() < outbox_data_max; }
    [[nodiscard]] std::size_t body_size_max() const noexcept {
        return welcome.frame_size_max - wire::frame_header_size;
    }
};

}  // namespace baton::client
