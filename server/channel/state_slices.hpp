// The state of a channel, taken slice by slice while the channel goes on: of a million messages that wait for a time it would
// take long at once. How far everything had come (next offset, retention, producers) is of the beginning, everything else as
// it is when its slice is taken: the ids of the duplicate window by age, blocks and what compaction has removed by
// offset, readers one after the other, and what is different about their messages by offset.
//
// That is a state nobody ever saw, and together with all records from those on that were submitted after the beginning it is
// the right one, because records can be applied to what is newer than they are (docs/adr/0009): of each message of each reader it
// says something that was true at or after the beginning, in terms of the cursor that the reader had when its turn came. What this
// cursor has passed since, and is settled, is named as settled; a cursor, a subscription or a block that came since is left to the
// records. So the file of the oldest record that the channel needed at the beginning has to stay until the next state is saved,
// and so do the blocks that were alive then.
//
// Before each slice what is noted has to be written (Channel::write_notes), and the state must not be believed before all that was
// submitted until the end is committed.
// Plain state. One owner. Next file: channel_save.cpp.
#pragma once

#include <cstdint>
#include <memory>

#include "server/channel/channel_state.hpp"

namespace baton::channel {

struct StateSlices {
    ChannelState state;  ///< When it is over.
    std::shared_ptr<const ChannelState> frozen{};  ///< Instead: of a channel that was damaged when it was installed.
    bool is_over = false;

    // Where it goes on.
    enum class Stage : std::uint8_t { ids, blocks, removed, readers };
    Stage stage = Stage::ids;
    std::uint64_t id = 0;       ///< Number of the next id,
    std::uint64_t ids_end = 0;  ///< and of the first that came since the beginning.
    Offset next = 0;            ///< Of the stage, or of the reader's entries.
    ReaderId reader = queue_reader;  ///< The lowest that may have to be taken,
    ReaderId readers_end = 0;        ///< and the first that came since.
    std::size_t place = 0;           ///< Where it was among the others.
    bool is_reader_begun = false;

    [[nodiscard]] const ChannelState& result() const noexcept { return frozen ? *frozen : state; }
};

}  // namespace baton::channel
