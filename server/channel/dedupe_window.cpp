#include "server/channel/dedupe_window.hpp"

#include <algorithm>

namespace baton::channel {

void DedupeWindow::set_window(Duration window) {
    window_ = window;
    if (!is_on()) {
        first_number_ += by_age_.size();
        by_age_.clear();
        known_.clear();
    }
}

void DedupeWindow::add(std::string_view id, MonotonicTime now, WallTime wall) {
    by_age_.push_back({std::string{id}, now, wall});
    ++known_[std::string{id}];
}

void DedupeWindow::forget_old(MonotonicTime now) {
    while (!by_age_.empty() && now - by_age_.front().at >= window_) {
        const auto found = known_.find(by_age_.front().id);
        if (--found->second == 0) {
            known_.erase(found);
        }
        by_age_.pop_front();
        ++first_number_;
    }
}

void DedupeWindow::append_ids(std::uint64_t& next, std::uint64_t end, std::uint64_t count,
                              std::vector<ChannelState::KnownId>& ids) const {
    next = std::max(next, first_number_);  // Those before it were forgotten.
    for (; next < end && count > 0; ++next, --count) {
        const Known& known = by_age_[next - first_number_];
        ids.push_back({known.id, known.wall});
    }
    next = std::min(next, end);
}

void DedupeWindow::restore(const std::vector<ChannelState::KnownId>& ids, const Clock& clock) {
    for (const auto& [id, time] : ids) {
        const Duration age = std::chrono::microseconds{std::max<std::int64_t>(clock.wall_now().us - time.us, 0)};
        if (is_on() && age < window_) {
            by_age_.push_back({id, clock.now() - age, time});
            ++known_[id];
        }
    }
}

}  // namespace baton::channel
