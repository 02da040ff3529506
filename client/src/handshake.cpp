// Every way in which the opening can go wrong, said in words that help.
#include "client/src/handshake.hpp"

#include <string>
#include <utility>

#include "common/base/assert.hpp"
#include "common/wire/bodies.hpp"

namespace baton::client {

namespace {

ConnectionFailure violation(std::string text) {
    return {.status = wire::Status::protocol_violation, .is_retryable = true, .text = std::move(text)};
}

}  // namespace

void Handshake::begin(Outbox& outbox, const wire::Hello& hello) {
    outbox.frame(Lane::data, wire::encode(wire::ClientPreamble{}));
    const std::string body = wire::encode(hello);
    wire::put_frame(outbox,
                    {.length = static_cast<std::uint32_t>(body.size()),
                     .type = wire::FrameType::hello,
                     .flags = 0,
                     .link = 0,
                     .sequence = 0},
                    as_bytes(body));
    phase_ = Phase::preamble;
}

std::optional<ConnectionFailure> Handshake::on_preamble(Bytes bytes) {
    BATON_ASSERT(phase_ == Phase::preamble && bytes.size() <= wire::preamble_size);
    if (!wire::may_be_preamble(bytes)) {
        return violation("what answers there is not a Baton broker");
    }
    if (bytes.size() < wire::preamble_size) {
        return std::nullopt;
    }
    const auto preamble = wire::decode_broker_preamble(bytes);
    if (!preamble) {
        return violation("what answers there is not a Baton broker");
    }
    const wire::ClientPreamble ours;
    if (preamble->chosen < ours.low || preamble->chosen > ours.high) {
        return ConnectionFailure{.status = wire::Status::unsupported_version,
                                 .is_retryable = false,
                                 .text = "no common protocol version: the broker speaks " +
                                         std::to_string(preamble->low) + " to " + std::to_string(preamble->high) +
                                         ", this client " + std::to_string(ours.low) + " to " +
                                         std::to_string(ours.high)};
    }
    phase_ = Phase::hello;
    return std::nullopt;
}

std::optional<ConnectionFailure> Handshake::on_frame(const wire::Frame& frame, wire::Welcome& welcome) {
    BATON_ASSERT(phase_ == Phase::hello);
    if (frame.header.type == wire::FrameType::error) {
        const auto error = wire::decode_error(frame.body);
        return error ? ConnectionFailure{.status = error->status,
                                         .is_retryable = error->retryable,
                                         .text = "the broker refused: " + std::string{error->text}}
                     : violation("the body of ERROR is malformed");
    }
    if (frame.header.type != wire::FrameType::welcome) {
        return violation("the broker's first frame is not WELCOME");
    }
    auto decoded = wire::decode_welcome(frame.body);
    if (!decoded) {
        return violation("WELCOME: " + decoded.error());
    }
    if (decoded->frame_size_max < wire::frame_size_max_minimum || decoded->fragment_size_max == 0 ||
        decoded->fragment_size_max > decoded->frame_size_max - wire::frame_header_size || decoded->heartbeat_ms == 0) {
        return violation("WELCOME has limits that cannot work");
    }
    welcome = std::move(*decoded);
    phase_ = Phase::done;
    return std::nullopt;
}

}  // namespace baton::client
