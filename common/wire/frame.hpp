// Frames: the 16-byte header, the types, and cutting a stream of bytes into frames (docs/protocol.md, section 3).
// Sans-I/O and without state: the caller keeps the bytes that do not make a frame yet.
// Not responsible for bodies (bodies.hpp) or for what a frame means (server/session, client/src).
// Any thread. Next file: bodies.hpp.
//
//      0               4       5       6               8                               16
//     +---------------+-------+-------+---------------+-------------------------------+
//     | length u32    | type  | flags | link u16      | sequence u64                  |
//     +---------------+-------+-------+---------------+-------------------------------+
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/bytes.hpp"
#include "common/base/outbox.hpp"

namespace baton::wire {

inline constexpr std::size_t frame_header_size = 16;
inline constexpr std::size_t frame_size_max_default = 262'144;  ///< Header included.
inline constexpr std::size_t frame_size_max_minimum = 65'552;   ///< One whole fragment must fit.
inline constexpr std::size_t handshake_frame_size_max = 4'096;  ///< Until WELCOME has been sent.
inline constexpr std::size_t fragment_size_max = 65'536;        ///< Data bytes of one FRAGMENT.

inline constexpr std::uint8_t flag_optional = 0x80;        ///< Any type: skip the frame if the type is unknown.
inline constexpr std::uint8_t flag_fragment_first = 0x01;  ///< FRAGMENT: announces, carries no data.
inline constexpr std::uint8_t flag_confirm_later = 0x01;   ///< PUBLISH: nobody waits for its CONFIRM yet.
inline constexpr std::uint8_t flag_settle_note = 0x01;     ///< SETTLE: a text is in front of the ranges.
inline constexpr std::uint8_t flag_fragment_last = 0x02;   ///< FRAGMENT: the last piece.

enum class FrameType : std::uint8_t {
    hello = 1,
    welcome = 2,
    attach = 3,
    attached = 4,
    detach = 5,
    detached = 6,
    publish = 7,
    confirm = 8,
    deliver = 9,
    settle = 10,
    settled = 11,
    credit = 12,
    fragment = 13,
    grant = 14,
    state = 15,
    ping = 16,
    pong = 17,
    goaway = 18,
    error = 19,
    admin = 20,
    admin_reply = 21,
    step = 22,
    stepped = 23,
};
[[nodiscard]] bool is_known(FrameType type) noexcept;
[[nodiscard]] std::string_view to_string(FrameType type) noexcept;

/// The lane of the outbox in which a frame of this type waits: control overtakes data between frames.
[[nodiscard]] Lane lane_of(FrameType type) noexcept;

struct FrameHeader {
    std::uint32_t length = 0;  ///< Of the body.
    FrameType type{};          ///< As it came; may be none of the enumerators.
    std::uint8_t flags = 0;
    std::uint16_t link = 0;
    std::uint64_t sequence = 0;

    [[nodiscard]] bool is_optional() const noexcept { return (flags & flag_optional) != 0; }
    friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

void encode(const FrameHeader& header, std::byte* to) noexcept;
[[nodiscard]] FrameHeader decode_frame_header(const std::byte* from) noexcept;

struct Frame {
    FrameHeader header;
    Bytes body;  ///< Inside the bytes that were decoded.
};

enum class FrameStatus : std::uint8_t {
    complete,   ///< `frame` is filled in; it takes frame_header_size + length bytes.
    need_more,  ///< Not a whole frame yet; `wanted` bytes in one piece would be one (or show how many more).
    too_large,  ///< `length` exceeds the limit; `frame.header` is filled in. Nothing can be read behind it.
};

struct DecodedFrame {
    FrameStatus status = FrameStatus::need_more;
    Frame frame;
    std::size_t wanted = frame_header_size;
    [[nodiscard]] std::size_t size() const noexcept { return frame_header_size + frame.body.size(); }
};

/// The frame at the front of `readable`. `frame_size_max` includes the header.
[[nodiscard]] DecodedFrame decode_frame(Bytes readable, std::size_t frame_size_max) noexcept;

/// Appends a frame whose body is copied into the outbox, in the lane of its type.
void put_frame(Outbox& outbox, const FrameHeader& header, Bytes body) noexcept;

}  // namespace baton::wire
