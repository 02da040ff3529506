#include "client/cli/stdout_writer.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <system_error>

namespace baton::cli {

namespace {

constexpr unsigned singles_max = 64;
constexpr auto taking_patience = std::chrono::milliseconds{500};

}  // namespace

// Without events poll reports only what is wrong: POLLERR of a pipe without readers, POLLHUP of a socket whose other end is
// gone. A stdout that was closed has been opened for reading only (hold_standard_streams).
std::error_code stdout_trouble() noexcept {
    const int flags = ::fcntl(STDOUT_FILENO, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) {
        return {EBADF, std::generic_category()};
    }
    pollfd out{STDOUT_FILENO, 0, 0};
    const bool is_gone = ::poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP)) != 0;
    return is_gone ? std::error_code{EPIPE, std::generic_category()} : std::error_code{};
}

// A pipe is opened once more: a write that does not fit must not block us beyond an interruption, and O_NONBLOCK on
// the inherited descriptor would be seen by everybody who shares it.
StdoutWriter::StdoutWriter(const Interrupt& interrupt) : interrupt_{interrupt}, out_{STDOUT_FILENO} {
    struct stat status{};
    is_pipe_ = ::fstat(STDOUT_FILENO, &status) == 0 && S_ISFIFO(status.st_mode);
    if (!is_pipe_) {
        return;
    }
    singles_left_ = singles_max;
    if (const int own = ::open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC); own >= 0) {
        out_ = own;
        is_own_descriptor_ = true;
    }
}

StdoutWriter::~StdoutWriter() {
    if (is_own_descriptor_) {
        ::close(out_);
    }
}

StdoutWriter::Written StdoutWriter::write(std::string_view bytes) {
    Written written = write_accepted(bytes);
    if (!is_pipe_) {
        singles_left_ = 0;
        return written;
    }
    if (written.outcome == Outcome::written && singles_left_ != 0) {
        const Taken taken = wait_until_taken();
        singles_left_ = taken == Taken::not_yet ? 0 : singles_left_ - 1;
        if (taken == Taken::reader_gone) {
            written.outcome = Outcome::reader_gone;
        }
    }
    if (written.outcome == Outcome::reader_gone) {
        written.size -= std::min(written.size, unread());  // What is in the pipe now, nobody will ever get.
    }
    return written;
}

StdoutWriter::Written StdoutWriter::write_accepted(std::string_view bytes) {
    std::size_t accepted = 0;
    while (accepted < bytes.size()) {
        const auto size = ::write(out_, bytes.data() + accepted, bytes.size() - accepted);
        if (size >= 0) {
            accepted += static_cast<std::size_t>(size);
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return {Outcome::reader_gone, accepted};
        } else if (errno == EAGAIN) {
            if (!interrupt_.wait_ready(out_, POLLOUT) && interrupt_.has_signal()) {
                return {Outcome::stopped, accepted};
            }
        } else if (errno != EINTR) {
            return {Outcome::failed, accepted, {errno, std::generic_category()}};
        }
    }
    return {Outcome::written, accepted};
}

std::size_t StdoutWriter::unread() const noexcept {
    int size = 0;
    return ::ioctl(STDOUT_FILENO, FIONREAD, &size) == 0 && size > 0 ? static_cast<std::size_t>(size) : 0;
}

// Nothing tells a writer that a pipe has become empty, so it looks again after short and growing waits; the reader's
// leaving ends a wait at once.
StdoutWriter::Taken StdoutWriter::wait_until_taken() const noexcept {
    const auto deadline = std::chrono::steady_clock::now() + taking_patience;
    for (long wait_ns = 20'000;; wait_ns = std::min(wait_ns * 2, 5'000'000L)) {
        const bool is_empty = unread() == 0;
        pollfd readers{STDOUT_FILENO, 0, 0};
        const timespec wait{.tv_sec = 0, .tv_nsec = is_empty ? 0 : wait_ns};
        const bool is_gone = ::ppoll(&readers, 1, &wait, nullptr) > 0;
        if (is_empty) {
            return Taken::all;
        }
        if (is_gone) {
            return unread() == 0 ? Taken::all : Taken::reader_gone;
        }
        if (interrupt_.has_signal() || std::chrono::steady_clock::now() >= deadline) {
            return Taken::not_yet;
        }
    }
}

}  // namespace baton::cli
