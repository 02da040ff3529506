// Power, faults and snapshots of a simulated disk. Next file: disk_state.cpp.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "tests/sim/disk_core.hpp"

namespace baton::sim {

// --- Power and faults ------------------------------------------------------------------------------------------

void SimDisk::power_on(Survival survival, Prng* prng) {
    core_->state.power_cut(survival, prng);
    ++core_->epoch;
    core_->open.clear();
    core_->locked.clear();
    core_->is_off = false;
}

void SimDisk::crash(Prng& prng) {
    power_on(Survival::some, &prng);
}

void SimDisk::crash_losing_everything() {
    power_on(Survival::nothing, nullptr);
}

void SimDisk::crash_keeping_everything() {
    power_on(Survival::everything, nullptr);
}

bool SimDisk::is_off() const noexcept {
    return core_->is_off;
}

std::uint64_t SimDisk::operations() const noexcept {
    return core_->operations;
}

void SimDisk::fail_at(std::uint64_t operation, DiskFault fault, std::uint64_t count) {
    BATON_ASSERT(operation > core_->operations);
    core_->plans.push_back({.first = operation, .end = operation + count, .fault = fault});
}

void SimDisk::fail_always(DiskFault fault) {
    core_->plans.push_back({.first = 0, .end = UINT64_MAX, .fault = fault});
}

void SimDisk::clear_faults() {
    core_->plans.clear();
    core_->unreadable.clear();
}

void SimDisk::set_capacity(std::uint64_t bytes) {
    core_->options.capacity = bytes;
}

void SimDisk::fail_reads(std::string_view path, bool fails) {
    const auto node = core_->resolve(path);
    BATON_ASSERT(node);
    if (fails) {
        core_->unreadable.insert(*node);
    } else {
        core_->unreadable.erase(*node);
    }
}

void SimDisk::flip_byte(std::string_view path, std::uint64_t position, std::byte mask) {
    const auto node = core_->resolve(path);
    BATON_ASSERT(node && position < core_->state.at(*node).content.size());
    core_->state.flip(*node, position, mask);
}

// --- The whole disk --------------------------------------------------------------------------------------------

DiskState SimDisk::snapshot() const {
    return core_->state;
}

void SimDisk::restore(DiskState state) {
    core_->state = std::move(state);
    ++core_->epoch;
    core_->open.clear();
    core_->locked.clear();
    core_->is_off = false;
}

std::vector<std::string> SimDisk::all_files() const {
    std::vector<std::string> found;
    std::vector<std::pair<std::string, NodeId>> waiting{{"", DiskState::root}};
    while (!waiting.empty()) {
        const auto [path, id] = std::move(waiting.back());
        waiting.pop_back();
        const DiskNode& node = core_->state.at(id);
        if (!node.is_directory) {
            found.push_back(path);
        }
        for (const auto& [name, child] : node.names) {
            waiting.emplace_back(path.empty() ? name : path + "/" + name, child);
        }
    }
    std::ranges::sort(found);
    return found;
}

bool SimDisk::exists(std::string_view path) const {
    return core_->resolve(path).has_value();
}

}  // namespace baton::sim
