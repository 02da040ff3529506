// Any bytes as a segment file. What the walk gives is in the file, in order and without overlap, and reading each block
// by its reference gives the same body. The input is tried as it is, and with the checksums of headers made right, so
// that what is behind them is reached. Corpus: corpus/segment.

#include "server/storage/segment.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/assert.hpp"
#include "common/base/crc32c.hpp"
#include "server/storage/segment_format.hpp"
#include "tests/sim/disk.hpp"

namespace {

using namespace baton;
using namespace baton::storage;

constexpr StreamId stream{0x700000001};
constexpr std::uint32_t number = 3;

void check_block(FileSystem& files, const BlockRef& ref, Bytes body) {
    BATON_ASSERT(ref.segment == number && ref.size == body.size() && ref.first < ref.end);
    std::vector<std::byte> again(ref.size);
    BATON_ASSERT(read_block(files, stream, ref, again).has_value());
    BATON_ASSERT(equal(again, body));
    BlockRef other = ref;
    other.end += 1;
    BATON_ASSERT(!read_block(files, stream, other, again));
}

void check_segment(Bytes bytes) {
    sim::SimDisk disk;
    BATON_ASSERT(ensure_directory(disk, "channels").has_value());
    BATON_ASSERT(ensure_directory(disk, stream_directory(stream)).has_value());
    {
        const auto file = disk.open(segment_path(stream, number), OpenMode::create);
        const Bytes parts[] = {bytes};
        BATON_ASSERT(file && (*file)->write(0, parts));
    }
    std::uint64_t behind = segment_header_size;
    const SegmentVisitor visitor{
        .on_block =
            [&](const BlockRef& ref, std::uint32_t, Bytes body) {
                BATON_ASSERT(ref.position >= behind && ref.position % block_alignment == 0);
                behind = ref.position + block_header_size + ref.size;
                BATON_ASSERT(behind <= bytes.size());
                BATON_ASSERT(equal(bytes.subspan(ref.position + block_header_size, ref.size), body));
                check_block(disk, ref, body);
            },
        .on_damage = [&](std::uint64_t position,
                         const std::string& text) { BATON_ASSERT(position <= bytes.size() && !text.empty()); }};
    static_cast<void>(read_segment(disk, stream, number, visitor));
}

// As a writer that has gone mad would sign it.
std::vector<std::byte> with_checksums(Bytes bytes) {
    std::vector<std::byte> signed_bytes{bytes.begin(), bytes.end()};
    if (signed_bytes.size() < segment_header_size) {
        return signed_bytes;
    }
    store_u32(&signed_bytes[60], crc32c(Bytes{signed_bytes}.first(60)));
    for (std::size_t at = segment_header_size; at + block_header_size <= signed_bytes.size();) {
        const std::size_t rest = signed_bytes.size() - at - block_header_size;
        const std::uint64_t size = load_u64(&signed_bytes[at + 32]);
        if (size <= rest) {
            store_u32(&signed_bytes[at + 44], crc32c(Bytes{signed_bytes}.subspan(at + block_header_size, size)));
        }
        store_u32(&signed_bytes[at + 4], crc32c(Bytes{signed_bytes}.subspan(at + 8, block_header_size - 8)));
        at += block_header_size + (size <= rest ? block_aligned(size) : rest);
    }
    return signed_bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
    check_segment(bytes);
    check_segment(with_checksums(bytes));
    return 0;
}
