// What a simulated disk holds: files and directories, for each what is durable and what a power cut may take away.
// Not responsible for paths, faults or handles (disk.hpp). Copies share everything until it is written: a snapshot is a
// copy. One thread. Next file: disk.hpp.
//
// Content: each page that was written since the last sync has its versions; a power cut chooses one for each sector.
// Names: each change (create, link, rename, remove) waits for a sync of its directory; a power cut keeps the first few
// changes of each directory, as a journaling file system does. A rename between directories survives in both or none.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/prng.hpp"
#include "tests/sim/disk_content.hpp"

namespace baton::sim {

using NodeId = std::uint64_t;  // 0: none.
using Names = std::map<std::string, NodeId, std::less<>>;

struct DiskNode {
    bool is_directory = false;
    std::uint32_t links = 0;  // Names that it has now.
    // A file.
    DiskContent content;
    DiskContent durable;
    std::map<std::uint64_t, std::vector<PagePtr>> unsynced;  // Versions of pages since the last sync, oldest first.
    std::vector<std::uint64_t> unsynced_sizes;               // Likewise.
    // A directory.
    Names names;
    Names durable_names;
};

/// How much of what was not synced outlives a power cut.
enum class Survival : std::uint8_t { nothing, everything, some };

class DiskState {
public:
    static constexpr NodeId root = 1;

    DiskState();

    [[nodiscard]] const DiskNode* find(NodeId id) const;
    [[nodiscard]] const DiskNode& at(NodeId id) const;
    [[nodiscard]] NodeId add(bool is_directory);
    /// Bytes of the files that have a name or are among `open`.
    [[nodiscard]] std::uint64_t used(const std::map<NodeId, std::uint32_t>& open) const;

    // --- Content
    void write(NodeId id, std::uint64_t position, Bytes bytes);
    void set_size(NodeId id, std::uint64_t size);
    void sync(NodeId id);
    /// Of each sector either the newest or the durable version is on the disk now. The system believes that all are:
    /// reading gives what was written, and no later sync writes it.
    void sync_badly(NodeId id, Prng& prng);
    /// As a bad disk does: in what is durable and in what is not.
    void flip(NodeId id, std::uint64_t position, std::byte mask);

    // --- Names
    struct Edit {
        NodeId directory = 0;
        std::string name;
        NodeId node = 0;  // 0: the name goes.
    };
    /// All at once, not durable yet.
    void change_names(std::vector<Edit> edits);
    void sync_directory(NodeId id);

    void power_cut(Survival survival, Prng* prng);
    /// Forgets nodes that nothing leads to any more.
    void collect(const std::map<NodeId, std::uint32_t>& open);

private:
    // Chooses the survivor among a page's versions for each sector: 0 is the durable one.
    template <class Choose>
    static PagePtr mix(const PagePtr& durable, const std::vector<PagePtr>& versions, Choose&& choose);
    static void settle(DiskNode& node, Survival survival, Prng* prng);

    [[nodiscard]] DiskNode& writable(NodeId id);  // Not shared with a copy.
    void put_page(DiskNode& node, std::uint64_t number, PagePtr page);
    static void apply(Names& names, const Edit& edit);
    void make_durable(const std::vector<Edit>& edits);
    void settle_names(Survival survival, Prng* prng);

    std::map<NodeId, std::shared_ptr<DiskNode>> nodes_;
    std::vector<std::vector<Edit>> pending_;  // Changes of names that are not durable, oldest first.
    NodeId next_ = root;
};

}  // namespace baton::sim
