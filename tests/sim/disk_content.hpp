// The content of a simulated file: bytes in pages that copies share until one of them is written, so that a snapshot of
// a disk costs next to nothing. A null page reads as zeros. One thread. Next file: disk_state.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/base/bytes.hpp"

namespace baton::sim {

inline constexpr std::size_t page_size = 4096;
inline constexpr std::size_t sector_size = 512;
inline constexpr std::size_t sectors_of_page = page_size / sector_size;

using Page = std::array<std::byte, page_size>;
using PagePtr = std::shared_ptr<const Page>;

class DiskContent {
public:
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    /// Number of bytes that were there to read.
    [[nodiscard]] std::size_t read(std::uint64_t position, MutableBytes out) const;

    /// The page with this number, or null for zeros.
    [[nodiscard]] PagePtr page(std::uint64_t number) const;
    /// Behind the end of the file: no effect.
    void set_page(std::uint64_t number, PagePtr page);
    /// The pages' number follows. What is cut off reads as zeros if the file grows again.
    void set_size(std::uint64_t size);

private:
    std::uint64_t size_ = 0;
    std::vector<PagePtr> pages_;
};

}  // namespace baton::sim
