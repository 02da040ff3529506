// One link of a session as the protocol sees it: where its channel is, what is collected for the next flush, and large
// messages that are on their way in or out. Plain state; the rules are in session_protocol.cpp and its siblings.
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "common/base/payload.hpp"
#include "common/wire/bodies.hpp"
#include "server/channel/types.hpp"
#include "server/runtime/envelope.hpp"

namespace baton::session {

/// A large message that arrives in fragments.
struct Assembly {
    std::uint64_t sequence = 0;
    std::uint64_t total = 0;
    std::uint64_t received = 0;
    ChunkRef memory;  ///< Empty until the broker has set the memory aside.
};

/// Slices that wait because one of them goes out in fragments. In order.
struct LargeOutput {
    std::deque<channel::Slice> waiting;
    std::size_t waiting_bytes = 0;  ///< Of their messages.
    Payload head;                 ///< The first bytes of the body that is being sent: attempt and batch header.
    std::uint64_t position = 0;   ///< Of the body; 0: the announcement has not been sent.
};

struct Link {
    enum class State : std::uint8_t {
        free,       ///< Never used, or DETACHED has been sent.
        attaching,  ///< The channel has been asked.
        attached,
        detaching,  ///< DETACH came; the channel has been asked.
        failing,    ///< ERROR has been sent; the channel has been asked to let go.
        failed,     ///< ERROR has been sent and the channel knows nothing of it any more.
    };

    /// The peer still expects something on this link.
    [[nodiscard]] bool is_talking() const noexcept { return state == State::attached || state == State::detaching; }

    State state = State::free;
    wire::Role role = wire::Role::sender;
    bool is_collected = false;        ///< In the session's list for the next flush.
    bool is_held = false;             ///< In the session's list of those whose confirm may wait.
    bool detach_wanted = false;       ///< DETACH came, or the link failed, before the channel was known.
    runtime::ChannelRef channel;
    std::unique_ptr<runtime::AttachRequest> next_attach;  ///< ATTACH that came while `failing`.

    // For the next flush.
    bool has_confirm = false;
    bool has_credit = false;
    channel::ConfirmLevel confirm_level = channel::ConfirmLevel::received;
    std::uint64_t confirm_sequence = 0;
    std::uint64_t settled_receipt = 0;
    channel::Credit credit;           ///< Sender: to be announced. Receiver, while attaching: came early.
    bool has_question = false;        ///< STATE came while attaching.

    // Sender: numbers of messages.
    std::uint64_t published = 0;      ///< The last one that came.
    std::uint64_t awaited = 0;        ///< The last one that its sender waits for.
    std::uint64_t told = 0;           ///< In the last CONFIRM, or in ATTACHED.

    std::uint64_t delivered = 0;      ///< Messages given on this link.
    std::vector<wire::ConfirmException> refusals;
    std::vector<wire::SettleException> settle_refusals;
    std::unique_ptr<Assembly> assembly;
    std::unique_ptr<LargeOutput> large;
};

}  // namespace baton::session
