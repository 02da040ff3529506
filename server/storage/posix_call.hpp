// Pieces that posix_file.cpp and posix_file_system.cpp share: a descriptor's owner, calls that a signal may interrupt,
// and what an errno means. Any thread. Next file: posix_file.hpp.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "common/base/result.hpp"
#include "server/storage/errc.hpp"

namespace baton::storage {

class OwnedDescriptor {
public:
    explicit OwnedDescriptor(int number) noexcept : number_{number} {}
    OwnedDescriptor(OwnedDescriptor&& other) noexcept : number_{other.release()} {}
    OwnedDescriptor& operator=(OwnedDescriptor&&) = delete;
    ~OwnedDescriptor() {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    [[nodiscard]] explicit operator bool() const noexcept { return number_ >= 0; }
    [[nodiscard]] int number() const noexcept { return number_; }
    [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }

private:
    int number_;
};

/// Repeats a call that a signal interrupted. -1: see errno.
template <class Call>
[[nodiscard]] auto uninterrupted(Call&& call) {
    auto result = call();
    while (result == -1 && errno == EINTR) {
        result = call();
    }
    return result;
}

[[nodiscard]] inline Errc errc_of(int number) noexcept {
    switch (number) {
        case ENOSPC:
        case EDQUOT:
        case EMFILE:
        case ENFILE:
        case ENOMEM:
            return Errc::no_space;
        case ENOENT:
            return Errc::not_found;
        case EEXIST:
        case ENOTEMPTY:
            return Errc::exists;
        case EACCES:
        case EPERM:
        case EROFS:
        case EISDIR:
        case EBADF:  // Written to and open for reading.
            return Errc::not_permitted;
        case ENOTDIR:
            return Errc::not_a_directory;
        default:
            return Errc::io_error;
    }
}

/// "DATA/x: write: No space left on device", with the code that it comes to.
[[nodiscard]] inline std::unexpected<Error> fail_errno(const std::string& path, const char* call, int number = errno) {
    return fail(errc_of(number), path + ": " + call + ": " + std::system_category().message(number));
}

}  // namespace baton::storage
