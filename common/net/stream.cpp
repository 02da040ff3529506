// Socket options, and moving sockets between threads, with the system calls that Asio does not have.
#include "common/net/stream.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace baton::net {

namespace {

[[nodiscard]] std::error_code last_system_error() noexcept {
    return {errno, std::system_category()};
}

// AF_INET, AF_INET6 or AF_UNIX; negative if it is no socket.
[[nodiscard]] int address_family(int descriptor) noexcept {
    int family = -1;
    socklen_t size = sizeof family;
    return ::getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 ? family : -1;
}

[[nodiscard]] bool enable(int descriptor, int level, int option) noexcept {
    const int on = 1;
    return ::setsockopt(descriptor, level, option, &on, sizeof on) == 0;
}

[[nodiscard]] std::string unix_peer_name(int descriptor) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
        return "unknown";
    }
    return "unix:pid=" + std::to_string(credentials.pid) + ",uid=" + std::to_string(credentials.uid);
}

}  // namespace

std::error_code prepare(Socket& socket) noexcept {
    std::error_code code;
    socket.native_non_blocking(true, code);
    if (code) {
        return portable(code);
    }
    const int descriptor = socket.native_handle();
    if (::fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0) {
        return last_system_error();
    }
    if (address_family(descriptor) != AF_UNIX) {
        if (!enable(descriptor, IPPROTO_TCP, TCP_NODELAY) || !enable(descriptor, SOL_SOCKET, SO_KEEPALIVE)) {
            return last_system_error();
        }
    }
    return {};
}

Result<Socket> adopt(const Executor& executor, Descriptor descriptor) {
    const int family = address_family(descriptor.number());
    if (family < 0) {
        return fail(last_system_error(), "cannot take over a connection");
    }
    Socket socket{executor};
    std::error_code code;
    socket.assign(asio::generic::stream_protocol{family, 0}, descriptor.number(), code);
    if (code) {
        return fail(portable(code), "cannot take over a connection");
    }
    static_cast<void>(descriptor.release());  // The socket owns it now.
    if (code = prepare(socket); code) {
        return fail(portable(code), "cannot prepare a connection");
    }
    return socket;
}

Result<Descriptor> release(Socket socket) {
    std::error_code code;
    Descriptor descriptor{socket.release(code)};
    if (code) {
        return fail(portable(code), "cannot release a connection");
    }
    return descriptor;
}

std::string peer_name(int descriptor) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        return "unknown";
    }
    char text[INET6_ADDRSTRLEN] = {};
    if (address.ss_family == AF_INET) {
        sockaddr_in ipv4;
        std::memcpy(&ipv4, &address, sizeof ipv4);
        if (::inet_ntop(AF_INET, &ipv4.sin_addr, text, sizeof text) != nullptr) {
            return std::string{text} + ':' + std::to_string(ntohs(ipv4.sin_port));
        }
    } else if (address.ss_family == AF_INET6) {
        sockaddr_in6 ipv6;
        std::memcpy(&ipv6, &address, sizeof ipv6);
        if (::inet_ntop(AF_INET6, &ipv6.sin6_addr, text, sizeof text) != nullptr) {
            return '[' + std::string{text} + "]:" + std::to_string(ntohs(ipv6.sin6_port));
        }
    } else if (address.ss_family == AF_UNIX) {
        return unix_peer_name(descriptor);
    }
    return "unknown";
}

}  // namespace baton::net
