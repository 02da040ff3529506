// Segment files: where a stream's content goes that outlives its write-ahead log file. Blocks of opaque bytes that are
// found by reference; layout in segment_format.hpp, normative text in docs/storage.md, section 4.
// Not responsible for which blocks are alive. Blocking: used inside I/O jobs and by tools; one thread at a time.
// Next file: checkpoint.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "server/storage/file_system.hpp"
#include "server/storage/wal_format.hpp"

namespace baton::storage {

/// Where a block is, and which positions of the stream it covers.
struct BlockRef {
    std::uint32_t segment = 0;   ///< File number within the stream.
    std::uint32_t size = 0;      ///< Of the body, in bytes.
    std::uint64_t position = 0;  ///< Of the block header in the file.
    std::uint64_t first = 0;     ///< It has some of first .. end - 1.
    std::uint64_t end = 0;
    friend bool operator==(const BlockRef&, const BlockRef&) = default;
};

/// A block to be written. Its parts, one behind the other, are the body: less than 4 GiB.
struct BlockContent {
    std::uint64_t first = 0;
    std::uint64_t end = 0;
    std::uint32_t entries = 0;  ///< For people who look at the file; opaque here.
    std::vector<Bytes> parts;
};

/// "channels/0000000700000001"
[[nodiscard]] std::string stream_directory(StreamId stream);
[[nodiscard]] std::optional<StreamId> stream_of_directory(std::string_view name) noexcept;  ///< Its last component.
/// "segment-00000001"
[[nodiscard]] std::string segment_file_name(std::uint32_t number);
[[nodiscard]] std::optional<std::uint32_t> segment_file_number(std::string_view name) noexcept;
[[nodiscard]] std::string segment_path(StreamId stream, std::uint32_t number);

/// Makes the directories of streams that are about to be written. Durable when it returns, with two syncs for all of them.
[[nodiscard]] Result<void> make_stream_directories(FileSystem& files, std::span<const StreamId> streams);

/// Appends blocks to the segments of one stream. Its first append makes the stream's directory if need be and begins a
/// file behind all that are there: a file of an earlier run is never written again.
class SegmentWriter {
public:
    /// A new file is begun when the current one has reached `segment_size` bytes. `has_directory`: by
    /// make_stream_directories(), in this run.
    SegmentWriter(StreamId stream, std::uint64_t segment_size, bool has_directory = false) noexcept;
    ~SegmentWriter();

    /// Writes and syncs; durable when it returns, including the names of new files. After a failure the current file is
    /// given up (the next append begins a new one) and nothing that this call wrote counts.
    [[nodiscard]] Result<std::vector<BlockRef>> append(FileSystem& files, std::span<const BlockContent> blocks);

private:
    struct Write;

    Result<void> prepare(FileSystem& files);
    Result<std::vector<BlockRef>> write_blocks(FileSystem& files, std::span<const BlockContent> blocks);
    Result<void> flush(Write& write);
    Result<void> begin_file(FileSystem& files);
    void give_up(FileSystem& files, std::uint32_t number, std::uint64_t end);

    const StreamId stream_;
    const std::uint64_t segment_size_;
    const bool has_directory_;
    std::unique_ptr<File> file_;  ///< The current one, during an append.
    std::uint32_t number_ = 0;  ///< Of the current or the last file; 0: the directory has not been looked at.
    std::uint64_t end_ = 0;     ///< Of what is written in the current file; 0: there is none.
};

/// Reads the body of a block into `out`, which has its size, and checks everything. `damaged` if anything is wrong,
/// `not_found` if the file is not there.
[[nodiscard]] Result<void> read_block(FileSystem& files, StreamId stream, const BlockRef& block, MutableBytes out);

/// What a walk over a segment file finds; for tools and tests.
struct SegmentVisitor {
    std::function<void(const BlockRef& block, std::uint32_t entries, Bytes body)> on_block;
    std::function<void(std::uint64_t position, const std::string& text)> on_damage;
};
/// Visits the blocks in order. A body with a wrong checksum is damage, and the next block follows. What is behind the
/// last whole block is damage, if it is not only zeros. Errors: `not_found`, `newer_version`, those of the disk.
[[nodiscard]] Result<void> read_segment(FileSystem& files, StreamId stream, std::uint32_t number,
                                        const SegmentVisitor& visitor);

}  // namespace baton::storage
