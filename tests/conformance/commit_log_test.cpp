// One suite for every implementation of the commit log port (server/commit/commit_log.hpp): what a channel may rely on,
// and what a replicated log will have to keep as well. An implementation gives a Node: a log that can be made to
// commit, to run out of space, to fail, and to be opened again, which says what records it then holds.
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/clock.hpp"
#include "server/commit/local_commit_log.hpp"
#include "server/storage/errc.hpp"
#include "server/storage/wal_reader.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/disk_queue.hpp"

namespace baton::commit {
namespace {

using storage::StreamId;

struct Entry {
    std::uint64_t stream = 0;
    std::string body;
    friend bool operator==(const Entry&, const Entry&) = default;
};

std::string to_line(const Entry& entry) {
    return std::to_string(entry.stream) + ":" + entry.body;
}

class Node : public CommitEvents {
public:
    [[nodiscard]] virtual CommitLog& log() = 0;
    /// Lets time go on until nothing more happens.
    virtual void settle() = 0;
    /// The place where records go has no room, or has again.
    virtual void set_room(bool has_room) = 0;
    /// The next attempt to commit fails for good.
    virtual void break_it() = 0;
    /// The process dies; another one reads what is there.
    [[nodiscard]] virtual std::vector<Entry> after_crash() = 0;

    void on_committed(Index index) noexcept override {
        EXPECT_GT(index, told_);
        EXPECT_LE(index, log().submitted());
        EXPECT_EQ(index, log().committed());
        told_ = index;
        EXPECT_FALSE(is_submitting_) << "never from inside submit()";
    }
    void on_condition(Condition condition, const Error& reason) noexcept override {
        EXPECT_EQ(condition, log().condition());
        EXPECT_EQ(condition == Condition::open, !reason.code);
        conditions_.push_back(condition);
    }

    Index submit(std::uint64_t stream, const std::string& head, const std::string& body = {},
                 Urgency urgency = Urgency::now) {
        is_submitting_ = true;
        const Index index =
            log().submit(StreamId{stream}, as_bytes(head), Payload::copy_of(pool_, as_bytes(body)), urgency);
        is_submitting_ = false;
        submitted_.push_back({stream, head + body});
        return index;
    }
    [[nodiscard]] Index told() const noexcept { return told_; }
    [[nodiscard]] const std::vector<Condition>& conditions() const noexcept { return conditions_; }
    [[nodiscard]] const std::vector<Entry>& submitted() const noexcept { return submitted_; }

private:
    ChunkPool pool_;
    Index told_ = 0;
    bool is_submitting_ = false;
    std::vector<Condition> conditions_;
    std::vector<Entry> submitted_;
};

/// The log of one node's disk, on a simulated one.
class LocalNode final : public Node {
public:
    LocalNode() {
        EXPECT_TRUE(disk_.make_directory("log"));
        EXPECT_TRUE(disk_.sync_directory(""));
        log_ = std::make_unique<LocalCommitLog>(queue_, *this, clock_,
                                                LocalLogSettings{.wal = {.directory = "log",
                                                                         .generation = 1,
                                                                         .shard = 0,
                                                                         .file_size = 64 * 1024,
                                                                         .zero_step = 16 * 1024},
                                                                 .settle_interval = std::chrono::milliseconds{15},
                                                                 .congestion_bytes = 256 * 1024});
    }
    CommitLog& log() override { return *log_; }
    void settle() override {
        for (int turn = 0; turn < 5; ++turn) {
            log_->end_turn();
            queue_.run_all();
            clock_.advance(std::chrono::milliseconds{20});
            log_->tick();
            queue_.run_all();
        }
    }
    void set_room(bool has_room) override { disk_.set_capacity(has_room ? 1ULL << 40 : 0); }
    void break_it() override { disk_.fail_at(disk_.operations() + 1, sim::DiskFault::io_error, 100); }
    std::vector<Entry> after_crash() override {
        queue_.drop();
        disk_.clear_faults();
        disk_.crash_losing_everything();
        struct Reader final : storage::WalVisitor {
            std::vector<Entry> entries;
            void on_record(const storage::WalRecord& record) override {
                entries.push_back({record.stream.value(), std::string{as_text(record.body)}});
            }
            void on_damage(const storage::WalDamage& damage) override { ADD_FAILURE() << damage.text; }
        } reader;
        EXPECT_TRUE(
            storage::read_wal(disk_, {.directory = "log", .generation = 1, .shard = 0, .first_file = 1}, reader));
        return std::move(reader.entries);
    }

private:
    ManualClock clock_;
    sim::SimDisk disk_;
    sim::SimQueue queue_{disk_};
    std::unique_ptr<LocalCommitLog> log_;
};

struct Implementation {
    std::string name;
    std::function<std::unique_ptr<Node>()> make;
};

class CommitLogConformance : public testing::TestWithParam<Implementation> {
protected:
    /// What was told to be committed is there, in order, and nothing that was not submitted.
    void expect_prefix() {
        const Index told = node->told();
        const auto entries = node->after_crash();
        ASSERT_GE(entries.size(), told);
        ASSERT_LE(entries.size(), node->submitted().size());
        for (std::size_t i = 0; i < entries.size(); ++i) {
            ASSERT_EQ(to_line(entries[i]), to_line(node->submitted()[i]));
        }
    }
    std::unique_ptr<Node> node = GetParam().make();
};

TEST_P(CommitLogConformance, BeginsEmptyAndOpen) {
    EXPECT_EQ(node->log().submitted(), 0U);
    EXPECT_EQ(node->log().committed(), 0U);
    EXPECT_EQ(node->log().condition(), Condition::open);
    EXPECT_FALSE(node->log().is_congested());
    EXPECT_EQ(node->log().epoch(), 1U);
}

TEST_P(CommitLogConformance, IndexesAreConsecutiveOverAllStreams) {
    EXPECT_EQ(node->submit(7, "a"), 1U);
    EXPECT_EQ(node->submit(9, "b"), 2U);
    EXPECT_EQ(node->submit(7, "c"), 3U);
    EXPECT_EQ(node->log().submitted(), 3U);
}

TEST_P(CommitLogConformance, NothingIsCommittedBeforeTimeGoesOn) {
    node->submit(1, "a");
    EXPECT_EQ(node->log().committed(), 0U);
    EXPECT_EQ(node->told(), 0U);
    node->settle();
    EXPECT_EQ(node->log().committed(), 1U);
    EXPECT_EQ(node->told(), 1U);
}

TEST_P(CommitLogConformance, WhatIsCommittedSurvives) {
    for (int i = 0; i < 200; ++i) {
        node->submit(static_cast<std::uint64_t>(1 + i % 3), "record " + std::to_string(i),
                     std::string(static_cast<std::size_t>(i * 40), 'x'));
        if (i % 7 == 0) {
            node->settle();
        }
    }
    node->settle();
    EXPECT_EQ(node->told(), 200U);
    expect_prefix();
}

TEST_P(CommitLogConformance, WhatIsNotCommittedHasAnUnknownOutcomeButNoHoles) {
    node->submit(1, "a");
    node->settle();
    node->submit(1, "b");
    node->submit(1, "c");
    expect_prefix();
}

TEST_P(CommitLogConformance, RelaxedRecordsAreCommittedWithoutAnybodyAsking) {
    node->submit(1, "a", "", Urgency::relaxed);
    node->settle();
    EXPECT_EQ(node->told(), 1U);
    expect_prefix();
}

TEST_P(CommitLogConformance, WhatIsJoinedIsOneRecord) {
    ChunkPool pool;
    CommitLog& log = node->log();
    node->submit(7, "before");
    log.begin_joint();
    EXPECT_EQ(log.submitted(), 1U);
    EXPECT_EQ(log.submit(StreamId{7}, as_bytes("a"), Payload::copy_of(pool, as_bytes("b")), Urgency::relaxed), 2U);
    EXPECT_EQ(log.submit(StreamId{9}, as_bytes("c"), {}, Urgency::now), 2U);
    EXPECT_EQ(log.submitted(), 2U);
    EXPECT_EQ(log.end_joint(5), 2U);
    log.begin_joint();
    EXPECT_EQ(log.end_joint(0), 2U) << "there is nothing to say";
    log.begin_joint();
    EXPECT_EQ(log.end_joint(6), 3U) << "a part that is done, with nothing in it";
    EXPECT_EQ(log.submit(StreamId{7}, as_bytes("after"), {}, Urgency::now), 4U);
    node->settle();
    EXPECT_EQ(node->told(), 4U);
    const auto entries = node->after_crash();
    ASSERT_EQ(entries.size(), 4U);
    const auto joint = decode_shard_record(as_bytes(entries[1].body));
    ASSERT_TRUE(joint);
    EXPECT_EQ(joint->type, ShardRecordType::joint);
    EXPECT_EQ(joint->step, 5U);
    ASSERT_EQ(joint->parts.size(), 2U);
    EXPECT_EQ(joint->parts[0].stream, StreamId{7});
    EXPECT_EQ(joint->parts[0].number, 2U) << "numbers go on in each stream";
    EXPECT_EQ(as_text(joint->parts[0].body), "ab");
    EXPECT_EQ(joint->parts[1].stream, StreamId{9});
    EXPECT_EQ(joint->parts[1].number, 1U);
    EXPECT_EQ(as_text(joint->parts[1].body), "c");
    EXPECT_EQ(decode_shard_record(as_bytes(entries[2].body))->step, 6U);
    EXPECT_EQ(to_line(entries[3]), "7:after");
}

TEST_P(CommitLogConformance, WhatIsNotWholeIsNoRecordOfAShard) {
    RecordGatherer gatherer;
    gatherer.add({.stream = StreamId{7}, .number = 3, .shard = 1, .body = as_bytes("abc")});
    const auto intent = gatherer.take(ShardRecordType::intent, 4);
    ASSERT_TRUE(decode_shard_record(intent));
    for (std::size_t size = 0; size < intent.size(); ++size) {
        EXPECT_FALSE(decode_shard_record(Bytes{intent}.first(size))) << size;
    }
    const StepsState state{.applied = {1, 2}, .intents = {intent}};
    const auto bytes = encode(state);
    const auto decoded = decode_steps_state(bytes);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->applied, state.applied);
    EXPECT_EQ(decoded->intents, state.intents);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_FALSE(decode_steps_state(Bytes{bytes}.first(size))) << size;
    }
    EXPECT_FALSE(decode_shard_record(gatherer.take(ShardRecordType::intent, 4))) << "an intent of nothing";
    EXPECT_TRUE(decode_shard_record(gatherer.take(ShardRecordType::finished, 4)));
}

TEST_P(CommitLogConformance, ARecordMayBeLargerThanAnyFile) {
    node->submit(1, "small");
    node->submit(1, "large ", std::string(300'000, 'y'));
    node->submit(2, "small again");
    node->settle();
    EXPECT_EQ(node->told(), 3U);
    expect_prefix();
}

TEST_P(CommitLogConformance, TooMuchThatWaitsIsCongestion) {
    node->submit(1, "large ", std::string(300'000, 'y'));
    EXPECT_TRUE(node->log().is_congested());
    node->settle();
    EXPECT_FALSE(node->log().is_congested());
}

TEST_P(CommitLogConformance, WithoutRoomRecordsWaitAndNothingIsLost) {
    node->set_room(false);
    node->submit(1, "a", std::string(100'000, 'z'));
    node->settle();
    EXPECT_EQ(node->log().condition(), Condition::full);
    EXPECT_EQ(node->told(), 0U);
    EXPECT_EQ(node->submit(1, "b"), 2U);
    node->set_room(true);
    node->settle();
    EXPECT_EQ(node->log().condition(), Condition::open);
    EXPECT_EQ(node->told(), 2U);
    EXPECT_EQ(node->conditions(), (std::vector{Condition::full, Condition::open}));
    expect_prefix();
}

TEST_P(CommitLogConformance, AFailureIsFinal) {
    node->submit(1, "a");
    node->settle();
    node->break_it();
    node->submit(1, "b");
    node->settle();
    EXPECT_EQ(node->log().condition(), Condition::failed);
    EXPECT_EQ(node->submit(1, "c"), 3U);
    node->settle();
    EXPECT_EQ(node->told(), 1U) << "nothing is confirmed after a failure";
    EXPECT_EQ(node->conditions(), std::vector{Condition::failed});
    expect_prefix();
}

INSTANTIATE_TEST_SUITE_P(Implementations, CommitLogConformance,
                         testing::Values(Implementation{"local", [] { return std::make_unique<LocalNode>(); }}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace baton::commit
