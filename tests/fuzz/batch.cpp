// Any bytes as a batch: what check_batch takes can be walked, sliced at every message, and built again as the same
// bytes; what it refuses does no harm to a cursor either. Corpus: corpus/batch.

#include "common/base/batch.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/assert.hpp"
#include "common/base/batch_builder.hpp"
#include "common/base/payload.hpp"
#include "common/base/properties.hpp"

namespace {

using namespace baton;

constexpr std::uint32_t slices_max = 64;

// Properties that were understood are understood again when they are written.
void check_properties(Bytes block) {
    const auto properties = decode_properties(block);
    BATON_ASSERT(properties.has_value() == is_well_formed_block(block));
    if (!properties) {
        return;
    }
    const auto encoded = encode_properties(*properties);
    BATON_ASSERT(encoded && encoded->size() <= block.size());
    const auto again = decode_properties(*encoded);
    BATON_ASSERT(again && *again == *properties);
    for (int id = 0; id < 256; ++id) {
        const auto value = find_property(block, static_cast<PropertyId>(id));
        BATON_ASSERT(!value || (value->data() >= block.data() && value->size() <= block.size()));
    }
}

// The first messages are a batch of their own.
void check_slice(const BatchHeader& header, Bytes region, std::uint32_t count, std::size_t size) {
    BATON_ASSERT(messages_prefix_size(region, count) == size);
    BatchHeader slice = header;
    slice.count = count;
    slice.messages_size = static_cast<std::uint32_t>(size);
    std::vector<std::byte> whole(batch_header_size + size);
    encode(slice, whole);
    copy_bytes(whole.data() + batch_header_size, region.first(size));
    BATON_ASSERT(check_batch(whole) == slice);
}

void check_whole(const BatchHeader& header, Bytes whole) {
    std::array<std::byte, batch_header_size> head;
    encode(header, head);
    BATON_ASSERT(equal(head, whole.first(batch_header_size)));
    static_cast<void>(check_batch_crc(whole));

    const Bytes region = messages_of(whole);
    MessageCursor cursor{region, header.has_properties()};
    BatchBuilder builder;
    std::uint32_t count = 0;
    for (MessageView message; cursor.next(message);) {
        ++count;
        check_properties(message.properties);
        builder.append(message.payload, message.properties);
        if (count <= slices_max || count == header.count) {
            check_slice(header, region, count, cursor.position());
        }
    }
    BATON_ASSERT(count == header.count && cursor.remaining() == 0);

    // Without a single property the builder takes the shorter form.
    if (builder.has_properties() == header.has_properties()) {
        BATON_ASSERT(builder.size() == whole.size());
        ChunkPool pool{64 * 1024, 1};
        const Payload again = builder.take(pool);
        BATON_ASSERT(equal(messages_of(again.bytes()), region));
        BATON_ASSERT(check_batch(again.bytes()) && check_batch_crc(again.bytes()));
    }
}

// A region that nobody has checked.
void walk(Bytes region, bool has_properties) {
    MessageCursor cursor{region, has_properties};
    for (MessageView message; cursor.next(message);) {
        BATON_ASSERT(message.properties.size() + message.payload.size() <= region.size());
    }
    BATON_ASSERT(cursor.position() + cursor.remaining() == region.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
    const auto header = check_batch(bytes);
    if (header) {
        BATON_ASSERT(decode_batch_header(bytes) == header);
        check_whole(*header, bytes);
    }
    walk(bytes, false);
    walk(bytes, true);
    check_properties(bytes.first(std::min(size, properties_size_max)));
    return 0;
}
