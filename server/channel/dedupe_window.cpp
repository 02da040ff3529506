#include "server/channel/dedupe_window.hpp"

#include <algorithm>
#include <utility>

namespace baton::channel {

namespace {

// Of a line of them, one after the other, as far as `items` allow.
template <class Ids>
void give_back(std::unique_ptr<Ids>& ids, std::uint64_t& items) noexcept {
    while (ids && ids->newest.clear_some(items)) {
        ids = std::move(ids->others);
    }
}

}  // namespace

void DedupeWindow::set_window(Duration window) {
    window_ = window;
    if (!is_on() && ids_) {
        first_number_ = next_number();
        ids_->by_age.clear();
        ids_->others = std::move(going_);
        going_ = std::move(ids_);
    }
}

bool DedupeWindow::contains(std::string_view id, MonotonicTime now) const noexcept {
    const std::uint64_t* const number = ids_ ? ids_->newest.find(id) : nullptr;
    return number != nullptr && !is_old(ids_->by_age[*number - first_number_], now);
}

void DedupeWindow::add(std::string_view id, MonotonicTime now, WallTime wall) {
    push(id, now, wall);
    if (is_old(ids_->by_age.front(), now)) {
        forget_oldest();  // However fast they come, they do not become more.
    }
}

void DedupeWindow::push(std::string_view id, MonotonicTime at, WallTime wall) {
    if (!ids_) {
        ids_ = std::make_unique<Ids>();
    }
    const std::uint64_t number = next_number();
    auto& [text, newest] = *ids_->newest.try_emplace(id).first;
    newest = number;
    ids_->by_age.push_back({&text, at, wall});
}

void DedupeWindow::forget_oldest() {
    const Known& oldest = ids_->by_age.front();
    if (*ids_->newest.find(*oldest.id) == first_number_) {
        ids_->newest.erase(*oldest.id);
    }
    ids_->by_age.pop_front();
    ++first_number_;
}

void DedupeWindow::forget_old(MonotonicTime now) {
    std::uint64_t items = forgotten_at_once;
    give_back(going_, items);
    for (; ids_ && items > 0 && is_old(ids_->by_age.front(), now); --items) {
        forget_oldest();
        if (ids_->by_age.empty()) {
            ids_.reset();
        }
    }
}

MonotonicTime DedupeWindow::next_end() const noexcept {
    if (going_) {
        return {};
    }
    return ids_ ? ids_->by_age.front().at + window_ : MonotonicTime::max();
}

bool DedupeWindow::dismantle(std::uint64_t& items) noexcept {
    set_window({});
    give_back(going_, items);
    return !going_;
}

void DedupeWindow::append_ids(std::uint64_t& next, std::uint64_t end, std::uint64_t count,
                              std::vector<ChannelState::KnownId>& ids) const {
    next = std::max(next, first_number_);  // Those before it were forgotten.
    for (; next < end && count > 0; ++next, --count) {
        const Known& known = ids_->by_age[next - first_number_];
        ids.push_back({*known.id, known.wall});
    }
    next = std::min(next, end);
}

void DedupeWindow::restore(std::span<const ChannelState::KnownId> ids, const Clock& clock) {
    for (const auto& [id, time] : ids) {
        const Duration age = std::chrono::microseconds{std::max<std::int64_t>(clock.wall_now().us - time.us, 0)};
        if (is_on() && age < window_) {
            push(id, clock.now() - age, time);
        }
    }
}

}  // namespace baton::channel
