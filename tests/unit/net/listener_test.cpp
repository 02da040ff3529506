// Listening: which endpoints, who may listen beside whom, and what happens when descriptors run out.
#include "common/net/listener.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <optional>

#include <gtest/gtest.h>

#include "common/net/errc.hpp"
#include "tests/unit/net/test_loop.hpp"

namespace baton::net::test {
namespace {

struct Accepted final : ListenerEvents {
    std::vector<Descriptor> sockets;
    std::vector<std::error_code> troubles;
    std::function<void()> then = [] {};

    void on_accepted(Descriptor socket) noexcept override {
        sockets.push_back(std::move(socket));
        then();
    }
    void on_accept_trouble(std::error_code reason) noexcept override { troubles.push_back(reason); }
};

// A socket that is connected later, so that a test can make it while there are still descriptors.
class PlainClient {
public:
    explicit PlainClient(int family = AF_INET)
        : socket_{::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)} {}

    [[nodiscard]] bool connect(const Endpoint& endpoint) {
        int result = 0;
        if (endpoint.transport == Transport::unix_socket) {
            sockaddr_un address{};
            address.sun_family = AF_UNIX;
            std::memcpy(address.sun_path, endpoint.path.data(), endpoint.path.size());
            result = ::connect(socket_.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
        } else if (endpoint.host.find(':') != std::string::npos) {
            sockaddr_in6 address{};
            address.sin6_family = AF_INET6;
            address.sin6_addr = in6addr_loopback;
            address.sin6_port = htons(endpoint.port);
            result = ::connect(socket_.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
        } else {
            const auto address = loopback(endpoint.port);
            result = ::connect(socket_.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
        }
        return result == 0 || errno == EINPROGRESS;
    }

    // The other side has closed.
    [[nodiscard]] bool is_turned_away() {
        std::vector<std::byte> received;
        const auto outcome = receive_some(socket_, received);
        return outcome == Received::end || outcome == Received::error;
    }

private:
    Descriptor socket_;
};

class ListenerTest : public ::testing::Test {
protected:
    [[nodiscard]] Result<std::unique_ptr<Listener>> listen(const Endpoint& endpoint) {
        return Listener::listen(loop.executor(), endpoint, accepted);
    }

    // A started listener.
    [[nodiscard]] std::unique_ptr<Listener> listening(const Endpoint& endpoint) {
        auto listener = listen(endpoint);
        EXPECT_TRUE(listener) << listener.error().message();
        if (!listener) {
            return nullptr;
        }
        (*listener)->start();
        return std::move(*listener);
    }

    void expect_accepts(const Endpoint& endpoint, int family) {
        PlainClient client{family};
        const auto before = accepted.sockets.size();
        ASSERT_TRUE(client.connect(endpoint)) << std::strerror(errno);
        EXPECT_TRUE(loop.run_until([&] { return accepted.sockets.size() == before + 1; }));
    }

    TestLoop loop;
    TemporaryDirectory directory;
    Accepted accepted;
};

TEST_F(ListenerTest, TcpOnAPortOfTheSystemsChoice) {
    const auto listener = listening(Endpoint::tcp("127.0.0.1", 0));
    ASSERT_TRUE(listener);
    EXPECT_EQ(listener->local_endpoint().host, "127.0.0.1");
    EXPECT_NE(listener->local_endpoint().port, 0);
    expect_accepts(listener->local_endpoint(), AF_INET);
    expect_accepts(listener->local_endpoint(), AF_INET);
    const int flags = ::fcntl(accepted.sockets.front().number(), F_GETFD);
    EXPECT_NE(flags & FD_CLOEXEC, 0);
}

TEST_F(ListenerTest, TcpByName) {
    const auto listener = listening(Endpoint::tcp("localhost", 0));
    ASSERT_TRUE(listener);
    const auto& host = listener->local_endpoint().host;
    EXPECT_TRUE(host == "127.0.0.1" || host == "::1") << host;
    EXPECT_FALSE(listen(Endpoint::tcp("no-such-host.invalid", 1)));
}

TEST_F(ListenerTest, Ipv6BesideIpv4OnOnePort) {
    auto ipv6 = listen(Endpoint::tcp("::", 0));
    if (!ipv6) {
        GTEST_SKIP() << ipv6.error().message();
    }
    (*ipv6)->start();
    const auto port = (*ipv6)->local_endpoint().port;
    const auto ipv4 = listen(Endpoint::tcp("0.0.0.0", port));
    EXPECT_TRUE(ipv4) << ipv4.error().message();
    expect_accepts(Endpoint::tcp("::1", port), AF_INET6);
}

TEST_F(ListenerTest, AnAddressInUseIsNamed) {
    const auto first = listening(Endpoint::tcp("127.0.0.1", 0));
    ASSERT_TRUE(first);
    const auto second = listen(first->local_endpoint());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, std::errc::address_in_use);
    EXPECT_EQ(second.error().context, "cannot listen on " + to_url(first->local_endpoint()));
}

TEST_F(ListenerTest, TheAddressIsFreeAfterClose) {
    const auto first = listening(Endpoint::tcp("127.0.0.1", 0));
    ASSERT_TRUE(first);
    expect_accepts(first->local_endpoint(), AF_INET);
    first->close();
    first->close();
    EXPECT_TRUE(listen(first->local_endpoint()));
    loop.context().restart();
    loop.context().run();  // Returns: nothing is waited for any more.
}

TEST_F(ListenerTest, MayBeDestroyedOrClosedFromItsEvent) {
    auto listener = listening(Endpoint::tcp("127.0.0.1", 0));
    ASSERT_TRUE(listener);
    const auto endpoint = listener->local_endpoint();
    accepted.then = [&] { listener.reset(); };
    PlainClient other;
    ASSERT_TRUE(other.connect(endpoint));
    expect_accepts(endpoint, AF_INET);
    EXPECT_EQ(accepted.sockets.size(), 1U);

    listener = listening(endpoint);
    ASSERT_TRUE(listener);
    accepted.then = [&] { listener->close(); };
    expect_accepts(endpoint, AF_INET);
}

TEST_F(ListenerTest, UnixSocketOfTheOwnerAndTheGroup) {
    const auto endpoint = Endpoint::unix_socket(directory.file("b.sock"));
    auto listener = listening(endpoint);
    ASSERT_TRUE(listener);
    EXPECT_EQ(listener->local_endpoint(), endpoint);
    struct stat status{};
    ASSERT_EQ(::stat(endpoint.path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0660U);
    expect_accepts(endpoint, AF_UNIX);
    listener.reset();
    EXPECT_FALSE(std::filesystem::exists(endpoint.path));
}

TEST_F(ListenerTest, OnlyOneListenerOnAPath) {
    const auto endpoint = Endpoint::unix_socket(directory.file("b.sock"));
    auto first = listening(endpoint);
    ASSERT_TRUE(first);
    const auto second = listen(endpoint);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, make_error_code(Errc::already_listening));
    expect_accepts(endpoint, AF_UNIX);  // The first one has lost nothing.
    first.reset();
    EXPECT_TRUE(listening(endpoint));
}

TEST_F(ListenerTest, AStaleSocketIsReplaced) {
    const auto endpoint = Endpoint::unix_socket(directory.file("b.sock"));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, endpoint.path.data(), endpoint.path.size());
    {
        const Descriptor dead{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        ASSERT_EQ(::bind(dead.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    }
    const auto listener = listening(endpoint);
    ASSERT_TRUE(listener);
    expect_accepts(endpoint, AF_UNIX);
}

TEST_F(ListenerTest, AFileOfSomebodyElseIsNotDeleted) {
    const auto endpoint = Endpoint::unix_socket(directory.file("precious"));
    std::ofstream{endpoint.path} << "text";
    const auto listener = listen(endpoint);
    ASSERT_FALSE(listener);
    EXPECT_EQ(listener.error().code, make_error_code(Errc::not_a_socket));
    EXPECT_TRUE(std::filesystem::exists(endpoint.path));

    // Also not when somebody put it in the place of our socket.
    const auto taken = Endpoint::unix_socket(directory.file("b.sock"));
    auto ours = listening(taken);
    ASSERT_TRUE(ours);
    std::filesystem::remove(taken.path);
    std::ofstream{taken.path} << "text";
    ours.reset();
    EXPECT_TRUE(std::filesystem::exists(taken.path));
}

TEST_F(ListenerTest, APathThatCannotBeUsedIsNamed) {
    const auto missing = listen(Endpoint::unix_socket(directory.file("no/such/b.sock")));
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, std::errc::no_such_file_or_directory);
    const auto long_path = listen(Endpoint::unix_socket(directory.file(std::string(unix_path_max, 'x'))));
    ASSERT_FALSE(long_path);
    EXPECT_EQ(long_path.error().code, make_error_code(Errc::path_too_long));
}

// Takes every descriptor that the process may still have.
class NoDescriptors {
public:
    NoDescriptors() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        auto low = before_;
        low.rlim_cur = 256;
        EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
        take();
    }
    NoDescriptors(const NoDescriptors&) = delete;
    NoDescriptors& operator=(const NoDescriptors&) = delete;
    ~NoDescriptors() {
        taken_.clear();
        ::setrlimit(RLIMIT_NOFILE, &before_);
    }

    void take() {
        while (true) {
            Descriptor next{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
            if (!next) {
                EXPECT_EQ(errno, EMFILE);
                return;
            }
            taken_.push_back(std::move(next));
        }
    }
    void give_back(std::size_t count) { taken_.resize(taken_.size() - count); }

private:
    rlimit before_{};
    std::vector<Descriptor> taken_;
};

TEST_F(ListenerTest, SurvivesTheLackOfDescriptors) {
    const auto listener = listening(Endpoint::tcp("127.0.0.1", 0));
    ASSERT_TRUE(listener);
    const auto endpoint = listener->local_endpoint();
    std::vector<PlainClient> clients(8);
    loop.poll();  // The loop has what it needs itself.

    NoDescriptors none;
    ASSERT_TRUE(clients[0].connect(endpoint));
    ASSERT_TRUE(clients[1].connect(endpoint));
    EXPECT_TRUE(loop.run_until([&] { return clients[0].is_turned_away() && clients[1].is_turned_away(); }));
    ASSERT_TRUE(clients[2].connect(endpoint));
    EXPECT_TRUE(loop.run_until([&] { return clients[2].is_turned_away(); }));
    EXPECT_EQ(accepted.troubles.size(), 1U);  // One episode.
    EXPECT_EQ(accepted.troubles.front(), std::errc::too_many_files_open);

    none.give_back(1);
    ASSERT_TRUE(clients[3].connect(endpoint));
    EXPECT_TRUE(loop.run_until([&] { return accepted.sockets.size() == 1; }));
    EXPECT_FALSE(clients[3].is_turned_away());
    EXPECT_EQ(accepted.troubles.size(), 1U);

    ASSERT_TRUE(clients[4].connect(endpoint));
    EXPECT_TRUE(loop.run_until([&] { return clients[4].is_turned_away(); }));
    EXPECT_EQ(accepted.troubles.size(), 2U);  // The next one.

    // With the last descriptor taken by the last connection nobody else was there: no trouble.
    none.give_back(1);
    ASSERT_TRUE(clients[5].connect(endpoint));
    EXPECT_TRUE(loop.run_until([&] { return accepted.sockets.size() == 2; }));
    loop.poll();
    EXPECT_EQ(accepted.troubles.size(), 2U);
}

}  // namespace
}  // namespace baton::net::test
