// A double-ended queue in one block of memory: cheap at both ends, and in the middle it moves the shorter side.
// std::deque would allocate and free as it travels; this allocates only when it grows, and nothing while it is empty
// and new, so that an idle receiver costs nothing.
// Not thread-safe. Next file: message_log.hpp.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "common/base/assert.hpp"

namespace baton::channel {

/// T is default constructible and movable; a removed element is overwritten by T{} so that what it owns is released.
template <class T>
class Ring {
public:
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    [[nodiscard]] T& operator[](std::size_t index) noexcept { return slots_[slot(index)]; }
    [[nodiscard]] const T& operator[](std::size_t index) const noexcept { return slots_[slot(index)]; }
    [[nodiscard]] T& front() noexcept { return (*this)[0]; }
    [[nodiscard]] const T& front() const noexcept { return (*this)[0]; }
    [[nodiscard]] T& back() noexcept { return (*this)[size_ - 1]; }
    [[nodiscard]] const T& back() const noexcept { return (*this)[size_ - 1]; }

    void push_back(T value) noexcept { insert(size_, std::move(value)); }

    void pop_front() noexcept { erase(0, 1); }

    /// Puts `value` in front of the element that has this index now.
    void insert(std::size_t index, T value) noexcept {
        BATON_ASSERT(index <= size_);
        if (size_ == slots_.size()) {
            grow();
        }
        if (index < size_ / 2) {
            head_ = (head_ + slots_.size() - 1) & (slots_.size() - 1);
            ++size_;
            for (std::size_t i = 0; i < index; ++i) {
                (*this)[i] = std::move((*this)[i + 1]);
            }
        } else {
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
        const std::size_t after = size_ - index - count;
        if (index < after) {
            for (std::size_t i = index; i-- > 0;) {
                (*this)[i + count] = std::move((*this)[i]);
            }
            for (std::size_t i = 0; i < count; ++i) {
                (*this)[i] = T{};
            }
            head_ = slots_.empty() ? 0 : slot(count);
        } else {
            for (std::size_t i = index; i < index + after; ++i) {
                (*this)[i] = std::move((*this)[i + count]);
            }
            for (std::size_t i = size_ - count; i < size_; ++i) {
                (*this)[i] = T{};
            }
        }
        size_ -= count;
    }

    /// Gives the memory back, too.
    void clear() noexcept {
        slots_ = {};
        head_ = 0;
        size_ = 0;
    }

    void swap(Ring& other) noexcept {
        slots_.swap(other.slots_);
        std::swap(head_, other.head_);
        std::swap(size_, other.size_);
    }

private:
    static constexpr std::size_t size_min = 4;

    [[nodiscard]] std::size_t slot(std::size_t index) const noexcept { return (head_ + index) & (slots_.size() - 1); }

    void grow() noexcept {
        std::vector<T> bigger(slots_.empty() ? size_min : slots_.size() * 2);
        for (std::size_t i = 0; i < size_; ++i) {
            bigger[i] = std::move((*this)[i]);
        }
        slots_.swap(bigger);
        head_ = 0;
    }

    std::vector<T> slots_;  // A power of two of them, or none.
    std::size_t head_ = 0;
    std::size_t size_ = 0;
};

}  // namespace baton::channel
