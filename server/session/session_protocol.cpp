#include "server/session/session_protocol.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "common/base/assert.hpp"
#include "common/wire/handshake.hpp"
#include "server/runtime/placement.hpp"

namespace baton::session {

using wire::Status;

SessionProtocol::SessionProtocol(runtime::ShardBroker& broker, ChunkPool& pool, Outbox& outbox, SessionHost& host,
                                 bool is_refused)
    : broker_{broker},
      limits_{broker.shared().limits},
      clock_{broker.shared().clock},
      pool_{pool},
      outbox_{outbox},
      host_{host},
      id_{broker.open_session(*this)},
      is_refused_{is_refused},
      frame_size_max_{limits_.frame_size_max},
      last_heard_{clock_.now()},
      deadline_{last_heard_ + limits_.handshake_timeout},
      writer_{pool, outbox} {}

SessionProtocol::SessionProtocol(runtime::ShardBroker& broker, ChunkPool& pool, Outbox& outbox, SessionHost& host,
                                 Greeting greeting)
    : SessionProtocol{broker, pool, outbox, host, false} {
    peer_agent_ = std::move(greeting.agent);
    peer_name_ = std::move(greeting.name);
    has_steps_ = greeting.has_steps;
    has_settled_down_ = true;
    begin(greeting.frame_size_max, greeting.heartbeat);
}

SessionProtocol::~SessionProtocol() { BATON_ASSERT_MSG(!is_connected_, "on_disconnected was not called"); }

// --- Bytes -----------------------------------------------------------------------------------------------------------

std::size_t SessionProtocol::on_bytes(BorrowedBytes readable) {
    last_heard_ = clock_.now();
    std::size_t used = 0;
    while (state_ != State::closing && used < readable.size) {
        const auto rest = readable.sub(used, readable.size - used);
        const auto taken = state_ == State::preamble ? take_preamble(rest.bytes()) : take_frame(rest);
        if (taken == 0) {
            return used;
        }
        used += taken;
    }
    wanted_ = 0;
    return readable.size;
}

std::size_t SessionProtocol::take_preamble(Bytes readable) {
    if (!wire::may_be_preamble(readable)) {
        if (wire::looks_like_http(readable)) {
            answer_http();
        } else {
            close(Status::protocol_violation, "the first bytes are not a Baton preamble");
        }
        return 0;
    }
    if (readable.size() < wire::preamble_size) {
        wanted_ = wire::preamble_size;
        return 0;
    }
    const auto client = wire::decode_client_preamble(readable.first(wire::preamble_size));
    if (!client) {
        close(Status::protocol_violation, "the preamble is not well formed");
        return 0;
    }
    wire::BrokerPreamble broker;
    broker.chosen = wire::choose_version(*client, broker);
    outbox_.frame(Lane::control, wire::encode(broker));  // Nothing may overtake it, nor WELCOME.
    host_.output_ready();
    if (broker.chosen == 0) {
        close(Status::unsupported_version, "the client speaks protocol versions " + std::to_string(client->low) + " to " +
                                               std::to_string(client->high) + ", this broker " +
                                               std::to_string(broker.low) + " to " + std::to_string(broker.high));
        return 0;
    }
    state_ = State::hello;
    return wire::preamble_size;
}

/// Somebody pointed a browser or a health check at the port; an answer in their own words saves them an hour.
void SessionProtocol::answer_http() {
    static constexpr std::string_view answer =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 66\r\n\r\n"
        "This is a Baton broker. It speaks the Baton protocol, not HTTP. \r\n";
    outbox_.frame(Lane::data, as_bytes(answer));
    close(Status::protocol_violation, "the peer speaks HTTP");
}

std::size_t SessionProtocol::take_frame(const BorrowedBytes& readable) {
    if (is_moving_) {
        return 0;
    }
    const auto limit = state_ == State::hello ? wire::handshake_frame_size_max : frame_size_max_;
    const auto decoded = wire::decode_frame(readable.bytes(), limit);
    switch (decoded.status) {
        case wire::FrameStatus::need_more:
            wanted_ = decoded.wanted;
            return 0;
        case wire::FrameStatus::too_large:
            fail_connection(Status::frame_too_large,
                            "a frame of " + std::to_string(wire::frame_header_size + decoded.frame.header.length) +
                                " bytes, allowed are " + std::to_string(limit));
            return 0;
        case wire::FrameStatus::complete:
            break;
    }
    const auto size = decoded.size();
    if (moves_for(decoded.frame)) {
        wanted_ = 0;
        return 0;
    }
    if (state_ == State::hello) {
        on_hello(decoded.frame);
    } else {
        on_frame(decoded.frame, readable.sub(wire::frame_header_size, size - wire::frame_header_size));
    }
    return size;
}

// --- Handshake ---------------------------------------------------------------------------------------------------------

void SessionProtocol::on_hello(const wire::Frame& frame) {
    if (frame.header.type != wire::FrameType::hello || frame.header.link != 0) {
        return fail_connection(Status::protocol_violation, "the first frame is not HELLO");
    }
    const auto hello = wire::decode_hello(frame.body);
    if (!hello) {
        return fail_connection(Status::bad_frame, "HELLO: " + hello.error());
    }
    if (is_refused_) {
        return fail_connection(Status::too_many_connections,
                               "the broker has as many connections as limits.connections_max allows (" +
                                   std::to_string(limits_.connections_max) + ")");
    }
    peer_agent_ = hello->agent;
    peer_name_ = hello->name.empty() ? hello->agent : hello->name;
    const auto to_ms = [](Duration duration) {
        return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
    };
    const auto longest = to_ms(limits_.heartbeat_interval);
    wire::Welcome welcome;
    welcome.agent = "batond/" BATON_VERSION;
    welcome.session = id_.value();
    welcome.heartbeat_ms =
        std::max(std::min(hello->heartbeat_ms.value_or(longest), longest), to_ms(limits_.heartbeat_interval_min));
    welcome.frame_size_max = std::min(hello->frame_size_max.value_or(limits_.frame_size_max), limits_.frame_size_max);
    welcome.fragment_size_max = wire::fragment_size_max;
    welcome.message_size_max = limits_.message_size_max;
    welcome.links_max = limits_.links_max;
    welcome.channel_name_size_max = limits_.channel_name_size_max;
    welcome.draining = broker_.shared().is_draining.load(std::memory_order_relaxed);
    welcome.time_us = clock_.wall_now().us;
    has_steps_ = std::ranges::find(hello->features, wire::feature_step) != hello->features.end();
    if (has_steps_) {
        welcome.features.emplace_back(wire::feature_step);
    }
    begin(welcome.frame_size_max, std::chrono::milliseconds{welcome.heartbeat_ms});
    const auto body = wire::encode(welcome);
    std::array<std::byte, wire::frame_header_size> header{};
    wire::encode({.length = static_cast<std::uint32_t>(body.size()), .type = wire::FrameType::welcome}, header.data());
    outbox_.begin_frame(Lane::control);
    outbox_.append(Bytes{header});
    outbox_.append(as_bytes(body));
    outbox_.end_frame();
    host_.output_ready();
}

void SessionProtocol::begin(std::uint32_t frame_size_max, Duration heartbeat) {
    frame_size_max_ = frame_size_max;
    writer_.set_frame_size_max(frame_size_max);
    heartbeat_ = heartbeat;
    deadline_ = clock_.now() + heartbeat_ / 2;
    state_ = State::open;
}

/// A session whose first channel lives on another shard goes there, while that costs next to nothing: it has no links and
/// nobody owes it an answer.
bool SessionProtocol::moves_for(const wire::Frame& frame) noexcept {
    if (frame.header.type != wire::FrameType::attach || state_ != State::open || has_settled_down_) {
        return false;
    }
    has_settled_down_ = true;
    const auto attach = wire::decode_attach(frame.body);
    if (!attach || is_draining_ || admins_pending_ != 0 || !steps_.empty() || !outbox_.empty()) {
        return false;
    }
    const auto shard = runtime::shard_of_channel(as_text(attach->name), broker_.shared().shard_count);
    return shard != broker_.shard() && (is_moving_ = host_.move_to(shard));
}

SessionProtocol::Greeting SessionProtocol::greeting() const {
    BATON_ASSERT(is_moving_);
    return {.agent = peer_agent_,
            .name = peer_name_,
            .frame_size_max = frame_size_max_,
            .heartbeat = heartbeat_,
            .has_steps = has_steps_};
}

// --- Time --------------------------------------------------------------------------------------------------------------

void SessionProtocol::on_deadline(MonotonicTime now) {
    if (now >= held_until_ && state_ == State::open) {
        flush_held();
        host_.output_ready();
    }
    if (now < deadline_ || state_ == State::closing) {
        return;
    }
    if (state_ != State::open) {
        return fail_connection(Status::handshake_timeout, "no HELLO within the handshake timeout");
    }
    if (now - last_heard_ > heartbeat_ * 2) {
        return fail_connection(Status::heartbeat_timeout, "nothing was heard for two heartbeat intervals");
    }
    // Half an interval, so that one frame is always sent within a whole one. An answer or a delivery in between would
    // do as well, but a PING more in five seconds costs less than keeping account of every write.
    deadline_ = now + heartbeat_ / 2;
    wire::put_ping(outbox_, static_cast<std::uint64_t>(now.time_since_epoch().count()));
    host_.output_ready();
}

// --- Life --------------------------------------------------------------------------------------------------------------

void SessionProtocol::on_disconnected() {
    BATON_ASSERT(is_connected_);
    is_connected_ = false;
    state_ = State::closing;
    release_links();
    broker_.close_session(id_);
}

/// Everything that receivers held goes back, and what was promised to senders. Links whose channel is not known yet let
/// go when it is (on_attached, or the broker for a session that is gone).
void SessionProtocol::release_links() {
    BATON_ASSERT(state_ == State::closing);
    for (std::size_t index = 1; index < links_.size(); ++index) {
        const auto number = static_cast<std::uint16_t>(index);
        Link* link = find_link(number);
        if (link == nullptr) {
            continue;
        }
        drop_link_state(number, *link);
        link->next_attach.reset();
        if (link->state == Link::State::attached) {
            link->state = Link::State::failing;
            broker_.detach(address(number), link->channel);
        } else if (link->state == Link::State::attaching) {
            link->state = Link::State::failing;
            link->detach_wanted = true;
        }
    }
}

void SessionProtocol::begin_drain(std::uint32_t reconnect_after_ms) {
    is_draining_ = true;
    if (state_ != State::open) {
        return;
    }
    flush_held();
    const wire::Goaway goaway{"draining", "the broker is going down in order", reconnect_after_ms};
    wire::put_frame(outbox_, {.type = wire::FrameType::goaway}, as_bytes(wire::encode(goaway)));
    host_.output_ready();
}

void SessionProtocol::fail_connection(Status status, const std::string& text) {
    if (state_ == State::closing) {
        return;
    }
    if (state_ != State::preamble) {
        flush_collected();  // Decisions made before are still told, in front of the ERROR.
        flush_held();
        wire::put_error(outbox_, 0, 0,
                        {.status = status,
                         .severity = wire::Severity::connection,
                         .retryable = wire::is_retryable(status),
                         .text = text});
    }
    close(status, text);
}

/// Nothing is said any more: whatever channels answer from now on is dropped.
void SessionProtocol::close(Status status, const std::string& text) {
    state_ = State::closing;
    collected_.clear();
    held_.clear();
    held_until_ = MonotonicTime::max();
    release_links();
    host_.output_ready();
    host_.close_after_flush(status, text);
}

}  // namespace baton::session
