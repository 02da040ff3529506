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
    Place& place = places_.emplace(message.first, Place{.tenant = tenant}).first->second;
    message.is_placed ? put_placed(found.messages, message, place) : found.messages.put(message);
}

void FairLane::put_placed(ReadySet& messages, const Run& message, Place& place) {
    MessageLog::rest(*message.batch, 1);
    ++placed_;
    place.placed = &messages.put_alone(message);
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
            places_.find(run.first)->second.placed = nullptr;
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
    for (auto at = places_.lower_bound(first); at != places_.end() && at->first < end; ++at) {
        if (at->second.placed != nullptr) {
            runs.push_back(at->second.placed);
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
    places_.erase(places_.find(taken.first), places_.lower_bound(taken.end()));
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
    const auto node = places_.extract(offset);
    if (node.empty()) {
        return std::nullopt;
    }
    const std::uint64_t number = node.mapped().tenant;
    Tenant& tenant = *tenants_.find(number);
    const auto taken = tenant.messages.take_at(offset);
    if (taken->is_placed) {
        --placed_;
        MessageLog::end_rest(*taken->batch, 1);
    }
    if (tenant.messages.empty()) {
        end_tenant(number, tenant);
    }
    return taken;
}

std::optional<Run> FairLane::take_before(Offset end) {
    return empty() || places_.begin()->first >= end ? std::nullopt : take_at(places_.begin()->first);
}

Run FairLane::message_at(const Place& place, Offset offset) const noexcept {
    return place.placed != nullptr ? *place.placed : tenants_.find(place.tenant)->messages.run_at(offset).message_at(offset);
}

Run FairLane::oldest() const noexcept {
    const auto& [offset, place] = *places_.begin();
    return message_at(place, offset);
}

void FairLane::add_runs(RunMerge& merge) const {
    tenants_.visit([&](const Tenant& tenant) { merge.add(tenant.messages.runs()); });
}

}  // namespace baton::channel
