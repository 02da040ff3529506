// What waits for its time, the earliest first. Grows in blocks that stay where they are: with a million entries a vector
// that doubles would hold everything up for some milliseconds while it moves. Costs a pointer while it is empty and new.
// Not thread-safe. Next file: schedule.hpp.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "common/base/assert.hpp"

namespace baton::channel {

/// T is copyable, and of two the one that is due later is less.
template <class T>
class WaitingHeap {
public:
    [[nodiscard]] bool empty() const noexcept { return !entries_ || entries_->empty(); }
    /// The earliest. Not of an empty one.
    [[nodiscard]] const T& front() const noexcept { return entries_->front(); }
    [[nodiscard]] std::size_t size() const noexcept { return entries_ ? entries_->size() : 0; }

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
    /// Looks at so many entries, at place `turn` and behind it, which moves on, and removes those that are out of date.
    template <class IsOutOfDate>
    void clean(std::size_t count, std::size_t& turn, IsOutOfDate is_out_of_date) {
        for (; count > 0 && !empty(); --count) {
            turn = turn < entries_->size() ? turn : 0;
            is_out_of_date((*entries_)[turn]) ? remove(turn) : static_cast<void>(++turn);
        }
    }
    /// Gives the memory back, too.
    void clear() noexcept { entries_.reset(); }

private:
    // The last one comes into its place, and goes up or down from there.
    void remove(std::size_t place) {
        std::deque<T>& entries = *entries_;
        entries[place] = entries.back();
        entries.pop_back();
        if (place == entries.size()) {
            return;
        }
        for (std::size_t child = 2 * place + 1; child < entries.size(); child = 2 * place + 1) {
            child += child + 1 < entries.size() && entries[child] < entries[child + 1] ? 1 : 0;
            if (!(entries[place] < entries[child])) {
                break;
            }
            std::swap(entries[place], entries[child]);
            place = child;
        }
        std::push_heap(entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(place) + 1, std::less<>{});
    }

    std::unique_ptr<std::deque<T>> entries_;
};

}  // namespace baton::channel
