// Builds a batch on the side of the sender: messages are appended to a buffer that grows once and is then reused, or,
// beyond a size and with a pool, to a chunk that becomes the batch as it is.
// Not responsible for limits or for when a batch is full: ask count() and size().
// One thread at a time. Next file: payload.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/base/batch.hpp"
#include "common/base/bytes.hpp"
#include "common/base/payload.hpp"

namespace baton {

class BatchBuilder {
public:
    enum class Crc : bool { off, on };

    BatchBuilder() noexcept = default;
    // append() allocates from the pool, which outlives the last append().
    explicit BatchBuilder(ChunkPool& chunks) noexcept : chunks_{&chunks} {}

    // `properties` is an encoded block (properties.hpp) of at most properties_size_max bytes. The first message that
    // has one turns the whole batch into a batch with properties, which rewrites what is there, once. The whole batch
    // stays below 4 GiB; limits in practice are far smaller and the caller's.
    void append(Bytes payload, Bytes properties = {}) noexcept;

    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] bool has_properties() const noexcept { return has_properties_; }
    // Of the batch as take() would return it now, header included.
    [[nodiscard]] std::size_t size() const noexcept { return batch_header_size + size_; }

    // What append() would add to size(); exact unless it is the first one with properties.
    [[nodiscard]] std::size_t encoded_size(std::size_t payload_size, std::size_t properties_size) const noexcept {
        const std::size_t block = has_properties_ || properties_size != 0 ? 2 + properties_size : 0;
        return 4 + block + payload_size;
    }

    // The finished batch; at least one message has been appended. The builder is empty afterwards and keeps its buffer.
    // `pool` is for what is copied.
    [[nodiscard]] Payload take(ChunkPool& pool, Crc crc = Crc::on) noexcept;

    void clear() noexcept;

private:
    [[nodiscard]] Bytes region() const noexcept { return {data_ + batch_header_size, size_}; }
    void grow(std::size_t needed) noexcept;
    [[nodiscard]] std::byte* extend(std::size_t size_added) noexcept;
    void add_property_blocks() noexcept;

    ChunkPool* chunks_ = nullptr;
    std::unique_ptr<std::byte[]> buffer_;
    std::size_t buffer_size_ = 0;
    ChunkRef chunk_;
    std::byte* data_ = nullptr;  // In one of the two: room for the header, then the messages region.
    std::size_t capacity_ = 0;
    bool was_large_ = false;  // The last one was: the next one begins with a chunk.
    std::size_t size_ = 0;  // Of the region.
    std::uint32_t count_ = 0;
    bool has_properties_ = false;
};

}  // namespace baton
