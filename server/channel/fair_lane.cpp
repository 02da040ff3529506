#include "server/channel/fair_lane.hpp"

#include <algorithm>
#include <iterator>

namespace baton::channel {

std::uint32_t FairLane::weight_of(std::uint64_t tenant) const noexcept {
    const auto found = weights_->find(tenant);
    return found != weights_->end() ? std::max<std::uint32_t>(found->second, 1) : 1;
}

bool FairLane::is_current(const Turn& turn) const noexcept {
    const auto found = tenants_.find(turn.tenant);
    return found != tenants_.end() && found->second.turn == turn.number;
}

// So the first one is current. Of the others at most half are not.
void FairLane::forget_past_turns() {
    constexpr std::size_t few = 64;
    while (!turns_.empty() && !is_current(turns_.front())) {
        turns_.pop_front();
    }
    if (turns_.size() > 2 * tenants_.size() + few) {
        std::erase_if(turns_, [this](const Turn& turn) { return !is_current(turn); });
    }
}

void FairLane::put(const Run& message, std::uint64_t tenant) {
    const auto [found, is_new] = tenants_.try_emplace(tenant);
    if (is_new) {
        found->second.left = weight_of(tenant);
        found->second.turn = ++turns_made_;
        turns_.push_back({tenant, turns_made_});
    }
    found->second.messages.put(message);
    tenant_of_.emplace(message.first, tenant);
}

Run FairLane::head() const noexcept {
    const Tenant& tenant = tenants_.find(turns_.front().tenant)->second;
    Run head = tenant.messages.head();
    return head.count > tenant.left ? head.take_front(tenant.left) : head;
}

Run FairLane::take(Cut cut) noexcept {
    const Turn turn = turns_.front();
    const auto found = tenants_.find(turn.tenant);
    Tenant& tenant = found->second;
    const Run taken = tenant.messages.take(cut);
    tenant_of_.erase(tenant_of_.find(taken.first), tenant_of_.lower_bound(taken.end()));
    tenant.left -= taken.count;
    if (tenant.messages.empty()) {
        end_tenant(found);
    } else if (tenant.left == 0) {
        tenant.left = weight_of(turn.tenant);
        turns_.pop_front();
        turns_.push_back(turn);
        forget_past_turns();
    }
    return taken;
}

void FairLane::end_tenant(Tenants::iterator tenant) {
    tenants_.erase(tenant);
    forget_past_turns();
}

std::optional<Run> FairLane::take_at(Offset offset) {
    const auto node = tenant_of_.extract(offset);
    if (node.empty()) {
        return std::nullopt;
    }
    const auto tenant = tenants_.find(node.mapped());
    const auto taken = tenant->second.messages.take_at(offset);
    if (tenant->second.messages.empty()) {
        end_tenant(tenant);
    }
    return taken;
}

std::optional<Run> FairLane::take_before(Offset end) {
    return empty() || tenant_of_.begin()->first >= end ? std::nullopt : take_at(tenant_of_.begin()->first);
}

Run FairLane::message_at(std::uint64_t tenant, Offset offset) const noexcept {
    return tenants_.find(tenant)->second.messages.run_at(offset).message_at(offset);
}

Run FairLane::oldest() const noexcept {
    const auto& [offset, tenant] = *tenant_of_.begin();
    return message_at(tenant, offset);
}

void FairLane::add_runs(RunMerge& merge) const {
    for (const auto& tenant : tenants_) {
        merge.add(tenant.second.messages.runs());
    }
}

}  // namespace baton::channel
