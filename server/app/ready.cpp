#include "server/app/ready.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/net/descriptor.hpp"

namespace baton::app {

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
    if (std::filesystem::is_directory(file, error)) {
        return fail(std::make_error_code(std::errc::is_a_directory),
                    "cannot write the ready file " + path + ": choose another --ready-file");
    }
    return {};
}

void remove_ready_file(const std::string& path) {
    ::unlink(path.c_str());
}

void remove_own_ready_file(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    const auto content = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (content.is_object() && content.contains("pid") && content["pid"] == ::getpid()) {
        ::unlink(path.c_str());
    }
}

Result<void> write_ready_file(const std::string& path, const std::vector<std::string>& listen) {
    const auto temporary = path + "." + std::to_string(::getpid()) + ".tmp";
    const nlohmann::json content{{"pid", ::getpid()}, {"listen", listen}};
    // Paths of sockets are any bytes.
    const auto text = content.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    net::Descriptor file{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!file) {
        return fail(errno_error("cannot write the ready file " + temporary));
    }
    if (::write(file.number(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::rename(temporary.c_str(), path.c_str()) != 0) {
        auto error = errno_error("cannot write the ready file " + path);
        ::unlink(temporary.c_str());
        return fail(std::move(error));
    }
    return {};
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
