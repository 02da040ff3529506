// The connection as a whole: handshake, heartbeat, dispatch of frames, the end of a turn. Links:
// client_protocol_links.cpp.
#include "client/src/client_protocol.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"

namespace baton::client {

using wire::FrameType;

namespace {

constexpr std::uint64_t heartbeat_token = std::uint64_t{1} << 63U;  // Requests have smaller ones.

Duration heartbeat_of(const wire::Welcome& welcome) noexcept {
    return std::chrono::milliseconds{welcome.heartbeat_ms};
}

}  // namespace

ClientProtocol::ClientProtocol(Options options, ChunkPool& pool, Outbox& outbox, ProtocolEvents& events, Prng& prng)
    : options_{std::move(options)},
      context_{.pool = pool, .outbox = outbox, .events = events, .prng = prng, .welcome = {}},
      requests_{context_},
      steps_{context_, [this](LinkId id) { return find_receiver(id); }} {}

ClientProtocol::~ClientProtocol() = default;

void ClientProtocol::on_connected(MonotonicTime now) {
    BATON_ASSERT(!is_connected_ && context_.outbox.empty());
    is_connected_ = true;
    failure_.reset();
    bytes_wanted_ = 0;
    context_.now = now;
    context_.is_going_away = false;
    context_.welcome = {};
    heartbeat_.begin(now);
    handshake_.begin(context_.outbox,
                     {.agent = options_.agent,
                      .name = options_.name,
                      .heartbeat_ms = static_cast<std::uint32_t>(
                          std::chrono::duration_cast<std::chrono::milliseconds>(options_.heartbeat).count()),
                      .frame_size_max = static_cast<std::uint32_t>(options_.frame_size_max),
                      .features = {std::string{wire::feature_step}}});
}

void ClientProtocol::on_disconnected(MonotonicTime now) {
    BATON_ASSERT(is_connected_);
    context_.now = now;
    is_connected_ = false;
    context_.is_ready = false;
    handshake_.reset();
    failure_.reset();
    context_.outbox.clear();
    for (SenderLink* sender : std::exchange(sending_, {})) {
        sender->is_scheduled = false;
    }
    for (ReceiverLink* receiver : std::exchange(receiving_, {})) {
        receiver->is_scheduled = false;
    }
    for (const LinkId id : all_links()) {
        Link& link = *links_.at(id);
        link.on_disconnected();
        drop_if_ended(link);
    }
    requests_.on_disconnected();
    steps_.on_disconnected();
}

std::size_t ClientProtocol::on_bytes(MonotonicTime now, BorrowedBytes bytes) {
    BATON_ASSERT(is_connected_);
    context_.now = now;
    heartbeat_.on_heard(now);
    std::size_t used = 0;
    if (handshake_.phase() == Handshake::Phase::preamble) {
        used = take_preamble(bytes);
    }
    while (!failure_ && handshake_.phase() != Handshake::Phase::preamble) {
        // Until WELCOME we do not know what was agreed on, but it is not above what we offered.
        const std::size_t size_max = context_.is_ready ? context_.welcome.frame_size_max : options_.frame_size_max;
        const wire::DecodedFrame decoded = wire::decode_frame(bytes.bytes().subspan(used), size_max);
        if (decoded.status == wire::FrameStatus::need_more) {
            bytes_wanted_ = decoded.wanted;
            break;
        }
        if (decoded.status == wire::FrameStatus::too_large) {
            fail_protocol("a frame of " + std::to_string(decoded.frame.header.length) + " bytes exceeds the limit");
            break;
        }
        on_frame(decoded.frame.header, bytes.sub(used + wire::frame_header_size, decoded.frame.body.size()));
        used += decoded.size();
    }
    return used;
}

std::size_t ClientProtocol::take_preamble(BorrowedBytes bytes) {
    const Bytes head = bytes.bytes().first(std::min(bytes.size, wire::preamble_size));
    if (auto failure = handshake_.on_preamble(head)) {
        fail(std::move(*failure));
        return 0;
    }
    if (handshake_.phase() == Handshake::Phase::preamble) {
        bytes_wanted_ = wire::preamble_size;
        return 0;
    }
    return wire::preamble_size;
}

void ClientProtocol::on_frame(const wire::FrameHeader& header, BorrowedBytes body) {
    if (handshake_.phase() == Handshake::Phase::hello) {
        on_welcome({.header = header, .body = body.bytes()});
    } else if (!wire::is_known(header.type)) {
        if (!header.is_optional()) {
            fail_protocol("unknown frame type " + std::to_string(static_cast<unsigned>(header.type)));
        }
    } else if (header.link == 0) {
        on_connection_frame(header, body.bytes());
    } else {
        on_link_frame(header, body);
    }
}

void ClientProtocol::on_welcome(const wire::Frame& frame) {
    if (auto failure = handshake_.on_frame(frame, context_.welcome)) {
        fail(std::move(*failure));
        return;
    }
    context_.is_ready = true;
    context_.is_going_away = context_.welcome.draining;
    heartbeat_.start(context_.now, heartbeat_of(context_.welcome));
    context_.events.on_ready(context_.welcome);
    for (const LinkId id : all_links()) {
        Link& link = *links_.at(id);
        link.attach();
        drop_if_ended(link);
    }
    requests_.on_ready();
    steps_.on_ready();
}

void ClientProtocol::on_connection_frame(const wire::FrameHeader& header, Bytes body) {
    switch (header.type) {
        case FrameType::ping:
            wire::put_pong(context_.outbox, header.sequence);
            return;
        case FrameType::pong:
            requests_.on_pong(header.sequence);
            return;
        case FrameType::admin_reply:
            requests_.on_admin_reply(header.sequence, as_text(body));
            return;
        case FrameType::stepped:
            if (!steps_.on_stepped(header.sequence, body)) {
                fail_protocol("the body of STEPPED is malformed");
            }
            return;
        case FrameType::goaway:
            on_goaway(body);
            return;
        case FrameType::error:
            on_connection_error(body);
            return;
        default:
            fail_protocol("unexpected " + std::string{wire::to_string(header.type)});
            return;
    }
}

void ClientProtocol::on_goaway(Bytes body) {
    const auto goaway = wire::decode_goaway(body);
    if (!goaway) {
        fail_protocol("GOAWAY: " + goaway.error());
        return;
    }
    context_.is_going_away = true;
    context_.events.on_goaway(*goaway);
}

void ClientProtocol::on_connection_error(Bytes body) {
    const auto error = wire::decode_error(body);
    if (!error) {
        fail_protocol("the body of ERROR is malformed");
    } else if (error->severity == wire::Severity::connection) {
        fail({.status = error->status, .is_retryable = error->retryable, .text = std::string{error->text}});
    }
}

void ClientProtocol::on_link_frame(const wire::FrameHeader& header, BorrowedBytes body) {
    Link* link = header.link < by_number_.size() ? by_number_[header.link] : nullptr;
    if (link == nullptr) {
        fail_protocol(std::string{wire::to_string(header.type)} + " for link " + std::to_string(header.link) +
                      ", which is not attached");
        return;
    }
    if (const Violation violation = link->on_frame(header, body)) {
        fail_protocol(std::string{violation} + " (link " + std::to_string(header.link) + ")");
    }
    if (link->phase() == Link::Phase::ended) {
        drop_if_ended(*link);
    } else {
        schedule(*link);
    }
}

// The broker is told, so that its log names the reason too; the owner gives the frame a chance to get out.
void ClientProtocol::fail_protocol(std::string text) {
    wire::put_error(context_.outbox, 0, 0,
                    {.status = wire::Status::protocol_violation,
                     .severity = wire::Severity::connection,
                     .retryable = true,
                     .text = text});
    fail({.status = wire::Status::protocol_violation, .is_retryable = true, .text = std::move(text)});
}

void ClientProtocol::fail(ConnectionFailure failure) {
    if (failure_) {
        return;
    }
    failure_ = std::move(failure);
}

void ClientProtocol::tick(MonotonicTime now) {
    context_.now = now;
    if (!is_connected_ || failure_) {
        return;
    }
    if (heartbeat_.is_peer_dead(now)) {
        const bool is_opening = handshake_.phase() != Handshake::Phase::done;
        fail({.status = is_opening ? wire::Status::handshake_timeout : wire::Status::heartbeat_timeout,
              .is_retryable = true,
              .text = is_opening ? "no answer to the handshake" : "nothing was heard for two heartbeat intervals"});
        return;
    }
    if (heartbeat_.is_ping_due(now)) {
        wire::put_ping(context_.outbox, heartbeat_token);
        heartbeat_.on_sent(now);
    }
    attach_due(now);
}

std::optional<MonotonicTime> ClientProtocol::next_deadline() const noexcept {
    if (!is_connected_ || failure_) {
        return std::nullopt;
    }
    MonotonicTime next = heartbeat_.next();
    if (context_.has_retries) {
        for (const auto& [id, link] : links_) {
            next = std::min(next, link->retry_at().value_or(next));
        }
    }
    return next;
}

bool ClientProtocol::wants_close() const noexcept {
    return context_.is_ready && context_.is_going_away && context_.outbox.empty() && requests_.is_quiet() &&
           steps_.is_quiet() && std::ranges::all_of(links_, [](const auto& entry) { return entry.second->is_quiet(); });
}

void ClientProtocol::finish_turn(MonotonicTime now) {
    context_.now = now;
    if (!is_connected_) {
        return;
    }
    for (ReceiverLink* receiver : receiving_) {
        receiver->is_scheduled = false;
        receiver->flush();
    }
    receiving_.clear();
    pump_senders();
    announce_takers();
    if (!context_.outbox.empty()) {
        heartbeat_.on_sent(now);
    }
}

}  // namespace baton::client
