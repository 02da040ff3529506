// Ranges: merged, sorted, and without a `started` that has nothing to say any more.
#include "client/src/settlements.hpp"

#include <algorithm>
#include <vector>

#include <gmock/gmock.h>

#include "common/base/prng.hpp"
#include "tests/unit/client/settlement_range.hpp"

namespace baton::client {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Settlements, NeighboursMerge) {
    Settlements settlements;
    for (std::uint64_t offset = 5; offset < 105; ++offset) {
        settlements.add(offset, 1, Outcome::done);
    }
    EXPECT_THAT(settlements.take(), ElementsAre(range(5, 100, Outcome::done)));
    EXPECT_TRUE(settlements.empty());
    EXPECT_THAT(settlements.take(), IsEmpty());
}

TEST(Settlements, AttemptsAndOutcomesDoNotMix) {
    Settlements settlements;
    settlements.add(1, 1, Outcome::done);
    settlements.add(2, 2, Outcome::done);
    settlements.add(3, 1, Outcome::give_back);
    EXPECT_THAT(settlements.take(), ElementsAre(range(1, 1, Outcome::done), range(2, 1, Outcome::done, 2),
                                                range(3, 1, Outcome::give_back)));
}

TEST(Settlements, AnyOrderBecomesOneRange) {
    std::vector<std::uint64_t> offsets(500);
    for (std::size_t i = 0; i < offsets.size(); ++i) {
        offsets[i] = 1'000 + i;
    }
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Prng prng{seed};
        std::ranges::shuffle(offsets, prng);
        Settlements settlements;
        for (const std::uint64_t offset : offsets) {
            settlements.add(offset, 1, Outcome::done);
        }
        EXPECT_THAT(settlements.take(), ElementsAre(range(1'000, 500, Outcome::done))) << "seed " << seed;
    }
}

TEST(Settlements, StartedIsForgottenOnceDoneButNotWhenGivenBack) {
    Settlements settlements;
    for (std::uint64_t offset = 1; offset <= 5; ++offset) {
        settlements.add(offset, 1, Outcome::started);
    }
    settlements.add(3, 1, Outcome::done);
    settlements.add(range(1, 1, Outcome::done));
    EXPECT_THAT(settlements.take(), ElementsAre(range(2, 1, Outcome::started), range(4, 2, Outcome::started),
                                                range(1, 1, Outcome::done), range(3, 1, Outcome::done)));
    settlements.add(9, 1, Outcome::started);
    settlements.add(9, 1, Outcome::give_back);
    EXPECT_THAT(settlements.take(), ElementsAre(range(9, 1, Outcome::started), range(9, 1, Outcome::give_back)));
}

TEST(Settlements, ARangeThatIsDoneCutsWhatItMeets) {
    Settlements settlements;
    for (const std::uint64_t first : {1U, 10U, 20U, 30U}) {
        settlements.add(range(first, 5, Outcome::started));
    }
    settlements.add(range(12, 20, Outcome::done));
    EXPECT_THAT(settlements.take(), ElementsAre(range(1, 5, Outcome::started), range(10, 2, Outcome::started),
                                                range(32, 3, Outcome::started), range(12, 20, Outcome::done)));
    settlements.add(range(1, 9, Outcome::started));
    settlements.add(range(4, 2, Outcome::done));
    EXPECT_THAT(settlements.take(),
                ElementsAre(range(1, 3, Outcome::started), range(6, 4, Outcome::started), range(4, 2, Outcome::done)));
}

TEST(Settlements, ExtensionsComeInBetweenAndAreForgottenOnceSettled) {
    Settlements settlements;
    settlements.add(range(1, 5, Outcome::extend));
    settlements.add(3, 1, Outcome::give_back);
    settlements.add(6, 1, Outcome::started);
    EXPECT_THAT(settlements.take(), ElementsAre(range(6, 1, Outcome::started), range(1, 2, Outcome::extend),
                                                range(4, 2, Outcome::extend), range(3, 1, Outcome::give_back)));
    settlements.add(1, 1, Outcome::extend);
    EXPECT_FALSE(settlements.empty());
    settlements.clear();
    EXPECT_TRUE(settlements.empty());
}

TEST(Settlements, OtherArgumentsDoNotMix) {
    Settlements settlements;
    for (const std::uint64_t offset : {3U, 1U, 2U, 4U}) {
        auto retry = range(offset, 1, Outcome::retry);
        retry.argument = offset < 3 ? 100 : 200;
        settlements.add(retry);
    }
    auto soon = range(1, 2, Outcome::retry);
    soon.argument = 100;
    auto late = range(3, 2, Outcome::retry);
    late.argument = 200;
    EXPECT_THAT(settlements.take(), ElementsAre(soon, late));
}

}  // namespace
}  // namespace baton::client
