// Where to listen and where to connect to, as people write it: URLs.
//
//   broker   tcp://HOST:PORT         unix:///PATH
//   client   baton://HOST[:PORT]     baton+unix:///PATH
//
// Not responsible for resolving names: connector.hpp and listener.hpp do that. Any thread. Next file: listener.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.hpp"

namespace baton::net {

constexpr std::uint16_t default_port = 22866;

// Longest path of a Unix socket: what fits into sockaddr_un with its final zero.
constexpr std::size_t unix_path_max = 107;

enum class Transport : std::uint8_t { tcp, unix_socket };

struct Endpoint {
    Transport transport = Transport::tcp;
    std::string host;        // tcp: a name or an address; IPv6 without brackets.
    std::uint16_t port = 0;  // tcp: 0 means "any free one" when listening.
    std::string path;        // unix_socket: absolute.

    [[nodiscard]] static Endpoint tcp(std::string host, std::uint16_t port);
    [[nodiscard]] static Endpoint unix_socket(std::string path);

    [[nodiscard]] bool operator==(const Endpoint&) const = default;
};

// tcp://HOST:PORT or unix:///PATH. IPv6 addresses are in brackets, the port must be written and may be 0. Paths are
// taken as they are: nothing is percent-decoded. The error names the value and says what is allowed.
[[nodiscard]] Result<Endpoint> parse_listen_url(std::string_view url);

// baton://HOST[:PORT] or baton+unix:///PATH. The port defaults to default_port and may not be 0.
[[nodiscard]] Result<Endpoint> parse_client_url(std::string_view url);

// The two inverses: tcp:// or unix://, and baton:// (always with its port) or baton+unix://.
[[nodiscard]] std::string to_url(const Endpoint& endpoint);
[[nodiscard]] std::string to_client_url(const Endpoint& endpoint);

}  // namespace baton::net
