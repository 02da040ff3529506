#include "server/app/ready.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/net/descriptor.hpp"

namespace baton::app {

namespace {

const char* kind_of(mode_t mode) noexcept {
    switch (mode & S_IFMT) {
        case S_IFDIR: return "a directory";
        case S_IFIFO: return "a FIFO";
        case S_IFLNK: return "a symbolic link";
        case S_IFSOCK: return "a socket";
        default: return "a device";
    }
}

Result<void> check_replaceable(const std::string& path) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) {
        return errno == ENOENT ? Result<void>{} : fail(errno_error("cannot write the ready file " + path));
    }
    if (S_ISREG(status.st_mode)) {
        return {};
    }
    return fail({}, "cannot write the ready file " + path + ": it exists and is " + kind_of(status.st_mode) +
                        ", not a regular file; choose another --ready-file");
}

Result<void> put_in_place(const std::string& temporary, const std::string& path) {
    if (auto checked = check_replaceable(path); !checked) {
        return checked;
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
        return fail(errno_error("cannot write the ready file " + path));
    }
    return {};
}

/// By its number and its content: the number may have been given to another file once ours was gone, and a file that was
/// rewritten keeps its own.
bool is_still_there(const ReadyFile& written) {
    const net::Descriptor file{::open(written.path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
    struct stat status{};
    if (!file || ::fstat(file.number(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_dev != written.device ||
        status.st_ino != written.number) {
        return false;
    }
    std::string text(written.text.size() + 1, '\0');
    const auto size = ::read(file.number(), text.data(), text.size());
    return size >= 0 && text.substr(0, static_cast<std::size_t>(size)) == written.text;
}

}  // namespace

Result<void> check_ready_file(const std::string& path) {
    const std::filesystem::path file{path};
    const auto folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path{"."};
    std::error_code error;
    if (!std::filesystem::is_directory(folder, error)) {
        return fail(error ? error : std::make_error_code(std::errc::not_a_directory),
                    "cannot write the ready file " + path + ": make the folder " + folder.string() +
                        " first, or choose another --ready-file");
    }
    if (::access(folder.c_str(), W_OK | X_OK) != 0) {
        return fail(errno_error("cannot write the ready file " + path + ": make the folder " + folder.string() +
                                " writable for this user, or choose another --ready-file"));
    }
    return check_replaceable(path);
}

void remove_ready_file(const std::string& path) {
    if (check_replaceable(path)) {
        ::unlink(path.c_str());
    }
}

Result<ReadyFile> write_ready_file(const std::string& path, const std::vector<std::string>& listen) {
    const auto temporary = path + "." + std::to_string(::getpid()) + ".tmp";
    const nlohmann::json content{{"pid", ::getpid()}, {"listen", listen}};
    // Paths of sockets are any bytes.
    const auto text = content.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    const net::Descriptor file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!file) {
        return fail(errno_error("cannot write the ready file " + temporary));
    }
    struct stat status{};
    const bool is_written = ::write(file.number(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                            ::fstat(file.number(), &status) == 0;
    auto placed = is_written ? put_in_place(temporary, path) : fail(errno_error("cannot write the ready file " + path));
    if (!placed) {
        ::unlink(temporary.c_str());
        return fail(std::move(placed.error()));
    }
    return ReadyFile{.path = path, .text = text, .device = status.st_dev, .number = status.st_ino};
}

void remove_own_ready_file(const ReadyFile& written) {
    if (is_still_there(written)) {
        ::unlink(written.path.c_str());
    }
}

void notify_service_manager(const std::string& state) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    sockaddr_un address{};
    if (path == nullptr || (path[0] != '/' && path[0] != '@') || std::strlen(path) >= sizeof address.sun_path) {
        return;
    }
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path);
    if (path[0] == '@') {
        address.sun_path[0] = '\0';  // Abstract namespace.
    }
    const net::Descriptor socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
    // Nobody may listen; then there is nobody to tell.
    [[maybe_unused]] const auto sent = ::sendto(socket.number(), state.data(), state.size(), MSG_NOSIGNAL,
                                                reinterpret_cast<const sockaddr*>(&address), size);
}

}  // namespace baton::app
