// CRC-32C (Castagnoli), the checksum of batches on the wire and of records on disk.
// Any thread. Next file: batch.hpp.
#pragma once

#include <cstdint>

#include "common/base/bytes.hpp"

namespace baton {

// With the processor's own instruction where there is one. `seed` is the result for the bytes in front:
// crc32c(b, crc32c(a)) is the checksum of a followed by b.
[[nodiscard]] std::uint32_t crc32c(Bytes bytes, std::uint32_t seed = 0) noexcept;

// The same result without the instruction. Exposed so that tests can compare the two.
[[nodiscard]] std::uint32_t crc32c_software(Bytes bytes, std::uint32_t seed = 0) noexcept;

}  // namespace baton
