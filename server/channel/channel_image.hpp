// A durable channel at rest: its state and its messages, changed by records and by nothing else. This is the state
// machine of the commit log: what a restart, a backup or another node makes of a saved state and the records behind it.
// Applying a record a second time, or one from before the saved state, changes nothing.
// Not responsible for serving anybody: Channel::install makes a living channel of it.
// No I/O. One thread at a time. Next files: journal.hpp, channel_restore.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/base/payload.hpp"
#include "server/channel/channel_state.hpp"

namespace baton::channel {

class ChannelImage {
public:
    /// Messages that are in a log file and not in a segment.
    struct Batch {
        std::uint32_t count = 0;
        std::uint16_t flags = 0;
        std::uint32_t crc32c = 0;
        WallTime time{};
        Payload messages;
    };
    struct Live {
        Offset end = 0;
        std::uint32_t attempt = 1;
    };

    explicit ChannelImage(commit::StreamId stream) noexcept : stream_{stream} {}
    ChannelImage(commit::StreamId stream, const ChannelState& state);

    /// False: these are not a record of this version. Messages are copied into chunks of the pool.
    [[nodiscard]] bool apply(Bytes record, ChunkPool& pool);
    /// Forgets contents in which nothing is alive; says what is missing, empty if all that is alive is there.
    [[nodiscard]] std::string settle_contents();
    /// Quarantines it; the first reason stays.
    void mark_damaged(const std::string& reason);

    [[nodiscard]] commit::StreamId stream() const noexcept { return stream_; }
    [[nodiscard]] const SettingsRecord& settings() const noexcept { return settings_; }
    /// False until a settings record was seen: then nothing is known of the channel but its stream.
    [[nodiscard]] bool exists() const noexcept { return exists_; }
    [[nodiscard]] bool is_deleted() const noexcept { return is_deleted_; }
    [[nodiscard]] Offset next_offset() const noexcept { return next_offset_; }
    [[nodiscard]] Offset cursor() const noexcept { return cursor_; }
    [[nodiscard]] const std::map<ProducerId, std::uint64_t>& producers() const noexcept { return producers_; }
    [[nodiscard]] const std::map<Offset, Live>& live() const noexcept { return live_; }
    [[nodiscard]] const std::map<Offset, Batch>& batches() const noexcept { return batches_; }
    [[nodiscard]] const std::map<Offset, commit::BlockRef>& blocks() const noexcept { return blocks_; }
    [[nodiscard]] std::uint64_t live_messages() const noexcept;
    /// Without the batches that are in log files.
    [[nodiscard]] ChannelState state() const;

private:
    void on(const SettingsRecord& record);
    void on(const PublishRecord& record, ChunkPool& pool);
    void on(const SettledRecord& record);
    void on(const StartedRecord& record);
    void advance(Offset cursor);
    void split_live(Offset at);
    void note_producer(const ProducerId& id, std::uint64_t last_sequence);
    [[nodiscard]] bool is_in_block(Offset first, Offset end) const;
    [[nodiscard]] bool is_alive(Offset first, Offset end) const;

    commit::StreamId stream_;
    SettingsRecord settings_;
    bool exists_ = false;
    bool is_deleted_ = false;
    Offset next_offset_ = 1;
    Offset cursor_ = 1;
    std::map<ProducerId, std::uint64_t> producers_;
    std::map<Offset, Live> live_;  // Below the cursor, by first offset.
    std::map<Offset, Batch> batches_;
    std::map<Offset, commit::BlockRef> blocks_;
};

}  // namespace baton::channel
