// What the client's side of the protocol tells its owner: the port between client_protocol and whoever uses it
// (core.cpp, tests, the simulation). Calls come from inside the functions of ClientProtocol; they may look, remember
// and set flags, but must not call ClientProtocol back. One thread. Next file: client_protocol.hpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/base/batch.hpp"
#include "common/base/clock.hpp"
#include "common/base/payload.hpp"
#include "common/base/strong_id.hpp"
#include "common/wire/bodies.hpp"
#include "common/wire/handshake.hpp"
#include "common/wire/status.hpp"
#include "common/wire/step.hpp"

namespace baton::client {

// A sender or a receiver of this client. Never used twice; the same one before and after a reconnect.
using LinkId = StrongId<struct LinkIdTag, std::uint32_t>;
// One ADMIN or PING; chosen by the caller, never used twice, below 2^63.
using RequestId = StrongId<struct RequestIdTag>;

// Part of a batch that the broker has given to us.
struct DeliveredBatch {
    std::uint64_t epoch = 0;  // Which life of the link; a settlement names it, so that a late one changes nothing.
    std::uint32_t attempt = 1;
    bool is_redelivered = false;
    MonotonicTime arrived{};
    BatchHeader header;
    Payload messages;  // The region behind the header; checked.
};

// What ATTACHED says of deliveries. A broker that knows no leases says nothing: zero.
struct ReceiverTerms {
    Duration lease{};      // Of each delivery on this link.
    Duration lease_max{};  // How long one can be extended, from its delivery.
};

struct LinkFailure {
    wire::Status status = wire::Status::ok;
    bool is_retryable = false;
    std::string text;
};

// Why the connection cannot go on.
struct ConnectionFailure {
    wire::Status status = wire::Status::ok;
    bool is_retryable = true;
    std::string text;
};

class ProtocolEvents {
public:
    // --- Connection
    virtual void on_ready(const wire::Welcome& welcome) = 0;
    virtual void on_goaway(const wire::Goaway& goaway) = 0;
    virtual void on_admin_reply(RequestId request, std::string_view json) = 0;
    virtual void on_pong(RequestId request) = 0;
    // The connection broke after the question and before the answer; `is_too_large`: it could not be asked at all.
    virtual void on_request_lost(RequestId request, bool is_too_large) = 0;
    // The answer to a step; once, whatever happens to connections.
    virtual void on_stepped(RequestId /*request*/, const wire::Stepped& /*stepped*/) {}

    // --- Senders
    // The channel as it is; 0: no limit of its own.
    virtual void on_sender_attached(LinkId link, std::uint64_t message_size_max) = 0;
    // After takes_messages() said no: now it would say yes.
    virtual void on_takes_messages(LinkId link) = 0;
    // These messages are not stored. Comes before the on_confirmed that covers them.
    virtual void on_refused(LinkId link, std::uint64_t first, std::uint64_t count, wire::Status status) = 0;
    virtual void on_confirmed(LinkId link, std::uint64_t up_to, std::uint8_t level) = 0;
    // Reasons of docs/protocol.md section 8; 0: goes on. `waiting`: for how long already.
    virtual void on_blocked(LinkId link, std::uint16_t reason, Duration waiting) = 0;

    // --- Receivers
    virtual void on_receiver_attached(LinkId /*link*/, const ReceiverTerms& /*terms*/) {}
    virtual void on_delivered(LinkId link, DeliveredBatch&& batch) = 0;
    // What was delivered so far and is not settled is not ours any more; the next deliveries have another epoch.
    virtual void on_deliveries_lost(LinkId link) = 0;
    // Answer to every settlement up to the one with this receipt (`receipt` 0: only exceptions). What is not listed,
    // here or before, has been done.
    virtual void on_settled(LinkId link, std::uint64_t receipt,
                            wire::RecordReader<wire::SettleException> exceptions) = 0;
    virtual void on_state(LinkId link, const wire::State& state) = 0;

    // --- Both
    // The broker has refused to attach it for a reason that may pass: it will be tried again.
    virtual void on_attach_refused(LinkId /*link*/, const LinkFailure& /*failure*/) {}
    // The last call for this link:
    virtual void on_link_failed(LinkId link, const LinkFailure& failure) = 0;
    virtual void on_link_closed(LinkId link) = 0;

protected:
    ~ProtocolEvents() = default;
};

}  // namespace baton::client
