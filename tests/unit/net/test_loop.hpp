// An event loop that a test drives until something is true, with a watchdog instead of sleeping; and plain sockets for
// the other side of what is tested.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/bytes.hpp"
#include "common/net/asio.hpp"
#include "common/net/descriptor.hpp"

namespace baton::net::test {

// Far longer than anything takes, also under a sanitizer on a busy machine.
constexpr std::chrono::seconds watchdog{30};

class TestLoop {
public:
    // Runs handlers until `is_done()`. False, and a failure of the test, if the watchdog bites or nothing is left to
    // do.
    template <class IsDone>
    [[nodiscard]] bool run_until(IsDone is_done) {
        const auto end = std::chrono::steady_clock::now() + watchdog;
        while (!is_done()) {
            context_.restart();
            if (context_.run_one_until(end) == 0) {
                ADD_FAILURE() << (std::chrono::steady_clock::now() >= end ? "the watchdog bit" : "nothing left to do");
                return false;
            }
        }
        return true;
    }

    // Runs what is ready now; returns how many handlers that was.
    std::size_t poll() {
        context_.restart();
        return context_.poll();
    }

    [[nodiscard]] IoContext& context() noexcept { return context_; }
    [[nodiscard]] Executor executor() noexcept { return context_.get_executor(); }

private:
    IoContext context_{1};
};

enum class Family : std::uint8_t { tcp, unix_socket };

// For the names of parameterised tests.
inline void PrintTo(Family family, std::ostream* out) {
    *out << (family == Family::tcp ? "tcp" : "unix");
}

struct DescriptorPair {
    Descriptor ours;
    Descriptor theirs;
};

[[nodiscard]] inline sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

// A plain listening socket with a queue for `backlog` + 1 connections, and its port.
[[nodiscard]] inline std::pair<Descriptor, std::uint16_t> plain_listener(int backlog) {
    Descriptor listener{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    auto address = loopback(0);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener.number(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener.number(), backlog), 0);
    EXPECT_EQ(::getsockname(listener.number(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    return {std::move(listener), ntohs(address.sin_port)};
}

// Two ends of one connection, both non-blocking.
[[nodiscard]] inline DescriptorPair connected_pair(Family family) {
    if (family == Family::unix_socket) {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
        return {Descriptor{ends[0]}, Descriptor{ends[1]}};
    }
    const auto [listener, port] = plain_listener(1);
    Descriptor theirs{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const auto address = loopback(port);
    EXPECT_EQ(::connect(theirs.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    Descriptor ours{::accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    const int flags = ::fcntl(theirs.number(), F_GETFL);
    EXPECT_EQ(::fcntl(theirs.number(), F_SETFL, flags | O_NONBLOCK), 0);
    return {std::move(ours), std::move(theirs)};
}

// Sends what the socket takes; returns how much that was.
[[nodiscard]] inline std::size_t send_some(const Descriptor& socket, Bytes bytes) {
    const auto sent = ::send(socket.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

enum class Received : std::uint8_t { bytes, nothing, end, error };

// Appends at most `size` received bytes.
inline Received receive_some(const Descriptor& socket, std::vector<std::byte>& to, std::size_t size = 64 * 1024) {
    const auto before = to.size();
    to.resize(before + size);
    const auto received = ::recv(socket.number(), to.data() + before, size, MSG_DONTWAIT);
    const int error = errno;
    to.resize(before + (received > 0 ? static_cast<std::size_t>(received) : 0));
    if (received < 0) {
        return error == EAGAIN ? Received::nothing : Received::error;
    }
    return received == 0 ? Received::end : Received::bytes;
}

// Waits for an event of the socket; false if the watchdog bites.
[[nodiscard]] inline bool wait_for(const Descriptor& socket, short events) {
    pollfd entry{socket.number(), events, 0};
    return ::poll(&entry, 1, static_cast<int>(std::chrono::milliseconds{watchdog}.count())) == 1;
}

// An empty directory that is gone with this object; its name is short enough for a Unix socket.
class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::string name = (std::filesystem::temp_directory_path() / "baton_net_XXXXXX").string();
        path_ = ::mkdtemp(name.data()) != nullptr ? name : "";
        EXPECT_FALSE(path_.empty());
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

}  // namespace baton::net::test
