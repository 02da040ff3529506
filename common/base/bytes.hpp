// Views of bytes, and little-endian integers in them. Everything on the wire and on disk is little-endian and
// unaligned. Not responsible for owning bytes (payload.hpp) or for any format. Any thread; nothing here allocates
// except ByteWriter. Next file: payload.hpp.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "common/base/assert.hpp"

namespace baton {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

[[nodiscard]] inline Bytes as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

[[nodiscard]] inline std::string_view as_text(Bytes bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

[[nodiscard]] inline bool equal(Bytes a, Bytes b) noexcept {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

// memcpy that accepts an empty range with a null pointer.
inline void copy_bytes(std::byte* to, Bytes from) noexcept {
    if (!from.empty()) {
        std::memcpy(to, from.data(), from.size());
    }
}

namespace detail {

template <class T>
[[nodiscard]] inline T load_little(const std::byte* at) noexcept {
    T value;
    std::memcpy(&value, at, sizeof value);
    if constexpr (std::endian::native == std::endian::big) {
        value = std::byteswap(value);
    }
    return value;
}

template <class T>
inline void store_little(std::byte* at, T value) noexcept {
    if constexpr (std::endian::native == std::endian::big) {
        value = std::byteswap(value);
    }
    std::memcpy(at, &value, sizeof value);
}

}  // namespace detail

// The caller has checked that the bytes are there.
[[nodiscard]] inline std::uint8_t load_u8(const std::byte* at) noexcept {
    return std::to_integer<std::uint8_t>(*at);
}
[[nodiscard]] inline std::uint16_t load_u16(const std::byte* at) noexcept {
    return detail::load_little<std::uint16_t>(at);
}
[[nodiscard]] inline std::uint32_t load_u32(const std::byte* at) noexcept {
    return detail::load_little<std::uint32_t>(at);
}
[[nodiscard]] inline std::uint64_t load_u64(const std::byte* at) noexcept {
    return detail::load_little<std::uint64_t>(at);
}
inline void store_u16(std::byte* at, std::uint16_t value) noexcept {
    detail::store_little(at, value);
}
inline void store_u32(std::byte* at, std::uint32_t value) noexcept {
    detail::store_little(at, value);
}
inline void store_u64(std::byte* at, std::uint64_t value) noexcept {
    detail::store_little(at, value);
}

// Reads from the front. Every read is checked: it returns false and changes nothing if there are not enough bytes.
class ByteReader {
public:
    explicit ByteReader(Bytes bytes) noexcept : rest_{bytes} {}

    [[nodiscard]] bool read_u8(std::uint8_t& value) noexcept { return read_integer(value); }
    [[nodiscard]] bool read_u16(std::uint16_t& value) noexcept { return read_integer(value); }
    [[nodiscard]] bool read_u32(std::uint32_t& value) noexcept { return read_integer(value); }
    [[nodiscard]] bool read_u64(std::uint64_t& value) noexcept { return read_integer(value); }

    // `bytes` refers to the memory that is being read.
    [[nodiscard]] bool read_bytes(std::size_t size, Bytes& bytes) noexcept {
        if (rest_.size() < size) {
            return false;
        }
        bytes = rest_.first(size);
        rest_ = rest_.subspan(size);
        return true;
    }

    [[nodiscard]] std::size_t remaining() const noexcept { return rest_.size(); }
    [[nodiscard]] Bytes rest() const noexcept { return rest_; }

private:
    template <class T>
    [[nodiscard]] bool read_integer(T& value) noexcept {
        if (rest_.size() < sizeof(T)) {
            return false;
        }
        value = detail::load_little<T>(rest_.data());
        rest_ = rest_.subspan(sizeof(T));
        return true;
    }

    Bytes rest_;
};

// Appends to a vector that the caller owns. For control frames and records; message payloads never pass through it.
class ByteWriter {
public:
    explicit ByteWriter(std::vector<std::byte>& out) noexcept : out_{out} {}

    void u8(std::uint8_t value) { append_integer(value); }
    void u16(std::uint16_t value) { append_integer(value); }
    void u32(std::uint32_t value) { append_integer(value); }
    void u64(std::uint64_t value) { append_integer(value); }
    void bytes(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }

    [[nodiscard]] std::size_t size() const noexcept { return out_.size(); }

    // Overwrites a length that was not known when it was written.
    void set_u32(std::size_t at, std::uint32_t value) noexcept {
        BATON_ASSERT(at <= out_.size() && out_.size() - at >= sizeof value);
        store_u32(out_.data() + at, value);
    }

private:
    template <class T>
    void append_integer(T value) {
        std::byte encoded[sizeof(T)];
        detail::store_little(encoded, value);
        out_.insert(out_.end(), encoded, encoded + sizeof(T));
    }

    std::vector<std::byte>& out_;
};

}  // namespace baton
