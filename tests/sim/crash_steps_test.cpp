// Every step of the disk, once cut off by a power cut and once failing, while a small broker with durable channels does
// everything it can do; and every step of the recovery after that. What was answered must be true afterwards.
#include "tests/sim/crash_steps.hpp"

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace baton::sim {
namespace {

using channel::Outcome;

constexpr const char* main_channel = "steps";
constexpr const char* other_channel = "other";

struct Played {
    StepFacts facts;
    std::vector<std::string> complaints;
    bool has_come_to_the_end = false;
    std::uint64_t segment_bytes = 0;
    std::uint64_t evicted_bytes = 0;
};

void take_over(Played& played, const StepLife& life) {
    played.complaints.insert(played.complaints.end(), life.complaints.begin(), life.complaints.end());
}

void first_life(StepLife& life, Played& played) {
    life.create(main_channel);
    life.create(other_channel);
    life.publish(other_channel, 3, 100);
    life.publish(main_channel, 5, 2'000);
    life.publish(main_channel, 5, 300);
    life.take(main_channel, 7);
    life.settle(main_channel, 2, Outcome::done, false);
    life.settle(main_channel, 2, Outcome::started, true);
    life.settle(main_channel, 1, Outcome::give_back, false);
    life.settle(main_channel, 1, Outcome::started, false);
    life.settle(main_channel, 1, Outcome::done, true);
    life.tick();
    // More than three files of the log: what lives moves, a checkpoint is made, files are used again.
    for (int i = 0; i < 20; ++i) {
        life.publish(main_channel, 3, 6'000);
        life.tick(i % 5 == 4 ? 5 : 0);
    }
    life.take(main_channel, 3);
    life.settle(main_channel, 3, Outcome::done, false);
    life.tick(20);
    played.segment_bytes = life.segment_bytes_written();
    played.evicted_bytes = life.shown(main_channel, "bytes") - life.shown(main_channel, "resident_bytes");
    life.take(main_channel, 30);
    life.settle(main_channel, 25, Outcome::done, true);
    life.checkpoint();
    life.remove(other_channel);
    life.publish(main_channel, 2, 5'000);
    life.tick(5);
}

void second_life(StepLife& life) {
    life.create(other_channel);
    life.publish(other_channel, 2, 700);
    life.publish(main_channel, 2, 6'000);
    life.take(main_channel, 4);
    life.settle(main_channel, 1, Outcome::started, true);
    life.settle(main_channel, 2, Outcome::done, true);
    life.stop_receiving(main_channel);
    life.purge(main_channel);
    life.publish(main_channel, 1, 100);
    life.take(other_channel, 1);
    life.settle(other_channel, 1, Outcome::done, true);
    life.tick(8);
    life.remove(main_channel);
    life.tick(3);
}

/// As long as there is power.
Played play(SimDisk& disk) {
    Played played;
    {
        StepLife life{disk, 2, played.facts};
        if (!life.start()) {
            return played;
        }
        first_life(life, played);
        take_over(played, life);
        if (life.is_off()) {
            return played;
        }
    }
    StepLife life{disk, 3, played.facts};
    if (!life.start()) {
        return played;
    }
    life.check();
    second_life(life);
    take_over(played, life);
    played.has_come_to_the_end = !life.is_off();
    return played;
}

enum class After : std::uint8_t { nothing_survives, everything_survives, some_1, some_2, some_3, some_4, some_5, some_6, count };

void power_on(SimDisk& disk, After after, std::uint64_t step) {
    if (after == After::nothing_survives) {
        disk.crash_losing_everything();
    } else if (after == After::everything_survives) {
        disk.crash_keeping_everything();
    } else {
        Prng prng{step * 8 + static_cast<std::uint64_t>(after)};
        disk.crash(prng);
    }
}

/// A life that compares, goes on a little, and another one that compares that.
std::vector<std::string> look(SimDisk& disk, StepFacts facts, std::uint32_t shards) {
    std::vector<std::string> complaints;
    for (int round = 0; round < 2; ++round) {
        StepLife life{disk, 1 + (shards + static_cast<std::uint32_t>(round)) % 3, facts};
        if (const auto started = life.start(); !started) {
            complaints.push_back("no start: " + started.error().message());
            return complaints;
        }
        life.check();
        life.create(main_channel);
        life.publish(main_channel, 2, 3'000);
        life.take(main_channel, 1);
        life.settle(main_channel, 1, Outcome::done, true);
        life.tick(4);
        complaints.insert(complaints.end(), life.complaints.begin(), life.complaints.end());
    }
    return complaints;
}

std::string text_of(const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines) {
        text += "\n  " + line;
    }
    return text;
}

std::uint64_t count_operations() {
    SimDisk disk;
    const Played played = play(disk);
    EXPECT_TRUE(played.has_come_to_the_end);
    EXPECT_TRUE(played.complaints.empty()) << text_of(played.complaints);
    return disk.operations();
}

TEST(CrashSteps, AnUndisturbedRunReachesWhatItShould) {
    SimDisk disk;
    const Played played = play(disk);
    EXPECT_TRUE(played.complaints.empty()) << text_of(played.complaints);
    EXPECT_TRUE(played.has_come_to_the_end);
    EXPECT_GT(disk.operations(), 200U);
    EXPECT_GT(played.segment_bytes, 50'000U);
    EXPECT_GT(played.evicted_bytes, 50'000U);
    const auto& facts = played.facts.at(main_channel);
    EXPECT_GT(facts.sent, 50U);
    EXPECT_TRUE(facts.is_deleted);
    EXPECT_TRUE(played.facts.at(other_channel).is_made);
}

TEST(CrashSteps, APowerCutAtEachStep) {
    const std::uint64_t operations = count_operations();
    for (std::uint64_t step = 1; step <= operations; ++step) {
        SimDisk disk;
        disk.crash_at(step);
        const Played played = play(disk);
        ASSERT_TRUE(played.complaints.empty()) << "step " << step << text_of(played.complaints);
        const DiskState state = disk.snapshot();
        for (int after = 0; after < static_cast<int>(After::count); ++after) {
            SimDisk copy;
            copy.restore(state);
            power_on(copy, After{static_cast<std::uint8_t>(after)}, step);
            const auto complaints = look(copy, played.facts, static_cast<std::uint32_t>(step));
            ASSERT_TRUE(complaints.empty())
                << "step " << step << " of " << operations << ", after " << after << text_of(complaints);
        }
    }
}

TEST(CrashSteps, AFailureAtEachStep) {
    const std::uint64_t operations = count_operations();
    for (const DiskFault fault : {DiskFault::io_error, DiskFault::no_space}) {
        for (std::uint64_t step = 1; step <= operations; ++step) {
            SimDisk disk{{.seed = step}};
            disk.fail_at(step, fault, 1 + step % 2);
            const Played played = play(disk);
            ASSERT_TRUE(played.complaints.empty())
                << "fault " << static_cast<int>(fault) << " at step " << step << text_of(played.complaints);
            const DiskState state = disk.snapshot();
            for (const After after : {After::everything_survives, After::nothing_survives, After::some_1}) {
                SimDisk copy;
                copy.restore(state);
                power_on(copy, after, step);
                const auto complaints = look(copy, played.facts, static_cast<std::uint32_t>(step));
                ASSERT_TRUE(complaints.empty())
                    << "fault " << static_cast<int>(fault) << " at step " << step << " of " << operations << ", after "
                    << static_cast<int>(after) << text_of(complaints);
            }
        }
    }
}

/// A start that is cut off at each of its steps, and the one after it as well.
TEST(CrashSteps, APowerCutAtEachStepOfARecovery) {
    const std::uint64_t operations = count_operations();
    for (std::uint64_t step = operations / 40; step <= operations; step += operations / 40) {
        SimDisk disk;
        disk.crash_at(step);
        const Played played = play(disk);
        power_on(disk, After::some_1, step);
        const DiskState state = disk.snapshot();
        for (std::uint64_t cut = 1;; ++cut) {
            SimDisk copy{{.seed = cut}};
            copy.restore(state);
            copy.crash_at(copy.operations() + cut);
            {
                StepFacts facts = played.facts;
                StepLife life{copy, 2, facts};
                static_cast<void>(life.start());
            }
            if (!copy.is_off()) {
                break;
            }
            const auto after = static_cast<After>(cut % static_cast<std::uint64_t>(After::count));
            power_on(copy, after, cut);
            copy.crash_at(copy.operations() + 1 + (cut * 7) % 60);
            {
                StepFacts facts = played.facts;
                StepLife life{copy, 3, facts};
                static_cast<void>(life.start());
            }
            power_on(copy, After::some_2, cut);
            copy.clear_faults();
            const auto complaints = look(copy, played.facts, static_cast<std::uint32_t>(cut));
            ASSERT_TRUE(complaints.empty())
                << "step " << step << ", recovery cut off at " << cut << text_of(complaints);
        }
    }
}

}  // namespace
}  // namespace baton::sim
