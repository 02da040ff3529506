// Writes what `receive` prints and knows what the reader has got, since only that may be acked.
// Not responsible for what is written (envelope.hpp) or for acking (receive.cpp). Main thread.
//
// A pipe takes bytes for a reader that may leave without them: `baton receive | head -1` must not swallow the second
// message. So on a pipe the first messages go out one at a time, each when the reader has taken the one before; a
// reader that goes on reading then gets batches. What is no pipe gets one message first: a disk that is full all along
// is noticed by that. A reader that is slow to take them is no reason to wait: what stdout
// has accepted is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

#include "client/cli/interrupt.hpp"

namespace baton::cli {

/// Why nothing that somebody writes to stdout would arrive, as far as that shows without writing: EPIPE, its last reader has
/// left; EBADF, it is not open for writing. Nothing: it may arrive.
[[nodiscard]] std::error_code stdout_trouble() noexcept;

class StdoutWriter {
public:
    enum class Outcome : std::uint8_t { written, reader_gone, stopped, failed };
    struct Written {
        Outcome outcome;
        std::size_t size;         // So many bytes from the front have left us for good.
        std::error_code reason{};  // Of `failed`: a full disk.
    };

    explicit StdoutWriter(const Interrupt& interrupt);
    ~StdoutWriter();
    StdoutWriter(const StdoutWriter&) = delete;
    StdoutWriter& operator=(const StdoutWriter&) = delete;

    /// One message a call is wanted.
    [[nodiscard]] bool is_one_by_one() const noexcept { return singles_left_ != 0; }
    /// Returns when stdout has accepted all of it, or cannot.
    Written write(std::string_view bytes);

private:
    enum class Taken : std::uint8_t { all, not_yet, reader_gone };

    [[nodiscard]] std::size_t unread() const noexcept;
    [[nodiscard]] Taken wait_until_taken() const noexcept;
    Written write_accepted(std::string_view bytes);

    const Interrupt& interrupt_;
    int out_;
    bool is_pipe_ = false;
    bool is_own_descriptor_ = false;
    unsigned singles_left_ = 1;
};

}  // namespace baton::cli
