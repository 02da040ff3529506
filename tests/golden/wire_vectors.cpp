#include "tests/golden/wire_vectors.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <span>
#include <stdexcept>

#include "common/base/hex.hpp"

namespace baton::golden {

std::vector<WireVector> read_wire_vectors() {
    const std::string path = BATON_GOLDEN_DIR "/wire.txt";
    std::ifstream file{path};
    if (!file) {
        throw std::runtime_error{"cannot read " + path};
    }
    std::vector<WireVector> vectors;
    int number = 0;
    for (std::string line; std::getline(file, line);) {
        ++number;
        const auto wrong = [&](const char* what) {
            return std::runtime_error{path + ":" + std::to_string(number) + ": " + what};
        };
        if (line.empty() || line.starts_with('#')) {
            continue;
        }
        if (!line.starts_with(' ')) {
            const auto colon = line.find(": ");
            if (colon == std::string::npos) {
                throw wrong("neither `name: meaning` nor indented hex");
            }
            vectors.push_back({.name = line.substr(0, colon), .meaning = line.substr(colon + 2), .bytes = {}});
            continue;
        }
        const auto bytes = hex_decode(std::string_view{line}.substr(0, line.find(';')));
        if (!bytes || vectors.empty()) {
            throw wrong("not hex, or in front of the first name");
        }
        vectors.back().bytes.insert(vectors.back().bytes.end(), bytes->begin(), bytes->end());
    }
    return vectors;
}

std::vector<std::byte> drain(Outbox& outbox) {
    std::vector<std::byte> bytes;
    while (!outbox.empty()) {
        std::array<iovec, 16> buffers;
        const std::size_t count = outbox.gather(buffers, bytes.max_size());
        std::size_t size = 0;
        for (const iovec& buffer : std::span{buffers}.first(count)) {
            const auto* begin = static_cast<const std::byte*>(buffer.iov_base);
            bytes.insert(bytes.end(), begin, begin + buffer.iov_len);
            size += buffer.iov_len;
        }
        outbox.consume(size);
    }
    return bytes;
}

std::string test_name(std::string_view vector_name) {
    std::string name{vector_name};
    std::ranges::replace_if(name, [](unsigned char character) { return std::isalnum(character) == 0; }, '_');
    return name;
}

}  // namespace baton::golden
