// Binding, the accept loop and what it does when descriptors run out.
#include "common/net/listener.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/assert.hpp"
#include "common/net/errc.hpp"

namespace baton::net {

namespace {

constexpr mode_t socket_mode = 0660;

[[nodiscard]] std::unexpected<Error> cannot_listen(const Endpoint& endpoint, std::error_code code,
                                                   const std::string& detail = {}) {
    return fail(code, "cannot listen on " + to_url(endpoint) + (detail.empty() ? "" : ": " + detail));
}

[[nodiscard]] Descriptor open_spare() noexcept {
    return Descriptor{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
}

// A bound and listening socket, or the reason why not.
[[nodiscard]] std::expected<Descriptor, std::error_code> listen_on_address(const sockaddr* address,
                                                                           socklen_t size) noexcept {
    const int family = address->sa_family;
    Descriptor socket{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    const int on = 1;
    if (!socket) {
        return std::unexpected{system_error(errno)};
    }
    if (family != AF_UNIX && ::setsockopt(socket.number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) {
        return std::unexpected{system_error(errno)};
    }
    if (family == AF_INET6 && ::setsockopt(socket.number(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) {
        return std::unexpected{system_error(errno)};
    }
    if (::bind(socket.number(), address, size) != 0) {
        return std::unexpected{system_error(errno)};
    }
    if (family == AF_UNIX) {
        // Nobody can connect before listen(), so there is no moment with the wrong mode.
        const auto* path = reinterpret_cast<const sockaddr_un*>(address)->sun_path;
        if (::chmod(path, socket_mode) != 0) {
            return std::unexpected{system_error(errno)};
        }
    }
    if (::listen(socket.number(), SOMAXCONN) != 0) {
        return std::unexpected{system_error(errno)};
    }
    return socket;
}

// The address and the port that the system gave to a listening TCP socket.
[[nodiscard]] Endpoint bound_endpoint(int descriptor, const Endpoint& asked) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
        ::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host, sizeof host, port, sizeof port,
                      NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return asked;
    }
    return Endpoint::tcp(host, static_cast<std::uint16_t>(std::stoi(port)));
}

[[nodiscard]] Result<Descriptor> listen_on_tcp(const Endpoint& endpoint) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    const auto port = std::to_string(endpoint.port);
    if (const int error = ::getaddrinfo(endpoint.host.c_str(), port.c_str(), &hints, &found); error != 0) {
        return cannot_listen(endpoint, make_error_code(Errc::host_not_found), ::gai_strerror(error));
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses{found, &::freeaddrinfo};
    std::error_code last_error;
    for (const auto* each = addresses.get(); each != nullptr; each = each->ai_next) {
        auto socket = listen_on_address(each->ai_addr, each->ai_addrlen);
        if (socket) {
            return std::move(*socket);
        }
        last_error = socket.error();
    }
    return cannot_listen(endpoint, last_error);
}

[[nodiscard]] Result<Descriptor> lock_path(const Endpoint& endpoint) {
    const auto lock_file = endpoint.path + ".lock";
    Descriptor lock{::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, socket_mode)};
    if (!lock) {
        return cannot_listen(endpoint, system_error(errno), lock_file);
    }
    if (::flock(lock.number(), LOCK_EX | LOCK_NB) != 0) {
        const auto code = errno == EWOULDBLOCK ? make_error_code(Errc::already_listening) : system_error(errno);
        return cannot_listen(endpoint, code, lock_file);
    }
    return lock;
}

// Holding the lock, a socket file is a leftover of somebody who is gone. Anything else is not ours to delete.
[[nodiscard]] Result<void> remove_stale_socket(const Endpoint& endpoint) {
    struct stat status{};
    if (::lstat(endpoint.path.c_str(), &status) != 0) {
        return errno == ENOENT ? Result<void>{} : cannot_listen(endpoint, system_error(errno));
    }
    if (!S_ISSOCK(status.st_mode)) {
        return cannot_listen(endpoint, make_error_code(Errc::not_a_socket));
    }
    if (::unlink(endpoint.path.c_str()) != 0 && errno != ENOENT) {
        return cannot_listen(endpoint, system_error(errno), "cannot remove the stale socket");
    }
    return {};
}

[[nodiscard]] Result<Descriptor> listen_on_unix(const Endpoint& endpoint) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (endpoint.path.size() > unix_path_max) {
        return cannot_listen(endpoint, make_error_code(Errc::path_too_long));
    }
    std::memcpy(address.sun_path, endpoint.path.data(), endpoint.path.size());
    auto socket = listen_on_address(reinterpret_cast<const sockaddr*>(&address), sizeof address);
    if (!socket) {
        return cannot_listen(endpoint, socket.error());
    }
    return std::move(*socket);
}

// The connection that was to be accepted is gone, or it was for nothing: the next one may be fine (accept(2) lists the
// errors of the network which are passed on).
[[nodiscard]] bool concerns_one_connection(int error) noexcept {
    switch (error) {
        case EINTR:
        case ECONNABORTED:
        case EPROTO:
        case ENOPROTOOPT:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
        case EPERM:  // A firewall said no.
            return true;
        default:
            return false;
    }
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::listen(const Executor& executor, const Endpoint& endpoint,
                                                   ListenerEvents& events) {
    SocketFile file;
    Descriptor socket;
    Endpoint local = endpoint;
    if (endpoint.transport == Transport::tcp) {
        auto listening = listen_on_tcp(endpoint);
        if (!listening) {
            return fail(std::move(listening.error()));
        }
        socket = std::move(*listening);
        local = bound_endpoint(socket.number(), endpoint);
    } else {
        auto lock = lock_path(endpoint);
        if (!lock) {
            return fail(std::move(lock.error()));
        }
        if (auto removed = remove_stale_socket(endpoint); !removed) {
            return fail(std::move(removed.error()));
        }
        auto listening = listen_on_unix(endpoint);
        if (!listening) {
            return fail(std::move(listening.error()));
        }
        socket = std::move(*listening);
        struct stat status{};
        if (::lstat(endpoint.path.c_str(), &status) != 0) {
            return cannot_listen(endpoint, system_error(errno));
        }
        file = {std::move(*lock), endpoint.path, status.st_dev, status.st_ino};
    }

    std::unique_ptr<Listener> listener{new Listener{executor, events, std::move(local), std::move(file)}};
    std::error_code code;
    listener->waiter_.assign(socket.number(), code);
    if (code) {
        return cannot_listen(endpoint, portable(code));
    }
    static_cast<void>(socket.release());  // The waiter owns it now.
    return listener;
}

Listener::Listener(const Executor& executor, ListenerEvents& events, Endpoint local, SocketFile file) noexcept
    : events_{events},
      local_{std::move(local)},
      file_{std::move(file)},
      spare_{open_spare()},
      waiter_{executor},
      retry_timer_{executor} {}

Listener::~Listener() {
    close();
}

void Listener::start() noexcept {
    BATON_ASSERT(waiter_.is_open());
    wait();
}

void Listener::close() noexcept {
    // The file goes first: nobody shall connect to a socket that is about to be closed.
    remove_socket_file();
    std::error_code ignored;
    waiter_.close(ignored);
    retry_timer_.cancel();
    file_.lock.reset();
    spare_.reset();
}

void Listener::wait() noexcept {
    waiter_.async_wait(Waiter::wait_read, [this, watch = life_.watch()](std::error_code code) {
        if (!watch.is_gone() && waiter_.is_open() && !code) {
            accept_turn();
        }
    });
}

void Listener::retry_later() noexcept {
    retry_timer_.expires_after(retry_delay);
    retry_timer_.async_wait([this, watch = life_.watch()](std::error_code code) {
        if (!watch.is_gone() && waiter_.is_open() && !code) {
            accept_turn();
        }
    });
}

void Listener::accept_turn() noexcept {
    const auto watch = life_.watch();
    for (int tries = 0; tries < accept_turn_max; ++tries) {
        Descriptor accepted{::accept4(waiter_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        if (accepted && accepted.number() >= descriptor_end_) {
            accepted.reset();  // Turned away.
            tell_trouble(EMFILE);
            continue;
        }
        if (accepted) {
            is_in_trouble_ = false;
            events_.on_accepted(std::move(accepted));
            if (watch.is_gone() || !waiter_.is_open()) {
                return;
            }
            continue;
        }
        const int error = errno;
        if (concerns_one_connection(error)) {
            continue;
        }
        const bool is_out_of_descriptors = error == EMFILE || error == ENFILE;
        // The kernel looks for a free descriptor before it looks for a connection: perhaps nobody is there at all.
        if (error == EAGAIN || error == EWOULDBLOCK || (is_out_of_descriptors && spare_ && !turn_away())) {
            break;
        }
        retry_later();
        tell_trouble(error);
        return;
    }
    wait();
}

void Listener::tell_trouble(int error) noexcept {
    if (!std::exchange(is_in_trouble_, true)) {
        events_.on_accept_trouble(system_error(error));
    }
}

void Listener::leave_descriptors(std::size_t count) noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < INT_MAX) {
        descriptor_end_ = static_cast<int>(limit.rlim_cur - std::min<rlim_t>(count, limit.rlim_cur / 4));
    }
}

bool Listener::turn_away() noexcept {
    spare_.reset();
    bool has_turned_away = false;
    for (int tries = 0; tries < accept_turn_max; ++tries) {
        const Descriptor accepted{::accept4(waiter_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC)};
        if (!accepted) {
            // Another thread may have taken the number in between: then somebody may well be waiting.
            has_turned_away = has_turned_away || errno == EMFILE || errno == ENFILE;
            break;
        }
        has_turned_away = true;  // Closed at once, so that the peer knows and can try elsewhere or later.
    }
    spare_ = open_spare();
    return has_turned_away;
}

void Listener::remove_socket_file() noexcept {
    if (file_.path.empty()) {
        return;
    }
    struct stat status{};
    if (::lstat(file_.path.c_str(), &status) == 0 && status.st_dev == file_.device && status.st_ino == file_.inode) {
        ::unlink(file_.path.c_str());
    }
    file_.path.clear();
}

}  // namespace baton::net
