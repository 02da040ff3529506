// Bytes that wait for one socket. Frames are appended in two lanes; what is written next is asked for as a list of
// buffers and acknowledged by a number of bytes. Control frames overtake data frames, but only between frames.
// Not responsible for the socket (common/net), for frame formats (common/wire) or for limits: the session watches
// data_bytes() against its water marks.
// On the thread that owns the ChunkPool. Next file: common/net/connection_io.hpp.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/bytes.hpp"
#include "common/base/payload.hpp"

namespace baton {

namespace detail {
struct OutboxState;
}

enum class Lane : std::uint8_t { control, data };

// Order of calls:
//
//   write side  begin_frame, append..., end_frame   one frame at a time, in either lane; never empty.
//   read side   gather, (write), consume            only while no frame is open.
//
// What gather() returned stays valid, and consume() means exactly those bytes, until consume(), clear() or the next
// gather(). Frames may be appended in between, as happens when a socket takes the bytes later: they are not part of
// what was gathered, even if a control frame would have overtaken some of it.
//
// An empty outbox is two pointers. While bytes wait it borrows chunks from the pool: one small chunk for its own
// bookkeeping and the first copied bytes, more as it fills, and it gives them all back when it runs empty.
class Outbox {
public:
    // A payload of at least this size is referenced; a smaller one is copied, which is cheaper than one more buffer.
    static constexpr std::size_t reference_size_min = 512;

    explicit Outbox(ChunkPool& pool) noexcept : pool_{pool} {}
    Outbox(const Outbox&) = delete;
    Outbox& operator=(const Outbox&) = delete;
    ~Outbox();

    // Less than 4 GiB in one frame.
    void begin_frame(Lane lane) noexcept;
    void append(Bytes bytes) noexcept;  // Copied, whatever its size.
    void append(const Payload& payload) noexcept;
    void append(Payload&& payload) noexcept;  // Saves counting up and down.
    void end_frame() noexcept;

    // A whole frame, copied.
    void frame(Lane lane, Bytes bytes) noexcept;

    // What to write next, at most `bytes_max` bytes: the rest of a data frame that was begun, then control, then data.
    // Returns the number of buffers that were filled in; 0 only if the outbox is empty or may not return anything.
    [[nodiscard]] std::size_t gather(std::span<iovec> buffers, std::size_t bytes_max) noexcept;

    // The first `size` of the gathered bytes are written. At most what was gathered. What remains is gathered anew.
    void consume(std::size_t size) noexcept;

    // Both lanes, including the part of a frame that is still open.
    [[nodiscard]] std::size_t size_bytes() const noexcept;
    // The data lane alone: the measure of a slow receiver.
    [[nodiscard]] std::size_t data_bytes() const noexcept;
    [[nodiscard]] bool empty() const noexcept { return size_bytes() == 0; }

    // Forgets everything, also a frame that is open or half written: the connection is gone.
    void clear() noexcept;

private:
    [[nodiscard]] detail::OutboxState& state() noexcept;

    ChunkPool& pool_;
    ChunkRef home_;  // Holds the OutboxState while bytes wait.
};

}  // namespace baton
