#include "common/base/outbox.hpp"

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

#include "common/base/outbox_state.hpp"

namespace baton {

namespace {

using detail::Chunk;
using detail::OutboxSegment;
using detail::OutboxState;

// The copy area is full. The next one is a chunk; the old one is let go once its last byte is written.
template <class LaneState>
void next_copy_area(ChunkPool& pool, LaneState& lane, Chunk* chunk) noexcept {
    if (lane.copies != nullptr) {
        lane.segments.push(pool, {.chunk = lane.copies, .data = nullptr, .size = 0});
    }
    lane.set_copy_area(chunk, chunk->bytes(), chunk->capacity);
}

// Appends what fits to the copy area, which has room, and returns how much that was.
template <class LaneState>
std::size_t copy_some(ChunkPool& pool, LaneState& lane, Bytes bytes) noexcept {
    const std::size_t size = std::min(bytes.size(), static_cast<std::size_t>(lane.copy_end - lane.copy_at));
    copy_bytes(lane.copy_at, bytes.first(size));
    const bool continues = !lane.segments.empty() && lane.segments.back().chunk == nullptr &&
                           lane.segments.back().data + lane.segments.back().size == lane.copy_at;
    if (continues) {
        lane.segments.back().size += size;
    } else {
        lane.segments.push(pool, {.chunk = nullptr, .data = lane.copy_at, .size = size});
    }
    lane.copy_at += size;
    lane.size += size;
    return size;
}

// Takes over one count of the chunk.
template <class LaneState>
void push_counted(ChunkPool& pool, LaneState& lane, Chunk* chunk, Bytes bytes) noexcept {
    lane.segments.push(pool, {.chunk = chunk, .data = bytes.data(), .size = bytes.size()});
    lane.size += bytes.size();
}

// The first `size` bytes of the lane are written.
template <class LaneState>
void drop_front(LaneState& lane, std::size_t size) noexcept {
    BATON_ASSERT(size <= lane.size);
    lane.size -= size;
    while (!lane.segments.empty() && lane.segments.front().size <= size) {
        size -= lane.segments.front().size;
        Chunk* const chunk = lane.segments.front().chunk;
        lane.segments.pop();
        if (chunk != nullptr) {
            detail::release(chunk);
        }
    }
    if (size != 0) {
        lane.segments.front().data += size;
        lane.segments.front().size -= size;
    }
    if (lane.segments.empty()) {
        lane.copy_at = lane.copy_begin;  // Nothing refers to the copies any more.
    }
}

// Fills the caller's list of buffers up to its two limits.
class Gatherer {
public:
    Gatherer(std::span<iovec> buffers, std::size_t bytes_max) noexcept : buffers_{buffers}, left_{bytes_max} {}

    // Adds bytes [skip, skip + size) of the lane; returns how many of them fitted.
    template <class LaneState>
    [[nodiscard]] std::size_t add(LaneState& lane, std::size_t skip, std::size_t size) noexcept {
        const std::size_t size_max = std::min(size, left_);
        std::size_t added = 0;
        if (size_max == 0) {
            return 0;
        }
        lane.segments.visit_while([&](const OutboxSegment& segment) {
            if (skip >= segment.size) {
                skip -= segment.size;
                return true;
            }
            if (count_ == buffers_.size()) {
                return false;
            }
            const std::size_t length = std::min(segment.size - skip, size_max - added);
            // writev does not write through the pointer.
            buffers_[count_++] = {.iov_base = const_cast<std::byte*>(segment.data + skip), .iov_len = length};
            skip = 0;
            added += length;
            return added < size_max;
        });
        left_ -= added;
        return added;
    }

    [[nodiscard]] std::size_t count() const noexcept { return count_; }

private:
    std::span<iovec> buffers_;
    std::size_t left_;
    std::size_t count_ = 0;
};

// `size` bytes behind the frame that was begun are written: which frame is begun now?
void drop_frames(OutboxState& state, std::size_t size) noexcept {
    while (size != 0) {
        const std::size_t frame_size = state.data_frames.front();
        state.data_frames.pop();
        if (frame_size > size) {
            state.data_rest = frame_size - size;
            return;
        }
        size -= frame_size;
    }
}

OutboxState& state_in(const ChunkRef& home) noexcept {
    return *std::launder(reinterpret_cast<OutboxState*>(home.bytes()));
}

}  // namespace

Outbox::~Outbox() {
    clear();
}

OutboxState& Outbox::state() noexcept {
    BATON_ASSERT_MSG(home_, "the outbox has no frame");
    return state_in(home_);
}

void Outbox::begin_frame(Lane lane) noexcept {
    if (!home_) {
        home_ = pool_.allocate_small();
        ::new (home_.bytes()) OutboxState;
    }
    OutboxState& now = state();
    BATON_ASSERT_MSG(!now.is_open, "a frame is open already");
    now.is_open = true;
    now.is_open_data = lane == Lane::data;
    now.open_size = 0;
}

void Outbox::append(Bytes bytes) noexcept {
    OutboxState& now = state();
    BATON_ASSERT(now.is_open);
    now.open_size += bytes.size();
    while (!bytes.empty()) {
        std::size_t copied = 0;
        if (now.is_open_data) {
            if (now.data.copy_at == now.data.copy_end) {
                ChunkRef chunk = pool_.allocate_medium();
                next_copy_area(pool_, now.data, std::exchange(chunk.chunk_, nullptr));
            }
            copied = copy_some(pool_, now.data, bytes);
        } else {
            if (now.control.copy_at == now.control.copy_end) {
                ChunkRef chunk = pool_.allocate_small();
                next_copy_area(pool_, now.control, std::exchange(chunk.chunk_, nullptr));
            }
            copied = copy_some(pool_, now.control, bytes);
        }
        bytes = bytes.subspan(copied);
    }
}

void Outbox::append(const Payload& payload) noexcept {
    if (payload.size() < reference_size_min) {
        append(payload.bytes());
    } else {
        append(Payload{payload});
    }
}

void Outbox::append(Payload&& payload) noexcept {
    if (payload.size() < reference_size_min) {
        append(payload.bytes());
        return;
    }
    OutboxState& now = state();
    BATON_ASSERT(now.is_open);
    const Bytes bytes = payload.bytes();
    Chunk* const chunk = std::exchange(payload.chunk_, nullptr);
    payload = Payload{};
    now.open_size += bytes.size();
    if (now.is_open_data) {
        push_counted(pool_, now.data, chunk, bytes);
    } else {
        push_counted(pool_, now.control, chunk, bytes);
    }
}

void Outbox::end_frame() noexcept {
    OutboxState& now = state();
    BATON_ASSERT_MSG(now.is_open, "no frame is open");
    BATON_ASSERT(now.open_size > 0 && now.open_size <= std::numeric_limits<std::uint32_t>::max());
    now.is_open = false;
    if (now.is_open_data) {
        now.data_frames.push(pool_, static_cast<std::uint32_t>(now.open_size));
    }
}

void Outbox::frame(Lane lane, Bytes bytes) noexcept {
    begin_frame(lane);
    append(bytes);
    end_frame();
}

std::size_t Outbox::gather(std::span<iovec> buffers, std::size_t bytes_max) noexcept {
    if (!home_) {
        return 0;
    }
    OutboxState& now = state();
    BATON_ASSERT_MSG(!now.is_open, "gather while a frame is open");
    OutboxState::Gathered& gathered = now.gathered;
    gathered = {};
    Gatherer gatherer{buffers, bytes_max};
    gathered.rest = gatherer.add(now.data, 0, now.data_rest);
    if (gathered.rest == now.data_rest) {
        gathered.control = gatherer.add(now.control, 0, now.control.size);
        if (gathered.control == now.control.size) {
            gathered.data = gatherer.add(now.data, now.data_rest, now.data.size - now.data_rest);
        }
    }
    return gatherer.count();
}

void Outbox::consume(std::size_t size) noexcept {
    if (size == 0) {
        return;
    }
    OutboxState& now = state();
    BATON_ASSERT_MSG(!now.is_open, "consume while a frame is open");
    const OutboxState::Gathered gathered = std::exchange(now.gathered, {});
    const std::size_t rest = std::min(size, gathered.rest);
    const std::size_t control = std::min(size - rest, gathered.control);
    const std::size_t data = size - rest - control;
    BATON_ASSERT_MSG(data <= gathered.data, "consumed more than was gathered");
    now.data_rest -= rest;
    drop_front(now.data, rest + data);
    drop_front(now.control, control);
    drop_frames(now, data);
    if (now.data.size == 0 && now.control.size == 0) {
        clear();
    }
}

std::size_t Outbox::size_bytes() const noexcept {
    return home_ ? state_in(home_).control.size + state_in(home_).data.size : 0;
}

std::size_t Outbox::data_bytes() const noexcept {
    return home_ ? state_in(home_).data.size : 0;
}

void Outbox::clear() noexcept {
    if (home_) {
        state().~OutboxState();
        home_.reset();
    }
}

}  // namespace baton
