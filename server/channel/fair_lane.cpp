#include "server/channel/fair_lane.hpp"

#include <algorithm>
#include <iterator>

namespace baton::channel {

std::uint32_t FairLane::weight_of(std::uint64_t tenant) const noexcept {
    const auto found = weights_->find(tenant);
    return found != weights_->end() ? std::max<std::uint32_t>(found->second, 1) : 1;
}

void FairLane::put(const Run& message, std::uint64_t tenant) {
    const auto [entry, is_new] = tenants_.try_emplace(tenant);
    Tenant& found = entry->second;
    if (is_new) {
        found.left = weight_of(tenant);
        found.turn = turns_.insert(turns_.end(), tenant);
    }
    found.messages.put(message);
    tenant_of_.emplace(message.first, tenant);
}

Run FairLane::head() const noexcept {
    const Tenant& tenant = *tenants_.find(turns_.front());
    Run head = tenant.messages.head();
    return head.count > tenant.left ? head.take_front(tenant.left) : head;
}

Run FairLane::take(Cut cut) noexcept {
    const std::uint64_t number = turns_.front();
    Tenant& tenant = *tenants_.find(number);
    const Run taken = tenant.messages.take(cut);
    tenant_of_.erase(tenant_of_.find(taken.first), tenant_of_.lower_bound(taken.end()));
    tenant.left -= taken.count;
    if (tenant.messages.empty()) {
        end_tenant(number, tenant);
    } else if (tenant.left == 0) {
        tenant.left = weight_of(number);
        turns_.splice(turns_.end(), turns_, tenant.turn);
    }
    return taken;
}

void FairLane::end_tenant(std::uint64_t number, const Tenant& tenant) noexcept {
    turns_.erase(tenant.turn);
    tenants_.erase(number);
}

std::optional<Run> FairLane::take_at(Offset offset) {
    const auto node = tenant_of_.extract(offset);
    if (node.empty()) {
        return std::nullopt;
    }
    Tenant& tenant = *tenants_.find(node.mapped());
    const auto taken = tenant.messages.take_at(offset);
    if (tenant.messages.empty()) {
        end_tenant(node.mapped(), tenant);
    }
    return taken;
}

std::optional<Run> FairLane::take_before(Offset end) {
    return empty() || tenant_of_.begin()->first >= end ? std::nullopt : take_at(tenant_of_.begin()->first);
}

Run FairLane::message_at(std::uint64_t tenant, Offset offset) const noexcept {
    return tenants_.find(tenant)->messages.run_at(offset).message_at(offset);
}

Run FairLane::oldest() const noexcept {
    const auto& [offset, tenant] = *tenant_of_.begin();
    return message_at(tenant, offset);
}

void FairLane::add_runs(RunMerge& merge) const {
    tenants_.visit([&](const Tenant& tenant) { merge.add(tenant.messages.runs()); });
}

}  // namespace baton::channel
