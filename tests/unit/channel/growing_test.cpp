// Containers that hold a million things and grow without a long pause: the same content as the simple ones, at every size
// at which they change their shape.
#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"
#include "server/channel/steady_table.hpp"
#include "server/channel/waiting_heap.hpp"

namespace baton::channel {
namespace {

TEST(KeyTable, HoldsTheSameAsAMapWhileItGrowsAndShrinks) {
    KeyTable<int> table;
    std::map<std::uint64_t, int> reference;
    Prng random{7};
    const auto check = [&](std::uint64_t key) {
        const int* found = table.find(key);
        const auto expected = reference.find(key);
        ASSERT_EQ(found != nullptr, expected != reference.end());
        if (found != nullptr) {
            ASSERT_EQ(*found, expected->second);
        }
    };
    for (const std::size_t most : {40'000U, 0U, 20'000U}) {
        while (reference.size() < most) {
            const std::uint64_t key = random.next();
            const auto [entry, is_new] = table.try_emplace(key);
            entry->second = static_cast<int>(reference.size());
            ASSERT_EQ(is_new, reference.insert_or_assign(key, entry->second).second);
            ASSERT_FALSE(table.try_emplace(key).second);
            check(random.next());
        }
        for (const auto& [key, value] : reference) {
            check(key);
        }
        int visited = 0;
        table.visit([&](int&) { ++visited; });
        ASSERT_EQ(visited, static_cast<int>(reference.size()));
        while (reference.size() > most) {
            const std::uint64_t key = reference.begin()->first;
            table.erase(key);
            table.erase(key);
            reference.erase(key);
            check(key);
            ASSERT_EQ(table.size(), reference.size());
        }
    }
}

TEST(KeyTable, DealsOutAFewKeysAtATime) {
    KeyTable<int> table;
    Prng random{7};
    while (table.size() < KeyTable<int>::few_max) {
        table.try_emplace(random.next());
    }
    EXPECT_EQ(table.few(), table.size());
    for (std::size_t left = table.few(); left > 0;) {
        table.try_emplace(random.next());
        EXPECT_EQ(table.few(), left -= std::min(left, KeyTable<int>::dealt_at_once));
    }
    EXPECT_EQ(table.size(), KeyTable<int>::few_max + KeyTable<int>::few_max / KeyTable<int>::dealt_at_once);
}

TEST(TextTable, IsEmptiedInStepsWhileOthersCome) {
    TextTable<int> table;
    std::map<std::string, int> reference;
    Prng random{9};
    const auto add = [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            const std::string key = "key " + std::to_string(random.below(200'000));
            const auto [entry, is_new] = table.try_emplace(std::string_view{key});
            ASSERT_EQ(entry->first, key);
            ASSERT_EQ(is_new, !reference.contains(key));
            entry->second = reference[key] = static_cast<int>(i);
        }
    };
    add(18'000);  // Some are in the first table still.
    EXPECT_GT(table.few(), 0U);
    EXPECT_LT(table.few(), table.size());
    for (const auto& [key, value] : reference) {
        const int* found = table.find(std::string_view{key});
        ASSERT_NE(found, nullptr);
        ASSERT_EQ(*found, value);
    }
    std::size_t steps = 0;
    for (std::uint64_t items = 0; !table.clear_some(items); ++steps) {
        ASSERT_EQ(items, 0U) << "it stopped before its units were used up";
        const std::size_t before = table.size();
        items = 1'000;
        if (steps < 10) {
            table.try_emplace("late " + std::to_string(steps));
            ASSERT_EQ(table.size(), before + 1);
        }
    }
    EXPECT_EQ(table.size(), 0U);
    EXPECT_GE(steps, (reference.size() + 10) / 1'000);
    EXPECT_EQ(table.find(std::string_view{"late 3"}), nullptr);
    reference.clear();
    add(100);
    EXPECT_EQ(table.size(), reference.size());
}

TEST(WaitingHeap, ForgetsWhatIsOutOfDate) {
    struct Entry {
        std::uint64_t at;
        bool operator<(const Entry& other) const { return at > other.at; }
    };
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        Prng prng{seed};
        WaitingHeap<Entry> heap;
        std::multiset<std::uint64_t> even;  // The others are out of date.
        std::size_t turn = 0;
        const auto is_out_of_date = [](const Entry& entry) { return entry.at % 2 == 1; };
        for (int i = 0; i < 1'000; ++i) {
            const std::uint64_t at = prng.below(100'000);
            heap.push({at});
            at % 2 == 0 ? static_cast<void>(even.insert(at)) : void();
            heap.clean(prng.below(4), turn, is_out_of_date);
        }
        EXPECT_LT(heap.size(), 1'000U);
        heap.clean(4 * heap.size(), turn, is_out_of_date);
        EXPECT_EQ(heap.size(), even.size());
        for (const std::uint64_t at : even) {
            ASSERT_EQ(heap.pop().at, at);
        }
        heap.clean(3, turn, is_out_of_date);
        EXPECT_TRUE(heap.empty());
    }
}

TEST(WaitingHeap, GivesTheEarliestFirst) {
    struct Entry {
        std::uint64_t at;
        bool operator<(const Entry& other) const noexcept { return at > other.at; }
    };
    WaitingHeap<Entry> heap;
    EXPECT_TRUE(heap.empty());
    std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> reference;
    Prng random{7};
    for (int i = 0; i < 20'000; ++i) {
        if (random.below(3) != 0 || reference.empty()) {
            const std::uint64_t at = random.below(1'000);
            heap.push({at});
            reference.push(at);
        } else {
            ASSERT_EQ(heap.front().at, reference.top());
            ASSERT_EQ(heap.pop().at, reference.top());
            reference.pop();
        }
        ASSERT_EQ(heap.empty(), reference.empty());
    }
    heap.clear();
    EXPECT_TRUE(heap.empty());
}

}  // namespace
}  // namespace baton::channel
