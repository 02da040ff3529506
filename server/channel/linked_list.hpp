// A list of elements that have its links as members, so that one can be in several lists, and leaves any of them in one step.
// Not thread-safe. Next file: message_log.hpp.
#pragma once

#include <utility>

namespace baton::channel {

/// `Before` and `After`: the members of T that are this list's links; null while it is not in the list. Owns nothing.
template <class T, T* T::*Before, T* T::*After>
class LinkedList {
public:
    LinkedList() = default;
    LinkedList(const LinkedList&) = delete;
    LinkedList& operator=(const LinkedList&) = delete;

    /// Null if it is empty.
    [[nodiscard]] T* first() const noexcept { return first_; }
    [[nodiscard]] T* last() const noexcept { return last_; }

    /// In front of `place`, which is in the list; null: at the end. The element is not in the list.
    void insert(T& element, T* place = nullptr) noexcept {
        element.*After = place;
        element.*Before = std::exchange(place != nullptr ? place->*Before : last_, &element);
        (element.*Before != nullptr ? element.*Before->*After : first_) = &element;
    }
    /// The element is in the list.
    void erase(T& element) noexcept {
        (element.*Before != nullptr ? element.*Before->*After : first_) = element.*After;
        (element.*After != nullptr ? element.*After->*Before : last_) = element.*Before;
        element.*Before = element.*After = nullptr;
    }
    /// Forgets all of them, whose links are left as they are.
    void clear() noexcept { first_ = last_ = nullptr; }

private:
    T* first_ = nullptr;
    T* last_ = nullptr;
};

}  // namespace baton::channel
