// One kind of trouble after the other: what the reader calls damage, what a torn tail, and what it reads all the same.
#include "server/storage/wal_reader.hpp"

#include <gmock/gmock.h>

#include "common/base/crc32c.hpp"
#include "tests/unit/storage/wal_steps.hpp"

namespace baton::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t first_group = wal_alignment;
constexpr std::uint64_t second_group = 2 * wal_alignment;
constexpr std::uint64_t third_group = 3 * wal_alignment;

class WalReaderTest : public WalSteps {
protected:
    /// A group that leaves no room for another one in its file.
    void fill_file(std::string_view name) {
        write(1, name, payload(small_file - 2 * wal_alignment, '.'));
        sync();
    }
    void expect_story(const std::vector<std::string>& story, std::uint64_t first_file = 1) {
        const ReadBack found = read(first_file);
        EXPECT_EQ(found.error.message(), Error{}.message());
        std::vector<std::string> short_story;
        for (const std::string& line : found.story) {
            short_story.push_back(line.substr(0, line.find('.')));
        }
        EXPECT_EQ(short_story, story);
    }
    [[nodiscard]] static std::uint64_t record_at(std::uint64_t group, std::uint64_t in_front) {
        return group + group_header_size + in_front;
    }
};

TEST_F(WalReaderTest, NoDirectoryIsAnError) {
    EXPECT_EQ(read_log(disk, 1, "nowhere").error.code, Errc::not_found);
}

TEST_F(WalReaderTest, NothingWasEverWritten) {
    expect_story({});
    EXPECT_THAT(read().report.damage, IsEmpty());
    EXPECT_EQ(read().report.files, 0U);
}

TEST_F(WalReaderTest, FilesInFrontOfTheFirstOneArePassedOver) {
    fill_file("a");
    fill_file("b");
    fill_file("c");
    disk.fail_reads(file(1));
    expect_story({"b", "c"}, 2);
    EXPECT_EQ(read(2).records.front().index, 2U);
    EXPECT_EQ(read(1).error.code, Errc::io_error);
}

TEST_F(WalReaderTest, PlaceOfARecord) {
    group({"ab", "c"});
    struct Places final : WalVisitor {
        std::vector<std::uint64_t> positions;
        std::vector<std::uint64_t> progress;
        void on_record(const WalRecord& record) override { positions.push_back(record.position); }
        void on_damage(const WalDamage&) override { FAIL(); }
        void on_progress(std::uint64_t done, std::uint64_t total) override { progress = {done, total}; }
    } places;
    const auto report =
        read_wal(disk, {.directory = wal_directory, .generation = 7, .shard = 2, .first_file = 1}, places);
    ASSERT_TRUE(report);
    EXPECT_THAT(places.positions, ElementsAre(record_at(first_group, 0), record_at(first_group, 26)));
    EXPECT_THAT(places.progress, ElementsAre(small_file, small_file));
    EXPECT_EQ(report->bytes, small_file);
    EXPECT_EQ(report->files, 1U);
    EXPECT_EQ(report->last_index, 2U);
}

// --- Torn tails

TEST_F(WalReaderTest, LastGroupWithoutItsEnd) {
    group({"a"});
    group({"b", "c"});
    zero(1, record_at(second_group, 25), 512);
    expect_story({"a", "b"});
    const ReadBack found = read();
    EXPECT_EQ(found.report.torn_bytes, 25U);
    EXPECT_THAT(found.report.torn_text, HasSubstr(file(1) + " at " + std::to_string(record_at(second_group, 25))));
    EXPECT_THAT(found.report.damage, IsEmpty());
}

TEST_F(WalReaderTest, LastGroupWithHalfAHeader) {
    group({"a"});
    group({"b", "c"});
    zero(1, second_group + 32, 512);
    expect_story({"a"});
    EXPECT_EQ(read().report.torn_bytes, group_header_size);
    EXPECT_THAT(read().report.damage, IsEmpty());
}

TEST_F(WalReaderTest, LastFileWithoutItsHeader) {
    fill_file("a");
    group({"b"});
    zero(2, 0, 512);
    expect_story({"a", "b"});
    EXPECT_THAT(read().report.damage, IsEmpty());
}

TEST_F(WalReaderTest, LastFileIsEmptyOrGone) {
    fill_file("a");
    group({"b"});
    cut(2, 0);
    expect_story({"a"});
    EXPECT_THAT(read().report.damage, IsEmpty());
    EXPECT_TRUE(disk.remove(file(2)));
    expect_story({"a"});
    EXPECT_THAT(read().report.damage, IsEmpty());
}

TEST_F(WalReaderTest, LastFileWasOnlyRenamed) {
    fill_file("a");
    fill_file("b");
    fill_file("c");
    EXPECT_TRUE(disk.rename(file(1), file(4)));
    expect_story({"b", "c"}, 2);
    EXPECT_THAT(read(2).report.damage, IsEmpty());
    EXPECT_EQ(read(2).report.torn_text, "");
}

TEST_F(WalReaderTest, LaterGroupThatDoesNotKnowWhatIsMissing) {
    group({"a"});
    group({"b"});
    group({"c"});
    // As a writer would leave it that writes two groups at once.
    std::vector<std::byte> bytes = bytes_of(1);
    GroupHeader header;
    ASSERT_EQ(decode(Bytes{bytes}.subspan(third_group), header), HeaderCheck::ok);
    header.synced_index = 1;
    encode(header, MutableBytes{bytes}.subspan(third_group));
    overwrite(1, third_group, Bytes{bytes}.subspan(third_group, group_header_size));
    zero(1, second_group, wal_alignment);
    expect_story({"a"});
    EXPECT_THAT(read().report.damage, IsEmpty());
    EXPECT_GT(read().report.torn_bytes, 0U);
}

// --- Damage

TEST_F(WalReaderTest, GroupIsMissing) {
    group({"a"});
    group({"b", "c"});
    group({"d"});
    zero(1, second_group, wal_alignment);
    expect_story({"a", "<hole 2-3>", "d"});
    ASSERT_THAT(read().report.damage, SizeIs(1));
    EXPECT_EQ(read().report.damage[0].position, second_group);
    EXPECT_THAT(read().report.damage[0].text, HasSubstr(file(1) + " at 8192: records 2 to 3"));
}

TEST_F(WalReaderTest, FirstGroupIsMissing) {
    group({"a"});
    group({"b"});
    zero(1, 0, 2 * wal_alignment);
    expect_story({"<hole 1-1>", "b"});
}

TEST_F(WalReaderTest, LastGroupOfAFileIsMissing) {
    group({"a"});
    group({"b"});
    fill_file("c");
    zero(1, second_group, 512);
    expect_story({"a", "<hole 2-2>", "c"});
}

TEST_F(WalReaderTest, HeaderOfTheNextFileProvesWhatWasSynced) {
    group({"a"});
    group({"b", "c"});
    fill_file("d");
    zero(2, wal_alignment, 8192);
    flip(1, record_at(second_group, 24));
    expect_story({"a", "<wrong 2 of 1>", "c"});
    zero(1, second_group, 512);
    expect_story({"a", "<hole 2-3>"});
}

TEST_F(WalReaderTest, RecordsThatAreWrongNameTheirStreams) {
    write(1, "a");
    write(2, "b");
    write(3, "c");
    write(4, "d");
    sync();
    group({"e"});
    flip(1, record_at(first_group, 25 + 24));
    flip(1, record_at(first_group, 50 + 16));
    expect_story({"a", "<wrong 2 of 2>", "<wrong 3 of 3>", "d", "e"});
    flip(1, record_at(first_group, 50 + 16));
    flip(1, record_at(first_group, 75 + 24));
    expect_story({"a", "<wrong 2 of 2>", "c", "<wrong 4 of 4>", "e"});
}

TEST_F(WalReaderTest, AfterAWrongSizeTheRestOfTheGroupCannotBeRead) {
    group({"a", "b", "c", "d"});
    group({"e"});
    flip(1, record_at(first_group, 25), 1);
    expect_story({"a", "<hole 2-4>", "e"});
    flip(1, record_at(first_group, 25), 1);
    flip(1, record_at(first_group, 75), 1);
    expect_story({"a", "b", "c", "<hole 4-4>", "e"});
}

TEST_F(WalReaderTest, EndOfAGroupIsMissing) {
    group({"a", "b", "c", "d"});
    group({"e"});
    zero(1, record_at(first_group, 50), 50);
    expect_story({"a", "b", "<hole 3-4>", "e"});
}

TEST_F(WalReaderTest, FileInTheMiddleIsMissing) {
    fill_file("a");
    fill_file("b");
    group({"c"});
    EXPECT_TRUE(disk.remove(file(2)));
    expect_story({"a", "<hole 2-2>", "c"});
}

TEST_F(WalReaderTest, FirstFileIsMissing) {
    fill_file("a");
    fill_file("b");
    group({"c"});
    EXPECT_TRUE(disk.remove(file(1)));
    expect_story({"<hole 1-1>", "b", "c"});
    EXPECT_TRUE(disk.remove(file(2)));
    expect_story({"<hole 0-2>", "c"}, 2);
    expect_story({"<hole 0-?>"}, 4);
}

TEST_F(WalReaderTest, NothingInTheFirstFileIsRight) {
    fill_file("a");
    fill_file("b");
    zero(2, 0, small_file);
    expect_story({"<hole 0-?>"}, 2);
    group({"c"});
    expect_story({"<hole 0-2>", "c"}, 2);
    expect_story({"a", "<hole 2-2>", "c"});
}

TEST_F(WalReaderTest, FilesAreInterchanged) {
    fill_file("a");
    fill_file("b");
    fill_file("c");
    group({"d"});
    EXPECT_TRUE(disk.rename(file(2), "spare"));
    EXPECT_TRUE(disk.rename(file(3), file(2)));
    EXPECT_TRUE(disk.rename("spare", file(3)));
    expect_story({"a", "<hole 2-3>", "d"});
}

TEST_F(WalReaderTest, FileIsShorter) {
    group({"a"});
    group({"b"});
    fill_file("c");
    cut(1, second_group);
    expect_story({"a", "<hole 2-2>", "c"});
    cut(1, 100);
    expect_story({"<hole 1-2>", "c"});
}

TEST_F(WalReaderTest, GroupsAreInterchanged) {
    group({"a"});
    group({"b"});
    group({"c"});
    group({"d"});
    const std::vector<std::byte> bytes = bytes_of(1);
    overwrite(1, second_group, Bytes{bytes}.subspan(third_group, wal_alignment));
    overwrite(1, third_group, Bytes{bytes}.subspan(second_group, wal_alignment));
    expect_story({"a", "<hole 2-2>", "c", "d"});
}

// --- Damage that lost nothing: told to people, and to no stream

TEST_F(WalReaderTest, GroupIsThereTwice) {
    group({"a"});
    group({"b"});
    group({"c"});
    const std::vector<std::byte> bytes = bytes_of(1);
    overwrite(1, third_group, Bytes{bytes}.subspan(second_group, wal_alignment));
    overwrite(1, third_group + wal_alignment, Bytes{bytes}.subspan(third_group, wal_alignment));
    expect_story({"a", "b", "c"});
    EXPECT_THAT(read().report.damage, SizeIs(1));
}

TEST_F(WalReaderTest, HeaderOfAFileIsWrong) {
    group({"a"});
    fill_file("b");
    group({"c"});
    for (const std::uint64_t number : {1, 2}) {
        flip(number, 20);
        expect_story({"a", "b", "c"});
        ASSERT_THAT(read().report.damage, SizeIs(1));
        EXPECT_EQ(read().report.damage[0].file_number, number);
        EXPECT_EQ(read().report.damage[0].position, 0U);
        flip(number, 20);
    }
    flip(2, 20);
    expect_story({"b", "c"}, 2);
    EXPECT_THAT(read().report.damage, SizeIs(1));
}

TEST_F(WalReaderTest, FileOfAnotherLogIsNotRead) {
    fill_file("a");
    fill_file("b");
    const std::vector<std::byte> second = bytes_of(2);
    for (const int wrong : {0, 1, 2}) {
        settings.generation = wrong == 0 ? 8 : 7;
        settings.shard = wrong == 1 ? 3 : 2;
        settings.salt = wrong == 2 ? 1 : 0x5a17;
        for (const auto& path : disk.all_files()) {
            EXPECT_TRUE(disk.remove(path));
        }
        start();
        fill_file("x");
        fill_file("y");
        group({"z"});
        overwrite(2, 0, second);
        if (wrong == 2) {
            expect_story({"x", "<hole 2-2>", "z"});
        } else {
            expect_story({"<hole 1-1>", "b", "<hole 3-?>"});
        }
    }
}

TEST_F(WalReaderTest, NewerVersionIsRefused) {
    group({"a"});
    std::vector<std::byte> bytes = bytes_of(1);
    store_u32(bytes.data() + 4, wal_version + 1);
    store_u32(bytes.data() + 52, crc32c(Bytes{bytes}.first(52)));
    overwrite(1, 0, Bytes{bytes}.first(wal_file_header_size));
    EXPECT_EQ(read().error.code, Errc::newer_version);
}

// --- Recycled files

class WalRecycledTest : public WalReaderTest {
protected:
    /// A group whose records end at each boundary of a sector.
    void sector_group(char filling) {
        for (int i = 0; i < 7; ++i) {
            write(1, std::string(40, filling));
        }
        write(1, std::string(512 - 24, filling));
        write(1, std::string(512 - 24, filling));
        sync();
    }
};

TEST_F(WalRecycledTest, OldGroupsDoNotCount) {
    group({"a"});
    group({"b"});
    group({"c"});
    fill_file("d");
    writer->recycle_before(2);
    group({"e"});
    ASSERT_FALSE(disk.exists(file(1)));
    expect_story({"d", "e"}, 2);
    EXPECT_EQ(read(2).report.torn_text, "");
    EXPECT_THAT(read(2).report.damage, IsEmpty());
}

TEST_F(WalRecycledTest, OldRecordsAreNeverTakenForNewOnes) {
    sector_group('x');
    fill_file("full");
    writer->recycle_before(2);
    const std::vector<std::byte> before = bytes_of(1);
    sector_group('y');
    ASSERT_FALSE(disk.exists(file(1)));
    // Only the first sector of the new group has reached the disk.
    overwrite(3, first_group + 512, Bytes{before}.subspan(first_group + 512, 4096 - 512));
    const ReadBack found = read(2);
    ASSERT_THAT(found.records, SizeIs(1 + 7));
    EXPECT_EQ(found.records.back().body, std::string(40, 'y'));
    EXPECT_GT(found.report.torn_bytes, 0U);
    EXPECT_THAT(found.report.damage, IsEmpty());
    // And if it had been durable, that is damage.
    fill_file("last");
    EXPECT_THAT(read(2).damage, ElementsAre("hole 18-19"));
}

// What a user sends can be at any place of a file that is recycled later. Everything in such a group can be guessed but
// the salt.
TEST_F(WalRecycledTest, GroupsThatUsersSendDoNotCount) {
    GroupHeader forged{.file_number = 3,
                       .first_index = 1'000'000,
                       .synced_index = 999'999,
                       .body_size = record_header_size + 1,
                       .records = 1,
                       .epoch = 0};
    RecordHeader record{.body_size = 1, .crc = 0, .stream = StreamId{1}, .number = 3};
    record.crc = record_crc(0, forged.first_index, record, as_bytes("!"));
    std::vector<std::byte> message(3 * wal_alignment);
    for (std::size_t at = wal_alignment - group_header_size - record_header_size; at < message.size();
         at += wal_alignment) {
        encode(forged, MutableBytes{message}.subspan(at));
        encode(record, MutableBytes{message}.subspan(at + group_header_size));
    }
    group({as_text(message)});
    fill_file("full");
    writer->recycle_before(2);
    group({"a"});
    ASSERT_FALSE(disk.exists(file(1)));
    std::vector<std::byte> content = bytes_of(3);
    bool is_there = false;
    for (std::size_t at = wal_alignment; at < content.size(); at += wal_alignment) {
        GroupHeader found;
        is_there = is_there || (decode(Bytes{content}.subspan(at), found) == HeaderCheck::ok && found == forged);
    }
    EXPECT_TRUE(is_there) << "the message does not lie as this test wants it";
    expect_story({"full", "a"}, 2);
    EXPECT_THAT(read(2).report.damage, IsEmpty());
}

}  // namespace
}  // namespace baton::storage
