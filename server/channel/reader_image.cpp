#include "server/channel/reader_image.hpp"

#include <algorithm>
#include <iterator>
#include <vector>

namespace baton::channel {

ReaderImage::ReaderImage(const ReaderState& state) : settings_{state.settings}, cursor_{state.cursor} {
    for (const ReaderEntry& entry : state.entries) {
        entries_.emplace_hint(entries_.end(), entry.first, entry);
    }
}

// Afterwards no entry reaches across `at`.
void ReaderImage::split(Offset at) {
    auto after = entries_.lower_bound(at);
    if (after == entries_.begin()) {
        return;
    }
    ReaderEntry& before = std::prev(after)->second;
    if (before.end > at) {
        ReaderEntry rest = before;
        rest.first = at;
        before.end = at;
        entries_.emplace_hint(after, at, rest);
    }
}

void ReaderImage::advance(Offset cursor) {
    if (cursor <= cursor_) {
        return;
    }
    split(cursor_);
    split(cursor);
    Offset at = cursor_;
    const auto fill = [&](std::map<Offset, ReaderEntry>::iterator before, Offset end) {
        if (at >= end) {
            return;
        }
        const ReaderEntry plain{.first = at, .end = end, .note{}};
        if (before != entries_.begin() && std::prev(before)->second.end == at && std::prev(before)->second.is_like(plain)) {
            std::prev(before)->second.end = end;
        } else {
            entries_.emplace_hint(before, at, plain);
        }
    };
    for (auto entry = entries_.lower_bound(cursor_); entry != entries_.end() && entry->first < cursor;) {
        fill(entry, entry->first);
        at = entry->second.end;
        entry = entry->second.is_alive() ? std::next(entry) : entries_.erase(entry);
    }
    fill(entries_.lower_bound(cursor), cursor);
    cursor_ = cursor;
}

void ReaderImage::set(const ReaderEntry& entry) {
    split(entry.first);
    split(entry.end);
    auto after = entries_.erase(entries_.lower_bound(entry.first), entries_.lower_bound(entry.end));
    ReaderEntry kept = entry;
    if (!entry.is_alive()) {
        kept.first = std::max(entry.first, cursor_);  // Behind the cursor what is not there is settled.
    }
    if (kept.first >= kept.end) {
        return;
    }
    if (after != entries_.begin() && std::prev(after)->second.end == kept.first && std::prev(after)->second.is_like(kept)) {
        std::prev(after)->second.end = kept.end;
        return;
    }
    entries_.emplace_hint(after, kept.first, kept);
}

void ReaderImage::start(Offset first, Offset end, std::uint32_t attempt) {
    if (attempt == UINT32_MAX) {
        return;
    }
    split(first);
    split(end);
    std::vector<ReaderEntry> in_front;
    Offset at = std::max(first, cursor_);
    for (auto entry = entries_.lower_bound(first); entry != entries_.end() && entry->first < end; ++entry) {
        if (at < entry->first) {
            in_front.push_back({.first = at, .end = entry->first, .attempt = attempt + 1, .note{}});
        }
        at = std::max(at, entry->second.end);
        if (entry->second.is_alive() && entry->second.attempt <= attempt) {
            entry->second = {.first = entry->first, .end = entry->second.end, .attempt = attempt + 1, .note{}};
        }
    }
    if (at < end) {
        in_front.push_back({.first = at, .end = end, .attempt = attempt + 1, .note{}});
    }
    for (const ReaderEntry& entry : in_front) {
        set(entry);
    }
}

bool ReaderImage::is_alive(Offset first, Offset end) const {
    Offset at = std::max(first, cursor_);  // Alive from here on but for the entries.
    auto entry = entries_.lower_bound(first);
    if (entry != entries_.begin() && std::prev(entry)->second.end > first) {
        --entry;
    }
    for (; entry != entries_.end() && entry->first < end; ++entry) {
        if (entry->second.is_alive() || (at < entry->first && at < end)) {
            return true;
        }
        at = std::max(at, entry->second.end);
    }
    return at < end;
}

bool ReaderImage::has_put_aside(Offset first, Offset end) const {
    auto entry = entries_.lower_bound(first);
    if (entry != entries_.begin() && std::prev(entry)->second.end > first) {
        --entry;
    }
    for (; entry != entries_.end() && entry->first < end; ++entry) {
        if (entry->second.is_put_aside()) {
            return true;
        }
    }
    return false;
}

bool ReaderImage::is_uniform(Offset first, Offset end) const {
    const auto after = entries_.lower_bound(end);
    const bool has_entry = after != entries_.begin() && std::prev(after)->second.end > first;
    return !has_entry && (cursor_ <= first || cursor_ >= end);
}

bool ReaderImage::is_at_rest(Offset first, Offset end, std::initializer_list<ReaderEntryKind> others) const {
    Offset at = std::max(first, cursor_);  // Fresh from here on but for the entries.
    auto entry = entries_.lower_bound(first);
    if (entry != entries_.begin() && std::prev(entry)->second.end > first) {
        --entry;
    }
    for (; entry != entries_.end() && entry->first < end; ++entry) {
        const ReaderEntryKind kind = entry->second.kind;
        const bool may_rest = kind == ReaderEntryKind::quarantined || kind == ReaderEntryKind::kept ||
                              kind == ReaderEntryKind::settled || std::ranges::find(others, kind) != others.end();
        if (!may_rest || (at < entry->first && at < end)) {
            return false;
        }
        at = std::max(at, entry->second.end);
    }
    return at >= end;
}

std::uint64_t ReaderImage::live_messages(Offset next_offset) const noexcept {
    std::uint64_t count = next_offset > cursor_ ? next_offset - cursor_ : 0;
    for (const auto& [first, entry] : entries_) {
        const std::uint64_t behind = first < cursor_ ? std::min(entry.end, cursor_) - first : 0;
        const std::uint64_t ahead = entry.end - first - behind;
        if (entry.is_alive()) {
            count += behind;
        } else {
            count -= std::min(ahead, count);
        }
    }
    return count;
}

ReaderState ReaderImage::state() const {
    ReaderState state{.settings = settings_, .cursor = cursor_, .entries{}};
    for (const auto& entry : entries_) {
        state.entries.push_back(entry.second);
    }
    return state;
}

}  // namespace baton::channel
