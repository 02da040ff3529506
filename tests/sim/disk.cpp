// Names and locks of a simulated disk. Next file: disk_file.cpp.
#include "tests/sim/disk.hpp"

#include <utility>

#include "common/base/assert.hpp"
#include "tests/sim/disk_core.hpp"

namespace baton::sim {

using storage::Errc;

// --- Paths -----------------------------------------------------------------------------------------------------

Result<SimDisk::Core::Place> SimDisk::Core::locate(std::string_view path) const {
    Place place{.directory = 0, .name = {}, .node = DiskState::root};
    std::string_view rest = path;
    while (!rest.empty()) {
        if (place.node == 0) {
            return fail(Errc::not_found, std::string{path});
        }
        const DiskNode& directory = state.at(place.node);
        if (!directory.is_directory) {
            return fail(Errc::not_a_directory, std::string{path});
        }
        const std::size_t slash = rest.find('/');
        const std::string_view name = rest.substr(0, slash);
        BATON_ASSERT(!name.empty() && name != "." && name != ".." && rest.back() != '/');
        rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
        const auto found = directory.names.find(name);
        place = {.directory = place.node,
                 .name = std::string{name},
                 .node = found == directory.names.end() ? 0 : found->second};
    }
    return place;
}

Result<SimDisk::Core::Place> SimDisk::Core::locate_existing(std::string_view path) const {
    auto place = locate(path);
    if (place && place->node == 0) {
        return fail(Errc::not_found, std::string{path});
    }
    return place;
}

Result<NodeId> SimDisk::Core::resolve(std::string_view path) const {
    auto place = locate_existing(path);
    if (!place) {
        return fail(std::move(place.error()));
    }
    return place->node;
}

std::uint64_t SimDisk::Core::size_max(NodeId id) const {
    const std::uint64_t used = state.used(open);
    const std::uint64_t left = used < options.capacity ? options.capacity - used : 0;
    return state.at(id).content.size() + left;
}

// --- The port --------------------------------------------------------------------------------------------------

SimDisk::SimDisk(const DiskOptions& options) : core_{std::make_shared<Core>(options)} {}
SimDisk::~SimDisk() = default;

class SimDisk::HeldLock final : public storage::FileLock {
public:
    HeldLock(std::shared_ptr<Core> core, NodeId node) : core_{std::move(core)}, epoch_{core_->epoch}, node_{node} {
        core_->locked.insert(node_);
    }
    ~HeldLock() override {
        if (epoch_ == core_->epoch) {
            core_->locked.erase(node_);
        }
    }

private:
    const std::shared_ptr<Core> core_;
    const std::uint64_t epoch_;
    const NodeId node_;
};

Result<std::unique_ptr<storage::File>> SimDisk::open(std::string_view path, storage::OpenMode mode) {
    const bool is_create = mode == storage::OpenMode::create;
    NodeId node = 0;
    const auto carry_out = [&]() -> Result<void> {
        auto place = core_->locate(path);
        if (!place) {
            return fail(std::move(place.error()));
        }
        if (is_create) {
            if (place->node != 0) {
                return fail(Errc::exists, std::string{path});
            }
            node = core_->state.add(false);
            core_->state.change_names({{place->directory, place->name, node}});
            return {};
        }
        if (place->node == 0) {
            return fail(Errc::not_found, std::string{path});
        }
        if (core_->state.at(place->node).is_directory) {
            return fail(Errc::not_permitted, std::string{path} + ": a directory");
        }
        node = place->node;
        return {};
    };
    Result<void> opened;
    if (is_create) {
        opened = core_->operation(path, carry_out);
    } else {
        opened = core_->is_off ? fail(Errc::io_error, std::string{path} + ": no power") : carry_out();
    }
    if (!opened) {
        return fail(std::move(opened.error()));
    }
    return std::make_unique<OpenFile>(core_, node, std::string{path}, mode != storage::OpenMode::read);
}

Result<void> SimDisk::rename(std::string_view from, std::string_view to) {
    return core_->operation(from, [&]() -> Result<void> {
        const std::string context = std::string{from} + " to " + std::string{to};
        const auto source = core_->locate(from);
        if (!source) {
            return fail(source.error());
        }
        const auto target = core_->locate(to);
        if (!target) {
            return fail(target.error());
        }
        if (source->node == 0) {
            return fail(Errc::not_found, context);
        }
        const DiskNode& moved = core_->state.at(source->node);
        if (source->directory == 0 || target->directory == 0 || to.starts_with(std::string{from} + "/")) {
            return fail(Errc::io_error, context);
        }
        if (from.starts_with(std::string{to} + "/")) {
            return fail(Errc::exists, context);
        }
        if (source->node == target->node) {
            return {};
        }
        if (target->node != 0) {
            const DiskNode& replaced = core_->state.at(target->node);
            if (moved.is_directory != replaced.is_directory) {
                return fail(moved.is_directory ? Errc::not_a_directory : Errc::not_permitted, context);
            }
            if (!replaced.names.empty()) {
                return fail(Errc::exists, context);
            }
        }
        core_->state.change_names(
            {{target->directory, target->name, source->node}, {source->directory, source->name, 0}});
        return {};
    });
}

Result<void> SimDisk::link(std::string_view from, std::string_view to) {
    return core_->operation(from, [&]() -> Result<void> {
        const auto source = core_->resolve(from);
        if (!source) {
            return fail(source.error());
        }
        const auto target = core_->locate(to);
        if (!target) {
            return fail(target.error());
        }
        if (target->node != 0) {
            return fail(Errc::exists, std::string{to});
        }
        if (core_->state.at(*source).is_directory) {
            return fail(Errc::not_permitted, std::string{from} + ": a directory");
        }
        core_->state.change_names({{target->directory, target->name, *source}});
        return {};
    });
}

Result<void> SimDisk::remove(std::string_view path) {
    return core_->operation(path, [&]() -> Result<void> {
        const auto place = core_->locate_existing(path);
        if (!place) {
            return fail(place.error());
        }
        if (place->directory == 0) {
            return fail(Errc::not_permitted, "the root");
        }
        if (!core_->state.at(place->node).names.empty()) {
            return fail(Errc::exists, std::string{path} + ": not empty");
        }
        core_->state.change_names({{place->directory, place->name, 0}});
        return {};
    });
}

Result<void> SimDisk::make_directory(std::string_view path) {
    return core_->operation(path, [&]() -> Result<void> {
        const auto place = core_->locate(path);
        if (!place) {
            return fail(place.error());
        }
        if (place->node != 0) {
            return fail(Errc::exists, std::string{path});
        }
        core_->state.change_names({{place->directory, place->name, core_->state.add(true)}});
        return {};
    });
}

Result<void> SimDisk::sync_directory(std::string_view path) {
    const auto carry_out = [&]() -> Result<void> {
        const auto node = core_->resolve(path);
        if (!node) {
            return fail(node.error());
        }
        if (!core_->state.at(*node).is_directory) {
            return fail(Errc::not_a_directory, std::string{path});
        }
        core_->state.sync_directory(*node);
        core_->state.collect(core_->open);
        return {};
    };
    return core_->operation(path, carry_out, [](DiskFault) {});
}

Result<std::vector<std::string>> SimDisk::list(std::string_view path) {
    if (core_->is_off) {
        return fail(Errc::io_error, std::string{path} + ": no power");
    }
    const auto node = core_->resolve(path);
    if (!node) {
        return fail(node.error());
    }
    const DiskNode& directory = core_->state.at(*node);
    if (!directory.is_directory) {
        return fail(Errc::not_a_directory, std::string{path});
    }
    std::vector<std::string> names;
    for (const auto& [name, child] : directory.names) {
        names.push_back(name);
    }
    return names;
}

Result<storage::Space> SimDisk::space() {
    if (core_->is_off) {
        return fail(Errc::io_error, "no power");
    }
    const std::uint64_t used = core_->state.used(core_->open);
    const std::uint64_t capacity = core_->options.capacity;
    return storage::Space{.total = capacity, .available = used < capacity ? capacity - used : 0};
}

Result<std::unique_ptr<storage::FileLock>> SimDisk::lock(std::string_view path, std::string_view content) {
    NodeId node = 0;
    auto locked = core_->operation(path, [&]() -> Result<void> {
        const auto place = core_->locate(path);
        if (!place) {
            return fail(place.error());
        }
        node = place->node;
        if (node == 0) {
            node = core_->state.add(false);
            core_->state.change_names({{place->directory, place->name, node}});
        } else if (core_->state.at(node).is_directory) {
            return fail(Errc::not_permitted, std::string{path} + ": a directory");
        } else if (core_->locked.contains(node)) {
            return fail(Errc::locked, std::string{path});
        }
        if (content.size() > core_->size_max(node)) {
            return fail(Errc::no_space, std::string{path});
        }
        core_->state.set_size(node, 0);
        core_->state.write(node, 0, as_bytes(content));
        return {};
    });
    if (!locked) {
        return fail(std::move(locked.error()));
    }
    return std::make_unique<HeldLock>(core_, node);
}

}  // namespace baton::sim
