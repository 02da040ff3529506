#include "server/channel/fair_lane.hpp"

#include <algorithm>
#include <iterator>

namespace baton::channel {

std::uint32_t FairLane::weight_of(std::uint64_t tenant) const noexcept {
    const auto found = weights_->find(tenant);
    return found != weights_->end() ? std::max<std::uint32_t>(found->second, 1) : 1;
}

void FairLane::put(const Run& run, std::uint64_t tenant) {
    const auto [found, is_new] = tenants_.try_emplace(tenant);
    if (is_new) {
        found->second.left = weight_of(tenant);
        turn_.push_back(tenant);
    }
    found->second.messages.put(run);
}

Run FairLane::head() const noexcept {
    const Tenant& tenant = tenants_.find(turn_.front())->second;
    Run head = tenant.messages.head();
    return head.count > tenant.left ? head.take_front(tenant.left) : head;
}

Run FairLane::take(Cut cut) noexcept {
    const auto found = tenants_.find(turn_.front());
    Tenant& tenant = found->second;
    const Run taken = tenant.messages.take(cut);
    tenant.left -= taken.count;
    if (tenant.messages.empty()) {
        tenants_.erase(found);
        turn_.pop_front();
    } else if (tenant.left == 0) {
        tenant.left = weight_of(turn_.front());
        turn_.push_back(turn_.front());
        turn_.pop_front();
    }
    return taken;
}

std::optional<Run> FairLane::take_at(Offset offset) {
    for (auto entry = tenants_.begin(); entry != tenants_.end(); ++entry) {
        if (auto taken = entry->second.messages.take_at(offset)) {
            if (entry->second.messages.empty()) {
                std::erase(turn_, entry->first);
                tenants_.erase(entry);
            }
            return taken;
        }
    }
    return std::nullopt;
}

std::optional<Run> FairLane::take_before(Offset end) {
    for (auto entry = tenants_.begin(); entry != tenants_.end(); ++entry) {
        if (auto taken = entry->second.messages.take_before(end)) {
            if (entry->second.messages.empty()) {
                std::erase(turn_, entry->first);
                tenants_.erase(entry);
            }
            return taken;
        }
    }
    return std::nullopt;
}

Offset FairLane::newest() const noexcept {
    Offset newest = 0;
    for (const auto& tenant : tenants_) {
        newest = std::max(newest, std::prev(tenant.second.messages.runs().end())->second.end() - 1);
    }
    return newest;
}

void FairLane::add_runs(RunMerge& merge) const {
    for (const auto& tenant : tenants_) {
        merge.add(tenant.second.messages.runs());
    }
}

}  // namespace baton::channel
