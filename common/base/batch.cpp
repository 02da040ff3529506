#include "common/base/batch.hpp"

#include <string>

#include "common/base/crc32c.hpp"
#include "common/base/properties.hpp"

namespace baton {

namespace {

// Offsets of the fields; the box is in the header.
constexpr std::size_t count_at = 0;
constexpr std::size_t flags_at = 4;
constexpr std::size_t reserved_at = 6;
constexpr std::size_t base_offset_at = 8;
constexpr std::size_t time_at = 16;
constexpr std::size_t crc_at = 24;
constexpr std::size_t messages_size_at = 28;

class BatchCategory final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "batch"; }

    [[nodiscard]] std::string message(int value) const override {
        switch (static_cast<BatchErrc>(value)) {
            case BatchErrc::ok:
                return "ok";
            case BatchErrc::header_truncated:
                return "batch header is truncated";
            case BatchErrc::reserved_not_zero:
                return "reserved field of the batch header is not zero";
            case BatchErrc::flags_unknown:
                return "unknown flag in the batch header";
            case BatchErrc::count_zero:
                return "batch without messages";
            case BatchErrc::size_mismatch:
                return "size of the messages does not match the batch header";
            case BatchErrc::message_overruns:
                return "message reaches beyond its batch";
            case BatchErrc::count_mismatch:
                return "number of messages does not match the batch header";
            case BatchErrc::properties_overrun:
                return "property block reaches beyond its message";
            case BatchErrc::property_malformed:
                return "malformed property";
            case BatchErrc::crc_mismatch:
                return "wrong checksum of the batch";
        }
        return "unknown batch error " + std::to_string(value);
    }
};

// The hot loop: one load and one addition per message. No length can overflow the 64-bit position.
BatchErrc check_plain(Bytes region, std::uint32_t count) noexcept {
    const std::size_t size = region.size();
    std::size_t position = 0;
    std::uint32_t found = 0;
    while (size - position >= message_length_size) {
        const std::size_t next = position + message_length_size + load_u32(region.data() + position);
        if (next > size) {
            return BatchErrc::message_overruns;
        }
        position = next;
        ++found;
    }
    if (position != size) {
        return BatchErrc::message_overruns;
    }
    return found == count ? BatchErrc::ok : BatchErrc::count_mismatch;
}

BatchErrc check_with_properties(Bytes region, std::uint32_t count) noexcept {
    constexpr std::size_t properties_size_size = 2;
    std::uint32_t found = 0;
    while (!region.empty()) {
        if (region.size() < message_length_size || region.size() - message_length_size < load_u32(region.data())) {
            return BatchErrc::message_overruns;
        }
        const Bytes body = region.subspan(message_length_size, load_u32(region.data()));
        if (body.size() < properties_size_size || body.size() - properties_size_size < load_u16(body.data())) {
            return BatchErrc::properties_overrun;
        }
        if (!is_well_formed_block(body.subspan(properties_size_size, load_u16(body.data())))) {
            return BatchErrc::property_malformed;
        }
        region = region.subspan(message_length_size + body.size());
        ++found;
    }
    return found == count ? BatchErrc::ok : BatchErrc::count_mismatch;
}

}  // namespace

std::error_code make_error_code(BatchErrc errc) noexcept {
    static const BatchCategory category;
    return {static_cast<int>(errc), category};
}

void encode(const BatchHeader& header, MutableBytes out) noexcept {
    BATON_ASSERT(out.size() >= batch_header_size);
    BATON_ASSERT(header.count >= 1 && (header.flags & ~batch_flags_known) == 0);
    store_u32(out.data() + count_at, header.count);
    store_u16(out.data() + flags_at, header.flags);
    store_u16(out.data() + reserved_at, 0);
    store_u64(out.data() + base_offset_at, header.base_offset);
    store_u64(out.data() + time_at, static_cast<std::uint64_t>(header.time_us));
    store_u32(out.data() + crc_at, header.crc32c);
    store_u32(out.data() + messages_size_at, header.messages_size);
}

std::expected<BatchHeader, BatchErrc> decode_batch_header(Bytes bytes) noexcept {
    if (bytes.size() < batch_header_size) {
        return std::unexpected{BatchErrc::header_truncated};
    }
    const BatchHeader header{
        .count = load_u32(bytes.data() + count_at),
        .flags = load_u16(bytes.data() + flags_at),
        .base_offset = load_u64(bytes.data() + base_offset_at),
        .time_us = static_cast<std::int64_t>(load_u64(bytes.data() + time_at)),
        .crc32c = load_u32(bytes.data() + crc_at),
        .messages_size = load_u32(bytes.data() + messages_size_at),
    };
    if (load_u16(bytes.data() + reserved_at) != 0) {
        return std::unexpected{BatchErrc::reserved_not_zero};
    }
    if ((header.flags & ~batch_flags_known) != 0) {
        return std::unexpected{BatchErrc::flags_unknown};
    }
    if (header.count == 0) {
        return std::unexpected{BatchErrc::count_zero};
    }
    return header;
}

std::expected<BatchHeader, BatchErrc> check_batch(Bytes whole) noexcept {
    const std::expected<BatchHeader, BatchErrc> header = decode_batch_header(whole);
    if (!header) {
        return header;
    }
    const Bytes region = messages_of(whole);
    if (region.size() != header->messages_size) {
        return std::unexpected{BatchErrc::size_mismatch};
    }
    const BatchErrc errc =
        header->has_properties() ? check_with_properties(region, header->count) : check_plain(region, header->count);
    if (errc != BatchErrc::ok) {
        return std::unexpected{errc};
    }
    return header;
}

bool check_batch_crc(Bytes whole) noexcept {
    BATON_ASSERT(whole.size() >= batch_header_size);
    const bool has_crc = (load_u16(whole.data() + flags_at) & batch_has_crc) != 0;
    return !has_crc || crc32c(messages_of(whole)) == load_u32(whole.data() + crc_at);
}

std::size_t messages_prefix_size(Bytes region, std::uint32_t count) noexcept {
    std::size_t position = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        BATON_ASSERT(position <= region.size() && region.size() - position >= message_length_size);
        position += message_length_size + load_u32(region.data() + position);
    }
    BATON_ASSERT(position <= region.size());
    return position;
}

}  // namespace baton
