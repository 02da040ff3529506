#include "server/storage/posix_file.hpp"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>

namespace baton::storage {

namespace {

// Linux takes no more than IOV_MAX at once; less keeps the array on the stack small.
constexpr std::size_t pieces_max = 256;
static_assert(pieces_max <= IOV_MAX);

// What every disk and file system of today is content with.
constexpr std::size_t direct_alignment = 4096;
constexpr std::size_t staging_size = 512 * 1024;

// The parts from a position within them on, as the system wants them.
class Pieces {
public:
    explicit Pieces(std::span<const Bytes> parts) noexcept : parts_{parts} { skip_empty(); }

    [[nodiscard]] bool is_empty() const noexcept { return parts_.empty(); }

    [[nodiscard]] std::span<const iovec> next() noexcept {
        const std::size_t count = std::min(parts_.size(), pieces_max);
        for (std::size_t i = 0; i < count; ++i) {
            const Bytes part = i == 0 ? parts_[0].subspan(offset_) : parts_[i];
            pieces_[i] = {.iov_base = const_cast<std::byte*>(part.data()), .iov_len = part.size()};
        }
        return std::span{pieces_}.first(count);
    }

    void advance(std::size_t size) noexcept {
        while (size > 0) {
            const std::size_t piece = std::min(size, parts_[0].size() - offset_);
            offset_ += piece;
            size -= piece;
            skip_empty();
        }
    }

private:
    void skip_empty() noexcept {
        while (!parts_.empty() && offset_ == parts_[0].size()) {
            parts_ = parts_.subspan(1);
            offset_ = 0;
        }
    }

    std::span<const Bytes> parts_;
    std::size_t offset_ = 0;  // In the first one.
    std::array<iovec, pieces_max> pieces_;
};

}  // namespace

Result<std::size_t> PosixFile::read(std::uint64_t position, MutableBytes out) {
    if (staging_ != nullptr && !set_direct(false)) {
        return fail_errno(path_, "fcntl");
    }
    staging_.reset();  // Who reads a file wants the cache.
    std::size_t done = 0;
    while (done < out.size()) {
        const ssize_t count = uninterrupted([&] {
            return ::pread(descriptor_.number(), out.data() + done, out.size() - done,
                           static_cast<off_t>(position + done));
        });
        if (count < 0) {
            return fail_errno(path_, "read");
        }
        if (count == 0) {
            break;
        }
        done += static_cast<std::size_t>(count);
    }
    return done;
}

Result<void> PosixFile::write(std::uint64_t position, std::span<const Bytes> parts) {
    if (staging_ == nullptr) {
        return write_cached(position, parts);
    }
    std::uint64_t size = 0;
    for (const Bytes part : parts) {
        size += part.size();
    }
    if (position % direct_alignment == 0 && size % direct_alignment == 0) {
        return write_direct(position, parts);
    }
    if (!set_direct(false)) {
        return fail_errno(path_, "fcntl");
    }
    auto written = write_cached(position, parts);
    if (!set_direct(true)) {
        staging_.reset();
    }
    return written;
}

bool PosixFile::set_direct(bool is_direct) noexcept {
    const int flags = ::fcntl(descriptor_.number(), F_GETFL);
    const int wanted = is_direct ? flags | O_DIRECT : flags & ~O_DIRECT;
    return flags >= 0 && ::fcntl(descriptor_.number(), F_SETFL, wanted) == 0;
}

void PosixFile::prefer_direct() {
    if (staging_ == nullptr && set_direct(true)) {
        staging_.reset(static_cast<std::byte*>(std::aligned_alloc(direct_alignment, staging_size)));
        if (staging_ == nullptr && !set_direct(false)) {
            BATON_ASSERT_MSG(false, "a file that can only be written in aligned pieces");
        }
    }
}

// Through an aligned buffer, because the parts are where they are. Both the file and the position stay aligned.
Result<void> PosixFile::write_direct(std::uint64_t position, std::span<const Bytes> parts) {
    std::size_t part = 0;
    std::size_t offset = 0;
    while (true) {
        std::size_t staged = 0;
        while (part < parts.size() && staged < staging_size) {
            const Bytes rest = parts[part].subspan(offset);
            const std::size_t size = std::min(rest.size(), staging_size - staged);
            copy_bytes(staging_.get() + staged, rest.first(size));
            staged += size;
            offset += size;
            if (offset == parts[part].size()) {
                ++part;
                offset = 0;
            }
        }
        if (staged == 0) {
            return {};
        }
        for (std::size_t done = 0; done < staged;) {
            const ssize_t count = uninterrupted([&] {
                return ::pwrite(descriptor_.number(), staging_.get() + done, staged - done,
                                static_cast<off_t>(position + done));
            });
            if (count < 0) {
                return fail_errno(path_, "write");
            }
            if (count == 0 || static_cast<std::size_t>(count) % direct_alignment != 0) {
                return fail(Errc::io_error, path_ + ": write: the system takes only a part of a block");
            }
            done += static_cast<std::size_t>(count);
        }
        position += staged;
    }
}

Result<void> PosixFile::write_cached(std::uint64_t position, std::span<const Bytes> parts) {
    Pieces pieces{parts};
    while (!pieces.is_empty()) {
        const std::span<const iovec> next = pieces.next();
        const ssize_t count = uninterrupted([&] {
            return ::pwritev(descriptor_.number(), next.data(), static_cast<int>(next.size()),
                             static_cast<off_t>(position));
        });
        if (count < 0) {
            return fail_errno(path_, "write");
        }
        if (count == 0) {
            return fail(Errc::io_error, path_ + ": write: the system takes nothing");
        }
        position += static_cast<std::size_t>(count);
        pieces.advance(static_cast<std::size_t>(count));
    }
    return {};
}

Result<void> PosixFile::sync() {
    if (uninterrupted([&] { return ::fdatasync(descriptor_.number()); }) != 0) {
        return fail_errno(path_, "fdatasync");
    }
    return {};
}

Result<void> PosixFile::allocate(std::uint64_t size) {
    if (size == 0) {
        return {};
    }
    if (!uses_fallocate_) {
        return fill_with_zeros(size);
    }
    // Not posix_fallocate: its emulation writes to each block of a file that others may be reading.
    if (uninterrupted([&] { return ::fallocate(descriptor_.number(), 0, 0, static_cast<off_t>(size)); }) == 0) {
        return {};
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
        return fill_with_zeros(size);
    }
    return fail_errno(path_, "fallocate");
}

// Only behind the end: what is there already has its space, unless somebody made holes.
Result<void> PosixFile::fill_with_zeros(std::uint64_t size) {
    static constexpr std::array<std::byte, 64 * 1024> zeros{};
    auto end = this->size();
    while (end && *end < size) {
        const Bytes part =
            Bytes{zeros}.first(static_cast<std::size_t>(std::min<std::uint64_t>(zeros.size(), size - *end)));
        if (auto written = write(*end, {&part, 1}); !written) {
            return written;
        }
        *end += part.size();
    }
    return end ? Result<void>{} : fail(std::move(end.error()));
}

Result<void> PosixFile::truncate(std::uint64_t size) {
    if (uninterrupted([&] { return ::ftruncate(descriptor_.number(), static_cast<off_t>(size)); }) != 0) {
        // EINVAL is how Linux says that it is open for reading only.
        return fail_errno(path_, "ftruncate", errno == EINVAL ? EBADF : errno);
    }
    return {};
}

Result<std::uint64_t> PosixFile::size() {
    struct stat status{};
    if (::fstat(descriptor_.number(), &status) != 0) {
        return fail_errno(path_, "fstat");
    }
    return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace baton::storage
