// Endpoints as a table: what is accepted and how it is written back, what is refused and why.
#include "common/net/endpoint.hpp"

#include <gtest/gtest.h>

#include "common/net/errc.hpp"

namespace baton::net {
namespace {

TEST(ListenUrl, Accepted) {
    EXPECT_EQ(parse_listen_url("tcp://127.0.0.1:22866"), Endpoint::tcp("127.0.0.1", 22866));
    EXPECT_EQ(parse_listen_url("tcp://localhost:0"), Endpoint::tcp("localhost", 0));
    EXPECT_EQ(parse_listen_url("tcp://my-host_1.example:65535"), Endpoint::tcp("my-host_1.example", 65535));
    EXPECT_EQ(parse_listen_url("tcp://[::]:1"), Endpoint::tcp("::", 1));
    EXPECT_EQ(parse_listen_url("tcp://[fe80::1%eth0]:1"), Endpoint::tcp("fe80::1%eth0", 1));
    EXPECT_EQ(parse_listen_url("unix:///run/baton.sock"), Endpoint::unix_socket("/run/baton.sock"));
    EXPECT_EQ(parse_listen_url("unix:///a%20b:c@d"), Endpoint::unix_socket("/a%20b:c@d"));
    const auto longest = "/" + std::string(unix_path_max - 1, 'x');
    EXPECT_EQ(parse_listen_url("unix://" + longest), Endpoint::unix_socket(longest));
}

TEST(ClientUrl, Accepted) {
    EXPECT_EQ(parse_client_url("baton://localhost"), Endpoint::tcp("localhost", default_port));
    EXPECT_EQ(parse_client_url("baton://localhost/"), Endpoint::tcp("localhost", default_port));
    EXPECT_EQ(parse_client_url("baton://h:1"), Endpoint::tcp("h", 1));
    EXPECT_EQ(parse_client_url("baton://[::1]"), Endpoint::tcp("::1", default_port));
    EXPECT_EQ(parse_client_url("baton://[::1]:5"), Endpoint::tcp("::1", 5));
    EXPECT_EQ(parse_client_url("baton+unix:///tmp/b"), Endpoint::unix_socket("/tmp/b"));
}

TEST(ToUrl, IsTheInverse) {
    for (const auto* url : {"tcp://127.0.0.1:0", "tcp://[::1]:22866", "tcp://h:1", "unix:///tmp/b"}) {
        EXPECT_EQ(to_url(parse_listen_url(url).value()), url);
    }
    for (const auto* url : {"baton://[::1]:22866", "baton://h:1", "baton+unix:///tmp/b"}) {
        EXPECT_EQ(to_client_url(parse_client_url(url).value()), url);
    }
    EXPECT_EQ(to_client_url(parse_client_url("baton://h").value()), "baton://h:22866");
}

struct Refused {
    std::string url;
    Errc code;
    std::string_view why;  // Part of the message.
};

void expect_refused(const Result<Endpoint>& result, const Refused& expected, std::string_view forms) {
    ASSERT_FALSE(result) << expected.url;
    EXPECT_EQ(result.error().code, make_error_code(expected.code)) << expected.url;
    const auto message = result.error().message();
    EXPECT_NE(message.find(expected.why), std::string::npos) << message;
    EXPECT_NE(message.find("'" + expected.url + "'"), std::string::npos) << message;
    EXPECT_NE(message.find(forms), std::string::npos) << message;
}

TEST(ListenUrl, Refused) {
    for (const auto& each : {
             Refused{"", Errc::invalid_url, "unknown scheme"},
             Refused{"127.0.0.1:22866", Errc::invalid_url, "unknown scheme"},
             Refused{"baton://h:1", Errc::invalid_url, "unknown scheme"},
             Refused{"tls://h:1", Errc::unsupported_scheme, "not supported yet"},
             Refused{"tcp://h", Errc::invalid_url, "port is missing"},
             Refused{"tcp://[::1]", Errc::invalid_url, "port is missing"},
             Refused{"tcp://:1", Errc::invalid_url, "not a host name"},
             Refused{"tcp://h h:1", Errc::invalid_url, "not a host name"},
             Refused{"tcp://h:", Errc::invalid_url, "not a port (0 to 65535)"},
             Refused{"tcp://h:65536", Errc::invalid_url, "not a port"},
             Refused{"tcp://h:-1", Errc::invalid_url, "not a port"},
             Refused{"tcp://h:1/", Errc::invalid_url, "not a port"},
             Refused{"tcp://::1:5", Errc::invalid_url, "brackets"},
             Refused{"tcp://[::1:5", Errc::invalid_url, "brackets"},
             Refused{"tcp://[h]:5", Errc::invalid_url, "brackets"},
             Refused{"tcp://[::1%]:5", Errc::invalid_url, "brackets"},
             Refused{"tcp://[::1]5", Errc::invalid_url, "only a port may follow"},
             Refused{"unix://relative", Errc::invalid_url, "absolute"},
             Refused{"unix:///", Errc::invalid_url, "absolute"},
             Refused{"unix:///dir/", Errc::invalid_url, "absolute"},
             Refused{std::string{"unix:///a\0b", 11}, Errc::invalid_url, "zero byte"},
             Refused{"unix:///" + std::string(unix_path_max, 'x'), Errc::path_too_long, "108 bytes"},
         }) {
        expect_refused(parse_listen_url(each.url), each, "tcp://HOST:PORT or unix:///PATH");
    }
}

TEST(ClientUrl, Refused) {
    for (const auto& each : {
             Refused{"h:1", Errc::invalid_url, "unknown scheme"},
             Refused{"tcp://h:1", Errc::invalid_url, "unknown scheme"},
             Refused{"batons://h", Errc::unsupported_scheme, "not supported yet"},
             Refused{"tls://h", Errc::unsupported_scheme, "not supported yet"},
             Refused{"baton://", Errc::invalid_url, "not a host name"},
             Refused{"baton://h:0", Errc::invalid_url, "not a port (1 to 65535)"},
             Refused{"baton://u:p@h", Errc::invalid_url, "user names"},
             Refused{"baton://h/channel", Errc::invalid_url, "nothing may follow"},
             Refused{"baton+unix://h/x", Errc::invalid_url, "absolute"},
         }) {
        expect_refused(parse_client_url(each.url), each, "baton://HOST[:PORT] or baton+unix:///PATH");
    }
}

}  // namespace
}  // namespace baton::net
