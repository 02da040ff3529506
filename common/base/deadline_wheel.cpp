#include "common/base/deadline_wheel.hpp"

#include <algorithm>
#include <bit>

namespace baton {

using detail::DeadlineLink;

namespace {

void make_empty(DeadlineLink& head) noexcept {
    head.previous = &head;
    head.next = &head;
}

void let_go(DeadlineLink& head) noexcept {
    while (head.next != &head) {
        DeadlineLink* const first = head.next;
        head.next = first->next;
        *first = {};
    }
}

}  // namespace

DeadlineWheel::DeadlineWheel() noexcept {
    make_empty(due_);
    for (Level& level : levels_) {
        for (Slot& slot : level.slots) {
            make_empty(slot.head);
        }
    }
}

DeadlineWheel::~DeadlineWheel() {
    let_go(due_);
    for (Level& level : levels_) {
        for (Slot& slot : level.slots) {
            let_go(slot.head);
        }
    }
}

void DeadlineWheel::schedule(Deadline& deadline, MonotonicTime when) noexcept {
    deadline.unlink();
    deadline.when_ = when;
    place(deadline);
}

std::optional<MonotonicTime> DeadlineWheel::next() noexcept {
    const auto first = first_slot();
    if (!first) {
        return std::nullopt;
    }
    return levels_[first->first].slots[first->second].earliest;
}

std::uint64_t DeadlineWheel::step_of(MonotonicTime time) noexcept {
    const std::int64_t ns = std::max<std::int64_t>(time.time_since_epoch().count(), 0);
    return static_cast<std::uint64_t>(ns) >> step_bits;
}

void DeadlineWheel::link_before(DeadlineLink& at, DeadlineLink& link) noexcept {
    link.previous = at.previous;
    link.next = &at;
    at.previous->next = &link;
    at.previous = &link;
}

void DeadlineWheel::splice_to(DeadlineLink& to, Slot& from) noexcept {
    if (is_empty(from)) {
        return;
    }
    from.head.next->previous = to.previous;
    to.previous->next = from.head.next;
    from.head.previous->next = &to;
    to.previous = from.head.previous;
    make_empty(from.head);
}

void DeadlineWheel::place(Deadline& deadline) noexcept {
    const std::uint64_t step = std::max(step_of(deadline.when_), current_step_);
    const std::uint64_t difference = step ^ current_step_;
    const std::size_t level =
        difference == 0 ? 0 : (static_cast<std::size_t>(std::bit_width(difference)) - 1) / level_bits;
    const std::size_t index = (step >> (level * level_bits)) % slot_count;
    Slot& slot = levels_[level].slots[index];
    slot.earliest = is_empty(slot) ? deadline.when_ : std::min(slot.earliest, deadline.when_);
    link_before(slot.head, deadline);
    levels_[level].occupied |= std::uint64_t{1} << index;
}

void DeadlineWheel::collect(MonotonicTime now) noexcept {
    const std::uint64_t target = std::max(step_of(now), current_step_);
    while (const auto first = first_slot()) {
        const auto [level, index] = *first;
        const std::size_t shift = level * level_bits;
        const std::uint64_t above = (current_step_ >> shift) / slot_count * slot_count;
        const std::uint64_t start = (above + index) << shift;
        if (start > target) {
            break;
        }
        BATON_ASSERT(start >= current_step_);
        current_step_ = start;
        open_slot(level, index, now);
        if (start == target) {
            break;  // What is left of this step comes later within it.
        }
    }
    // Entries that are left keep their place: they differ from the target in the same digit as from where we stopped.
    current_step_ = target;
}

// Moves the entries of a slot to where they belong now: to `due_`, or to a lower level.
void DeadlineWheel::open_slot(std::size_t level, std::size_t slot, MonotonicTime now) noexcept {
    DeadlineLink entries;
    make_empty(entries);
    splice_to(entries, levels_[level].slots[slot]);
    levels_[level].occupied &= ~(std::uint64_t{1} << slot);
    while (entries.next != &entries) {
        auto& deadline = *static_cast<Deadline*>(entries.next);
        deadline.unlink();
        if (deadline.when_ <= now) {
            link_before(due_, deadline);
        } else {
            place(deadline);
        }
    }
}

Deadline* DeadlineWheel::pop_due() noexcept {
    if (due_.next == &due_) {
        return nullptr;
    }
    auto* const deadline = static_cast<Deadline*>(due_.next);
    deadline->unlink();
    return deadline;
}

std::optional<std::pair<std::size_t, std::size_t>> DeadlineWheel::first_slot() noexcept {
    for (std::size_t index = 0; index < level_count; ++index) {
        Level& level = levels_[index];
        while (level.occupied != 0) {
            const auto slot = static_cast<std::size_t>(std::countr_zero(level.occupied));
            if (!is_empty(level.slots[slot])) {
                return std::pair{index, slot};
            }
            level.occupied &= level.occupied - 1;
        }
    }
    return std::nullopt;
}

}  // namespace baton
