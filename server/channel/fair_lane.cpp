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
    message.is_placed ? put_placed(found.messages, message) : found.messages.put(message);
    tenant_of_.emplace(message.first, tenant);
}

void FairLane::put_placed(ReadySet& messages, const Run& message) {
    MessageLog::rest(*message.batch, 1);
    ++placed_;
    messages.put_alone(message);
}

std::uint64_t FairLane::end_places(std::uint64_t messages, std::uint64_t bytes) {
    const std::uint64_t share = std::max<std::uint64_t>(messages / std::max<std::size_t>(turns_.size(), 1), 1);
    std::uint64_t count = 0;
    std::vector<Run> next;
    for (auto turn = turns_.begin(); turn != turns_.end() && count < messages && bytes > 0; ++turn) {
        ReadySet& of_tenant = tenants_.find(*turn)->messages;
        while (!of_tenant.empty() && of_tenant.head().is_placed && of_tenant.head().batch->is_resident && next.size() < share &&
               bytes > 0) {
            Run& run = next.emplace_back(of_tenant.take({1, of_tenant.head().bytes}));
            bytes -= std::min<std::uint64_t>(bytes, run.bytes);
            --placed_;
            MessageLog::end_rest(*run.batch, 1);
            run.end_placed();
        }
        for (const Run& run : next) {
            of_tenant.put(run);
        }
        count += next.size();
        next.clear();
        if (of_tenant.head().is_placed) {
            break;  // Not in memory: the others come behind it.
        }
    }
    return count;
}

void FairLane::add_placed(Offset first, Offset end, std::vector<Run*>& runs) {
    for (auto at = tenant_of_.lower_bound(first); at != tenant_of_.end() && at->first < end; ++at) {
        std::vector<Run*> of_offset;
        tenants_.find(at->second)->messages.add(at->first, at->first + 1, of_offset);
        if (!of_offset.empty() && of_offset.front()->is_placed) {
            runs.push_back(of_offset.front());
        }
    }
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
    if (taken->is_placed) {
        --placed_;
        MessageLog::end_rest(*taken->batch, 1);
    }
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
