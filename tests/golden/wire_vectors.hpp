// Reads tests/golden/wire.txt, the bytes of the protocol, for every test that needs real frames.
// Not responsible for what the vectors mean: wire_test.cpp. Next file: wire_test.cpp.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/base/outbox.hpp"

namespace baton::golden {

struct WireVector {
    std::string name;
    std::string meaning;
    std::vector<std::byte> bytes;

    // Preambles are the only bytes that are not frames.
    [[nodiscard]] bool is_frame() const noexcept { return !name.starts_with("preamble."); }
};

// All vectors in the order of the file; throws if the file is not there or not well formed.
[[nodiscard]] std::vector<WireVector> read_wire_vectors();

// Everything that an outbox wants to write, in its order; the outbox is empty afterwards.
[[nodiscard]] std::vector<std::byte> drain(Outbox& outbox);

// For what a vector stands for in a list of test parameters: letters and digits only.
[[nodiscard]] std::string test_name(std::string_view vector_name);

}  // namespace baton::golden
