// The seeds of the model tests: BATON_MODEL_SEED=n runs only that one, BATON_MODEL_FIRST and BATON_MODEL_SEEDS say where to begin
// and how many. What a run has reached is counted, so that a test that does nothing fails.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include <gtest/gtest.h>

namespace baton::channel::test {

/// How often something worth testing happened.
using Reached = std::map<std::string, std::uint64_t>;

inline std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// Calls `run(seed, reached)` for each seed, until one fails. With at least `seeds_enough` of them, and not only one that was
/// asked for, everything in `reached` must have happened.
template <class Run>
void run_seeds(std::uint64_t seeds_enough, Run run) {
    const std::uint64_t only = number_from_environment("BATON_MODEL_SEED", 0);
    const std::uint64_t first = only != 0 ? only : number_from_environment("BATON_MODEL_FIRST", 1);
    const std::uint64_t last = only != 0 ? only : first - 1 + number_from_environment("BATON_MODEL_SEEDS", 300);
    Reached reached;
    for (std::uint64_t seed = first; seed <= last; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        run(seed, reached);
        if (testing::Test::HasFailure()) {
            FAIL() << "repeat with BATON_MODEL_SEED=" << seed;
        }
    }
    std::printf("seeds %llu to %llu reached:", static_cast<unsigned long long>(first),
                static_cast<unsigned long long>(last));
    const bool are_enough = only == 0 && last - first + 1 >= seeds_enough;
    for (const auto& [what, times] : reached) {
        std::printf(" %s %llu", what.c_str(), static_cast<unsigned long long>(times));
        EXPECT_TRUE(times > 0 || !are_enough) << what << " was never reached: the operations are too tame";
    }
    std::printf("\n");
}

}  // namespace baton::channel::test
