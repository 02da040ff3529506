#include "server/storage/segment.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/assert.hpp"
#include "common/base/crc32c.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/numbered_name.hpp"
#include "server/storage/segment_format.hpp"

namespace baton::storage {

namespace {

constexpr std::string_view channels_directory = "channels";
constexpr std::string_view segment_prefix = "segment-";
constexpr std::size_t stream_width = 16;
constexpr std::size_t segment_width = 8;

static_assert(segment_header_size == block_header_size);
using HeaderBytes = std::array<std::byte, block_header_size>;
constexpr std::array<std::byte, block_alignment> padding{};

Result<std::uint32_t> last_segment(FileSystem& files, const std::string& directory) {
    const auto names = files.list(directory);
    if (!names) {
        return fail(names.error());
    }
    std::uint32_t last = 0;
    for (const std::string& name : *names) {
        last = std::max(last, segment_file_number(name).value_or(0));
    }
    return last;
}

BlockHeader header_of(StreamId stream, const BlockContent& block) noexcept {
    BlockHeader header{.stream = stream, .first = block.first, .end = block.end, .entries = block.entries};
    for (const Bytes part : block.parts) {
        header.body_size += part.size();
        header.body_crc = crc32c(part, header.body_crc);
    }
    BATON_ASSERT_MSG(header.body_size <= block_body_size_max, "a block is less than 4 GiB");
    return header;
}

std::uint64_t padding_of(std::uint64_t body_size) noexcept {
    return block_aligned(body_size) - body_size;
}

}  // namespace

std::string stream_directory(StreamId stream) {
    return numbered_name(std::string{channels_directory} + "/", stream.value(), stream_width, hex_base);
}

std::optional<StreamId> stream_of_directory(std::string_view name) noexcept {
    const auto number = number_in_name(name.substr(name.rfind('/') + 1), "", stream_width, hex_base);
    return number ? std::optional{StreamId{*number}} : std::nullopt;
}

std::string segment_file_name(std::uint32_t number) {
    return numbered_name(segment_prefix, number, segment_width);
}

std::optional<std::uint32_t> segment_file_number(std::string_view name) noexcept {
    const auto number = number_in_name(name, segment_prefix, segment_width);
    return number && *number <= UINT32_MAX ? std::optional{static_cast<std::uint32_t>(*number)} : std::nullopt;
}

std::string segment_path(StreamId stream, std::uint32_t number) {
    return stream_directory(stream) + "/" + segment_file_name(number);
}

// --- Writing ------------------------------------------------------------------------------------------------------

// Names are synced even if they are there: whoever made them may have been killed before.
Result<void> make_stream_directories(FileSystem& files, std::span<const StreamId> streams) {
    if (streams.empty()) {
        return {};
    }
    if (auto made = ensure_directory(files, channels_directory); !made) {
        return made;
    }
    if (auto synced = files.sync_directory(""); !synced) {
        return synced;
    }
    for (const StreamId stream : streams) {
        if (auto made = ensure_directory(files, stream_directory(stream)); !made) {
            return made;
        }
    }
    return files.sync_directory(channels_directory);
}

/// The parts of one write, and the headers among them.
struct SegmentWriter::Write {
    explicit Write(std::size_t blocks) { headers.reserve(2 * blocks); }

    template <class Header>
    void add_header(const Header& header) {
        BATON_ASSERT_MSG(headers.size() < headers.capacity(), "parts refer to the headers: they may not move");
        encode(header, headers.emplace_back());
        parts.emplace_back(headers.back());
    }

    std::vector<HeaderBytes> headers;
    std::vector<Bytes> parts;
    std::uint64_t position = 0;  // In the current file.
};

SegmentWriter::SegmentWriter(StreamId stream, std::uint64_t segment_size, bool has_directory) noexcept
    : stream_{stream}, segment_size_{segment_size}, has_directory_{has_directory} {}

SegmentWriter::~SegmentWriter() = default;

Result<std::vector<BlockRef>> SegmentWriter::append(FileSystem& files, std::span<const BlockContent> blocks) {
    if (blocks.empty()) {
        return std::vector<BlockRef>{};
    }
    if (number_ == 0) {
        if (auto prepared = prepare(files); !prepared) {
            return fail(std::move(prepared).error());
        }
    }
    const std::uint32_t number = number_;
    const std::uint64_t end = end_;
    if (end_ > 0) {
        auto file = files.open(segment_path(stream_, number_), OpenMode::read_write);
        if (!file) {
            return fail(std::move(file).error());
        }
        file_ = *std::move(file);
    }
    auto refs = write_blocks(files, blocks);
    if (refs && number_ != number) {
        if (auto synced = files.sync_directory(stream_directory(stream_)); !synced) {
            refs = fail(std::move(synced).error());
        }
    }
    if (!refs) {
        give_up(files, number, end);
    }
    file_.reset();  // Descriptors are for connections: there may be as many writers as channels.
    return refs;
}

// Sets number_ to that of the last file that is there. If there is none it stays 0, and the next file makes it 1.
Result<void> SegmentWriter::prepare(FileSystem& files) {
    if (!has_directory_) {
        if (auto made = make_stream_directories(files, {&stream_, 1}); !made) {
            return made;
        }
    }
    const auto last = last_segment(files, stream_directory(stream_));
    if (!last) {
        return fail(last.error());
    }
    number_ = *last;
    return {};
}

Result<std::vector<BlockRef>> SegmentWriter::write_blocks(FileSystem& files, std::span<const BlockContent> blocks) {
    std::vector<BlockRef> refs;
    refs.reserve(blocks.size());
    Write write{blocks.size()};
    write.position = end_;
    for (const BlockContent& block : blocks) {
        if (!file_ || end_ >= segment_size_) {
            if (auto flushed = flush(write); !flushed) {
                return fail(std::move(flushed).error());
            }
            if (auto begun = begin_file(files); !begun) {
                return fail(std::move(begun).error());
            }
            write.position = 0;
            write.add_header(SegmentHeader{.stream = stream_, .number = number_});
        }
        const BlockHeader header = header_of(stream_, block);
        write.add_header(header);
        write.parts.insert(write.parts.end(), block.parts.begin(), block.parts.end());
        write.parts.push_back(Bytes{padding}.first(padding_of(header.body_size)));
        refs.push_back({.segment = number_,
                        .size = static_cast<std::uint32_t>(header.body_size),
                        .position = end_,
                        .first = block.first,
                        .end = block.end});
        end_ += block_header_size + block_aligned(header.body_size);
    }
    if (auto flushed = flush(write); !flushed) {
        return fail(std::move(flushed).error());
    }
    return refs;
}

// Makes what was gathered for the current file durable.
Result<void> SegmentWriter::flush(Write& write) {
    if (write.parts.empty()) {
        return {};
    }
    if (auto written = file_->write(write.position, write.parts); !written) {
        return written;
    }
    write.parts.clear();
    return file_->sync();
}

Result<void> SegmentWriter::begin_file(FileSystem& files) {
    file_.reset();
    if (number_ == UINT32_MAX) {
        return fail(Errc::io_error, stream_directory(stream_) + ": the numbers of segments are used up");
    }
    // A number is used up even if this fails: the file may be there nevertheless.
    ++number_;
    auto file = files.open(segment_path(stream_, number_), OpenMode::create);
    if (!file) {
        return fail(std::move(file).error());
    }
    file_ = *std::move(file);
    end_ = segment_header_size;
    return {};
}

// Gives back the space of what does not count, if the disk still does that; it may be full. What cannot be removed does
// no harm: no reference leads there. `number` and `end` are those before the failure.
void SegmentWriter::give_up(FileSystem& files, std::uint32_t number, std::uint64_t end) {
    file_.reset();
    end_ = 0;
    if (end > 0) {
        if (const auto file = files.open(segment_path(stream_, number), OpenMode::read_write)) {
            static_cast<void>((*file)->truncate(end));
        }
    }
    for (std::uint32_t added = number; added < number_; ++added) {
        static_cast<void>(files.remove(segment_path(stream_, added + 1)));
    }
}

// --- Reading ------------------------------------------------------------------------------------------------------

Result<void> read_block(FileSystem& files, StreamId stream, const BlockRef& block, MutableBytes out) {
    BATON_ASSERT(out.size() == block.size);
    const std::string path = segment_path(stream, block.segment);
    const auto damaged = [&](const char* what) {
        return fail(Errc::damaged, path + ": block at " + std::to_string(block.position) + ": " + what);
    };
    if (block.position < segment_header_size || block.position % block_alignment != 0 ||
        block.position > INT64_MAX / 2) {
        return damaged("no block can be there");
    }
    const auto file = files.open(path, OpenMode::read);
    if (!file) {
        return fail(file.error());
    }
    HeaderBytes bytes;
    auto count = (*file)->read(block.position, bytes);
    if (!count) {
        return fail(count.error());
    }
    BlockHeader header;
    if (*count != bytes.size() || decode(bytes, header) != HeaderCheck::ok) {
        return damaged("the header is wrong");
    }
    if (header.stream != stream || header.first != block.first || header.end != block.end ||
        header.body_size != block.size) {
        return damaged("another block is there");
    }
    count = (*file)->read(block.position + block_header_size, out);
    if (!count) {
        return fail(count.error());
    }
    if (*count != out.size() || crc32c(out) != header.body_crc) {
        return damaged("the body is wrong");
    }
    return {};
}

namespace {

/// One walk over a segment file. Errors are those of the disk; what is wrong in the file goes to the visitor.
class SegmentWalk {
public:
    SegmentWalk(File& file, std::uint64_t size, StreamId stream, std::uint32_t number, const SegmentVisitor& visitor)
        : file_{file}, size_{size}, stream_{stream}, number_{number}, visitor_{visitor} {}

    Result<void> read_header();
    /// False behind the last block.
    Result<bool> read_next_block();

private:
    void damage(std::uint64_t position, const std::string& text) const {
        if (visitor_.on_damage) {
            visitor_.on_damage(position, text);
        }
    }
    Result<void> check_zeros(std::uint64_t begin, std::uint64_t end, const char* text);

    File& file_;
    const std::uint64_t size_;
    const StreamId stream_;
    const std::uint32_t number_;
    const SegmentVisitor& visitor_;
    std::uint64_t position_ = segment_header_size;
    std::vector<std::byte> body_;
};

Result<void> SegmentWalk::read_header() {
    HeaderBytes bytes;
    const auto count = file_.read(0, bytes);
    if (!count) {
        return fail(count.error());
    }
    SegmentHeader header;
    const HeaderCheck check = *count == bytes.size() ? decode(bytes, header) : HeaderCheck::wrong;
    if (check == HeaderCheck::newer_version) {
        return fail(Errc::newer_version, segment_path(stream_, number_));
    }
    // The blocks prove themselves: they are worth a look even so.
    if (check == HeaderCheck::wrong) {
        damage(0, "the header of the file is wrong");
    } else if (header != SegmentHeader{.stream = stream_, .number = number_}) {
        damage(0, "this is the header of another file: stream " + std::to_string(header.stream.value()) + ", number " +
                      std::to_string(header.number));
    }
    return {};
}

Result<bool> SegmentWalk::read_next_block() {
    if (position_ >= size_) {
        return false;
    }
    HeaderBytes bytes{};
    const auto count = file_.read(position_, bytes);
    if (!count) {
        return fail(count.error());
    }
    BlockHeader header;
    const std::uint64_t body_begin = position_ + block_header_size;
    // Without a right header nobody knows where the next block is; to look for one would find what users have sent.
    if (*count != bytes.size() || decode(bytes, header) != HeaderCheck::ok || header.stream != stream_ ||
        size_ - body_begin < header.body_size) {
        auto checked = check_zeros(position_, size_, "no whole block is here, nor only zeros");
        return checked ? Result<bool>{false} : fail(std::move(checked).error());
    }
    body_.resize(static_cast<std::size_t>(header.body_size));
    const auto body_count = file_.read(body_begin, body_);
    if (!body_count) {
        return fail(body_count.error());
    }
    const std::uint64_t end = body_begin + block_aligned(header.body_size);
    if (*body_count != body_.size() || crc32c(body_) != header.body_crc) {
        damage(position_, "the body of the block is wrong");
    } else if (visitor_.on_block) {
        const BlockRef ref{.segment = number_,
                           .size = static_cast<std::uint32_t>(header.body_size),
                           .position = position_,
                           .first = header.first,
                           .end = header.end};
        visitor_.on_block(ref, header.entries, body_);
    }
    position_ = end;
    auto checked = check_zeros(body_begin + header.body_size, end, "what is behind the block is not padding");
    return checked ? Result<bool>{true} : fail(std::move(checked).error());
}

// All that is in the file of this range is zeros, or it is damage.
Result<void> SegmentWalk::check_zeros(std::uint64_t begin, std::uint64_t end, const char* text) {
    std::array<std::byte, 4096> chunk;
    for (std::uint64_t at = begin; at < std::min(end, size_);) {
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), std::min(end, size_) - at));
        const auto count = file_.read(at, MutableBytes{chunk}.first(size));
        if (!count) {
            return fail(count.error());
        }
        if (*count == 0) {
            return {};
        }
        if (!is_zero(Bytes{chunk}.first(*count))) {
            damage(begin, text);
            return {};
        }
        at += *count;
    }
    return {};
}

}  // namespace

Result<void> read_segment(FileSystem& files, StreamId stream, std::uint32_t number, const SegmentVisitor& visitor) {
    const auto file = files.open(segment_path(stream, number), OpenMode::read);
    if (!file) {
        return fail(file.error());
    }
    const auto size = (*file)->size();
    if (!size) {
        return fail(size.error());
    }
    SegmentWalk walk{**file, *size, stream, number, visitor};
    if (auto read = walk.read_header(); !read) {
        return read;
    }
    for (;;) {
        const auto more = walk.read_next_block();
        if (!more) {
            return fail(more.error());
        }
        if (!*more) {
            return {};
        }
    }
}

}  // namespace baton::storage
