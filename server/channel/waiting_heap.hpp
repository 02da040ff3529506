// What waits for its time, the earliest first. Grows in blocks that stay where they are: with a million entries a vector
// that doubles would hold everything up for some milliseconds while it moves. Costs a pointer while it is empty and new.
// Not thread-safe. Next file: schedule.hpp.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>

#include "common/base/assert.hpp"

namespace baton::channel {

/// T is copyable, and of two the one that is due later is less.
template <class T>
class WaitingHeap {
public:
    [[nodiscard]] bool empty() const noexcept { return !entries_ || entries_->empty(); }
    /// The earliest. Not of an empty one.
    [[nodiscard]] const T& front() const noexcept { return entries_->front(); }

    void push(const T& entry) {
        if (!entries_) {
            entries_ = std::make_unique<std::deque<T>>();
        }
        entries_->push_back(entry);
        std::ranges::push_heap(*entries_, std::less<>{});
    }
    /// Removes and returns the earliest. Not of an empty one.
    T pop() {
        BATON_ASSERT(!empty());
        std::ranges::pop_heap(*entries_, std::less<>{});
        const T entry = entries_->back();
        entries_->pop_back();
        return entry;
    }
    /// Gives the memory back, too.
    void clear() noexcept { entries_.reset(); }

private:
    std::unique_ptr<std::deque<T>> entries_;
};

}  // namespace baton::channel
