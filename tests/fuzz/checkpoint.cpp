// Any bytes as a checkpoint and as a manifest. What is taken without a mark is built again as the same bytes. The input
// is tried as it is, and with the checksums made right. Corpus: corpus/checkpoint.

#include "server/storage/checkpoint.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/assert.hpp"
#include "common/base/crc32c.hpp"
#include "server/storage/data_directory.hpp"

namespace {

using namespace baton;
using namespace baton::storage;

constexpr std::size_t header_size = 48;
constexpr std::size_t section_header_size = 24;

void check_checkpoint(Bytes bytes) {
    const auto checkpoint = decode_checkpoint(bytes);
    if (!checkpoint) {
        return;
    }
    CheckpointBuilder builder{checkpoint->header};
    for (const CheckpointSection& section : checkpoint->sections) {
        builder.add(section.stream, section.number, section.body);
    }
    const auto again = builder.take();
    BATON_ASSERT(again.size() == bytes.size());
    const bool is_damaged = std::ranges::any_of(checkpoint->sections, &CheckpointSection::is_damaged);
    BATON_ASSERT(equal(again, bytes) == !is_damaged);
}

std::vector<std::byte> with_checksums(Bytes bytes) {
    std::vector<std::byte> signed_bytes{bytes.begin(), bytes.end()};
    const auto crc_of = [&](std::size_t begin, std::size_t size, std::uint32_t seed = 0) {
        return crc32c(Bytes{signed_bytes}.subspan(begin, size), seed);
    };
    if (signed_bytes.size() < header_size + 8) {
        return signed_bytes;
    }
    store_u32(&signed_bytes[44], crc_of(0, 44));
    const std::size_t end = signed_bytes.size() - 8;
    for (std::size_t at = header_size; end - at >= section_header_size;) {
        const std::size_t size = load_u32(&signed_bytes[at]);
        if (end - at - section_header_size < size) {
            break;
        }
        store_u32(&signed_bytes[at + 4], crc_of(at + 8, 16 + size, crc_of(at, 4)));
        at += section_header_size + size;
    }
    store_u32(&signed_bytes[end + 4], crc_of(0, end));
    return signed_bytes;
}

void check_manifest(Bytes bytes) {
    if (const auto manifest = decode_manifest(as_text(bytes))) {
        BATON_ASSERT(encode(*manifest) == as_text(bytes));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
    check_checkpoint(bytes);
    check_checkpoint(with_checksums(bytes));
    check_manifest(bytes);
    return 0;
}
