// One large frame on its way in: its pieces put together in one chunk of the announced size.
// Not responsible for what the frame means: receiver_link.hpp gets the whole body.
// One thread. Next file: receiver_link.hpp.
#pragma once

#include <cstdint>

#include "common/base/bytes.hpp"
#include "common/base/payload.hpp"
#include "common/wire/bodies.hpp"

namespace baton::client {

class FragmentAssembly {
public:
    enum class Step : std::uint8_t { more, complete, malformed };

    [[nodiscard]] bool is_active() const noexcept { return static_cast<bool>(chunk_); }

    // The first FRAGMENT. The total is checked before memory is taken for it.
    [[nodiscard]] Step begin(ChunkPool& pool, std::uint64_t sequence, const wire::FragmentHead& head,
                             std::uint64_t total_max) noexcept {
        if (is_active() || head.type != wire::FrameType::deliver || head.total == 0 || head.total > total_max) {
            return Step::malformed;
        }
        size_ = static_cast<std::size_t>(head.total);
        sequence_ = sequence;
        filled_ = 0;
        chunk_ = pool.allocate(size_);
        return Step::more;
    }

    [[nodiscard]] Step append(std::uint64_t position, Bytes piece, bool is_last) noexcept {
        if (!is_active() || position != filled_ || piece.empty() || piece.size() > size_ - filled_ ||
            is_last != (filled_ + piece.size() == size_)) {
            return Step::malformed;
        }
        copy_bytes(chunk_.bytes() + filled_, piece);
        filled_ += piece.size();
        return is_last ? Step::complete : Step::more;
    }

    // After `complete`, until cancel().
    [[nodiscard]] BorrowedBytes body() const noexcept { return {&chunk_, chunk_.bytes(), size_}; }
    [[nodiscard]] std::uint64_t sequence() const noexcept { return sequence_; }

    void cancel() noexcept { chunk_.reset(); }

private:
    ChunkRef chunk_;
    std::size_t size_ = 0;
    std::size_t filled_ = 0;
    std::uint64_t sequence_ = 0;
};

}  // namespace baton::client
