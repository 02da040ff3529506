#include "common/base/batch_builder.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "common/base/crc32c.hpp"
#include "common/base/properties.hpp"

namespace baton {

namespace {

constexpr std::size_t length_size = 4;
constexpr std::size_t properties_size_size = 2;
constexpr std::size_t region_size_max = std::numeric_limits<std::uint32_t>::max() - batch_header_size;

}  // namespace

void BatchBuilder::append(Bytes payload, Bytes properties) noexcept {
    BATON_ASSERT(properties.size() <= properties_size_max && payload.size() <= region_size_max);
    if (!properties.empty() && !has_properties_) {
        add_property_blocks();
    }
    const std::size_t size = encoded_size(payload.size(), properties.size());
    std::byte* at = extend(size);
    store_u32(at, static_cast<std::uint32_t>(size - length_size));
    at += length_size;
    if (has_properties_) {
        store_u16(at, static_cast<std::uint16_t>(properties.size()));
        at += properties_size_size;
        copy_bytes(at, properties);
        at += properties.size();
    }
    copy_bytes(at, payload);
    ++count_;
}

Payload BatchBuilder::take(ChunkPool& pool, Crc crc) noexcept {
    BATON_ASSERT(count_ > 0);
    BatchHeader header{.count = count_, .messages_size = static_cast<std::uint32_t>(size_)};
    if (has_properties_) {
        header.flags |= batch_has_properties;
    }
    if (crc == Crc::on) {
        header.flags |= batch_has_crc;
        header.crc32c = crc32c(region());
    }
    encode(header, {buffer_.get(), batch_header_size});
    const Bytes whole{buffer_.get(), size()};
    clear();
    // A batch lives shortly: a recycled chunk is better than one of the exact size, and small ones share one.
    if (whole.size() <= pool.chunk_size() / 4 || whole.size() > pool.chunk_size()) {
        return Payload::copy_of(pool, whole);
    }
    ChunkRef chunk = pool.allocate();
    copy_bytes(chunk.bytes(), whole);
    return Payload{std::move(chunk), 0, whole.size()};
}

void BatchBuilder::clear() noexcept {
    size_ = 0;
    count_ = 0;
    has_properties_ = false;
}

std::byte* BatchBuilder::extend(std::size_t size_added) noexcept {
    BATON_ASSERT(size_added <= region_size_max - size_);
    if (capacity_ < size() + size_added) {
        constexpr std::size_t capacity_min = 4096;
        const std::size_t capacity = std::max({capacity_min, 2 * capacity_, size() + size_added});
        auto grown = std::make_unique_for_overwrite<std::byte[]>(capacity);
        if (size_ != 0) {
            copy_bytes(grown.get() + batch_header_size, region());
        }
        buffer_ = std::move(grown);
        capacity_ = capacity;
    }
    std::byte* const at = buffer_.get() + size();
    size_ += size_added;
    return at;
}

void BatchBuilder::add_property_blocks() noexcept {
    if (count_ != 0) {
        BatchBuilder rewritten;
        rewritten.has_properties_ = true;
        MessageCursor cursor{region(), false};
        for (MessageView message; cursor.next(message);) {
            rewritten.append(message.payload);
        }
        *this = std::move(rewritten);
    }
    has_properties_ = true;
}

}  // namespace baton
