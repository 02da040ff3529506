// What can go wrong here beside what the system reports (std::system_category, asio::error).
// Any thread. Next file: endpoint.hpp.
#pragma once

#include <cstdint>
#include <system_error>

namespace baton::net {

enum class Errc : std::uint8_t {
    invalid_url = 1,
    unsupported_scheme,
    path_too_long,
    already_listening,  // Another process holds the lock of this Unix socket.
    not_a_socket,       // The path of a Unix socket is taken by something that must not be deleted.
    host_not_found,
    connect_timeout,
};

[[nodiscard]] const std::error_category& net_category() noexcept;
[[nodiscard]] std::error_code make_error_code(Errc code) noexcept;

// What an errno means.
[[nodiscard]] inline std::error_code system_error(int error) noexcept {
    return {error, std::system_category()};
}

}  // namespace baton::net

template <>
struct std::is_error_code_enum<baton::net::Errc> : std::true_type {};
