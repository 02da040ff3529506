// Which readers of a channel have something to do: who was woken, whose notes may be wanted, whose time has come. Whatever
// happens in a channel, readers that have no part in it are not visited: there may be a hundred thousand of them.
// Not here: what there is to do (subscription.hpp). One owner, the channel. Next file: subscription.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "common/base/clock.hpp"
#include "server/channel/on_demand.hpp"
#include "server/channel/reader_state.hpp"
#include "server/channel/ring.hpp"

namespace baton::channel {

class Subscription;

/// What one step of a shard may still give, in all its channels: others get their turn before the rest.
struct StepBudget {
    /// Each is a frame, of a reader that may not have been looked at for long: two milliseconds.
    static constexpr std::uint32_t slices_max = 512;
    /// To be looked at one by one, or put somewhere else, which may take two microseconds each: four milliseconds.
    static constexpr std::uint64_t messages_max = 2'048;
    /// Of those, what may be done at once when it comes, and not at the end of the turn.
    static constexpr std::uint64_t messages_at_once = 1'024;

    std::uint32_t slices = slices_max;
    std::uint64_t messages = messages_max;
    [[nodiscard]] bool is_spent() const noexcept { return slices == 0 || messages == 0; }
};

/// Each reader's own part; nobody but ReaderTurns changes it.
struct ReaderTurn {
    std::uint64_t woken_as = 0;  ///< The number of its place in the line of those that were woken; 0: none.
    bool is_changed = false;
    MonotonicTime due = MonotonicTime::max();
};

class ReaderTurns {
public:
    ReaderTurns() = default;
    ReaderTurns(const ReaderTurns&) = delete;
    ReaderTurns& operator=(const ReaderTurns&) = delete;

    /// It may have something to give. Again: no change.
    void wake(Subscription& reader);
    [[nodiscard]] std::size_t woken() const noexcept { return woken_count_; }
    /// Takes the one that was woken first. Not if there is none.
    [[nodiscard]] Subscription& take_woken() noexcept;
    /// Forgets those at the front that have nothing to give.
    void drop_idle() noexcept;

    /// Its place or what it holds is another.
    void note_change(Subscription& reader);
    [[nodiscard]] const std::vector<Subscription*>& changed() const noexcept { return changed_; }
    void clear_changed() noexcept;

    /// It has something to do then, or before.
    void note_due(Subscription& reader, MonotonicTime at);
    /// When the first of them has something to do; max(): nothing is known.
    [[nodiscard]] MonotonicTime next_due() const noexcept {
        return due_.empty() ? MonotonicTime::max() : due_.begin()->first.first;
    }
    /// Takes one whose time has come; null if there is none.
    [[nodiscard]] Subscription* take_due(MonotonicTime now) noexcept;

    /// Before it is destroyed.
    void remove(Subscription& reader) noexcept;

private:
    void drop_gaps() noexcept;

    Ring<Subscription*> woken_;    // Null: it is gone.
    std::size_t woken_count_ = 0;  // Without the gaps. The first one is none.
    std::uint64_t next_place_ = 1;
    std::vector<Subscription*> changed_;
    OnDemandMap<std::map<std::pair<MonotonicTime, ReaderId>, Subscription*>> due_;  // One entry a reader, if any.
};

}  // namespace baton::channel
