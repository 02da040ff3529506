// Open files of a simulated disk. Next file: disk_state.hpp.
#include <algorithm>
#include <utility>

#include "tests/sim/disk_core.hpp"

namespace baton::sim {

using storage::Errc;

SimDisk::OpenFile::OpenFile(std::shared_ptr<Core> core, NodeId node, std::string path, bool is_writable)
    : core_{std::move(core)}, epoch_{core_->epoch}, node_{node}, path_{std::move(path)}, is_writable_{is_writable} {
    ++core_->open[node_];
}

SimDisk::OpenFile::~OpenFile() {
    if (epoch_ != core_->epoch) {
        return;
    }
    const auto found = core_->open.find(node_);
    if (--found->second == 0) {
        core_->open.erase(found);
    }
}

Result<void> SimDisk::OpenFile::check(bool is_change) const {
    if (epoch_ != core_->epoch) {
        return fail(Errc::io_error, path_ + ": was open when the power went");
    }
    if (core_->is_off) {
        return fail(Errc::io_error, path_ + ": no power");
    }
    if (is_change && !is_writable_) {
        return fail(Errc::not_permitted, path_ + ": open for reading");
    }
    return {};
}

Result<std::size_t> SimDisk::OpenFile::read(std::uint64_t position, MutableBytes out) {
    if (auto checked = check(false); !checked) {
        return fail(std::move(checked.error()));
    }
    if (core_->unreadable.contains(node_)) {
        return fail(Errc::io_error, path_ + ": injected");
    }
    return core_->state.at(node_).content.read(position, out);
}

void SimDisk::OpenFile::write_some(std::uint64_t position, std::span<const Bytes> parts, std::uint64_t limit) {
    for (const Bytes part : parts) {
        const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(part.size(), limit));
        core_->state.write(node_, position, part.first(piece));
        position += piece;
        limit -= piece;
    }
}

Result<void> SimDisk::OpenFile::write(std::uint64_t position, std::span<const Bytes> parts) {
    if (auto checked = check(true); !checked) {
        return checked;
    }
    std::uint64_t size = 0;
    for (const Bytes part : parts) {
        size += part.size();
    }
    const std::uint64_t end_max = core_->size_max(node_);
    const std::uint64_t fitting = position >= end_max ? 0 : std::min(size, end_max - position);
    const auto carry_out = [&]() -> Result<void> {
        write_some(position, parts, fitting);
        return fitting == size ? Result<void>{} : fail(Errc::no_space, path_);
    };
    return core_->operation(path_, carry_out, [&](DiskFault fault) {
        write_some(position, parts, fault == DiskFault::power_cut ? fitting : core_->prng.range(0, fitting));
    });
}

Result<void> SimDisk::OpenFile::sync() {
    if (auto checked = check(false); !checked) {
        return checked;
    }
    const auto carry_out = [&]() -> Result<void> {
        core_->state.sync(node_);
        return {};
    };
    return core_->operation(path_, carry_out, [&](DiskFault fault) {
        if (fault != DiskFault::power_cut) {
            core_->state.sync_badly(node_, core_->prng);
        }
    });
}

Result<void> SimDisk::OpenFile::allocate(std::uint64_t size) {
    if (auto checked = check(true); !checked) {
        return checked;
    }
    return core_->operation(path_, [&]() -> Result<void> {
        if (size > core_->size_max(node_)) {
            return fail(Errc::no_space, path_);
        }
        if (size > core_->state.at(node_).content.size()) {
            core_->state.set_size(node_, size);
        }
        return {};
    });
}

Result<void> SimDisk::OpenFile::truncate(std::uint64_t size) {
    if (auto checked = check(true); !checked) {
        return checked;
    }
    return core_->operation(path_, [&]() -> Result<void> {
        if (size > core_->size_max(node_)) {
            return fail(Errc::no_space, path_);
        }
        core_->state.set_size(node_, size);
        return {};
    });
}

Result<std::uint64_t> SimDisk::OpenFile::size() {
    if (auto checked = check(false); !checked) {
        return fail(std::move(checked.error()));
    }
    return core_->state.at(node_).content.size();
}

}  // namespace baton::sim
