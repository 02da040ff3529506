// Parsing of endpoint URLs: scheme first, then either HOST:PORT or a path.
#include "common/net/endpoint.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "common/net/errc.hpp"

namespace baton::net {

namespace {

constexpr std::string_view listen_forms = "tcp://HOST:PORT or unix:///PATH";
constexpr std::string_view client_forms = "baton://HOST[:PORT] or baton+unix:///PATH";
constexpr std::size_t host_length_max = 253;

// What is being parsed and how its forms are called, for the error texts.
struct Source {
    std::string_view url;
    std::string_view forms;

    [[nodiscard]] std::unexpected<Error> error(Errc code, std::string_view why) const {
        std::string context = "'";
        context.append(url).append("': ").append(why).append("; expected ").append(forms);
        return fail(make_error_code(code), std::move(context));
    }
};

// "scheme://rest", or nothing.
[[nodiscard]] std::optional<std::string_view> after_scheme(std::string_view url, std::string_view scheme) {
    if (url.starts_with(scheme) && url.substr(scheme.size()).starts_with("://")) {
        return url.substr(scheme.size() + 3);
    }
    return std::nullopt;
}

[[nodiscard]] bool is_host_name(std::string_view host) {
    const auto is_allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
               c == '_';
    };
    return !host.empty() && host.size() <= host_length_max && std::ranges::all_of(host, is_allowed);
}

// An address, with an interface behind '%' for link-local ones.
[[nodiscard]] bool is_ipv6_address(std::string_view text) {
    const auto zone = text.find('%');
    if (zone != std::string_view::npos && (zone + 1 == text.size() || text.size() > host_length_max)) {
        return false;
    }
    in6_addr address{};
    return ::inet_pton(AF_INET6, std::string{text.substr(0, zone)}.c_str(), &address) == 1;
}

[[nodiscard]] std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto* const end = text.data() + text.size();
    const auto [stop, code] = std::from_chars(text.data(), end, port);
    if (text.empty() || code != std::errc{} || stop != end) {
        return std::nullopt;
    }
    return port;
}

[[nodiscard]] Result<Endpoint> parse_path(const Source& source, std::string_view path) {
    if (!path.starts_with('/') || path.size() < 2 || path.ends_with('/')) {
        return source.error(Errc::invalid_url, "the path must be absolute and name a file");
    }
    if (path.find('\0') != std::string_view::npos) {
        return source.error(Errc::invalid_url, "the path contains a zero byte");
    }
    if (path.size() > unix_path_max) {
        return source.error(Errc::path_too_long, "the path has " + std::to_string(path.size()) +
                                                     " bytes and a Unix socket allows " +
                                                     std::to_string(unix_path_max));
    }
    return Endpoint::unix_socket(std::string{path});
}

// HOST:PORT. Without a default the port must be written, and may be 0.
[[nodiscard]] Result<Endpoint> parse_host_and_port(const Source& source, std::string_view text,
                                                   std::optional<std::uint16_t> port_by_default) {
    std::string_view host;
    std::string_view rest;  // Empty or ":PORT".
    if (text.starts_with('[')) {
        const auto end = text.find(']');
        if (end == std::string_view::npos || !is_ipv6_address(text.substr(1, end - 1))) {
            return source.error(Errc::invalid_url, "there is no IPv6 address in the brackets");
        }
        host = text.substr(1, end - 1);
        rest = text.substr(end + 1);
        if (!rest.empty() && !rest.starts_with(':')) {
            return source.error(Errc::invalid_url, "after the brackets only a port may follow");
        }
    } else {
        const auto colon = text.find(':');
        if (colon != std::string_view::npos && text.find(':', colon + 1) != std::string_view::npos) {
            return source.error(Errc::invalid_url, "an IPv6 address must be in brackets");
        }
        host = text.substr(0, colon);
        rest = colon == std::string_view::npos ? std::string_view{} : text.substr(colon);
        if (!is_host_name(host)) {
            return source.error(Errc::invalid_url, "'" + std::string{host} + "' is not a host name or address");
        }
    }

    if (rest.empty()) {
        if (!port_by_default) {
            return source.error(Errc::invalid_url, "the port is missing");
        }
        return Endpoint::tcp(std::string{host}, *port_by_default);
    }
    const auto port = parse_port(rest.substr(1));
    const auto port_min = port_by_default ? 1 : 0;
    if (!port || *port < port_min) {
        return source.error(Errc::invalid_url, "'" + std::string{rest.substr(1)} + "' is not a port (" +
                                                   std::to_string(port_min) + " to 65535)");
    }
    return Endpoint::tcp(std::string{host}, *port);
}

[[nodiscard]] std::string host_and_port(const Endpoint& endpoint) {
    const bool is_ipv6 = endpoint.host.find(':') != std::string::npos;
    return (is_ipv6 ? '[' + endpoint.host + ']' : endpoint.host) + ':' + std::to_string(endpoint.port);
}

}  // namespace

Endpoint Endpoint::tcp(std::string host, std::uint16_t port) {
    return {.transport = Transport::tcp, .host = std::move(host), .port = port, .path = {}};
}

Endpoint Endpoint::unix_socket(std::string path) {
    return {.transport = Transport::unix_socket, .host = {}, .port = 0, .path = std::move(path)};
}

Result<Endpoint> parse_listen_url(std::string_view url) {
    const Source source{url, listen_forms};
    if (const auto rest = after_scheme(url, "tcp")) {
        return parse_host_and_port(source, *rest, std::nullopt);
    }
    if (const auto rest = after_scheme(url, "unix")) {
        return parse_path(source, *rest);
    }
    if (after_scheme(url, "tls")) {
        return source.error(Errc::unsupported_scheme, "TLS is not supported yet");
    }
    return source.error(Errc::invalid_url, "unknown scheme");
}

Result<Endpoint> parse_client_url(std::string_view url) {
    const Source source{url, client_forms};
    if (auto rest = after_scheme(url, "baton")) {
        if (rest->find('@') != std::string_view::npos) {
            return source.error(Errc::invalid_url, "user names and passwords in URLs are not supported");
        }
        if (rest->ends_with('/')) {
            rest->remove_suffix(1);
        }
        if (rest->find('/') != std::string_view::npos) {
            return source.error(Errc::invalid_url, "nothing may follow the port");
        }
        return parse_host_and_port(source, *rest, default_port);
    }
    if (const auto rest = after_scheme(url, "baton+unix")) {
        return parse_path(source, *rest);
    }
    if (after_scheme(url, "batons") || after_scheme(url, "tls")) {
        return source.error(Errc::unsupported_scheme, "TLS is not supported yet");
    }
    return source.error(Errc::invalid_url, "unknown scheme");
}

std::string to_url(const Endpoint& endpoint) {
    return endpoint.transport == Transport::tcp ? "tcp://" + host_and_port(endpoint) : "unix://" + endpoint.path;
}

std::string to_client_url(const Endpoint& endpoint) {
    return endpoint.transport == Transport::tcp ? "baton://" + host_and_port(endpoint)
                                                : "baton+unix://" + endpoint.path;
}

}  // namespace baton::net
