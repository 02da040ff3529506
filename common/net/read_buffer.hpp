// The memory into which all connections of one thread read. Payloads are slices of it and live on by counting, so what
// arrives is not copied; a connection from which nothing arrives holds no buffer at all.
// Not responsible for frames that are not complete yet: connection_io.hpp moves them out.
// On the thread that owns the ChunkPool. Next file: connection_io.hpp.
#pragma once

#include <cstddef>

#include "common/base/payload.hpp"

namespace baton::net {

// Order of calls, by one reader at a time, without a return to the event loop in between:
//
//   room, (fill from its start), commit, (use the bytes, retain some), finish
//
// Bytes that somebody retained are never written again: reading goes on behind them, in a new chunk once little room is
// left. If nobody retained any, the same warm memory is filled again from the start.
class ReadBuffer {
public:
    // A chunk with less room than this is given up; whoever holds slices of it keeps it alive.
    static constexpr std::size_t room_min = 32 * 1024;

    explicit ReadBuffer(ChunkPool& pool) noexcept : pool_{pool} {}
    ReadBuffer(const ReadBuffer&) = delete;
    ReadBuffer& operator=(const ReadBuffer&) = delete;

    // Free memory, at least room_min bytes or an eighth of a chunk, whichever is less.
    [[nodiscard]] MutableBytes room() noexcept;

    // The first `size` bytes of the room have been filled. What is returned is valid until finish().
    [[nodiscard]] BorrowedBytes commit(std::size_t size) noexcept;

    // The committed bytes are no longer looked at, except through payloads that were retained.
    void finish() noexcept;

    [[nodiscard]] ChunkPool& pool() const noexcept { return pool_; }

private:
    ChunkPool& pool_;
    ChunkRef chunk_;  // Empty until the first read.
    std::size_t used_ = 0;
};

}  // namespace baton::net
