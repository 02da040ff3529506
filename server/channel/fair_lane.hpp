// Fairness: ready messages by tenant, given in turn, each tenant as many in a turn as its weight says. One with a million
// messages does not keep back one with ten. One owner. Next file: ready_messages.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "server/channel/ready_set.hpp"
#include "server/channel/run_merge.hpp"

namespace baton::channel {

/// By number of the tenant (message_rules.hpp); 1 if it is not there.
using TenantWeights = std::unordered_map<std::uint64_t, std::uint32_t>;

class FairLane {
public:
    /// `weights` outlives the lane.
    explicit FairLane(const TenantWeights& weights) noexcept : weights_{&weights} {}

    void put(const Run& run, std::uint64_t tenant);
    /// What the tenant whose turn it is may still get of its next run. Not if empty.
    [[nodiscard]] Run head() const noexcept;
    [[nodiscard]] Run take(Cut cut) noexcept;
    [[nodiscard]] std::optional<Run> take_at(Offset offset);
    /// Of some tenant, as ReadySet.
    [[nodiscard]] std::optional<Run> take_before(Offset end);

    [[nodiscard]] bool empty() const noexcept { return turn_.empty(); }
    /// The highest offset; 0 if empty. Looks at each tenant.
    [[nodiscard]] Offset newest() const noexcept;
    /// Of each tenant.
    void add_runs(RunMerge& merge) const;
    [[nodiscard]] bool has(std::uint64_t tenant, Offset offset) const noexcept {
        const auto found = tenants_.find(tenant);
        return found != tenants_.end() && found->second.messages.has(offset);
    }

private:
    struct Tenant {
        ReadySet messages;
        std::uint32_t left = 1;  ///< Of this turn.
    };
    [[nodiscard]] std::uint32_t weight_of(std::uint64_t tenant) const noexcept;

    const TenantWeights* weights_;
    std::unordered_map<std::uint64_t, Tenant> tenants_;  // Those with messages.
    std::deque<std::uint64_t> turn_;
};

}  // namespace baton::channel
