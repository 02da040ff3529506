// Records of a shard's own stream (docs/storage.md, section 6): several records of channels that count together, and
// what steps across shards leave in the log. To bytes and back; what a part says is the channel's business. Pure
// functions; checked reading: the bytes may come from a damaged disk. Next file: local_commit_log.hpp.
//
//     +-------+-------+-------+---------------+-------------------------------+
//     | type  | 0     | 0 u16 | parts u32     | step u64                      |     16 bytes
//     +-------+-------+-------+---------------+-------------------------------+
//     part, `parts` times
//     +-------------------------------+-------------------------------+
//     | stream u64                    | number u64                    |
//     +---------------+---------------+-------------------------------+
//     | shard u32     | size u32      | a record of the stream: `size` bytes
//     +---------------+---------------+---------------------------------
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/bytes.hpp"
#include "server/storage/wal_format.hpp"

namespace baton::commit {

/// The shard's own stream: no channel has it.
inline constexpr storage::StreamId shard_stream{0};

enum class ShardRecordType : std::uint8_t {
    joint = 1,  ///< Its parts are records of their streams, in order. `step`: this shard has done its part of it; 0: of
                ///< none.
    intent = 2,    ///< The step is decided: its parts will be applied, each on its shard. They have no numbers yet.
    finished = 3,  ///< Every shard has done its part of the step: the intent is over. No parts.
};

struct RecordPart {
    storage::StreamId stream{0};
    std::uint64_t number = 0;  ///< In its stream; 0 in an intent.
    std::uint32_t shard = 0;   ///< In an intent: where the stream lives.
    Bytes body;
};

/// Gathers parts and makes a record of them.
class RecordGatherer {
public:
    [[nodiscard]] bool empty() const noexcept { return parts_ == 0; }
    void add(const RecordPart& part, Bytes rest = {});
    /// The record's body; the gatherer is empty again.
    [[nodiscard]] std::vector<std::byte> take(ShardRecordType type, std::uint64_t step);

private:
    std::vector<std::byte> bytes_;
    std::uint32_t parts_ = 0;
};

struct ShardRecord {
    ShardRecordType type{};
    std::uint64_t step = 0;
    std::vector<RecordPart> parts;  ///< Inside the bytes that were decoded.
};

/// Nothing if the bytes are not a whole, sound record.
[[nodiscard]] std::optional<ShardRecord> decode_shard_record(Bytes body);

/// What a checkpoint says of steps: the body of the section of the shard's own stream, which is there only if there is
/// something to say.
///
///     u8 version (1), u8 0, u16 0
///     u32 count, then u64 each: steps of which this shard has done its part, and whose intents may be there still
///     u32 count, then u32 size, an intent record each: those that this shard leads
struct StepsState {
    std::vector<std::uint64_t> applied;
    std::vector<std::vector<std::byte>> intents;
    [[nodiscard]] bool empty() const noexcept { return applied.empty() && intents.empty(); }
};
[[nodiscard]] std::vector<std::byte> encode(const StepsState& state);
/// Nothing if the bytes are not a whole, sound state.
[[nodiscard]] std::optional<StepsState> decode_steps_state(Bytes bytes);

}  // namespace baton::commit
