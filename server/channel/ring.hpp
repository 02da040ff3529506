// A double-ended queue with places that are numbered: cheap at both ends, and in the middle it moves the shorter side.
// A short one is one block of memory. A long one is a table of blocks that stay where they are when it grows: a million
// elements that moved at once would hold everything up for tens of milliseconds. Other than std::deque it keeps the blocks
// it travels through, and allocates nothing while it is empty and new, so that an idle receiver costs nothing.
// Not thread-safe. Next file: message_log.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/on_demand.hpp"

namespace baton::channel {

/// T is default constructible and movable; what a removed element owns is released.
/// Has 2^31 elements at most. When the last one goes, all blocks but one are given back.
template <class T>
class Ring {
public:
    Ring() = default;
    Ring(Ring&& other) noexcept { swap(other); }
    Ring& operator=(Ring&& other) noexcept {
        Ring{std::move(other)}.swap(*this);
        return *this;
    }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() = default;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    [[nodiscard]] T& operator[](std::size_t index) noexcept { return at(slot(index)); }
    [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return at(slot(index)); }
    [[nodiscard]] T& front() noexcept { return (*this)[0]; }
    [[nodiscard]] const T& front() const noexcept { return (*this)[0]; }
    [[nodiscard]] T& back() noexcept { return (*this)[size_ - 1]; }
    [[nodiscard]] const T& back() const noexcept { return (*this)[size_ - 1]; }

    void push_back(T value) noexcept {
        if (size_ == slots_) {
            grow();
        }
        provide(slot(size_));
        (*this)[size_++] = std::move(value);
    }

    void pop_front() noexcept { erase_front(1); }

    /// Puts `value` in front of the element that has this index now.
    void insert(std::size_t index, T value) noexcept {
        BATON_ASSERT(index <= size_);
        if (size_ == slots_) {
            grow();
        }
        if (index < size_ / 2) {
            head_ = (head_ + slots_ - 1) & (slots_ - 1);
            ++size_;
            provide(head_);
            for (std::size_t i = 0; i < index; ++i) {
                (*this)[i] = std::move((*this)[i + 1]);
            }
        } else {
            provide(slot(size_));
            ++size_;
            for (std::size_t i = size_ - 1; i > index; --i) {
                (*this)[i] = std::move((*this)[i - 1]);
            }
        }
        (*this)[index] = std::move(value);
    }

    /// Removes `count` elements from `index` on.
    void erase(std::size_t index, std::size_t count) noexcept {
        BATON_ASSERT(index <= size_ && count <= size_ - index);
        if (index == 0) {
            return erase_front(count);
        }
        const std::size_t after = size_ - index - count;
        if (index < after) {
            for (std::size_t i = index; i-- > 0;) {
                (*this)[i + count] = std::move((*this)[i]);
            }
            release(0, count);
            head_ = slot(count);
        } else {
            for (std::size_t i = index; i < index + after; ++i) {
                (*this)[i] = std::move((*this)[i + count]);
            }
            release(size_ - count, size_);
        }
        size_ -= static_cast<std::uint32_t>(count);
    }

    /// Gives the memory back, too.
    void clear() noexcept { Ring{}.swap(*this); }

    void swap(Ring& other) noexcept {
        only_.swap(other.only_);
        blocks_.swap(other.blocks_);
        std::swap(slots_, other.slots_);
        std::swap(head_, other.head_);
        std::swap(size_, other.size_);
    }

private:
    using Block = std::unique_ptr<T[]>;

    static constexpr std::uint32_t slots_min = 4;
    static constexpr std::uint32_t block_slots = 512;

    [[nodiscard]] std::uint32_t slot(std::size_t index) const noexcept {
        return (head_ + static_cast<std::uint32_t>(index)) & (slots_ - 1);
    }
    [[nodiscard]] T& at(std::uint32_t slot) const noexcept {
        return slots_ <= block_slots ? only_[slot] : blocks_[slot / block_slots][slot % block_slots];
    }

    /// Has the block of a slot that is about to be used for the first time.
    void provide(std::uint32_t slot) {
        if (slots_ > block_slots && !blocks_[slot / block_slots]) {
            blocks_[slot / block_slots] = std::make_unique<T[]>(block_slots);
        }
    }

    /// What these elements own.
    void release(std::size_t first, std::size_t end) noexcept {
        if constexpr (!std::is_trivially_destructible_v<T>) {
            for (; first < end; ++first) {
                (*this)[first] = T{};
            }
        }
    }

    void erase_front(std::size_t count) noexcept {
        BATON_ASSERT(count <= size_);
        release(0, count);
        size_ -= static_cast<std::uint32_t>(count);
        if (size_ == 0 && slots_ > block_slots) {
            keep_one_block();
        } else if (size_ > 0) {
            head_ = slot(count);
        }
    }

    void grow() noexcept {
        BATON_ASSERT(slots_ <= std::numeric_limits<std::uint32_t>::max() / 4);
        if (slots_ < block_slots) {
            grow_block();
        } else {
            grow_table();
        }
        slots_ = std::max(slots_min, slots_ * 2);
    }

    void grow_block() {
        Block bigger = std::make_unique<T[]>(std::max(slots_min, slots_ * 2));
        for (std::uint32_t i = 0; i < size_; ++i) {
            bigger[i] = std::move((*this)[i]);
        }
        only_ = std::move(bigger);
        head_ = 0;
    }

    /// Of a full ring: the block with the first element becomes the first one, and what it has of the last elements moves into a
    /// new one.
    void grow_table() {
        const std::uint32_t blocks = slots_ / block_slots;
        std::unique_ptr<Block[]> table = std::make_unique<Block[]>(std::size_t{blocks} * 2);
        for (std::uint32_t i = 0; i < blocks; ++i) {
            table[i] = std::move(blocks == 1 ? only_ : blocks_[(head_ / block_slots + i) % blocks]);
        }
        head_ %= block_slots;
        if (head_ > 0) {
            table[blocks] = std::make_unique<T[]>(block_slots);
            std::move(&table[0][0], &table[0][0] + head_, &table[blocks][0]);
        }
        blocks_ = std::move(table);
    }

    void keep_one_block() noexcept {
        only_ = std::move(blocks_[head_ / block_slots]);
        blocks_.reset();
        slots_ = block_slots;
        head_ = 0;
    }

    Block only_;                       // Of a short ring: all slots.
    std::unique_ptr<Block[]> blocks_;  // Of a long one, of block_slots each; null: not used yet.
    std::uint32_t slots_ = 0;          // A power of two, or none.
    std::uint32_t head_ = 0;
    std::uint32_t size_ = 0;
};

/// A ring that hardly anybody uses: it costs a pointer until something comes. The part of Ring's interface that this needs.
template <class T>
class OnDemandRing {
public:
    [[nodiscard]] bool empty() const noexcept { return ring_->empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return ring_->size(); }

    [[nodiscard]] T& operator[](std::size_t index) noexcept { return ring_.edit()[index]; }
    [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return (*ring_)[index]; }
    [[nodiscard]] T& front() noexcept { return ring_.edit().front(); }
    [[nodiscard]] const T& front() const noexcept { return ring_->front(); }
    [[nodiscard]] T& back() noexcept { return ring_.edit().back(); }

    void push_back(T value) noexcept { ring_.edit().push_back(std::move(value)); }
    void pop_front() noexcept { ring_.edit().pop_front(); }
    void erase(std::size_t index, std::size_t count) noexcept {
        if (count > 0) {
            ring_.edit().erase(index, count);
        }
    }
    void clear() noexcept { ring_.reset(); }

private:
    OnDemand<Ring<T>> ring_;
};

}  // namespace baton::channel
