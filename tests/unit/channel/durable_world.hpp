// A durable channel with everything around it: ChannelWorld with a commit log and a disk for blocks that survive it.
// restart() is a crash: what is left is the newest saved state and the log up to an index.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tests/unit/channel/channel_world.hpp"
#include "tests/unit/channel/fake_commit_log.hpp"
#include "tests/unit/channel/stepwise_restore.hpp"

namespace baton::channel::test {

inline constexpr commit::StreamId test_stream{5};

struct DurableWorld {
    explicit DurableWorld(const ChannelOptions& channel_options = {}) : options{channel_options} { begin(); }

    /// The end of a turn: dispatch, notes.
    Lines turn() {
        world->channel.dispatch();
        if (world->channel.has_notes()) {
            world->channel.write_notes();
        }
        return world->happened();
    }
    /// Everything that was submitted is committed.
    Lines commit() { return commit_to(log->submitted()); }
    Lines commit_to(commit::Index index) {
        log->commit_to(index);
        world->channel.on_committed();
        return world->happened();
    }
    void condition(commit::Condition condition) {
        log->set_condition(condition);
        world->channel.on_condition();
    }
    /// Moves everything that is committed into blocks.
    std::vector<storage::BlockRef> relocate(std::optional<KeepAhead> keep_ahead = {}) {
        const auto refs = store.write(world->channel.begin_relocation(UINT64_MAX, keep_ahead, UINT64_MAX));
        world->channel.finish_relocation(refs);
        return refs;
    }
    /// A checkpoint, committed and written.
    void save() {
        if (world->channel.has_notes()) {
            world->channel.write_notes();
        }
        saved = encode(world->channel.state());
        saved_index = log->submitted();
        log->commit_to(saved_index);
        world->channel.on_committed();
    }
    /// Of a joint record each part: they are all of this channel.
    void apply(ChannelImage& image, const FakeCommitLog::Record& record) {
        if (!record.is_joint) {
            BATON_ASSERT(image.apply(record.body, pool));
            return;
        }
        const auto joint = commit::decode_shard_record(record.body);
        BATON_ASSERT(joint.has_value());
        for (const auto& part : joint->parts) {
            BATON_ASSERT(image.apply(part.body, pool));
        }
    }
    /// What a restart makes of the saved state and the log up to `last`.
    [[nodiscard]] ChannelImage image(commit::Index last, commit::Index first = 1) {
        std::optional<ChannelImage> image;
        image.emplace(test_stream);
        if (!saved.empty()) {
            const auto state = decode_state(saved);
            BATON_ASSERT(state.has_value());
            image.emplace(test_stream, *state);
        }
        for (commit::Index index = first; index <= last; ++index) {
            apply(*image, log->record(index));
        }
        damage = image->settle_contents();
        return std::move(*image);
    }
    /// A crash. All links are gone. Afterwards the new log is committed and saved.
    bool restart(std::optional<commit::Index> last = {}, commit::Index first = 1) {
        const ChannelImage recovered = image(last.value_or(log->committed()), first);
        const auto old_log = std::move(log);
        const auto old_world = std::move(world);
        make();
        const bool is_good = restore_in_steps(world->channel, recovered, store.reader(), 1 + recovered.next_offset() % 20);
        save();
        static_cast<void>(world->events.take());
        return is_good;
    }
    [[nodiscard]] Channel& channel() { return world->channel; }
    /// The record of this index, decoded.
    template <class Record>
    [[nodiscard]] Record record(commit::Index index) const {
        const auto decoded = decode_record(log->record(index).body);
        BATON_ASSERT(decoded && std::holds_alternative<Record>(*decoded));
        return std::get<Record>(*decoded);
    }

    ChannelOptions options;
    ChunkPool pool;
    FakeBlockStore store;
    std::unique_ptr<FakeCommitLog> log;
    std::unique_ptr<ChannelWorld> world;
    std::vector<std::byte> saved;
    commit::Index saved_index = 0;
    std::string damage;

private:
    void make() {
        log = std::make_unique<FakeCommitLog>();
        world = std::make_unique<ChannelWorld>(options, 1ULL << 40, Durability{log.get(), test_stream});
    }
    void begin() {
        make();
        world->channel.submit_settings();
        static_cast<void>(commit());
    }
};

}  // namespace baton::channel::test
