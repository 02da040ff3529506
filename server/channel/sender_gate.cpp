#include "server/channel/sender_gate.hpp"

#include <algorithm>
#include <utility>

#include "server/channel/receiver.hpp"

namespace baton::channel {

namespace {

constexpr std::uint64_t window_limit = 1ULL << 40;  // Whatever the configuration says: totals must not overflow.

std::uint64_t minus(std::uint64_t a, std::uint64_t b) noexcept {
    return a > b ? a - b : 0;
}

Credit at_most(Credit credit, Credit most) noexcept {
    return {std::min(credit.messages, most.messages), std::min(credit.bytes, most.bytes)};
}

// How much more of one kind of credit a sender gets. Small additions to what it has are not worth an event.
std::uint64_t addition(std::uint64_t outstanding, std::uint64_t window, std::uint64_t unpromised,
                       std::uint64_t minimum) noexcept {
    const std::uint64_t wanted = minus(window, outstanding);
    const std::uint64_t possible = std::max(unpromised, minus(minimum, outstanding));
    const std::uint64_t more = std::min(wanted, possible);
    return more >= window / 8 || more >= outstanding || outstanding < minimum ? more : 0;
}

}  // namespace

SenderGate::SenderGate(ChannelEvents& events, MemoryBudget& budget, Credit window_max) noexcept
    : events_{events}, budget_{budget} {
    set_window_max(window_max);
}

void SenderGate::set_window_max(Credit window_max) noexcept {
    window_max_ = {std::clamp(window_max.messages, grant_min.messages, window_limit),
                   std::clamp(window_max.bytes, grant_min.bytes, window_limit)};
}

bool SenderGate::use(Sender& sender, Credit cost) noexcept {
    const Credit left = sender.outstanding();
    if (cost.messages > left.messages || cost.bytes > left.bytes) {
        return false;
    }
    sender.used.messages += cost.messages;
    sender.used.bytes += cost.bytes;
    outstanding_.messages -= cost.messages;
    outstanding_.bytes -= cost.bytes;
    budget_.release(cost.bytes);
    return true;
}

bool SenderGate::wants_credit(const Sender& sender) noexcept {
    const Credit left = sender.outstanding();
    return left.messages < (sender.window.messages + 1) / 2 || left.bytes < (sender.window.bytes + 1) / 2;
}

void SenderGate::grow_window(Sender& sender) noexcept {
    if (sender.window == Credit{}) {
        sender.window = at_most(window_start, window_max_);
        return;
    }
    if ((sender.used.messages - sender.used_at_growth.messages) * 2 >= sender.window.messages ||
        (sender.used.bytes - sender.used_at_growth.bytes) * 2 >= sender.window.bytes) {
        sender.window = {sender.window.messages * 2, sender.window.bytes * 2};
        sender.used_at_growth = sender.used;
    }
    sender.window = at_most(sender.window, window_max_);
}

void SenderGate::examine(Sender& sender, const Room& room, const ReadyCount& ready, MonotonicTime now) noexcept {
    if (room.is_draining) {
        block(sender, WaitReason::draining, ready, now);
        return;
    }
    if (room.is_disk_full) {
        block(sender, WaitReason::disk_full, ready, now);
        return;
    }
    grow_window(sender);
    const bool wants = wants_credit(sender);
    if (room.is_full && (wants || sender.parked_messages > 0)) {
        block(sender, WaitReason::full, ready, now);
        return;
    }
    if (room.is_congested && wants) {
        block(sender, WaitReason::committing, ready, now);
        return;
    }
    if (!wants) {
        set_short(sender, false);
        unblock(sender, ready, now);
        return;
    }
    Credit grant = grant_for(sender, room);
    std::uint64_t reserved = reserve(grant.bytes);
    if (reserved < grant.bytes && sender.outstanding().bytes + reserved < grant_min.bytes) {
        // Others may have promises that they do not use: it must not wait for them.
        const std::uint64_t missing = grant_min.bytes - sender.outstanding().bytes - reserved;
        if (!budget_.try_overdraw(missing)) {
            budget_.release(reserved);
            block(sender, WaitReason::memory, ready, now);
            return;
        }
        reserved += missing;
    }
    grant.bytes = reserved;
    unblock(sender, ready, now);
    if (grant != Credit{}) {
        sender.granted.messages += grant.messages;
        sender.granted.bytes += grant.bytes;
        outstanding_.messages += grant.messages;
        outstanding_.bytes += grant.bytes;
        events_.sender_credit(sender.address, sender.granted);
    }
    set_short(sender, wants_credit(sender));
}

Credit SenderGate::grant_for(const Sender& sender, const Room& room) const noexcept {
    const Credit left = sender.outstanding();
    return {addition(left.messages, sender.window.messages, minus(room.free.messages, outstanding_.messages),
                     grant_min.messages),
            addition(left.bytes, sender.window.bytes, minus(room.free.bytes, outstanding_.bytes), grant_min.bytes)};
}

// As much as there is: less by halves, but not less than is usable. What is wanted may itself be little.
std::uint64_t SenderGate::reserve(std::uint64_t bytes) noexcept {
    while (!budget_.try_reserve(bytes)) {
        if (bytes <= grant_min.bytes) {
            return 0;
        }
        bytes = std::max(bytes / 2, grant_min.bytes);
    }
    return bytes;
}

void SenderGate::examine_short(const Room& room, const ReadyCount& ready, MonotonicTime now) noexcept {
    if (short_.empty() || room.is_full || room.is_congested || room.is_disk_full) {
        return;
    }
    examined_.swap(short_);
    // Who has nothing before those who would like more.
    const auto waits = [](const Sender* sender) { return sender->wait.reason == WaitReason::memory; };
    if (std::ranges::any_of(examined_, waits)) {
        std::ranges::stable_partition(examined_, waits);
    }
    for (Sender* sender : examined_) {
        sender->is_short = false;
    }
    for (Sender* sender : examined_) {
        if (sender->wait.reason == WaitReason::memory && budget_.available() < grant_min.bytes &&
            !budget_.can_overdraw(grant_min.bytes)) {
            set_short(*sender, true);  // Nothing has changed for it.
        } else {
            examine(*sender, room, ready, now);
        }
    }
    examined_.clear();
}

void SenderGate::remove(Sender& sender) noexcept {
    const Credit left = sender.outstanding();
    outstanding_.messages -= left.messages;
    outstanding_.bytes -= left.bytes;
    budget_.release(left.bytes);
    sender.granted = sender.used;
    set_short(sender, false);
}

void SenderGate::block(Sender& sender, WaitReason reason, const ReadyCount& ready, MonotonicTime now) noexcept {
    set_short(sender, true);
    if (sender.wait.reason != reason) {
        sender.wait = {reason, now};
        events_.state(sender.address, {sender.wait, ready(), 0});
    }
}

void SenderGate::unblock(Sender& sender, const ReadyCount& ready, MonotonicTime now) noexcept {
    const WaitReason reason = sender.waits_for_room ? WaitReason::memory : WaitReason::none;
    if (sender.wait.reason != reason) {
        sender.wait = {reason, now};
        events_.state(sender.address, {sender.wait, ready(), 0});
    }
}

void SenderGate::set_short(Sender& sender, bool is_short) noexcept {
    if (is_short && !sender.is_short) {
        short_.push_back(&sender);
    } else if (!is_short && sender.is_short) {
        std::erase(short_, &sender);
    }
    sender.is_short = is_short;
}

}  // namespace baton::channel
