#include "common/wire/frame.hpp"

#include <array>

#include "common/base/assert.hpp"

namespace baton::wire {

bool is_known(FrameType type) noexcept {
    return type >= FrameType::hello && type <= FrameType::stepped;
}

std::string_view to_string(FrameType type) noexcept {
    switch (type) {
        case FrameType::hello:
            return "HELLO";
        case FrameType::welcome:
            return "WELCOME";
        case FrameType::attach:
            return "ATTACH";
        case FrameType::attached:
            return "ATTACHED";
        case FrameType::detach:
            return "DETACH";
        case FrameType::detached:
            return "DETACHED";
        case FrameType::publish:
            return "PUBLISH";
        case FrameType::confirm:
            return "CONFIRM";
        case FrameType::deliver:
            return "DELIVER";
        case FrameType::settle:
            return "SETTLE";
        case FrameType::settled:
            return "SETTLED";
        case FrameType::credit:
            return "CREDIT";
        case FrameType::fragment:
            return "FRAGMENT";
        case FrameType::grant:
            return "GRANT";
        case FrameType::state:
            return "STATE";
        case FrameType::ping:
            return "PING";
        case FrameType::pong:
            return "PONG";
        case FrameType::goaway:
            return "GOAWAY";
        case FrameType::error:
            return "ERROR";
        case FrameType::admin:
            return "ADMIN";
        case FrameType::admin_reply:
            return "ADMIN_REPLY";
        case FrameType::step:
            return "STEP";
        case FrameType::stepped:
            return "STEPPED";
    }
    return "unknown";
}

Lane lane_of(FrameType type) noexcept {
    switch (type) {
        case FrameType::confirm:
        case FrameType::credit:
        case FrameType::settle:
        case FrameType::settled:
        case FrameType::grant:
        case FrameType::ping:
        case FrameType::pong:
        case FrameType::goaway:
        case FrameType::stepped:
            return Lane::control;
        default:
            return Lane::data;
    }
}

void encode(const FrameHeader& header, std::byte* to) noexcept {
    store_u32(to, header.length);
    to[4] = static_cast<std::byte>(header.type);
    to[5] = static_cast<std::byte>(header.flags);
    store_u16(to + 6, header.link);
    store_u64(to + 8, header.sequence);
}

FrameHeader decode_frame_header(const std::byte* from) noexcept {
    return {.length = load_u32(from),
            .type = static_cast<FrameType>(from[4]),
            .flags = static_cast<std::uint8_t>(from[5]),
            .link = load_u16(from + 6),
            .sequence = load_u64(from + 8)};
}

DecodedFrame decode_frame(Bytes readable, std::size_t frame_size_max) noexcept {
    BATON_ASSERT(frame_size_max >= frame_header_size);
    DecodedFrame decoded;
    if (readable.size() < frame_header_size) {
        return decoded;
    }
    decoded.frame.header = decode_frame_header(readable.data());
    const std::size_t length = decoded.frame.header.length;
    if (length > frame_size_max - frame_header_size) {
        decoded.status = FrameStatus::too_large;
        return decoded;
    }
    decoded.wanted = frame_header_size + length;
    if (readable.size() < decoded.wanted) {
        return decoded;
    }
    decoded.status = FrameStatus::complete;
    decoded.frame.body = readable.subspan(frame_header_size, length);
    return decoded;
}

void put_frame(Outbox& outbox, const FrameHeader& header, Bytes body) noexcept {
    auto written = header;
    written.length = static_cast<std::uint32_t>(body.size());
    std::array<std::byte, frame_header_size> bytes;
    encode(written, bytes.data());
    outbox.begin_frame(lane_of(header.type));
    outbox.append(Bytes{bytes});
    if (!body.empty()) {
        outbox.append(body);
    }
    outbox.end_frame();
}

}  // namespace baton::wire
