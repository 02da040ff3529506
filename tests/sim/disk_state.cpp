// What a simulated disk holds. Next file: disk.hpp.
#include "tests/sim/disk_state.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "common/base/assert.hpp"

namespace baton::sim {

DiskState::DiskState() {
    const NodeId id = add(true);
    BATON_ASSERT(id == root);
    writable(id).links = 1;
}

const DiskNode* DiskState::find(NodeId id) const {
    const auto found = nodes_.find(id);
    return found == nodes_.end() ? nullptr : found->second.get();
}

const DiskNode& DiskState::at(NodeId id) const {
    const DiskNode* node = find(id);
    BATON_ASSERT(node != nullptr);
    return *node;
}

DiskNode& DiskState::writable(NodeId id) {
    const auto found = nodes_.find(id);
    BATON_ASSERT(found != nodes_.end());
    if (found->second.use_count() > 1) {
        found->second = std::make_shared<DiskNode>(*found->second);
    }
    return *found->second;
}

NodeId DiskState::add(bool is_directory) {
    const NodeId id = next_++;
    auto node = std::make_shared<DiskNode>();
    node->is_directory = is_directory;
    nodes_.emplace(id, std::move(node));
    return id;
}

std::uint64_t DiskState::used(const std::map<NodeId, std::uint32_t>& open) const {
    std::uint64_t bytes = 0;
    for (const auto& [id, node] : nodes_) {
        if (node->links > 0 || open.contains(id)) {
            bytes += node->content.size();
        }
    }
    return bytes;
}

// --- Content ---------------------------------------------------------------------------------------------------

void DiskState::put_page(DiskNode& node, std::uint64_t number, PagePtr page) {
    node.content.set_page(number, page);
    node.unsynced[number].push_back(std::move(page));
}

void DiskState::write(NodeId id, std::uint64_t position, Bytes bytes) {
    if (bytes.empty()) {
        return;
    }
    DiskNode& node = writable(id);
    if (position + bytes.size() > node.content.size()) {
        node.content.set_size(position + bytes.size());
        node.unsynced_sizes.push_back(node.content.size());
    }
    while (!bytes.empty()) {
        const std::uint64_t number = position / page_size;
        const auto offset = static_cast<std::size_t>(position % page_size);
        const std::size_t piece = std::min(bytes.size(), page_size - offset);
        const PagePtr before = node.content.page(number);
        auto page = before ? std::make_shared<Page>(*before) : std::make_shared<Page>();
        copy_bytes(page->data() + offset, bytes.first(piece));
        put_page(node, number, std::move(page));
        position += piece;
        bytes = bytes.subspan(piece);
    }
}

void DiskState::set_size(NodeId id, std::uint64_t size) {
    DiskNode& node = writable(id);
    const std::uint64_t before = node.content.size();
    if (size == before) {
        return;
    }
    node.content.set_size(size);
    node.unsynced_sizes.push_back(size);
    // What is cut off is zero if the file grows again: these zeros are content that is not durable yet.
    for (std::uint64_t number = size / page_size; number * page_size < before; ++number) {
        node.unsynced[number].push_back(node.content.page(number));
    }
}

template <class Choose>
PagePtr DiskState::mix(const PagePtr& durable, const std::vector<PagePtr>& versions, Choose&& choose) {
    auto page = durable ? std::make_shared<Page>(*durable) : std::make_shared<Page>();
    for (std::size_t sector = 0; sector < sectors_of_page; ++sector) {
        const std::size_t version = choose();
        if (version == 0) {
            continue;
        }
        const auto at = static_cast<std::ptrdiff_t>(sector * sector_size);
        if (const PagePtr& chosen = versions[version - 1]) {
            std::copy_n(chosen->begin() + at, sector_size, page->begin() + at);
        } else {
            std::fill_n(page->begin() + at, sector_size, std::byte{0});
        }
    }
    return page;
}

// Chooses what is durable from now on; nothing is unsynced then. `content` is left alone.
void DiskState::settle(DiskNode& node, Survival survival, Prng* prng) {
    if (survival == Survival::nothing) {
        node.unsynced.clear();
        node.unsynced_sizes.clear();
        return;
    }
    // Some files keep nearly everything and some hardly anything, so that both are seen as well as what is between.
    const std::uint64_t sixteenths = survival == Survival::some ? prng->below(17) : 16;
    if (!node.unsynced_sizes.empty() && (survival == Survival::everything || prng->chance(sixteenths, 16))) {
        const std::size_t last = node.unsynced_sizes.size() - 1;
        const bool is_last = survival == Survival::everything || prng->chance(1, 2);
        node.durable.set_size(node.unsynced_sizes[is_last ? last : prng->below(last + 1)]);
    }
    for (const auto& [number, versions] : node.unsynced) {
        if (survival == Survival::everything) {
            node.durable.set_page(number, versions.back());
            continue;
        }
        const std::size_t count = versions.size();
        node.durable.set_page(number, mix(node.durable.page(number), versions, [&]() -> std::size_t {
                                  if (!prng->chance(sixteenths, 16)) {
                                      return 0;
                                  }
                                  return prng->chance(1, 2) ? count : static_cast<std::size_t>(prng->range(1, count));
                              }));
    }
    node.durable.set_size(node.durable.size());  // Zeros behind the end in the last page.
    node.unsynced.clear();
    node.unsynced_sizes.clear();
}

void DiskState::sync(NodeId id) {
    settle(writable(id), Survival::everything, nullptr);
}

void DiskState::sync_badly(NodeId id, Prng& prng) {
    DiskNode& node = writable(id);
    for (auto& [number, versions] : node.unsynced) {
        versions.erase(versions.begin(), versions.end() - 1);
    }
    if (!node.unsynced_sizes.empty()) {
        node.unsynced_sizes.erase(node.unsynced_sizes.begin(), node.unsynced_sizes.end() - 1);
    }
    settle(node, Survival::some, &prng);
}

void DiskState::flip(NodeId id, std::uint64_t position, std::byte mask) {
    DiskNode& node = writable(id);
    const std::uint64_t number = position / page_size;
    const auto flipped = [&](const PagePtr& before) -> PagePtr {
        auto page = before ? std::make_shared<Page>(*before) : std::make_shared<Page>();
        (*page)[position % page_size] ^= mask;
        return page;
    };
    node.content.set_page(number, flipped(node.content.page(number)));
    node.durable.set_page(number, flipped(node.durable.page(number)));
    if (const auto found = node.unsynced.find(number); found != node.unsynced.end()) {
        for (PagePtr& version : found->second) {
            version = flipped(version);
        }
    }
}

// --- Names -----------------------------------------------------------------------------------------------------

void DiskState::apply(Names& names, const Edit& edit) {
    if (edit.node == 0) {
        names.erase(edit.name);
    } else {
        names.insert_or_assign(edit.name, edit.node);
    }
}

void DiskState::change_names(std::vector<Edit> edits) {
    for (const Edit& edit : edits) {
        Names& names = writable(edit.directory).names;
        if (const auto before = names.find(edit.name); before != names.end()) {
            --writable(before->second).links;
        }
        if (edit.node != 0) {
            ++writable(edit.node).links;
        }
        apply(names, edit);
    }
    pending_.push_back(std::move(edits));
}

void DiskState::make_durable(const std::vector<Edit>& edits) {
    for (const Edit& edit : edits) {
        apply(writable(edit.directory).durable_names, edit);
    }
}

void DiskState::sync_directory(NodeId id) {
    // A change between two directories takes along what came before it in the other one.
    std::set<NodeId> wanted{id};
    std::vector<bool> is_chosen(pending_.size(), false);
    for (std::size_t i = pending_.size(); i-- > 0;) {
        is_chosen[i] =
            std::ranges::any_of(pending_[i], [&](const Edit& edit) { return wanted.contains(edit.directory); });
        if (is_chosen[i]) {
            for (const Edit& edit : pending_[i]) {
                wanted.insert(edit.directory);
            }
        }
    }
    std::vector<std::vector<Edit>> rest;
    for (std::size_t i = 0; i < pending_.size(); ++i) {
        if (is_chosen[i]) {
            make_durable(pending_[i]);
        } else {
            rest.push_back(std::move(pending_[i]));
        }
    }
    pending_ = std::move(rest);
}

void DiskState::settle_names(Survival survival, Prng* prng) {
    std::map<NodeId, std::size_t> survivors;  // How many more changes of the directory survive.
    for (const std::vector<Edit>& edits : pending_) {
        for (const Edit& edit : edits) {
            ++survivors[edit.directory];
        }
    }
    for (auto& [directory, count] : survivors) {
        if (survival != Survival::everything) {
            count = survival == Survival::nothing ? 0 : static_cast<std::size_t>(prng->below(count + 1));
        }
    }
    for (const std::vector<Edit>& edits : pending_) {
        std::map<NodeId, std::size_t> needed;
        for (const Edit& edit : edits) {
            ++needed[edit.directory];
        }
        if (std::ranges::all_of(needed, [&](const auto& need) { return survivors[need.first] >= need.second; })) {
            make_durable(edits);
            for (const auto& [directory, count] : needed) {
                survivors[directory] -= count;
            }
        } else {
            for (const auto& [directory, count] : needed) {
                survivors[directory] = 0;  // Nothing that came later in this directory.
            }
        }
    }
    pending_.clear();
}

void DiskState::power_cut(Survival survival, Prng* prng) {
    settle_names(survival, prng);
    for (const auto& [id, shared] : nodes_) {
        DiskNode& node = writable(id);
        settle(node, survival, prng);
        node.content = node.durable;
        node.names = node.durable_names;
        node.links = id == root ? 1 : 0;
    }
    collect({});
    for (const auto& [id, shared] : nodes_) {
        for (const auto& [name, child] : shared->names) {
            ++writable(child).links;
        }
    }
}

void DiskState::collect(const std::map<NodeId, std::uint32_t>& open) {
    std::set<NodeId> reached;
    std::vector<NodeId> waiting{root};
    for (const auto& [id, count] : open) {
        waiting.push_back(id);
    }
    for (const std::vector<Edit>& edits : pending_) {
        for (const Edit& edit : edits) {
            waiting.push_back(edit.directory);
            waiting.push_back(edit.node);
        }
    }
    while (!waiting.empty()) {
        const NodeId id = waiting.back();
        waiting.pop_back();
        const DiskNode* node = find(id);
        if (node == nullptr || !reached.insert(id).second) {
            continue;
        }
        for (const Names* names : {&node->names, &node->durable_names}) {
            for (const auto& [name, child] : *names) {
                waiting.push_back(child);
            }
        }
    }
    std::erase_if(nodes_, [&](const auto& entry) { return !reached.contains(entry.first); });
}

}  // namespace baton::sim
