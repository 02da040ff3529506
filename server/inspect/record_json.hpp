// Records, states and messages of channels as JSON, for people and for `baton send --jsonl`. Pure functions.
// Next file: dump_files.cpp.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/batch.hpp"
#include "common/base/clock.hpp"
#include "server/channel/channel_state.hpp"
#include "server/inspect/output.hpp"

namespace baton::inspect {

/// "0000000700000001", as in the name of its directory.
[[nodiscard]] std::string stream_text(storage::StreamId stream);
[[nodiscard]] std::string time_text(WallTime time);

/// Type and content of a record of this stream; {"type":"unknown"} if it is none.
[[nodiscard]] Json record_json(storage::StreamId stream, Bytes body);
[[nodiscard]] Json state_json(const channel::ChannelState& state);
[[nodiscard]] Json block_json(const storage::BlockRef& block);
[[nodiscard]] Json batch_json(const BatchHeader& header);

struct Envelope {
    std::string channel;
    channel::Offset offset = 0;
    std::uint32_t attempt = 1;
    WallTime time{};
    MessageView message;
};
/// As a line of JSON `baton send --jsonl` takes it: the properties are an object of their own, the same as `baton peek` prints,
/// since times in microseconds are understood only there. As text they stand beside the rest.
[[nodiscard]] Json envelope_json(const Envelope& envelope, Format format);

}  // namespace baton::inspect
