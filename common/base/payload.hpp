// Memory of messages: chunks of bytes, counted, filled once and then only read. A Payload is a slice of a chunk; it
// goes from the socket that received it to the sockets it is sent to without being copied. Not responsible for what the
// bytes mean (batch.hpp) or for how much of it may be kept (the channel's limits). One thread owns a ChunkPool and
// allocates from it; references may be copied and dropped on any thread. Next files: batch.hpp, outbox.hpp.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/bytes.hpp"
#include "common/base/memory_budget.hpp"

namespace baton {

class ChunkPool;

namespace detail {

struct PoolState;

// Header of a chunk; the bytes follow it directly. One cache line, so that the bytes are aligned to one.
struct alignas(64) Chunk {
    Chunk(PoolState* owner, std::size_t bytes_capacity, std::uint8_t class_index) noexcept
        : capacity{bytes_capacity}, pool{owner}, size_class{class_index} {}

    std::atomic<std::size_t> references{1};
    const std::size_t capacity;
    PoolState* const pool;  // Alive as long as this chunk is referenced.
    Chunk* next = nullptr;  // Only while the chunk is free.
    const std::uint8_t size_class;

    [[nodiscard]] std::byte* bytes() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
};

// The last reference is gone: back to the pool, or to the system.
void recycle(Chunk* chunk) noexcept;

inline void retain(Chunk* chunk) noexcept {
    chunk->references.fetch_add(1, std::memory_order_relaxed);
}

inline void release(Chunk* chunk) noexcept {
    // Whoever sees a count of one holds the only reference; nobody else can raise it, so no read-modify-write is
    // needed.
    if (chunk->references.load(std::memory_order_acquire) == 1 ||
        chunk->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        recycle(chunk);
    }
}

}  // namespace detail

// A counted reference to one chunk. Whoever fills the chunk must be its only writer, and must not touch bytes that a
// Payload already refers to. May be dropped on any thread.
class ChunkRef {
public:
    ChunkRef() noexcept = default;
    ChunkRef(const ChunkRef& other) noexcept : chunk_{other.chunk_} {
        if (chunk_ != nullptr) {
            detail::retain(chunk_);
        }
    }
    ChunkRef(ChunkRef&& other) noexcept : chunk_{std::exchange(other.chunk_, nullptr)} {}
    ChunkRef& operator=(ChunkRef other) noexcept {
        std::swap(chunk_, other.chunk_);
        return *this;
    }
    ~ChunkRef() { reset(); }

    void reset() noexcept {
        if (chunk_ != nullptr) {
            detail::release(std::exchange(chunk_, nullptr));
        }
    }

    [[nodiscard]] explicit operator bool() const noexcept { return chunk_ != nullptr; }
    [[nodiscard]] std::byte* bytes() const noexcept { return chunk_->bytes(); }
    [[nodiscard]] std::size_t capacity() const noexcept { return chunk_ != nullptr ? chunk_->capacity : 0; }

    // True if this is the only reference: nobody else reads the chunk, it may be filled again from the start.
    [[nodiscard]] bool unique() const noexcept {
        return chunk_ != nullptr && chunk_->references.load(std::memory_order_acquire) == 1;
    }

private:
    friend class ChunkPool;
    friend class Payload;
    friend class Outbox;

    // Takes over one reference.
    explicit ChunkRef(detail::Chunk* chunk) noexcept : chunk_{chunk} {}

    detail::Chunk* chunk_ = nullptr;
};

// Immutable bytes, shared by counting. Copying is one relaxed increment; moving and slicing allocate nothing.
// A small slice keeps its whole chunk alive: what stays for long is better copied densely (copy_of).
class Payload {
public:
    Payload() noexcept = default;

    // The bytes [offset, offset + size) of the chunk; nobody may write there any more.
    Payload(ChunkRef chunk, std::size_t offset, std::size_t size) noexcept {
        BATON_ASSERT(offset <= chunk.capacity() && size <= chunk.capacity() - offset);
        chunk_ = std::exchange(chunk.chunk_, nullptr);
        data_ = chunk_ != nullptr ? chunk_->bytes() + offset : nullptr;
        size_ = size;
    }

    Payload(const Payload& other) noexcept : chunk_{other.chunk_}, data_{other.data_}, size_{other.size_} {
        if (chunk_ != nullptr) {
            detail::retain(chunk_);
        }
    }
    Payload(Payload&& other) noexcept
        : chunk_{std::exchange(other.chunk_, nullptr)},
          data_{std::exchange(other.data_, nullptr)},
          size_{std::exchange(other.size_, 0)} {}
    Payload& operator=(const Payload& other) noexcept {
        Payload copy{other};
        swap(copy);
        return *this;
    }
    Payload& operator=(Payload&& other) noexcept {
        Payload taken{std::move(other)};
        swap(taken);
        return *this;
    }
    ~Payload() {
        if (chunk_ != nullptr) {
            detail::release(chunk_);
        }
    }

    // A dense copy: small ones share the pool's current copy chunk, so that a kept byte costs about a byte.
    // On the pool's thread only.
    [[nodiscard]] static Payload copy_of(ChunkPool& pool, Bytes bytes) noexcept;

    [[nodiscard]] Bytes bytes() const noexcept { return {data_, size_}; }
    [[nodiscard]] const std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    // Part of this payload, counted on the same chunk.
    [[nodiscard]] Payload slice(std::size_t offset, std::size_t size) const noexcept {
        BATON_ASSERT(offset <= size_ && size <= size_ - offset);
        Payload part{*this};
        part.data_ += offset;
        part.size_ = size;
        return part;
    }

    // A copy in a chunk of its own, in which so many bytes have room, at least size(): whoever has it alone may extend() it. The
    // chunk is charged to whom this payload's is. Any thread; the payload is not empty.
    [[nodiscard]] Payload copy_with_room(std::size_t capacity) const noexcept;
    // The same without the bytes: an empty payload to be extended. At least one byte.
    [[nodiscard]] Payload empty_with_room(std::size_t capacity) const noexcept;
    // What is kept in memory because of this payload: all of its chunk, and its part of that if everybody who refers to the chunk
    // counts alike. Not empty.
    [[nodiscard]] std::size_t chunk_capacity() const noexcept { return chunk_->capacity; }
    [[nodiscard]] std::size_t chunk_share() const noexcept {
        return chunk_->capacity / chunk_->references.load(std::memory_order_relaxed);
    }
    // Between its end and that of its chunk.
    [[nodiscard]] std::size_t room_behind() const noexcept {
        return static_cast<std::size_t>(chunk_->bytes() + chunk_->capacity - (data_ + size_));
    }
    // Copies these bytes behind its end, where they have room. Only of one that was made by copy_with_room() or
    // empty_with_room(), and only by one reference to it; slices and copies of what was there before stay as they are.
    void extend(Bytes bytes) noexcept;

    void swap(Payload& other) noexcept {
        std::swap(chunk_, other.chunk_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }

private:
    friend class Outbox;

    detail::Chunk* chunk_ = nullptr;
    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

// Readable bytes inside a chunk that somebody else holds: a function that gets them may look at them until it returns,
// and keep them by retain().
struct BorrowedBytes {
    const ChunkRef* chunk = nullptr;
    const std::byte* data = nullptr;
    std::size_t size = 0;

    [[nodiscard]] Bytes bytes() const noexcept { return {data, size}; }

    [[nodiscard]] BorrowedBytes sub(std::size_t offset, std::size_t length) const noexcept {
        BATON_ASSERT(offset <= size && length <= size - offset);
        return {chunk, data + offset, length};
    }

    [[nodiscard]] Payload retain() const noexcept {
        if (size == 0) {
            return {};
        }
        return {*chunk, static_cast<std::size_t>(data - chunk->bytes()), size};
    }
};

// Where chunks come from and go back to. Three sizes are recycled, last used first, so that steady traffic runs in warm
// memory and never asks the system: small and medium ones (for outboxes) and the standard one (for reading).
//
// Chunks may outlive the pool. One thread allocates and copies; chunks return from any thread through a lock-free stack
// which the owner empties when it next allocates.
class ChunkPool {
public:
    static constexpr std::size_t small_chunk_size = 4 * 1024;
    static constexpr std::size_t medium_chunk_size = 64 * 1024;

    // Keeps up to `free_chunks_max` free chunks of the standard size for later. What is referenced is charged to
    // `budget`, which outlives the pool; chunks that outlive the pool are no longer charged to anybody.
    explicit ChunkPool(std::size_t chunk_size = 256 * 1024, std::size_t free_chunks_max = 64,
                       MemoryBudget* budget = nullptr) noexcept;
    ChunkPool(const ChunkPool&) = delete;
    ChunkPool& operator=(const ChunkPool&) = delete;
    ~ChunkPool();

    // From now on chunks that are not kept are not destroyed when their last reference goes but by free_some(): the last
    // references to very many may go at once, and the system takes back about a gigabyte in 0.2 s. Before any is allocated.
    void free_in_steps() noexcept;
    // Destroys chunks of so many bytes, or a little more. True: there are more. Only with free_in_steps(); then often.
    [[nodiscard]] bool free_some(std::size_t bytes) noexcept;

    // A chunk of the standard size. Its content is unspecified.
    [[nodiscard]] ChunkRef allocate() noexcept;
    // A chunk of exactly this size; recycled only if that is the standard size.
    [[nodiscard]] ChunkRef allocate(std::size_t size) noexcept;
    [[nodiscard]] ChunkRef allocate_small() noexcept;
    [[nodiscard]] ChunkRef allocate_medium() noexcept;

    [[nodiscard]] std::size_t chunk_size() const noexcept { return chunk_size_; }
    // Capacity of all chunks that somebody refers to, including the pool's own copy chunk. Any thread.
    [[nodiscard]] std::size_t outstanding_bytes() const noexcept;
    // Free chunks of all sizes that are kept for reuse. Any thread; for tests and statistics.
    [[nodiscard]] std::size_t free_chunks() const noexcept;

private:
    friend class Payload;

    [[nodiscard]] Payload copy(Bytes bytes) noexcept;

    std::size_t chunk_size_;
    detail::PoolState* state_;  // Counted: one for this handle, one for each chunk outside the free lists.
    ChunkRef copies_;           // Filled by copy_of from the front.
    std::size_t copies_used_ = 0;
};

}  // namespace baton
