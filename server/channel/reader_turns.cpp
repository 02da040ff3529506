#include "server/channel/reader_turns.hpp"

#include <utility>

#include "server/channel/subscription.hpp"

namespace baton::channel {

void ReaderTurns::wake(Subscription& reader) {
    if (reader.turn().woken_as == 0) {
        reader.turn().woken_as = next_place_++;
        woken_.push_back(&reader);
        ++woken_count_;
    }
}

Subscription& ReaderTurns::take_woken() noexcept {
    Subscription& reader = *woken_.front();
    woken_.pop_front();
    --woken_count_;
    reader.turn().woken_as = 0;
    drop_gaps();
    return reader;
}

void ReaderTurns::drop_gaps() noexcept {
    while (!woken_.empty() && woken_.front() == nullptr) {
        woken_.pop_front();
    }
}

void ReaderTurns::drop_idle() noexcept {
    while (!woken_.empty() && !woken_.front()->needs_dispatch()) {
        static_cast<void>(take_woken());
    }
}

void ReaderTurns::note_change(Subscription& reader) {
    if (!std::exchange(reader.turn().is_changed, true)) {
        changed_.push_back(&reader);
    }
}

void ReaderTurns::clear_changed() noexcept {
    for (Subscription* reader : changed_) {
        reader->turn().is_changed = false;
    }
    changed_.clear();
}

void ReaderTurns::note_due(Subscription& reader, MonotonicTime at) {
    MonotonicTime& due = reader.turn().due;
    if (at < due) {
        due_.erase(std::pair{due, reader.id()});
        due_.emplace(std::pair{at, reader.id()}, &reader);
        due = at;
    }
}

Subscription* ReaderTurns::take_due(MonotonicTime now) noexcept {
    if (due_.empty() || due_.begin()->first.first > now) {
        return nullptr;
    }
    Subscription* reader = due_.begin()->second;
    due_.erase(due_.begin());
    reader->turn().due = MonotonicTime::max();
    return reader;
}

void ReaderTurns::remove(Subscription& reader) noexcept {
    if (reader.turn().woken_as != 0) {
        woken_[woken_.size() - static_cast<std::size_t>(next_place_ - reader.turn().woken_as)] = nullptr;
        --woken_count_;
        drop_gaps();
    }
    if (reader.turn().is_changed) {
        std::erase(changed_, &reader);
    }
    due_.erase(std::pair{reader.turn().due, reader.id()});
    reader.turn() = {};
}

}  // namespace baton::channel
