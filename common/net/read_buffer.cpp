// See the header.
#include "common/net/read_buffer.hpp"

#include <algorithm>

namespace baton::net {

MutableBytes ReadBuffer::room() noexcept {
    const auto least = std::min(room_min, pool_.chunk_size() / 8);
    if (!chunk_ || chunk_.capacity() - used_ < least) {
        chunk_ = pool_.allocate();
        used_ = 0;
    }
    return {chunk_.bytes() + used_, chunk_.capacity() - used_};
}

BorrowedBytes ReadBuffer::commit(std::size_t size) noexcept {
    BATON_ASSERT(size <= chunk_.capacity() - used_);
    const BorrowedBytes filled{&chunk_, chunk_.bytes() + used_, size};
    used_ += size;
    return filled;
}

void ReadBuffer::finish() noexcept {
    if (chunk_.unique()) {
        used_ = 0;
    }
}

}  // namespace baton::net
