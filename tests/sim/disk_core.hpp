// The inside of a simulated disk: what it holds, and which operation fails. Shared by the disk (disk.cpp) and its open
// files (disk_file.cpp). One thread. Next file: disk.hpp.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/storage/errc.hpp"
#include "tests/sim/disk.hpp"

namespace baton::sim {

struct SimDisk::Core {
    explicit Core(const DiskOptions& chosen) : options{chosen}, prng{chosen.seed} {}

    struct Plan {
        std::uint64_t first = 0;
        std::uint64_t end = 0;
        DiskFault fault{};
    };

    DiskOptions options;
    Prng prng;
    DiskState state;
    std::uint64_t operations = 0;
    std::vector<Plan> plans;
    bool is_off = false;
    std::uint64_t epoch = 0;  // Of open files: those of an earlier one are dead.
    std::map<NodeId, std::uint32_t> open;
    std::set<NodeId> locked;
    std::set<NodeId> unreadable;

    [[nodiscard]] std::optional<DiskFault> next_fault() {
        ++operations;
        for (const Plan& plan : plans) {
            if (operations >= plan.first && operations < plan.end) {
                return plan.fault;
            }
        }
        return std::nullopt;
    }

    // Every operation that changes something. `on_fault` does what is left behind when it fails.
    template <class CarryOut, class OnFault>
    [[nodiscard]] Result<void> operation(std::string_view path, CarryOut&& carry_out, OnFault&& on_fault) {
        if (is_off) {
            return fail(storage::Errc::io_error, std::string{path} + ": no power");
        }
        const std::optional<DiskFault> fault = next_fault();
        if (!fault) {
            return std::forward<CarryOut>(carry_out)();
        }
        std::forward<OnFault>(on_fault)(*fault);
        if (*fault == DiskFault::power_cut) {
            is_off = true;
            return fail(storage::Errc::io_error, std::string{path} + ": the power goes");
        }
        return fail(*fault == DiskFault::no_space ? storage::Errc::no_space : storage::Errc::io_error,
                    std::string{path} + ": injected");
    }

    // Changes of names: under way when the power goes, or not done at all.
    template <class CarryOut>
    [[nodiscard]] Result<void> operation(std::string_view path, CarryOut&& carry_out) {
        return operation(path, carry_out, [&](DiskFault fault) {
            if (fault == DiskFault::power_cut) {
                (void)carry_out();  // Not durable: the crash decides.
            }
        });
    }

    struct Place {
        NodeId directory = 0;
        std::string name;
        NodeId node = 0;  // 0: nothing is there.
    };
    [[nodiscard]] Result<NodeId> resolve(std::string_view path) const;
    /// Where a name is or would be.
    [[nodiscard]] Result<Place> locate(std::string_view path) const;
    /// locate(), and not_found if nothing is there.
    [[nodiscard]] Result<Place> locate_existing(std::string_view path) const;

    /// Of what may be written, given the capacity: the end of the file or how far it may grow.
    [[nodiscard]] std::uint64_t size_max(NodeId id) const;
};

class SimDisk::OpenFile final : public storage::File {
public:
    OpenFile(std::shared_ptr<Core> core, NodeId node, std::string path, bool is_writable);
    ~OpenFile() override;

    [[nodiscard]] Result<std::size_t> read(std::uint64_t position, MutableBytes out) override;
    [[nodiscard]] Result<void> write(std::uint64_t position, std::span<const Bytes> parts) override;
    [[nodiscard]] Result<void> sync() override;
    [[nodiscard]] Result<void> allocate(std::uint64_t size) override;
    [[nodiscard]] Result<void> truncate(std::uint64_t size) override;
    [[nodiscard]] Result<std::uint64_t> size() override;

private:
    [[nodiscard]] Result<void> check(bool is_change) const;
    // All of it, or what fits or `limit` bytes of it.
    void write_some(std::uint64_t position, std::span<const Bytes> parts, std::uint64_t limit);

    const std::shared_ptr<Core> core_;
    const std::uint64_t epoch_;
    const NodeId node_;
    const std::string path_;
    const bool is_writable_;
};

}  // namespace baton::sim
