// The preamble and the two JSON bodies of the handshake, HELLO and WELCOME, and GOAWAY's
// (docs/protocol.md, sections 2, 4 and 12). Control path: allocates. Sans-I/O; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.hpp"

namespace baton::wire {

inline constexpr std::uint8_t version_current = 1;
inline constexpr std::size_t preamble_size = 8;
using PreambleBytes = std::array<std::byte, preamble_size>;

/// What the client opens with: the range of versions that it speaks.
struct ClientPreamble {
    std::uint8_t low = version_current;
    std::uint8_t high = version_current;
};
/// What the broker answers: the version that both speak from now on, or 0.
struct BrokerPreamble {
    std::uint8_t chosen = 0;
    std::uint8_t low = version_current;
    std::uint8_t high = version_current;
};
[[nodiscard]] PreambleBytes encode(const ClientPreamble& preamble) noexcept;
[[nodiscard]] PreambleBytes encode(const BrokerPreamble& preamble) noexcept;
/// Nothing if the magic is wrong, reserved bytes are set, low > high or the chosen version is not one of the broker's.
/// `bytes` has preamble_size bytes.
[[nodiscard]] std::optional<ClientPreamble> decode_client_preamble(Bytes bytes) noexcept;
[[nodiscard]] std::optional<BrokerPreamble> decode_broker_preamble(Bytes bytes) noexcept;
/// False as soon as the first bytes show that the peer does not speak Baton: they are not those of the magic.
[[nodiscard]] bool may_be_preamble(Bytes first_bytes) noexcept;
/// True if they look like the start of an HTTP request line, however few there are (but at least one).
[[nodiscard]] bool looks_like_http(Bytes first_bytes) noexcept;
/// The highest version in both ranges, or 0.
[[nodiscard]] std::uint8_t choose_version(const ClientPreamble& client, const BrokerPreamble& broker) noexcept;

inline constexpr std::uint32_t heartbeat_ms_min = 100;
inline constexpr std::uint32_t heartbeat_ms_max = 3'600'000;

/// The initialisers allow naming only some of the fields: `{.name = "worker"}`.
struct Hello {
    std::string agent{};
    std::string name{};
    std::optional<std::uint32_t> heartbeat_ms{};
    std::optional<std::uint32_t> frame_size_max{};
    std::vector<std::string> features{};
};
struct Welcome {
    std::string agent{};
    std::uint64_t session = 0;
    std::uint32_t heartbeat_ms = 10'000;
    std::uint32_t frame_size_max = 262'144;
    std::uint32_t fragment_size_max = 65'536;
    std::uint64_t message_size_max = 67'108'864;
    std::uint32_t links_max = 1'024;
    std::uint32_t channel_name_size_max = 255;
    std::vector<std::string> features{};
    bool draining = false;
    std::int64_t time_us = 0;
};
struct Goaway {
    std::string code = "draining";
    std::string text{};
    std::uint32_t reconnect_after_ms = 0;
};

/// Texts that are longer than the protocol allows are cut; bytes that are not UTF-8 are replaced.
[[nodiscard]] std::string encode(const Hello& hello);
[[nodiscard]] std::string encode(const Welcome& welcome);
[[nodiscard]] std::string encode(const Goaway& goaway);
/// The error text names the key and the value. Keys that are not known are ignored. WELCOME must have all its limits.
[[nodiscard]] std::expected<Hello, std::string> decode_hello(Bytes json);
[[nodiscard]] std::expected<Welcome, std::string> decode_welcome(Bytes json);
[[nodiscard]] std::expected<Goaway, std::string> decode_goaway(Bytes json);

}  // namespace baton::wire
