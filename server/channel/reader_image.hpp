// One reader of a channel at rest, changed by records. Applying a record again, or one from before the saved state, and then
// all that follow, ends in the same state. One thread at a time. Next file: channel_image.hpp.
#pragma once

#include <initializer_list>
#include <map>
#include <utility>

#include "server/channel/reader_state.hpp"

namespace baton::channel {

class ReaderImage {
public:
    explicit ReaderImage(SubscriptionSettings settings, Offset cursor = 1) noexcept
        : settings_{std::move(settings)}, cursor_{cursor} {}
    explicit ReaderImage(const ReaderState& state);

    /// What the cursor passes has been given to somebody, for the first time.
    void advance(Offset cursor);
    /// These messages are in this state.
    void set(const ReaderEntry& entry);
    /// They were started in this attempt: the next one is higher.
    void start(Offset first, Offset end, std::uint32_t attempt);
    void set_settings(const SubscriptionSettings& settings) { settings_ = settings; }

    [[nodiscard]] bool is_alive(Offset first, Offset end) const;
    /// Whether one of these is in quarantine, or waits for a time.
    [[nodiscard]] bool has_put_aside(Offset first, Offset end) const;
    /// Whether all of these messages are fresh, or all settled.
    [[nodiscard]] bool is_uniform(Offset first, Offset end) const;
    /// Whether none of these is fresh, and all that are not settled are in quarantine, have been retried by an administrator, or
    /// are of these kinds.
    [[nodiscard]] bool is_at_rest(Offset first, Offset end, std::initializer_list<ReaderEntryKind> others) const;
    [[nodiscard]] std::uint64_t live_messages(Offset next_offset) const noexcept;
    [[nodiscard]] const SubscriptionSettings& settings() const noexcept { return settings_; }
    [[nodiscard]] Offset cursor() const noexcept { return cursor_; }
    /// By first offset.
    [[nodiscard]] const std::map<Offset, ReaderEntry>& entries() const noexcept { return entries_; }
    [[nodiscard]] ReaderState state() const;

private:
    void split(Offset at);

    SubscriptionSettings settings_;
    Offset cursor_;
    std::map<Offset, ReaderEntry> entries_;
};

}  // namespace baton::channel
