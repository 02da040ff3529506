// What an outbox remembers while bytes wait. Lives inside a small chunk; included by outbox.cpp only.
// Not responsible for the order of lanes: that is outbox.cpp.
// On the thread that owns the ChunkPool. Next file: outbox.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/payload.hpp"

namespace baton::detail {

// First in, first out; small values. The first `inline_count` are held in place, more in blocks that are chunks of the
// pool: growing never moves a value and never asks the system once the pool is warm.
template <class T, std::size_t inline_count>
class BlockFifo {
    static_assert(std::is_trivially_copyable_v<T>);

    struct Block {
        T* values = nullptr;
        std::uint32_t begin = 0;
        std::uint32_t end = 0;
        std::uint32_t capacity = 0;
        Block* next = nullptr;
        ChunkRef home;  // Empty for the block in place.
    };

public:
    BlockFifo() noexcept {
        first_.values = inline_values_.data();
        first_.capacity = inline_count;
    }
    BlockFifo(const BlockFifo&) = delete;
    BlockFifo& operator=(const BlockFifo&) = delete;
    ~BlockFifo() {
        while (head_ != tail_) {
            release_head();
        }
        if (head_ != &first_) {
            release(head_);
        }
    }

    [[nodiscard]] bool empty() const noexcept { return head_->begin == head_->end; }
    [[nodiscard]] T& front() noexcept { return head_->values[head_->begin]; }
    [[nodiscard]] T& back() noexcept { return tail_->values[tail_->end - 1]; }

    void push(ChunkPool& pool, const T& value) noexcept {
        if (tail_->end == tail_->capacity) {
            add_block(pool);
        }
        tail_->values[tail_->end++] = value;
    }

    // Not empty.
    void pop() noexcept {
        if (++head_->begin != head_->end) {
            return;
        }
        if (head_ != tail_) {
            release_head();
        } else {
            head_->begin = 0;
            head_->end = 0;
        }
    }

    // Calls `visit(T&)` from front to back until it returns false.
    template <class Visit>
    void visit_while(Visit&& visit) noexcept {
        for (Block* block = head_; block != nullptr; block = block->next) {
            for (std::uint32_t i = block->begin; i != block->end; ++i) {
                if (!visit(block->values[i])) {
                    return;
                }
            }
        }
    }

private:
    static void release(Block* block) noexcept {
        const ChunkRef home = std::move(block->home);  // The block lives in it.
        block->~Block();
    }

    // There is another block behind it, and no block but a sole one is ever empty.
    void release_head() noexcept {
        Block* const spent = std::exchange(head_, head_->next);
        if (spent != &first_) {
            release(spent);
        }
    }

    void add_block(ChunkPool& pool) noexcept {
        static_assert(alignof(T) <= alignof(Block) && sizeof(Block) % alignof(T) == 0);
        ChunkRef home = pool.allocate_small();
        auto* const block = ::new (home.bytes()) Block;
        block->values = reinterpret_cast<T*>(home.bytes() + sizeof(Block));
        block->capacity = static_cast<std::uint32_t>((home.capacity() - sizeof(Block)) / sizeof(T));
        block->home = std::move(home);
        tail_->next = block;
        tail_ = block;
    }

    Block first_;
    Block* head_ = &first_;
    Block* tail_ = &first_;
    std::array<T, inline_count> inline_values_;  // Unset until pushed.
};

// Bytes that wait: copied ones (no chunk: the lane keeps their memory), or a slice of a counted chunk. A segment of
// size zero carries nothing but the count of a copy chunk that is full; it is let go when the copies in front of it
// are.
struct OutboxSegment {
    Chunk* chunk;
    const std::byte* data;
    std::size_t size;
};

// One lane: segments in order, and where the next copied bytes go.
template <std::size_t inline_segments>
struct OutboxLane {
    BlockFifo<OutboxSegment, inline_segments> segments;
    std::size_t size = 0;
    Chunk* copies = nullptr;  // Counted. Null while the copies still fit into the state itself.
    std::byte* copy_begin = nullptr;
    std::byte* copy_at = nullptr;
    std::byte* copy_end = nullptr;

    OutboxLane() noexcept = default;
    OutboxLane(const OutboxLane&) = delete;
    OutboxLane& operator=(const OutboxLane&) = delete;
    ~OutboxLane() {
        segments.visit_while([](const OutboxSegment& segment) {
            if (segment.chunk != nullptr) {
                release(segment.chunk);
            }
            return true;
        });
        if (copies != nullptr) {
            release(copies);
        }
    }

    void set_copy_area(Chunk* owner, std::byte* begin, std::size_t area_size) noexcept {
        copies = owner;
        copy_begin = begin;
        copy_at = begin;
        copy_end = begin + area_size;
    }
};

struct OutboxState {
    // What the last gather() returned, by origin, in the order in which it is written.
    struct Gathered {
        std::size_t rest = 0;  // Rest of the data frame that was begun.
        std::size_t control = 0;
        std::size_t data = 0;
    };

    OutboxState() noexcept {
        control.set_copy_area(nullptr, control_copies.data(), control_copies.size());
        data.set_copy_area(nullptr, data_copies.data(), data_copies.size());
    }

    OutboxLane<8> control;
    OutboxLane<32> data;
    BlockFifo<std::uint32_t, 32> data_frames;  // Sizes of the data frames of which nothing is written yet.
    std::size_t data_rest = 0;                 // What is left of the data frame that was begun.
    Gathered gathered;
    std::size_t open_size = 0;  // Of the frame that is being appended.
    bool is_open = false;
    bool is_open_data = false;
    std::array<std::byte, 512> control_copies;  // The first copied bytes; unset until appended.
    std::array<std::byte, 1920> data_copies;
};

static_assert(sizeof(OutboxState) <= ChunkPool::small_chunk_size);

}  // namespace baton::detail
