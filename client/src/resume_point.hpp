// Where a receiver without a named subscription goes on in a stream after its connection broke: the broker has
// forgotten it, so the client remembers what it has been given and has not done.
// One thread; owned by ReceiverLink. Next file: receiver_link.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>

namespace baton::client {

class ResumePoint {
public:
    // Other: because of its priority, or when its time had come. Then those in front of it may not have been given yet.
    enum class Turn : bool { in_order, other };
    void on_delivered(std::uint64_t first, std::uint64_t count, Turn turn = Turn::in_order) {
        std::uint64_t end = first + count;
        lowest_ = std::min(lowest_.value_or(first), first);
        if (turn == Turn::in_order) {
            end_ = std::max(end_.value_or(0), end);
        }
        auto at = open_.upper_bound(first);
        if (at != open_.begin() && std::prev(at)->second >= first) {
            --at;
            first = at->first;
        }
        while (at != open_.end() && at->first <= end) {
            end = std::max(end, at->second);
            at = open_.erase(at);
        }
        open_.emplace(first, end);
    }
    void on_done(std::uint64_t first, std::uint64_t count) {
        const std::uint64_t end = first + count;
        auto at = open_.upper_bound(first);
        if (at != open_.begin() && std::prev(at)->second > first) {
            --at;
        }
        while (at != open_.end() && at->first < end) {
            const auto [open_first, open_end] = *at;
            at = open_.erase(at);
            if (open_first < first) {
                open_.emplace(open_first, first);
            }
            if (open_end > end) {
                at = std::next(open_.emplace(end, open_end).first);
            }
        }
    }
    // The first message that is not done, or may not have been given; nothing if none has been given in its turn.
    [[nodiscard]] std::optional<std::uint64_t> offset() const {
        return open_.empty() || !end_ ? end_ : std::min(*end_, open_.begin()->first);
    }

    // Of all that have been given.
    [[nodiscard]] std::optional<std::uint64_t> lowest() const { return lowest_; }

private:
    std::map<std::uint64_t, std::uint64_t> open_;  // First and behind the last; neither touch nor overlap.
    std::optional<std::uint64_t> end_;             // Behind the last that was given in its turn.
    std::optional<std::uint64_t> lowest_;
};

}  // namespace baton::client
