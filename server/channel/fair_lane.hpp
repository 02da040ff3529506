// Fairness: ready messages by tenant, given in turn, each tenant as many in a turn as its weight says. One with a million
// messages does not keep back one with ten. Nothing but `add_runs` is linear in the tenants. One owner. Next file:
// ready_messages.hpp.
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

    /// A run of one message.
    void put(const Run& message, std::uint64_t tenant);
    /// What the tenant whose turn it is may still get of its next run. Not if empty.
    [[nodiscard]] Run head() const noexcept;
    [[nodiscard]] Run take(Cut cut) noexcept;
    [[nodiscard]] std::optional<Run> take_at(Offset offset);
    /// The oldest message, if its offset is below `end`.
    [[nodiscard]] std::optional<Run> take_before(Offset end);

    [[nodiscard]] bool empty() const noexcept { return tenant_of_.empty(); }
    [[nodiscard]] bool has(Offset offset) const noexcept { return tenant_of_.contains(offset); }
    /// The message with the lowest offset. Not if empty.
    [[nodiscard]] Run oldest() const noexcept;
    /// The highest offset; 0 if empty.
    [[nodiscard]] Offset newest() const noexcept { return empty() ? 0 : tenant_of_.rbegin()->first; }
    /// Of each tenant.
    void add_runs(RunMerge& merge) const;
    /// The messages with offsets from .. end - 1, one by one.
    template <class Visit>
    void visit(Offset from, Offset end, Visit visit) const {
        for (auto at = tenant_of_.lower_bound(from); at != tenant_of_.end() && at->first < end; ++at) {
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
    [[nodiscard]] std::uint32_t weight_of(std::uint64_t tenant) const noexcept;
    [[nodiscard]] Run message_at(std::uint64_t tenant, Offset offset) const noexcept;
    void end_tenant(std::uint64_t number, const Tenant& tenant) noexcept;

    const TenantWeights* weights_;
    KeyTable<Tenant> tenants_;  // Those with messages.
    Turns turns_;  // Of each of those, the next one first.
    std::map<Offset, std::uint64_t> tenant_of_;  // Of each message.
};

}  // namespace baton::channel
