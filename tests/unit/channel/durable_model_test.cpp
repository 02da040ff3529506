// Random operations and crashes against a durable channel, a log and a disk. What a crash leaves is the newest saved
// state, some of the log, and blocks; out of that the channel is made again, and the model says what must be in it.
// A failure prints its seed and the operations before it: BATON_MODEL_SEED=n repeats it.

#include "tests/unit/channel/durable_checks.hpp"

namespace baton::channel::test {
namespace {

class DurableRun : public DurableChecks {
public:
    explicit DurableRun(Prng prng) : DurableChecks{prng}, is_backlog_{prng_.chance(1, 2)} {}

    void run(int lives, int steps) {
        for (int life = 0; life < lives && !testing::Test::HasFailure(); ++life) {
            const auto count = prng_.range(1, static_cast<std::uint64_t>(steps));
            for (std::uint64_t i = 0; i < count && !testing::Test::HasFailure(); ++i) {
                step();
                pack();
                check();
            }
            if (!testing::Test::HasFailure()) {
                crash();
            }
        }
        if (!testing::Test::HasFailure()) {
            drain();
        }
        if (testing::Test::HasFailure()) {
            std::string all;
            for (const std::string& line : trace_) {
                all += line + "\n";
            }
            ADD_FAILURE() << "operations:\n" << all;
        }
    }

private:
    void step() {
        const std::uint64_t dice = prng_.below(100);
        if (dice < 22) {
            publish();
        } else if (dice < 47 && is_backlog_ && prng_.chance(3, 4)) {
            move_blocks();
        } else if (dice < 40) {
            settle();
        } else if (dice < 47) {
            set_credit();
        } else if (dice < 51) {
            attach_sender();
        } else if (dice < 55) {
            attach_receiver();
        } else if (dice < 58) {
            detach();
        } else if (dice < 72) {
            commit(prng_.range(log_->committed(), log_->submitted()));
        } else if (dice < 87) {
            move_blocks();
        } else if (dice < 90) {
            begin_checkpoint();
        } else if (dice < 92) {
            write_checkpoint();
        } else if (dice < 94) {
            rare();
        } else {
            end_turn();
        }
        if (is_saving() && prng_.chance(1, 2)) {
            take_slice();
        }
    }

    void move_blocks() {
        switch (prng_.below(8)) {
            case 0:
            case 1:
                return relocate();
            case 2:
                return finish_relocation();
            case 3:
                return move_in_log();
            case 4:
            case 5:
                return evict();
            case 6:
                return ask_blocks();
            default:
                return finish_read();
        }
    }

    void rare() {
        switch (prng_.below(8)) {
            case 0:
                return purge();
            case 1:
                return reconfigure();
            case 2:
            case 3:
                return set_condition(log_->condition() == commit::Condition::full ? commit::Condition::open
                                                                                  : commit::Condition::full);
            case 4:
                return prng_.chance(1, 20) ? set_condition(commit::Condition::failed) : void();
            default:
                trace("tick");
                clock_.advance(std::chrono::milliseconds{50});
                channel_->tick();
        }
    }

    const bool is_backlog_;  // Receivers are slow, so that much waits in blocks.
};

TEST(DurableChannelModel, WhatWasConfirmedSurvivesEveryCrash) {
    run_seeds(201, [](std::uint64_t seed, Reached& reached) {
        DurableRun run{Prng{seed}};
        run.run(4, 250);
        for (const auto& [what, times] : run.reached()) {
            reached[what] += times;
        }
    });
}

}  // namespace
}  // namespace baton::channel::test
