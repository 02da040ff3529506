// Pages of a simulated file. Next file: disk_state.hpp.
#include "tests/sim/disk_content.hpp"

#include <algorithm>

namespace baton::sim {

std::size_t DiskContent::read(std::uint64_t position, MutableBytes out) const {
    if (position >= size_) {
        return 0;
    }
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_ - position));
    std::size_t done = 0;
    while (done < count) {
        const std::uint64_t at = position + done;
        const auto offset = static_cast<std::size_t>(at % page_size);
        const std::size_t piece = std::min(count - done, page_size - offset);
        if (const PagePtr& found = pages_[at / page_size]) {
            copy_bytes(out.data() + done, Bytes{*found}.subspan(offset, piece));
        } else {
            std::fill_n(out.data() + done, piece, std::byte{0});
        }
        done += piece;
    }
    return count;
}

PagePtr DiskContent::page(std::uint64_t number) const {
    return number < pages_.size() ? pages_[number] : nullptr;
}

void DiskContent::set_page(std::uint64_t number, PagePtr page) {
    if (number < pages_.size()) {
        pages_[number] = std::move(page);
    }
}

void DiskContent::set_size(std::uint64_t size) {
    size_ = size;
    pages_.resize((size + page_size - 1) / page_size);
    const auto kept = static_cast<std::size_t>(size % page_size);
    if (kept != 0 && pages_.back()) {
        auto cut = std::make_shared<Page>(*pages_.back());
        std::fill(cut->begin() + static_cast<std::ptrdiff_t>(kept), cut->end(), std::byte{0});
        pages_.back() = std::move(cut);
    }
}

}  // namespace baton::sim
