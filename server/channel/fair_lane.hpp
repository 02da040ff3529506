// Fairness: ready messages by tenant, given in turn, each tenant as many in a turn as its weight says. One with a million
// messages does not keep back one with ten. Some are *placed* (Run::is_placed): they rest, and need not be in memory until their
// turn comes. Nothing but `add_runs` is linear in the tenants. One owner. Next file: ready_messages.hpp.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "server/channel/steady_table.hpp"
#include "server/channel/ready_set.hpp"
#include "server/channel/run_merge.hpp"

namespace baton::channel {

/// By number of the tenant (message_rules.hpp); 1 if it is not there.
using TenantWeights = std::unordered_map<std::uint64_t, std::uint32_t>;

class FairLane {
public:
    /// `weights` outlives the lane.
    explicit FairLane(const TenantWeights& weights) noexcept : weights_{&weights} {}

    /// A run of one message. Of a placed one it is counted that it rests (MessageLog::rest).
    void put(const Run& message, std::uint64_t tenant);
    /// What the tenant whose turn it is may still get of its next run. Not if empty.
    [[nodiscard]] Run head() const noexcept;
    /// The first messages of `head()`, which is not placed.
    [[nodiscard]] Run take(Cut cut) noexcept;
    /// A placed one does not rest any more, and says still that it did.
    [[nodiscard]] std::optional<Run> take_at(Offset offset);
    /// The oldest message, if its offset is below `end`.
    [[nodiscard]] std::optional<Run> take_before(Offset end);

    /// So many are placed.
    [[nodiscard]] std::uint64_t placed() const noexcept { return placed_; }
    /// Places those with offsets from .. end - 1 that are not; their tenants keep their turns. prepare(Run&) for each. How many.
    template <class Prepare>
    std::uint64_t place(Offset from, Offset end, Prepare prepare) {
        std::uint64_t count = 0;
        for (auto at = places_.lower_bound(from); at != places_.end() && at->first < end; ++at) {
            if (at->second.placed != nullptr) {
                continue;
            }
            ReadySet& messages = tenants_.find(at->second.tenant)->messages;
            Run run = *messages.take_at(at->first);
            run.is_placed = true;
            prepare(run);
            put_placed(messages, run, at->second);
            ++count;
        }
        return count;
    }
    /// Of the tenants whose turns come next as many as there are in front and in memory are placed no longer, at most so many
    /// messages and bytes. How many.
    std::uint64_t end_places(std::uint64_t messages, std::uint64_t bytes);
    /// Adds the placed ones with these offsets, to be changed but for their offsets.
    void add_placed(Offset first, Offset end, std::vector<Run*>& runs);
    /// visit(messages) of the first tenants, in turn.
    template <class Visit>
    void visit_turns(std::size_t tenants, Visit visit) const {
        for (auto turn = turns_.begin(); turn != turns_.end() && tenants > 0; ++turn, --tenants) {
            visit(tenants_.find(*turn)->messages);
        }
    }

    [[nodiscard]] bool empty() const noexcept { return places_.empty(); }
    [[nodiscard]] bool has(Offset offset) const noexcept { return places_.contains(offset); }
    /// The message with the lowest offset. Not if empty.
    [[nodiscard]] Run oldest() const noexcept;
    /// The highest offset; 0 if empty.
    [[nodiscard]] Offset newest() const noexcept { return empty() ? 0 : places_.rbegin()->first; }
    /// Of each tenant.
    void add_runs(RunMerge& merge) const;
    /// The messages with offsets from .. end - 1, one by one.
    template <class Visit>
    void visit(Offset from, Offset end, Visit visit) const {
        for (auto at = places_.lower_bound(from); at != places_.end() && at->first < end; ++at) {
            visit(message_at(at->second, at->first));
        }
    }

private:
    using Turns = std::list<std::uint64_t>;
    struct Tenant {
        ReadySet messages;
        Turns::iterator turn;
        std::uint32_t left = 1;  ///< Of this turn.
    };
    /// Where a message is.
    struct Place {
        std::uint64_t tenant = 0;
        Run* placed = nullptr;  ///< Among those of its tenant, if it is: a block has thousands, and comes and goes.
    };
    [[nodiscard]] std::uint32_t weight_of(std::uint64_t tenant) const noexcept;
    [[nodiscard]] Run message_at(const Place& place, Offset offset) const noexcept;
    void end_tenant(std::uint64_t number, const Tenant& tenant) noexcept;
    void put_placed(ReadySet& messages, const Run& message, Place& place);

    const TenantWeights* weights_;
    KeyTable<Tenant> tenants_;  // Those with messages.
    Turns turns_;  // Of each of those, the next one first.
    std::map<Offset, Place> places_;
    std::uint64_t placed_ = 0;
};

}  // namespace baton::channel
