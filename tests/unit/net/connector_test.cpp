// Connecting: whom, how long, what it says if it did not work, and how it is called off.
#include "common/net/connector.hpp"

#include <sys/un.h>

#include <optional>

#include <gtest/gtest.h>

#include "common/net/errc.hpp"
#include "common/net/listener.hpp"
#include "tests/unit/net/test_loop.hpp"

namespace baton::net::test {
namespace {

using std::chrono::milliseconds;

struct IgnoreAccepted final : ListenerEvents {
    std::vector<Descriptor> sockets;
    void on_accepted(Descriptor socket) noexcept override { sockets.push_back(std::move(socket)); }
    void on_accept_trouble(std::error_code /*reason*/) noexcept override {}
};

class ConnectorTest : public ::testing::Test {
protected:
    // Runs one attempt to its end.
    [[nodiscard]] Result<Socket> connect(const Endpoint& endpoint, Duration timeout = watchdog) {
        std::optional<Result<Socket>> result;
        connector.connect(endpoint, timeout, [&](Result<Socket> got) {
            EXPECT_FALSE(result);
            result.emplace(std::move(got));
        });
        EXPECT_FALSE(result) << "called from inside connect()";
        EXPECT_TRUE(loop.run_until([&] { return result.has_value(); }));
        EXPECT_FALSE(connector.is_connecting());
        return result ? std::move(*result) : fail(make_error_code(Errc::connect_timeout));
    }

    [[nodiscard]] std::unique_ptr<Listener> listening(const Endpoint& endpoint) {
        auto listener = Listener::listen(loop.executor(), endpoint, accepted).value();
        listener->start();
        return listener;
    }

    // A Unix listener whose queue is full, and those who fill it.
    [[nodiscard]] Descriptor full_unix_listener(const std::string& path, std::vector<Descriptor>& waiting) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        const auto* const plain = reinterpret_cast<const sockaddr*>(&address);
        Descriptor listener{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        EXPECT_EQ(::bind(listener.number(), plain, sizeof address), 0);
        EXPECT_EQ(::listen(listener.number(), 0), 0);
        do {
            waiting.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        } while (::connect(waiting.back().number(), plain, sizeof address) == 0);
        EXPECT_EQ(errno, EAGAIN);
        return listener;
    }

    TestLoop loop;
    TemporaryDirectory directory;
    IgnoreAccepted accepted;
    Connector connector{loop.executor()};
};

TEST_F(ConnectorTest, ConnectsByAddressByNameAndByPath) {
    const auto tcp = listening(Endpoint::tcp("127.0.0.1", 0));
    const auto port = tcp->local_endpoint().port;
    const auto unix_socket = listening(Endpoint::unix_socket(directory.file("b.sock")));
    for (const auto& endpoint :
         {tcp->local_endpoint(), Endpoint::tcp("localhost", port), unix_socket->local_endpoint()}) {
        const auto socket = connect(endpoint);
        ASSERT_TRUE(socket) << socket.error().message();
        EXPECT_TRUE(socket->native_non_blocking());
    }
    EXPECT_TRUE(loop.run_until([&] { return accepted.sockets.size() == 3; }));
}

TEST_F(ConnectorTest, ConnectsByIpv6Address) {
    auto listener = Listener::listen(loop.executor(), Endpoint::tcp("::1", 0), accepted);
    if (!listener) {
        GTEST_SKIP() << listener.error().message();
    }
    EXPECT_TRUE(connect((*listener)->local_endpoint()));
}

TEST_F(ConnectorTest, SaysWhoRefused) {
    auto [listener, port] = plain_listener(1);
    listener.reset();
    const auto socket = connect(Endpoint::tcp("127.0.0.1", port));
    ASSERT_FALSE(socket);
    EXPECT_EQ(socket.error().code, std::errc::connection_refused);
    EXPECT_EQ(socket.error().context, "cannot connect to baton://127.0.0.1:" + std::to_string(port));

    const auto missing = connect(Endpoint::unix_socket(directory.file("none")));
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, std::errc::no_such_file_or_directory);
    const auto too_long = connect(Endpoint::unix_socket("/" + std::string(unix_path_max, 'x')));
    ASSERT_FALSE(too_long);
    EXPECT_EQ(too_long.error().code, make_error_code(Errc::path_too_long));
    EXPECT_FALSE(connect(Endpoint::tcp("no-such-host.invalid", 1)));
}

TEST_F(ConnectorTest, GivesUpAtTheDeadline) {
    // The queue holds one connection, the next one gets no answer.
    const auto [listener, port] = plain_listener(0);
    const auto first = connect(Endpoint::tcp("127.0.0.1", port));
    ASSERT_TRUE(first);
    const auto second = connect(Endpoint::tcp("127.0.0.1", port), milliseconds{20});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, make_error_code(Errc::connect_timeout));
}

TEST_F(ConnectorTest, WaitsForAPlaceInTheQueueOfAUnixSocket) {
    const auto path = directory.file("b.sock");
    std::vector<Descriptor> waiting;
    const auto listener = full_unix_listener(path, waiting);
    const auto too_late = connect(Endpoint::unix_socket(path), milliseconds{20});
    ASSERT_FALSE(too_late);
    EXPECT_EQ(too_late.error().code, make_error_code(Errc::connect_timeout));

    std::optional<Result<Socket>> result;
    connector.connect(Endpoint::unix_socket(path), watchdog,
                      [&](Result<Socket> got) { result.emplace(std::move(got)); });
    loop.poll();  // The first try has failed.
    EXPECT_FALSE(result);
    const Descriptor taken_out{::accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC)};
    ASSERT_TRUE(loop.run_until([&] { return result.has_value(); }));
    EXPECT_TRUE(*result);
}

TEST_F(ConnectorTest, ACancelledAttemptIsSilent) {
    const auto [listener, port] = plain_listener(1);
    for (const auto& endpoint : {Endpoint::tcp("127.0.0.1", port), Endpoint::tcp("localhost", port),
                                 Endpoint::unix_socket(directory.file("none"))}) {
        for (const bool has_begun : {false, true}) {
            bool is_cancelled = false;
            connector.connect(endpoint, watchdog, [&](const Result<Socket>&) { EXPECT_FALSE(is_cancelled); });
            if (has_begun) {
                loop.context().restart();
                loop.context().run_one();
            }
            connector.cancel();
            is_cancelled = true;
            EXPECT_FALSE(connector.is_connecting());
            loop.context().restart();
            loop.context().run();  // Returns: nothing is waited for any more.
        }
    }
    EXPECT_TRUE(connect(Endpoint::tcp("127.0.0.1", port)));  // It can be used again.
}

TEST_F(ConnectorTest, MayBeDestroyedFromItsAnswer) {
    const auto [listener, port] = plain_listener(1);
    std::optional<Connector> mine;
    mine.emplace(loop.executor());
    bool is_done = false;
    mine->connect(Endpoint::tcp("127.0.0.1", port), watchdog, [&](const Result<Socket>& socket) {
        mine.reset();
        EXPECT_TRUE(socket);
        is_done = true;
    });
    EXPECT_TRUE(loop.run_until([&] { return is_done; }));
}

TEST_F(ConnectorTest, TheNextAttemptMayBeginInTheAnswer) {
    const auto tcp = listening(Endpoint::tcp("127.0.0.1", 0));
    bool is_done = false;
    connector.connect(Endpoint::unix_socket(directory.file("none")), watchdog, [&](const Result<Socket>& first) {
        EXPECT_FALSE(first);
        connector.connect(tcp->local_endpoint(), watchdog, [&](const Result<Socket>& second) {
            EXPECT_TRUE(second);
            is_done = true;
        });
    });
    EXPECT_TRUE(loop.run_until([&] { return is_done; }));
}

}  // namespace
}  // namespace baton::net::test
