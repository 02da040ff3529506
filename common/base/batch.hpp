// The batch: the one layout of messages on the wire, in memory and on disk. The broker checks it once when it comes in,
// and from then on slices it at message boundaries without decoding it again.
// Not responsible for frames (common/wire) or records (server/storage). It lives here because both need it and may not
// see each other. Pure functions of bytes: any thread. Normative text: docs/protocol.md.
// Next files: properties.hpp (what a property block means), batch_builder.hpp.
//
//      0               4       6       8
//     +---------------+-------+-------+-------------------------------+
//     |     count     | flags |   0   |          base_offset          |
//     +---------------+-------+-------+-------------------------------+
//  16 |            time_us            |    crc32c     | messages_size |
//     +-------------------------------+---------------+---------------+
//  32 |  messages: `count` of them, together `messages_size` bytes ...
//     +---------------------------------------------------------------
//
//     a message without properties:  u32 length | payload[length]
//     a message with properties:     u32 length | u16 properties_size | properties | payload
//                                    (length counts all that follows it)
//     a property:                    u8 id | u16 size | value[size]
//
// Little-endian, no padding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <system_error>

#include "common/base/assert.hpp"
#include "common/base/bytes.hpp"

namespace baton {

inline constexpr std::size_t batch_header_size = 32;

// In front of each message: how long the rest of it is.
inline constexpr std::size_t message_length_size = 4;

// A batch with this flag has a property block in each of its messages; one without it has none and takes the short
// path.
inline constexpr std::uint16_t batch_has_properties = 1;
// The crc32c field is that of the messages region. A slice loses the flag, because its region is another one.
inline constexpr std::uint16_t batch_has_crc = 2;
inline constexpr std::uint16_t batch_flags_known = batch_has_properties | batch_has_crc;

struct BatchHeader {
    std::uint32_t count = 0;  // At least 1.
    std::uint16_t flags = 0;
    std::uint64_t base_offset = 0;    // Offset of the first message. 0 from a sender; the broker fills it in.
    std::int64_t time_us = 0;         // Wall time since the epoch. 0 from a sender; the broker fills it in.
    std::uint32_t crc32c = 0;         // 0 if the flag is not set.
    std::uint32_t messages_size = 0;  // Size of the messages region.

    [[nodiscard]] bool has_properties() const noexcept { return (flags & batch_has_properties) != 0; }
    [[nodiscard]] bool has_crc() const noexcept { return (flags & batch_has_crc) != 0; }

    friend bool operator==(const BatchHeader&, const BatchHeader&) noexcept = default;
};

enum class BatchErrc : std::uint8_t {
    ok = 0,
    header_truncated,    // Fewer than 32 bytes.
    reserved_not_zero,   // The u16 at 6.
    flags_unknown,       // A flag that this version does not know.
    count_zero,          // A batch has at least one message.
    size_mismatch,       // messages_size is not what follows the header.
    message_overruns,    // A message reaches beyond the region.
    count_mismatch,      // The region holds fewer or more messages than the header says.
    properties_overrun,  // A property block reaches beyond its message.
    property_malformed,  // A property reaches beyond its block, or a known one has an impossible size.
    crc_mismatch,        // Only from check_batch_crc.
};

[[nodiscard]] std::error_code make_error_code(BatchErrc errc) noexcept;

// Writes the 32 bytes. The pair of decode_batch_header.
void encode(const BatchHeader& header, MutableBytes out) noexcept;

// Checks the fixed fields only: enough bytes, known flags, reserved zero, count not zero.
[[nodiscard]] std::expected<BatchHeader, BatchErrc> decode_batch_header(Bytes bytes) noexcept;

// Everything that is structural: after it, cursors and prefixes over the region cannot run astray. `whole` is the
// header and the region and nothing else. Does not compute the CRC.
[[nodiscard]] std::expected<BatchHeader, BatchErrc> check_batch(Bytes whole) noexcept;

// True if the batch has no CRC or the right one. For whoever decides to pay for it. `whole` has passed check_batch.
[[nodiscard]] bool check_batch_crc(Bytes whole) noexcept;

[[nodiscard]] inline Bytes messages_of(Bytes whole) noexcept {
    BATON_ASSERT(whole.size() >= batch_header_size);
    return whole.subspan(batch_header_size);
}

// Size of the first `count` messages of a region that has passed check_batch. They must be there.
[[nodiscard]] std::size_t messages_prefix_size(Bytes region, std::uint32_t count) noexcept;

// One message inside a region.
struct MessageView {
    Bytes properties;  // Encoded; empty if the batch has none. See properties.hpp.
    Bytes payload;
};

// Walks over the messages of a region, or of a slice of one that was cut at message boundaries.
class MessageCursor {
public:
    MessageCursor(Bytes region, bool has_properties) noexcept : region_{region}, has_properties_{has_properties} {}

    // False at the end, and also in front of a message that is not whole; then remaining() is not 0. That cannot happen
    // in a region that has passed check_batch.
    [[nodiscard]] bool next(MessageView& message) noexcept {
        const std::size_t left = region_.size() - position_;
        if (left < length_size) {
            return false;
        }
        const std::size_t length = load_u32(region_.data() + position_);
        if (left - length_size < length) {
            return false;
        }
        const Bytes body = region_.subspan(position_ + length_size, length);
        if (!has_properties_) {
            message = {.properties = {}, .payload = body};
        } else if (!split(body, message)) {
            return false;
        }
        position_ += length_size + length;
        return true;
    }

    // Bytes before the next message: where a slice may be cut.
    [[nodiscard]] std::size_t position() const noexcept { return position_; }
    [[nodiscard]] std::size_t remaining() const noexcept { return region_.size() - position_; }

private:
    static constexpr std::size_t length_size = 4;
    static constexpr std::size_t properties_size_size = 2;

    [[nodiscard]] static bool split(Bytes body, MessageView& message) noexcept {
        if (body.size() < properties_size_size) {
            return false;
        }
        const std::size_t properties_size = load_u16(body.data());
        if (body.size() - properties_size_size < properties_size) {
            return false;
        }
        message = {.properties = body.subspan(properties_size_size, properties_size),
                   .payload = body.subspan(properties_size_size + properties_size)};
        return true;
    }

    Bytes region_;
    std::size_t position_ = 0;
    bool has_properties_;
};

}  // namespace baton

template <>
struct std::is_error_code_enum<baton::BatchErrc> : std::true_type {};
