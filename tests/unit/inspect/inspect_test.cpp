// baton-inspect on disks that are sound, spoilt and full of surprises: what it says, what it gets out, and that it
// never changes a byte. A backup's files make the directory: they are those of the broker.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/batch_builder.hpp"
#include "server/inspect/command_line.hpp"
#include "server/inspect/rescue.hpp"
#include "server/inspect/verbs.hpp"
#include "server/runtime/backup_files.hpp"
#include "server/runtime/recovery.hpp"
#include "server/storage/checkpoint.hpp"
#include "server/storage/errc.hpp"
#include "tests/sim/disk.hpp"

namespace baton::inspect {
namespace {

using channel::ChannelState;
using storage::StreamId;

constexpr StreamId stream{0x300000001};

/// A directory with one shard and one channel: messages 1 to 6 in two blocks, 7 to 9 in the log. 1, 2 and 5 are
/// settled; 3 was begun once.
class InspectTest : public ::testing::Test {
protected:
    InspectTest() {
        ChannelState state{.settings = {.name = "jobs", .options = {.is_durable = true}, .damage = {}},
                           .next_offset = 10,
                           .cursor = 6,
                           .producers{},
                           .live = {{3, 4, 2}, {4, 5, 1}},
                           .blocks = {}};
        storage::SegmentWriter writer{stream, 1 << 20};
        const auto first = stored(1, 3);
        const auto second = stored(4, 3);
        const std::vector<storage::BlockContent> contents{{.first = 1, .end = 4, .entries = 1, .parts = {first}},
                                                          {.first = 4, .end = 7, .entries = 1, .parts = {second}}};
        state.blocks = *writer.append(disk, contents);
        runtime::BackupSlice saved;
        saved.blocks.push_back({stream, state.blocks});
        auto& in_log = saved.logged.emplace_back(stream).batches;
        in_log.push_back(logged(7, 2));
        in_log.push_back(logged(9, 1));
        saved.states.push_back({stream, 2, {.state = state, .is_over = true}});
        EXPECT_TRUE(storage::ensure_directory(disk, "x"));
        write("x", 3, std::move(saved));
        for (const auto* name : {"generation-0000000000000003"}) {
            EXPECT_TRUE(disk.rename(std::string{"x/"} + name, name));
        }
        EXPECT_TRUE(storage::remove_tree(disk, "x"));
        EXPECT_TRUE(storage::store_manifest(disk, {.generation = 3, .shards = 1}));
    }

    void write(const std::string& directory, std::uint64_t generation, runtime::BackupSlice slice) {
        runtime::BackupWriter writer{directory, generation, 0};
        writer.add(disk, std::move(slice));
        EXPECT_TRUE(writer.finish(disk, {}));
    }
    static std::string body(channel::Offset offset) { return "message-" + std::to_string(offset); }
    Payload batch(channel::Offset first, std::uint32_t count) {
        BatchBuilder builder;
        for (std::uint32_t i = 0; i < count; ++i) {
            builder.append(as_bytes(body(first + i)));
        }
        return builder.take(pool);
    }
    /// With its offset and time.
    std::vector<std::byte> stored(channel::Offset first, std::uint32_t count) {
        const auto made = batch(first, count);
        auto header = *decode_batch_header(made.bytes());
        header.base_offset = first;
        header.time_us = 1'700'000'000'000'000;
        std::vector<std::byte> bytes(made.bytes().begin(), made.bytes().end());
        encode(header, MutableBytes{bytes}.first(batch_header_size));
        return bytes;
    }
    channel::LoggedBatch logged(channel::Offset first, std::uint32_t count) {
        const auto bytes = stored(first, count);
        const auto header = *decode_batch_header(bytes);
        channel::LoggedBatch batch;
        channel::encode(channel::PublishRecord{.header = header, .producer{}, .last_sequence = 0, .messages{}},
                        batch.head);
        batch.messages = Payload::copy_of(pool, messages_of(bytes));
        return batch;
    }
    /// "3*2 4 6": offset, and the attempt if it is not the first. Bodies are checked.
    std::string rescued(const std::string& name = "jobs") {
        Directory directory{disk};
        const auto recovery = runtime::recover_generation(directory.files(), *directory.manifest(), pool);
        if (!recovery) {
            return "no recovery";
        }
        const auto image = std::ranges::find_if(recovery->channels, [&](const channel::ChannelImage& candidate) {
            return candidate.settings().name.starts_with(name);
        });
        if (image == recovery->channels.end()) {
            return "no channel";
        }
        std::string text;
        Rescue rescue{directory, *image, pool};
        rescue.visit([&](const Envelope& envelope) {
            EXPECT_EQ(as_text(envelope.message.payload), body(envelope.offset));
            text += (text.empty() ? "" : " ") + std::to_string(envelope.offset) +
                    (envelope.attempt == 1 ? "" : "*" + std::to_string(envelope.attempt));
        });
        missing = rescue.missing();
        return text;
    }
    std::pair<int, std::string> run(const std::function<int(Directory&)>& verb) {
        Directory directory{disk};
        ::testing::internal::CaptureStdout();
        ::testing::internal::CaptureStderr();
        const int code = verb(directory);
        const auto complaints = ::testing::internal::GetCapturedStderr();
        return {code, ::testing::internal::GetCapturedStdout() + complaints};
    }
    std::pair<int, std::string> verified() {
        return run([](Directory& directory) { return verify(directory, Format::text); });
    }
    std::uint64_t position_of(const std::string& path, const std::string& text) {
        const auto content = storage::read_whole(disk, path);
        const std::string_view bytes = as_text(*content);
        EXPECT_NE(bytes.find(text), std::string_view::npos);
        return bytes.find(text);
    }

    sim::SimDisk disk;
    ChunkPool pool;
    std::uint64_t missing = 0;
    const std::string segment = storage::segment_path(stream, 1);
    const std::string wal = "generation-0000000000000003/shard-0000/wal-0000000000000001";
    const std::string checkpoint = "generation-0000000000000003/shard-0000/checkpoint-0000000000000001";
};

TEST_F(InspectTest, ASoundDirectory) {
    const auto [code, text] = verified();
    EXPECT_EQ(code, exit_sound) << text;
    EXPECT_EQ(text, "sound: channels=1 messages=6 records=3 blocks=2 damage=0\n");
    EXPECT_EQ(rescued(), "3*2 4 6 7 8 9");
    EXPECT_EQ(missing, 0U);
}

TEST(InspectCommandLine, NamesTheWordAndTheOrder) {
    struct Case {
        std::vector<const char*> words;
        std::string told;
    };
    for (const auto& [words, told] :
         {Case{{"d"}, "behind DIR (\"d\") one of list, verify, dump, restore is missing;"},
          Case{{"d", "lst"}, "is missing, there is \"lst\";"}, Case{{"list", "d"}, "behind DIR (\"list\")"},
          Case{{"d", "dump"}, "behind dump one of wal, segment, checkpoint, channel is missing;"},
          Case{{"d", "list", "more"}, "\"more\" is not expected there; the order is baton-inspect DIR VERB"}}) {
        std::vector<const char*> arguments{"./baton-inspect"};
        arguments.insert(arguments.end(), words.begin(), words.end());
        ::testing::internal::CaptureStderr();
        EXPECT_EQ(inspect::run(static_cast<int>(arguments.size()), arguments.data()), exit_usage);
        const auto complaint = ::testing::internal::GetCapturedStderr();
        EXPECT_NE(complaint.find(told), std::string::npos) << complaint;
    }
}

TEST_F(InspectTest, ListShowsTheChannel) {
    const auto [code, text] = run([](Directory& directory) { return list(directory, Format::json); });
    EXPECT_EQ(code, exit_sound);
    const auto json = Json::parse(text);
    EXPECT_EQ(json["channels"][0]["name"], "jobs");
    EXPECT_EQ(json["channels"][0]["stream"], "0000000300000001");
    EXPECT_EQ(json["channels"][0]["messages"], 6);
    EXPECT_EQ(json["manifest"]["generation"], 3);
    EXPECT_FALSE(json["channels"][0].contains("damage"));
}

TEST_F(InspectTest, TheRowsOfFiles) {
    const auto wal_rows = run([](Directory& directory) { return dump_wal(directory, Format::json, {}); });
    EXPECT_EQ(wal_rows.first, exit_sound);
    EXPECT_EQ(std::ranges::count(wal_rows.second, '\n'), 3);
    const auto blocks =
        run([](Directory& directory) { return dump_segments(directory, Format::json, {"segment-00000001"}); });
    EXPECT_EQ(std::ranges::count(blocks.second, '\n'), 2);
    const auto sections = run([](Directory& directory) { return dump_checkpoints(directory, Format::json, {}); });
    EXPECT_TRUE(sections.second.contains("\"name\":\"jobs\"")) << sections.second;
    const auto unknown = run([](Directory& directory) { return dump_wal(directory, Format::json, {"wal-9"}); });
    EXPECT_EQ(unknown.first, exit_usage);
}

TEST_F(InspectTest, AnEnvelopePerMessage) {
    const auto [code, text] =
        run([](Directory& directory) { return dump_channels(directory, Format::json, {"jobs"}); });
    EXPECT_EQ(code, exit_sound);
    EXPECT_EQ(text.substr(0, text.find('\n')),
              R"({"channel":"jobs","offset":3,"attempt":2,"time":"2023-11-14T22:13:20.000000Z","body":"message-3"})");
}

TEST_F(InspectTest, ABlockThatIsWrong) {
    disk.flip_byte(segment, position_of(segment, "message-4"));
    const auto [code, text] = verified();
    EXPECT_EQ(code, exit_damaged);
    EXPECT_TRUE(text.contains(segment + ": position ")) << text;
    EXPECT_EQ(rescued(), "3*2 7 8 9");
    EXPECT_EQ(missing, 2U);
}

TEST_F(InspectTest, ARecordThatIsWrong) {
    disk.flip_byte(wal, position_of(wal, "message-8"));
    EXPECT_EQ(verified().first, exit_damaged);
    EXPECT_EQ(rescued(), "3*2 4 6 9");
    EXPECT_EQ(missing, 2U);
}

/// The state is lost: whatever is there may be alive.
TEST_F(InspectTest, ASectionThatIsWrong) {
    disk.flip_byte(checkpoint, position_of(checkpoint, "jobs"));
    EXPECT_EQ(verified().first, exit_damaged);
    EXPECT_EQ(rescued(""), "1 2 3 4 5 6 7 8 9");
}

/// As a start leaves it that found the channel damaged: the messages of the log are in the generation that was kept.
TEST_F(InspectTest, AGenerationThatWasKept) {
    disk.flip_byte(wal, position_of(wal, "message-9"));
    const auto before = storage::read_whole(disk, checkpoint);
    auto state = *channel::decode_state(storage::decode_checkpoint(*before)->sections.front().body);
    state.settings.damage = "it was";
    runtime::BackupSlice saved;
    saved.blocks.push_back({stream, state.blocks});
    saved.states.push_back({stream, 2, {.state = state, .is_over = true}});
    write("y", 4, std::move(saved));
    ASSERT_TRUE(disk.rename("y/generation-0000000000000004", "generation-0000000000000004"));
    ASSERT_TRUE(disk.rename("generation-0000000000000003", "damaged-0000000000000003"));
    ASSERT_TRUE(storage::store_manifest(disk, {.generation = 4, .shards = 1}));
    EXPECT_EQ(rescued(), "3*2 4 6 7 8");
    EXPECT_EQ(missing, 1U);
    EXPECT_EQ(verified().first, exit_damaged);
}

/// What was being written when the broker died, and what the broker has not removed yet.
TEST_F(InspectTest, WhatNothingRefersToIsNoDamage) {
    storage::SegmentWriter writer{stream, 1 << 20};
    const auto content = stored(20, 3);
    const std::vector<storage::BlockContent> contents{{.first = 20, .end = 23, .entries = 1, .parts = {content}}};
    ASSERT_TRUE(writer.append(disk, contents));
    disk.flip_byte(storage::segment_path(stream, 2), position_of(storage::segment_path(stream, 2), "message-21"));
    const auto [code, text] = verified();
    EXPECT_EQ(code, exit_sound) << text;
    EXPECT_TRUE(text.contains("note: ")) << text;
    EXPECT_EQ(rescued(), "3*2 4 6 7 8 9");
}

TEST_F(InspectTest, AMissingSegment) {
    ASSERT_TRUE(disk.remove(segment));
    EXPECT_EQ(verified().first, exit_damaged);
    EXPECT_EQ(rescued(), "7 8 9");
    EXPECT_EQ(missing, 3U);
}

TEST_F(InspectTest, NoManifest) {
    ASSERT_TRUE(disk.remove("MANIFEST"));
    EXPECT_EQ(verified().first, exit_damaged) << "there are channels";
    sim::SimDisk empty;
    Directory directory{empty};
    EXPECT_EQ(directory.manifest().error().code, storage::Errc::not_found);
}

/// Every byte that counts, and every length of every file: it is said or it does not matter, nothing crashes, nothing
/// is changed, and what is alive and readable still comes.
TEST_F(InspectTest, EveryByteThatIsWrong) {
    for (const auto& path : {segment, checkpoint, wal}) {
        const auto size = std::min<std::size_t>(storage::read_whole(disk, path)->size(), 3 * 4096);
        for (std::size_t position = 0; position < size; ++position) {
            if (path == wal && position % 4096 > 400) {
                continue;  // Padding.
            }
            const auto kept = disk.snapshot();
            disk.flip_byte(path, position, std::byte{0x04});
            const auto spoilt = *storage::read_whole(disk, path);
            const auto operations = disk.operations();
            const int code = verified().first;
            const auto text = rescued(code == exit_sound ? "jobs" : "");
            if (code == exit_sound) {
                EXPECT_EQ(text, "3*2 4 6 7 8 9") << path << " at " << position;
            }
            EXPECT_EQ(disk.operations(), operations) << "something was changed";
            EXPECT_EQ(*storage::read_whole(disk, path), spoilt);
            disk.restore(kept);
        }
    }
}

TEST_F(InspectTest, EveryLength) {
    for (const auto& path : {segment, checkpoint, wal}) {
        const auto size = std::min<std::size_t>(storage::read_whole(disk, path)->size(), 3 * 4096);
        for (std::size_t length = 0; length < size; length += path == wal ? 61 : 1) {
            const auto kept = disk.snapshot();
            ASSERT_TRUE((*disk.open(path, storage::OpenMode::read_write))->truncate(length));
            const int code = verified().first;
            const auto text = rescued(code == exit_sound ? "jobs" : "");
            if (code == exit_sound) {
                EXPECT_TRUE(text.starts_with("3*2 4 6")) << path << " of " << length << ": " << text;
            }
            disk.restore(kept);
        }
    }
}

TEST_F(InspectTest, TheViewChangesNothing) {
    ReadOnlyFiles view{disk};
    const auto is_refused = [](const auto& result) { return result.error().code == storage::Errc::not_permitted; };
    EXPECT_TRUE(is_refused(view.open("new", storage::OpenMode::create)));
    EXPECT_TRUE(is_refused(view.open(segment, storage::OpenMode::read_write)));
    EXPECT_TRUE(is_refused(view.rename(segment, "x")));
    EXPECT_TRUE(is_refused(view.link(segment, "x")));
    EXPECT_TRUE(is_refused(view.remove(segment)));
    EXPECT_TRUE(is_refused(view.make_directory("x")));
    EXPECT_TRUE(is_refused(view.sync_directory("")));
    EXPECT_TRUE(is_refused(view.lock("LOCK", "")));
    const auto file = *view.open(segment, storage::OpenMode::read);
    const Bytes part = as_bytes("x");
    EXPECT_TRUE(is_refused(file->write(0, {&part, 1})));
    EXPECT_TRUE(is_refused(file->truncate(0)));
    EXPECT_TRUE(is_refused(file->allocate(10)));
    EXPECT_TRUE(is_refused(file->sync()));
}

}  // namespace
}  // namespace baton::inspect
