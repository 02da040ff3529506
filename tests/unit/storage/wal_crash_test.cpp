// The power goes at each operation of a writer that makes, fills and recycles files: everything that was confirmed is
// read back, what is read is a prefix of what was appended, and nothing is called damage.
#include <gmock/gmock.h>

#include "common/base/prng.hpp"
#include "tests/unit/storage/wal_steps.hpp"

namespace baton::storage {
namespace {

using testing::IsEmpty;

class WalCrashTest : public WalSteps {
protected:
    void scenario() {
        for (int i = 0; i < 50 && !disk.is_off(); ++i) {
            write(1, "small " + std::to_string(i));
            if (i % 3 == 0) {
                write(2, std::string(static_cast<std::size_t>(i) * 150, 'm'));
            }
            if (i % 20 == 7) {
                write(3, "large", payload(70'000, static_cast<char>('a' + i)));
            }
            sync();
            recycle();
        }
        queue.run_all();
    }
    /// As after a checkpoint, which is durable and says so.
    void recycle() {
        const auto& files = writer->files();
        if (files.size() > 3) {
            first_file = files[files.size() - 2].number;
            first_index = files[files.size() - 2].first_index;
            writer->recycle_before(first_file);
        }
    }
    void begin(const sim::DiskState& state) {
        disk.restore(state);
        disk.clear_faults();
        queue.drop();
        first_file = 1;
        first_index = 1;
        start();
    }
    void expect_confirmed_is_there() {
        const ReadBack found = read(first_file);
        ASSERT_EQ(found.error.message(), Error{}.message());
        ASSERT_THAT(found.report.damage, IsEmpty());
        ASSERT_GE(first_index - 1 + found.records.size(), confirmed);
        for (std::size_t i = 0; i < found.records.size(); ++i) {
            ASSERT_LT(first_index - 1 + i, appended.size());
            ASSERT_EQ(found.records[i], appended[first_index - 1 + i]);
        }
        torn += found.report.torn_text.empty() ? 0 : 1;
        beyond += first_index - 1 + found.records.size() > confirmed ? 1 : 0;
    }

    std::uint64_t first_file = 1;
    Index first_index = 1;
    int torn = 0;    // Runs that left a torn tail.
    int beyond = 0;  // Runs that left more than was confirmed.
};

TEST_F(WalCrashTest, AtEachOperation) {
    const sim::DiskState empty = disk.snapshot();
    const std::uint64_t begun = disk.operations();
    scenario();
    const std::uint64_t count = disk.operations() - begun;
    ASSERT_GT(count, 120U);
    ASSERT_GT(first_file, 4U);
    for (std::uint64_t operation = 1; operation <= count; ++operation) {
        begin(empty);
        disk.crash_at(disk.operations() + operation);
        scenario();
        ASSERT_TRUE(disk.is_off());
        const sim::DiskState off = disk.snapshot();
        for (std::uint64_t kind = 0; kind < 22; ++kind) {
            SCOPED_TRACE("operation " + std::to_string(operation) + ", kind " + std::to_string(kind));
            disk.restore(off);
            Prng prng{operation * 100 + kind};
            if (kind == 0) {
                disk.crash_losing_everything();
            } else if (kind == 1) {
                disk.crash_keeping_everything();
            } else {
                disk.crash(prng);
            }
            ASSERT_NO_FATAL_FAILURE(expect_confirmed_is_there());
        }
    }
    EXPECT_GT(torn, 50);
    EXPECT_GT(beyond, 50);
}

/// Appends, flushes, ends of jobs, recycling and a full disk in random order, then a power cut.
class WalRandomCrash : public WalCrashTest, public ::testing::WithParamInterface<std::uint64_t> {
protected:
    void step(Prng& prng) {
        switch (prng.below(12)) {
            case 0:
            case 1:
            case 2:
                write(prng.range(1, 3), std::string(prng.below(600), static_cast<char>('a' + prng.below(26))));
                break;
            case 3:
                write(4, std::string(40, static_cast<char>('A' + prng.below(26))));  // Ends at sectors, by and by.
                break;
            case 4:
                if (prng.chance(1, 6)) {
                    write(5, "large", payload(prng.range(4'000, 100'000), 'L'));
                }
                break;
            case 5:
                disk.set_capacity(prng.chance(1, 4) ? prng.range(1, 6) * small_file / 2 : 1ULL << 30);
                break;
            case 6:
                recycle();
                break;
            case 7:
            case 8:
                writer->flush();
                break;
            case 9:
            case 10:
                queue.run_next();
                break;
            default:
                queue.finish_next();
        }
    }
};

TEST_P(WalRandomCrash, ConfirmedIsThere) {
    const sim::DiskState empty = disk.snapshot();
    for (std::uint64_t round = 0; round < 25; ++round) {
        SCOPED_TRACE(round);
        Prng prng{GetParam() * 1000 + round};
        begin(empty);
        disk.set_capacity(1ULL << 30);
        if (prng.chance(1, 2)) {
            disk.crash_at(disk.operations() + prng.range(1, 300));
        }
        for (std::uint64_t steps = prng.range(1, 1500); steps > 0 && !disk.is_off(); --steps) {
            step(prng);
        }
        while (queue.finish_next()) {
        }
        disk.crash(prng);
        queue.drop();
        ASSERT_NO_FATAL_FAILURE(expect_confirmed_is_there());
    }
}

INSTANTIATE_TEST_SUITE_P(Seeds, WalRandomCrash, testing::Range<std::uint64_t>(1, 13));

}  // namespace
}  // namespace baton::storage
