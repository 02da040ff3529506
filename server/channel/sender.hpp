// One attached sender: where its sequence stands, its credit and why it waits. Plain state; the rules are in intake.hpp
// (what is decided) and sender_gate.hpp (credit).
#pragma once

#include <cstdint>

#include "server/channel/producer_table.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

struct Sender {
    LinkAddress address;
    Producer* producer = nullptr;    ///< Null: anonymous.
    bool is_rejected = false;        ///< No place in the producer table; closed by `announce_credit`.
    bool accepts_any_start = false;  ///< The channel knows nothing of this producer: its first number is the start.
    bool accepts_gap = false;        ///< Known from the disk: its next number may be higher than expected.
    bool has_published = false;
    bool must_store = false;  ///< What cannot be stored at once is refused: not parked, and nothing is dropped for it or of it.
    ProducerId step_producer;       ///< It stands for the messages of a step, which all have one number:
    std::uint64_t step_number = 0;  ///< this.
    ConfirmLevel confirm = ConfirmLevel::durable;  ///< When it wants to be confirmed.
    std::uint64_t decided = 0;                     ///< Last sequence number that is stored, dropped or refused.
    std::uint64_t received = 0;                    ///< Last one that was taken in; those after `decided` are parked.
    std::uint64_t sent = 0;  ///< The highest one that it was told or has sent on this link: confirms stay below.
    std::uint64_t parked_messages = 0;
    std::uint64_t parked_bytes = 0;

    // The gate's own.
    Credit granted;  ///< Absolute, since the link was attached.
    Credit used;
    Credit window;  ///< How much of it may be outstanding at present.
    Credit used_at_growth;
    bool is_short = false;  ///< Wants more credit than it could be given.
    bool waits_for_room = false;  ///< It has a large message for which there is no memory yet.
    Wait wait;

    [[nodiscard]] Credit outstanding() const noexcept {
        return {granted.messages - used.messages, granted.bytes - used.bytes};
    }
};

}  // namespace baton::channel
