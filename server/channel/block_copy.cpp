#include "server/channel/block_copy.hpp"

#include <array>

#include "common/base/batch.hpp"
#include "server/channel/message_region.hpp"

namespace baton::channel {

namespace {

void append(const BatchHeader& header, Bytes messages, std::vector<std::byte>& out) {
    std::array<std::byte, batch_header_size> encoded;
    baton::encode(header, encoded);
    out.insert(out.end(), encoded.begin(), encoded.end());
    out.insert(out.end(), messages.begin(), messages.end());
}

// Messages that follow one another and are there.
void append_pieces(const BatchHeader& header, Bytes messages, const OffsetSet& removed, std::vector<std::byte>& out,
                   std::uint32_t& batches) {
    const Offset end = header.base_offset + header.count;
    for (Offset at = header.base_offset; at < end;) {
        const bool is_hole = overlaps(removed, at, at + 1);
        Offset next = at + 1;
        while (next < end && overlaps(removed, next, next + 1) == is_hole) {
            ++next;
        }
        const Cut cut = cut_count(messages, static_cast<std::uint32_t>(next - at));
        if (!is_hole) {
            BatchHeader piece = header;
            piece.base_offset = at;
            piece.count = cut.count;
            piece.messages_size = cut.bytes;
            piece.flags = static_cast<std::uint16_t>(piece.flags & ~batch_has_crc);
            piece.crc32c = 0;
            append(piece, messages.first(cut.bytes), out);
            ++batches;
        }
        messages = messages.subspan(cut.bytes);
        at = next;
    }
}

}  // namespace

bool copy_without(Bytes body, const OffsetSet& removed, std::vector<std::byte>& out, std::uint32_t& batches) {
    for (std::size_t position = 0; position < body.size();) {
        const auto header = front_batch(body.subspan(position));
        if (!header) {
            return false;
        }
        const Bytes messages = body.subspan(position + batch_header_size, header->messages_size);
        if (overlaps(removed, header->base_offset, header->base_offset + header->count)) {
            append_pieces(*header, messages, removed, out, batches);
        } else {
            append(*header, messages, out);
            ++batches;
        }
        position += batch_header_size + header->messages_size;
    }
    return true;
}

}  // namespace baton::channel
