#include "common/base/payload.hpp"

#include <array>
#include <cstring>
#include <new>
#include <utility>

namespace baton {

namespace detail {

namespace {

enum SizeClass : std::uint8_t { small_class, medium_class, standard_class, recycled_classes, exact_class };

// Free chunks of one size. The owner pops from `first`; everybody pushes to `returned`, which the owner takes as a
// whole, so that no other thread ever pops and the stack has no ABA problem.
struct FreeChunks {
    std::size_t capacity = 0;
    std::size_t count_max = 0;
    Chunk* first = nullptr;
    std::atomic<Chunk*> returned{nullptr};
    std::atomic<std::size_t> count{0};  // In both lists.
};

Chunk* create_chunk(PoolState* pool, std::size_t capacity, std::uint8_t size_class) noexcept {
    void* memory = ::operator new(sizeof(Chunk) + capacity, std::align_val_t{alignof(Chunk)});
    return ::new (memory) Chunk{pool, capacity, size_class};
}

void destroy_chunk(Chunk* chunk) noexcept {
    chunk->~Chunk();
    ::operator delete(chunk, std::align_val_t{alignof(Chunk)});
}

}  // namespace

struct PoolState {
    std::atomic<std::size_t> references{1};
    std::atomic<std::size_t> outstanding_bytes{0};
    std::atomic<bool> is_closed{false};  // The handle is gone: nobody will allocate again, keep nothing.
    std::array<FreeChunks, recycled_classes> free;
    bool frees_in_steps = false;
    Chunk* dying = nullptr;                // Taken out of `dead` by the owner.
    std::atomic<Chunk*> dead{nullptr};     // To be destroyed by the owner.
    MemoryBudget* budget = nullptr;  // Not used any more once the pool is closed.
};

namespace {

void count_outstanding(PoolState& state, std::size_t bytes) noexcept {
    state.outstanding_bytes.fetch_add(bytes, std::memory_order_relaxed);
    if (state.budget != nullptr && !state.is_closed.load(std::memory_order_relaxed)) {
        state.budget->charge(bytes);
    }
}

void discount_outstanding(PoolState& state, std::size_t bytes) noexcept {
    state.outstanding_bytes.fetch_sub(bytes, std::memory_order_relaxed);
    if (state.budget != nullptr && !state.is_closed.load(std::memory_order_relaxed)) {
        state.budget->discharge(bytes);
    }
}

void push(std::atomic<Chunk*>& list, Chunk* chunk) noexcept {
    Chunk* head = list.load(std::memory_order_relaxed);
    do {
        chunk->next = head;
    } while (!list.compare_exchange_weak(head, chunk, std::memory_order_release, std::memory_order_relaxed));
}

void destroy_list(Chunk* chunk) noexcept {
    while (chunk != nullptr) {
        Chunk* const next = chunk->next;
        destroy_chunk(chunk);
        chunk = next;
    }
}

void release_state(PoolState* state) noexcept {
    if (state->references.fetch_sub(1, std::memory_order_acq_rel) != 1) {
        return;
    }
    for (FreeChunks& free : state->free) {
        destroy_list(free.first);
        destroy_list(free.returned.load(std::memory_order_acquire));
    }
    destroy_list(state->dying);
    destroy_list(state->dead.load(std::memory_order_acquire));
    delete state;
}

// True if the chunk was kept for reuse.
bool keep(PoolState& state, Chunk* chunk) noexcept {
    if (chunk->size_class >= recycled_classes || state.is_closed.load(std::memory_order_relaxed)) {
        return false;
    }
    FreeChunks& free = state.free[chunk->size_class];
    if (free.count.fetch_add(1, std::memory_order_relaxed) >= free.count_max) {
        free.count.fetch_sub(1, std::memory_order_relaxed);
        return false;
    }
    push(free.returned, chunk);
    return true;
}

void discard(PoolState& state, Chunk* chunk) noexcept {
    if (state.frees_in_steps && !state.is_closed.load(std::memory_order_relaxed)) {
        push(state.dead, chunk);
    } else {
        destroy_chunk(chunk);
    }
}

// Puts what came back in front of the free list: last used, first used again.
void take_returned(FreeChunks& free) noexcept {
    if (free.returned.load(std::memory_order_relaxed) == nullptr) {
        return;
    }
    Chunk* const newest = free.returned.exchange(nullptr, std::memory_order_acquire);
    Chunk* oldest = newest;
    while (oldest->next != nullptr) {
        oldest = oldest->next;
    }
    oldest->next = free.first;
    free.first = newest;
}

// Null: there are none to be destroyed.
Chunk* next_dying(PoolState& state) noexcept {
    if (state.dying == nullptr && state.dead.load(std::memory_order_relaxed) != nullptr) {
        state.dying = state.dead.exchange(nullptr, std::memory_order_acquire);
    }
    return state.dying;
}

Chunk* allocate_recycled(PoolState* state, SizeClass size_class) noexcept {
    FreeChunks& free = state->free[size_class];
    state->references.fetch_add(1, std::memory_order_relaxed);
    count_outstanding(*state, free.capacity);
    take_returned(free);
    Chunk* chunk = free.first;
    if (chunk != nullptr) {
        free.first = std::exchange(chunk->next, nullptr);
        free.count.fetch_sub(1, std::memory_order_relaxed);
    } else if (chunk = next_dying(*state); chunk != nullptr && chunk->size_class == size_class) {
        state->dying = std::exchange(chunk->next, nullptr);
    } else {
        return create_chunk(state, free.capacity, size_class);
    }
    chunk->references.store(1, std::memory_order_relaxed);
    return chunk;
}

}  // namespace

void recycle(Chunk* chunk) noexcept {
    // The chunk's own reference keeps the state alive until after the push; then another thread may destroy both.
    PoolState* const state = chunk->pool;
    discount_outstanding(*state, chunk->capacity);
    if (!keep(*state, chunk)) {
        discard(*state, chunk);
    }
    release_state(state);
}

}  // namespace detail

using detail::PoolState;

ChunkPool::ChunkPool(std::size_t chunk_size, std::size_t free_chunks_max, MemoryBudget* budget) noexcept
    : chunk_size_{chunk_size}, state_{new PoolState} {
    BATON_ASSERT(chunk_size > 0);
    state_->budget = budget;
    constexpr std::size_t free_small_max = 1024;
    constexpr std::size_t free_medium_max = 64;
    state_->free[detail::small_class].capacity = small_chunk_size;
    state_->free[detail::small_class].count_max = free_small_max;
    state_->free[detail::medium_class].capacity = medium_chunk_size;
    state_->free[detail::medium_class].count_max = free_medium_max;
    state_->free[detail::standard_class].capacity = chunk_size;
    state_->free[detail::standard_class].count_max = free_chunks_max;
}

ChunkPool::~ChunkPool() {
    copies_.reset();
    state_->is_closed.store(true, std::memory_order_relaxed);
    if (state_->budget != nullptr) {
        state_->budget->discharge(state_->outstanding_bytes.load(std::memory_order_relaxed));
    }
    detail::release_state(state_);
}

void ChunkPool::free_in_steps() noexcept { state_->frees_in_steps = true; }

bool ChunkPool::free_some(std::size_t bytes) noexcept {
    detail::Chunk* chunk = detail::next_dying(*state_);
    for (std::size_t freed = 0; chunk != nullptr && freed < bytes; chunk = detail::next_dying(*state_)) {
        state_->dying = chunk->next;
        freed += chunk->capacity;
        detail::destroy_chunk(chunk);
    }
    return chunk != nullptr;
}

ChunkRef ChunkPool::allocate() noexcept {
    return ChunkRef{detail::allocate_recycled(state_, detail::standard_class)};
}

ChunkRef ChunkPool::allocate(std::size_t size) noexcept {
    if (size == chunk_size_) {
        return allocate();
    }
    state_->references.fetch_add(1, std::memory_order_relaxed);
    detail::count_outstanding(*state_, size);
    return ChunkRef{detail::create_chunk(state_, size, detail::exact_class)};
}

Payload Payload::copy_with_room(std::size_t capacity) const noexcept {
    Payload copy = empty_with_room(capacity);
    copy.extend(bytes());
    return copy;
}

Payload Payload::empty_with_room(std::size_t capacity) const noexcept {
    BATON_ASSERT(chunk_ != nullptr && capacity > 0);
    PoolState& state = *chunk_->pool;  // Alive: the chunk is.
    state.references.fetch_add(1, std::memory_order_relaxed);
    detail::count_outstanding(state, capacity);
    detail::Chunk* const chunk = detail::create_chunk(&state, capacity, detail::exact_class);
    return {ChunkRef{chunk}, 0, 0};
}

void Payload::extend(Bytes bytes) noexcept {
    BATON_ASSERT(chunk_ != nullptr && bytes.size() <= room_behind());
    std::memcpy(chunk_->bytes() + (data_ - chunk_->bytes()) + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
}

ChunkRef ChunkPool::allocate_small() noexcept {
    return ChunkRef{detail::allocate_recycled(state_, detail::small_class)};
}

ChunkRef ChunkPool::allocate_medium() noexcept {
    return ChunkRef{detail::allocate_recycled(state_, detail::medium_class)};
}

std::size_t ChunkPool::outstanding_bytes() const noexcept {
    return state_->outstanding_bytes.load(std::memory_order_relaxed);
}

std::size_t ChunkPool::free_chunks() const noexcept {
    std::size_t count = 0;
    for (const detail::FreeChunks& free : state_->free) {
        count += free.count.load(std::memory_order_relaxed);
    }
    return count;
}

Payload ChunkPool::copy(Bytes bytes) noexcept {
    if (bytes.empty()) {
        return {};
    }
    // A large one would waste the rest of the copy chunk; it gets its own.
    if (bytes.size() > chunk_size_ / 4) {
        ChunkRef chunk = allocate(bytes.size());
        copy_bytes(chunk.bytes(), bytes);
        return Payload{std::move(chunk), 0, bytes.size()};
    }
    if (copies_.unique()) {
        copies_used_ = 0;  // All earlier copies are gone.
    }
    if (!copies_ || copies_.capacity() - copies_used_ < bytes.size()) {
        copies_ = allocate();
        copies_used_ = 0;
    }
    copy_bytes(copies_.bytes() + copies_used_, bytes);
    Payload copied{copies_, copies_used_, bytes.size()};
    copies_used_ += bytes.size();
    return copied;
}

Payload Payload::copy_of(ChunkPool& pool, Bytes bytes) noexcept {
    return pool.copy(bytes);
}

}  // namespace baton
