#include "common/base/batch_builder.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "common/base/crc32c.hpp"
#include "common/base/properties.hpp"

namespace baton {

namespace {

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
    store_u32(at, static_cast<std::uint32_t>(size - message_length_size));
    at += message_length_size;
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
    encode(header, {data_, batch_header_size});
    const Bytes whole{data_, size()};
    clear();
    was_large_ = chunk_ && whole.size() > chunk_.capacity() / 2;
    if (was_large_) {
        data_ = nullptr;
        capacity_ = 0;
        return Payload{std::move(chunk_), 0, whole.size()};
    }
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
        grow(size() + size_added);
    }
    std::byte* const at = data_ + size();
    size_ += size_added;
    return at;
}

void BatchBuilder::grow(std::size_t needed) noexcept {
    constexpr std::size_t buffer_size_min = 4096;
    constexpr std::size_t buffer_size_max = 16 * 1024;  // With chunks.
    const Bytes old = size_ != 0 ? region() : Bytes{};
    std::unique_ptr<std::byte[]> old_buffer;
    ChunkRef old_chunk = std::move(chunk_);
    if (chunks_ != nullptr && (was_large_ || needed > buffer_size_max)) {
        chunk_ = needed <= ChunkPool::medium_chunk_size ? chunks_->allocate_medium() : chunks_->allocate(needed);
        data_ = chunk_.bytes();
        capacity_ = chunk_.capacity();
    } else {
        if (buffer_size_ < needed) {
            old_buffer = std::move(buffer_);
            buffer_size_ = std::max({buffer_size_min, 2 * buffer_size_, needed});
            buffer_ = std::make_unique_for_overwrite<std::byte[]>(buffer_size_);
        }
        data_ = buffer_.get();
        capacity_ = buffer_size_;
    }
    copy_bytes(data_ + batch_header_size, old);
}

void BatchBuilder::add_property_blocks() noexcept {
    if (count_ != 0) {
        BatchBuilder rewritten;
        rewritten.chunks_ = chunks_;
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
