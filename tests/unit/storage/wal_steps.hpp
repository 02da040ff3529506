// A small language for tests of the write-ahead log: a writer on a simulated disk, what it was given, what it has
// confirmed, and what a reader finds. One thread. Next file: wal_writer_test.cpp.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/payload.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/wal_reader.hpp"
#include "server/storage/wal_writer.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/disk_queue.hpp"
#include "tests/unit/storage/disk_steps.hpp"

namespace baton::storage {

inline const std::string wal_directory = "shard";

struct LogEntry {
    Index index = 0;
    std::uint64_t stream = 0;
    std::uint64_t number = 0;
    std::string body;
    friend bool operator==(const LogEntry&, const LogEntry&) = default;
    friend std::ostream& operator<<(std::ostream& out, const LogEntry& entry) {
        return out << entry.index << ":" << entry.stream << "/" << entry.number << " " << entry.body.substr(0, 20);
    }
};

/// What a reader said: records, and in their place "hole 3-5" and "wrong 4 of 2".
struct ReadBack {
    std::vector<LogEntry> records;
    std::vector<std::string> damage;
    std::vector<std::string> story;
    WalReport report;
    Error error;
};

class Collector final : public WalVisitor {
public:
    explicit Collector(ReadBack& result) : result_{result} {}
    void on_record(const WalRecord& record) override {
        result_.records.push_back(
            {record.index, record.stream.value(), record.number, std::string{as_text(record.body)}});
        result_.story.push_back(result_.records.back().body.substr(0, 20));
    }
    void on_damage(const WalDamage& found) override {
        const std::string end = found.end_index == UINT64_MAX ? "?" : std::to_string(found.end_index - 1);
        result_.damage.push_back(found.is_hole ? "hole " + std::to_string(found.first_index) + "-" + end
                                               : "wrong " + end + " of " + std::to_string(found.stream.value()));
        result_.story.push_back("<" + result_.damage.back() + ">");
        EXPECT_FALSE(found.text.empty());
        EXPECT_LT(found.first_index, found.end_index);
    }

private:
    ReadBack& result_;
};

[[nodiscard]] inline ReadBack read_log(FileSystem& files, std::uint64_t first_file = 1,
                                       const std::string& directory = wal_directory) {
    ReadBack result;
    Collector collector{result};
    auto report =
        read_wal(files, {.directory = directory, .generation = 7, .shard = 2, .first_file = first_file}, collector);
    if (report) {
        result.report = std::move(*report);
        EXPECT_EQ(result.report.records, result.records.size());
        EXPECT_EQ(result.report.last_index, result.records.empty() ? 0 : result.records.back().index);
        EXPECT_GE(result.report.damage.size(), result.damage.size());
    } else {
        result.error = report.error();
    }
    return result;
}

inline constexpr std::uint64_t small_file = 64 * 1024;

class WalSteps : public testing::Test, public WalEvents {
protected:
    explicit WalSteps(std::uint64_t zero_step = 16 * 1024) {
        EXPECT_TRUE(disk.make_directory(wal_directory));
        EXPECT_TRUE(disk.sync_directory(""));
        settings = {.directory = wal_directory,
                    .generation = 7,
                    .shard = 2,
                    .salt = 0x5a17,
                    .file_size = small_file,
                    .zero_step = zero_step,
                    .spare_files_max = 2};
        start();
    }

    void start() {
        writer = std::make_unique<WalWriter>(queue, *this, settings);
        appended.clear();
        numbers.clear();
        confirmed = 0;
        failures.clear();
    }

    Index write(std::uint64_t stream, std::string_view head, const Payload& body = {}) {
        const std::uint64_t number = ++numbers[stream];
        const Index index = writer->append(StreamId{stream}, number, as_bytes(head), body);
        appended.push_back({index, stream, number, std::string{head} + std::string{as_text(body.bytes())}});
        EXPECT_EQ(index, appended.size());
        return index;
    }
    /// One group of records of stream 1.
    void group(std::initializer_list<std::string_view> bodies) {
        for (const std::string_view body : bodies) {
            write(1, body);
        }
        sync();
    }
    void sync() {
        writer->flush();
        queue.run_all();
    }
    [[nodiscard]] Payload payload(std::size_t size, char filling) {
        ChunkRef chunk = pool.allocate(size);
        std::fill_n(reinterpret_cast<char*>(chunk.bytes()), size, filling);
        return {std::move(chunk), 0, size};
    }
    [[nodiscard]] ReadBack read(std::uint64_t first_file = 1) { return read_log(disk, first_file); }
    [[nodiscard]] static std::string file(std::uint64_t number) { return wal_directory + "/" + wal_file_name(number); }

    void on_wal_synced(Index index) noexcept override {
        EXPECT_GT(index, confirmed);
        EXPECT_TRUE(failures.empty());
        confirmed = index;
    }
    void on_wal_failed(const Error& reason) noexcept override { failures.push_back(reason.message()); }

    // --- Damage
    void flip(std::uint64_t number, std::uint64_t position, int mask = 0xff) {
        disk.flip_byte(file(number), position, static_cast<std::byte>(mask));
    }
    [[nodiscard]] std::vector<std::byte> bytes_of(std::uint64_t number) {
        auto content = read_whole(disk, file(number));
        EXPECT_TRUE(content) << text_of(content);
        return content ? std::move(*content) : std::vector<std::byte>{};
    }
    void overwrite(std::uint64_t number, std::uint64_t position, Bytes bytes) {
        const auto opened = open_file(disk, file(number), OpenMode::read_write);
        EXPECT_TRUE(opened->write(position, {&bytes, 1}));
    }
    void cut(std::uint64_t number, std::uint64_t size) {
        EXPECT_TRUE(open_file(disk, file(number), OpenMode::read_write)->truncate(size));
    }
    void zero(std::uint64_t number, std::uint64_t position, std::size_t size) {
        overwrite(number, position, std::vector<std::byte>(size));
    }

    sim::SimDisk disk;
    sim::SimQueue queue{disk};
    ChunkPool pool;
    WalSettings settings;
    std::unique_ptr<WalWriter> writer;
    std::vector<LogEntry> appended;
    std::map<std::uint64_t, std::uint64_t> numbers;
    Index confirmed = 0;
    std::vector<std::string> failures;
};

}  // namespace baton::storage
