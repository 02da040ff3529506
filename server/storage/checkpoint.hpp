// Checkpoint files: the state of every stream of a shard at one index (docs/storage.md, section 5). The states are opaque bytes.
// Pure functions over bytes, and finding the right file. Next file: manifest.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/storage/file_system.hpp"
#include "server/storage/wal_format.hpp"

namespace baton::storage {

struct CheckpointHeader {
    std::uint64_t generation = 0;
    std::uint32_t shard = 0;
    Index index = 0;                    ///< State after this record.
    std::uint64_t first_wal_file = 1;   ///< Replay begins with this file.
    friend bool operator==(const CheckpointHeader&, const CheckpointHeader&) = default;
};

struct CheckpointSection {
    StreamId stream{0};
    std::uint64_t number = 0;  ///< Of the stream's last record at the index.
    std::vector<std::byte> body;
    bool is_damaged = false;   ///< Its checksum is wrong; the body is as found.
};

/// Builds the bytes of a checkpoint: header, then each section once, then take().
class CheckpointBuilder {
public:
    explicit CheckpointBuilder(const CheckpointHeader& header);
    void add(StreamId stream, std::uint64_t number, Bytes body);
    [[nodiscard]] std::vector<std::byte> take();

private:
    std::vector<std::byte> out_;
    std::uint32_t sections_ = 0;
};

struct Checkpoint {
    CheckpointHeader header;
    std::vector<CheckpointSection> sections;
};

/// `damaged` if the form is wrong or the end is missing; a section with a wrong checksum is marked, no error.
[[nodiscard]] Result<Checkpoint> decode_checkpoint(Bytes bytes);

/// "checkpoint-0000000000000001"
[[nodiscard]] std::string checkpoint_file_name(std::uint64_t number);
[[nodiscard]] std::optional<std::uint64_t> checkpoint_file_number(std::string_view name) noexcept;

struct FoundCheckpoint {
    std::uint64_t number = 0;
    Checkpoint checkpoint;
    std::string damage_text;  ///< Not empty: a newer one could not be used, and why.
};
/// The newest usable checkpoint of a shard's directory. One that is damaged is passed over if an older one is whole and
/// its first WAL file is still there. `not_found` if there is none at all, `damaged` if none can be used.
[[nodiscard]] Result<FoundCheckpoint> find_checkpoint(FileSystem& files, const std::string& directory);

}  // namespace baton::storage
