// A new channel becomes what an image says: after a restart all at once, out of a backup in steps between which others are served.
// Until the last one nobody else may see the channel. One owner, its shard. Next file: channel_image.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "server/channel/channel.hpp"
#include "server/channel/channel_image.hpp"

namespace baton::channel {

class ChannelRestore {
public:
    /// All outlive it. The channel is durable and new; blocks that are needed at once are read.
    ChannelRestore(Channel& channel, const ChannelImage& image, BlockReader read);
    ChannelRestore(const ChannelRestore&) = delete;
    ChannelRestore& operator=(const ChannelRestore&) = delete;
    ~ChannelRestore() = default;

    /// Goes on for about so many `units` at most, each well below a microsecond, and uses them up. True: it is done. Then
    /// messages of the log files are submitted again.
    [[nodiscard]] bool go_on(std::uint64_t& units);
    /// When it is done. False: the channel is damaged, as the image says or because a block cannot be read.
    [[nodiscard]] bool is_sound() const noexcept { return channel_.damage().empty(); }

private:
    enum class Phase : std::uint8_t { settings, contents, readers, entries, ruled, rules, ids, done };
    /// What a reader has of the image.
    struct Place {
        Subscription* reader = nullptr;
        const ReaderImage* saved = nullptr;
        std::map<Offset, ReaderEntry>::const_iterator entry;
    };
    struct Part {
        Offset first = 0;
        Offset end = 0;
    };

    [[nodiscard]] bool step(std::uint64_t& units);
    void add_settings();
    void add_reader(ReaderId id, const ReaderImage& saved);
    [[nodiscard]] bool add_contents(std::uint64_t& units);
    StoredBatch& add_batch(const BatchHeader& header, Payload messages);
    [[nodiscard]] bool add_block(const commit::BlockRef& ref, std::uint64_t& units);
    [[nodiscard]] bool add_keys(const commit::BlockRef& ref, Bytes body, std::uint64_t& units);
    void add_key(Offset offset, std::uint64_t key);
    void give_up();
    [[nodiscard]] bool place_readers(std::uint64_t& units);
    void add_what_trimmed_left();
    [[nodiscard]] bool add_entries(std::uint64_t& units);
    void add_entries_of(StoredBatch& batch, std::uint64_t& units);
    void add_entries_of(StoredBatch& batch, Place& place, std::vector<Part>& unwanted, std::uint64_t& units);
    void cut_holes();
    [[nodiscard]] bool find_ruled(std::uint64_t& units);
    [[nodiscard]] bool look_at_rules(std::uint64_t& units);
    [[nodiscard]] bool add_ids(std::uint64_t& units);
    void freeze();
    void submit();
    [[nodiscard]] bool is_stream() const noexcept { return channel_.options_->kind == Kind::stream; }

    Channel& channel_;
    MessageLog& log_;
    const ChannelImage& image_;
    const BlockReader read_;
    Phase phase_ = Phase::settings;
    // Where it goes on.
    std::map<Offset, ChannelImage::Batch>::const_iterator next_batch_;
    std::map<Offset, commit::BlockRef>::const_iterator next_block_;
    std::vector<Place> places_;
    OffsetSet skipped_;  // Of the reader that is being placed.
    StoredBatch* batch_ = nullptr;
    std::vector<StoredBatch*> ruled_;
    std::size_t reader_ = 0;
    std::size_t id_ = 0;
};

}  // namespace baton::channel
