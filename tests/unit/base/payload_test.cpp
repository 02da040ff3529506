// Chunks and payloads: counting, reuse, dense copies, release on other threads and after the pool is gone.
// Leaks and early frees show under AddressSanitizer, wrong ordering under ThreadSanitizer.
#include "common/base/payload.hpp"

#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace baton {
namespace {

constexpr std::size_t chunk_size = 1024;

Payload make(ChunkPool& pool, std::string_view text) {
    ChunkRef chunk = pool.allocate(text.size());
    copy_bytes(chunk.bytes(), as_bytes(text));
    return Payload{std::move(chunk), 0, text.size()};
}

TEST(payload, empty_one_has_no_bytes) {
    const Payload empty;
    EXPECT_TRUE(empty.empty());
    EXPECT_EQ(empty.size(), 0U);
    EXPECT_TRUE(empty.bytes().empty());
    const Payload copy{empty};
    EXPECT_TRUE(copy.slice(0, 0).empty());
}

TEST(payload, copies_share_and_the_last_one_releases) {
    ChunkPool pool{chunk_size};
    Payload first = make(pool, "hello world");
    EXPECT_EQ(pool.outstanding_bytes(), 11U);
    Payload copy = first;
    EXPECT_EQ(copy.data(), first.data());
    first = Payload{};
    EXPECT_EQ(as_text(copy.bytes()), "hello world");
    EXPECT_EQ(pool.outstanding_bytes(), 11U);
    const Payload word = copy.slice(6, 5);
    copy = word;
    EXPECT_EQ(as_text(copy.bytes()), "world");
    const Payload moved = std::move(copy);
    EXPECT_EQ(as_text(moved.bytes()), "world");
    EXPECT_TRUE(copy.empty());  // NOLINT(bugprone-use-after-move): a moved payload is empty, that is the contract.
    EXPECT_EQ(pool.outstanding_bytes(), 11U);
}

TEST(payload, assigning_to_itself_keeps_it) {
    ChunkPool pool{chunk_size};
    Payload payload = make(pool, "same");
    const Payload& alias = payload;
    payload = alias;
    EXPECT_EQ(as_text(payload.bytes()), "same");
    payload = payload.slice(1, 2);
    EXPECT_EQ(as_text(payload.bytes()), "am");
}

TEST(payload, nothing_is_outstanding_once_all_are_gone) {
    ChunkPool pool{chunk_size};
    {
        const ChunkRef chunk = pool.allocate();
        const ChunkRef same = chunk;
        const ChunkRef exact = pool.allocate(10);
        const ChunkRef small = pool.allocate_small();
        EXPECT_EQ(chunk.capacity(), chunk_size);
        EXPECT_EQ(exact.capacity(), 10U);
        EXPECT_EQ(small.capacity(), ChunkPool::small_chunk_size);
        EXPECT_EQ(pool.outstanding_bytes(), chunk_size + 10 + ChunkPool::small_chunk_size);
        EXPECT_FALSE(chunk.unique());
        EXPECT_TRUE(exact.unique());
    }
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
    EXPECT_EQ(pool.free_chunks(), 2U);  // The exact one went back to the system.
}

TEST(payload_death, slices_and_payloads_stay_inside) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    ChunkPool pool{chunk_size};
    const Payload payload = make(pool, "1234");
    EXPECT_DEATH((void)payload.slice(2, 3), "assertion failed");
    EXPECT_DEATH((void)payload.slice(5, 0), "assertion failed");
    EXPECT_DEATH((void)payload.slice(1, SIZE_MAX), "assertion failed");
    EXPECT_DEATH(Payload(pool.allocate(), 1, chunk_size), "assertion failed");
}

TEST(chunk_pool, last_released_is_first_reused) {
    ChunkPool pool{chunk_size};
    ChunkRef a = pool.allocate();
    ChunkRef b = pool.allocate();
    ChunkRef c = pool.allocate(chunk_size);  // The standard size is recycled, however it was asked for.
    const std::byte* const addresses[] = {a.bytes(), b.bytes(), c.bytes()};
    a.reset();
    c.reset();
    b.reset();
    const ChunkRef first = pool.allocate();
    EXPECT_EQ(first.bytes(), addresses[1]);
    const ChunkRef second = pool.allocate();
    EXPECT_EQ(second.bytes(), addresses[2]);
    ChunkRef(second).reset();
    const ChunkRef third = pool.allocate();
    EXPECT_EQ(third.bytes(), addresses[0]);
    EXPECT_EQ(pool.free_chunks(), 0U);
}

TEST(chunk_pool, newly_returned_go_before_those_that_wait_longer) {
    ChunkPool pool{chunk_size};
    ChunkRef old = pool.allocate();
    ChunkRef recent = pool.allocate();
    const std::byte* const old_address = old.bytes();
    const std::byte* const recent_address = recent.bytes();
    old.reset();
    recent.reset();
    recent = pool.allocate();  // Takes both over and leaves the old one in the owner's list.
    ASSERT_EQ(recent.bytes(), recent_address);
    recent.reset();
    const ChunkRef first = pool.allocate();
    const ChunkRef second = pool.allocate();
    EXPECT_EQ(first.bytes(), recent_address);
    EXPECT_EQ(second.bytes(), old_address);
}

TEST(chunk_pool, keeps_no_more_free_chunks_than_allowed) {
    ChunkPool pool{chunk_size, 2};
    {
        std::vector<ChunkRef> chunks;
        for (int i = 0; i < 5; ++i) {
            chunks.push_back(pool.allocate());
        }
        EXPECT_EQ(pool.outstanding_bytes(), 5 * chunk_size);
    }
    EXPECT_EQ(pool.free_chunks(), 2U);
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
}

TEST(chunk_pool, chunks_are_aligned_to_a_cache_line) {
    ChunkPool pool{chunk_size};
    for (const std::size_t size : {1U, 100U, 1024U}) {
        const ChunkRef chunk = pool.allocate(size);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(chunk.bytes()) % 64, 0U);
        std::memset(chunk.bytes(), 0xab, chunk.capacity());  // Every byte is ours.
    }
}

TEST(chunk_pool, payloads_outlive_it) {
    Payload survivor;
    {
        ChunkPool pool{chunk_size};
        const Payload discarded = make(pool, "discarded");
        const ChunkRef recycled = pool.allocate();
        survivor = Payload::copy_of(pool, as_bytes("survivor"));
    }
    EXPECT_EQ(as_text(survivor.bytes()), "survivor");
}

TEST(copy_of, small_copies_share_a_chunk_densely) {
    ChunkPool pool{chunk_size};
    std::vector<Payload> copies;
    for (int i = 0; i < 64; ++i) {
        copies.push_back(Payload::copy_of(pool, as_bytes("0123456789abcdef")));
    }
    EXPECT_EQ(pool.outstanding_bytes(), chunk_size);
    EXPECT_EQ(copies[1].data(), copies[0].data() + 16);
    copies.push_back(Payload::copy_of(pool, as_bytes("one too many")));
    EXPECT_EQ(pool.outstanding_bytes(), 2 * chunk_size);
    EXPECT_EQ(as_text(copies[63].bytes()), "0123456789abcdef");
    EXPECT_EQ(as_text(copies[64].bytes()), "one too many");
}

TEST(copy_of, starts_over_when_all_copies_are_gone) {
    ChunkPool pool{chunk_size};
    const std::byte* const address = Payload::copy_of(pool, as_bytes("gone at once")).data();
    for (int i = 0; i < 1000; ++i) {
        ASSERT_EQ(Payload::copy_of(pool, as_bytes("gone at once")).data(), address);
    }
    const Payload kept = Payload::copy_of(pool, as_bytes("kept"));
    const Payload next = Payload::copy_of(pool, as_bytes("next"));
    EXPECT_EQ(as_text(kept.bytes()), "kept");
    EXPECT_EQ(as_text(next.bytes()), "next");
    EXPECT_EQ(pool.outstanding_bytes(), chunk_size);
}

TEST(copy_of, a_large_copy_gets_its_own_chunk) {
    ChunkPool pool{chunk_size};
    const std::string text(chunk_size * 3, 'x');
    const Payload copy = Payload::copy_of(pool, as_bytes(text));
    EXPECT_EQ(as_text(copy.bytes()), text);
    EXPECT_EQ(pool.outstanding_bytes(), text.size());
    EXPECT_TRUE(Payload::copy_of(pool, {}).empty());
}

TEST(borrowed_bytes, can_be_narrowed_and_kept) {
    ChunkPool pool{chunk_size};
    Payload kept;
    {
        const ChunkRef chunk = pool.allocate();
        copy_bytes(chunk.bytes() + 3, as_bytes("read from a socket"));
        const BorrowedBytes readable{&chunk, chunk.bytes() + 3, 18};
        const BorrowedBytes word = readable.sub(5, 4);
        EXPECT_EQ(as_text(word.bytes()), "from");
        EXPECT_TRUE(readable.sub(18, 0).retain().empty());
        EXPECT_TRUE(chunk.unique());  // Borrowing does not count, and keeping nothing neither.
        kept = word.retain();
        EXPECT_FALSE(chunk.unique());
    }
    EXPECT_EQ(as_text(kept.bytes()), "from");
    EXPECT_EQ(pool.outstanding_bytes(), chunk_size);
}

// A queue between threads, only for these tests.
class Pipe {
public:
    void push(Payload payload) {
        const std::scoped_lock lock{mutex_};
        queue_.push_back(std::move(payload));
    }
    [[nodiscard]] bool pop(Payload& payload) {
        const std::scoped_lock lock{mutex_};
        if (queue_.empty()) {
            return false;
        }
        payload = std::move(queue_.front());
        queue_.pop_front();
        return true;
    }

private:
    std::mutex mutex_;
    std::deque<Payload> queue_;
};

// The owner fills chunks and keeps copies; two other threads read and drop them, in any order, while chunks are reused.
TEST(payload, a_copy_with_room_is_extended_and_earlier_slices_stay) {
    MemoryBudget budget{1 << 20};
    {
        ChunkPool pool{1024, 1, &budget};
        const Payload small = Payload::copy_of(pool, as_bytes("abc"));
        Payload roomy = small.copy_with_room(8);
        EXPECT_EQ(pool.outstanding_bytes(), 1024U + 8U);
        EXPECT_EQ(budget.used(), 1024U + 8U);
        EXPECT_EQ(roomy.room_behind(), 5U);
        const Payload before = roomy;
        roomy.extend(as_bytes("defgh"));
        EXPECT_EQ(as_text(roomy.bytes()), "abcdefgh");
        EXPECT_EQ(as_text(before.bytes()), "abc");
        EXPECT_EQ(roomy.room_behind(), 0U);
    }
    EXPECT_EQ(budget.used(), 0U);
}

TEST(payload, its_share_of_the_chunk_grows_when_others_go) {
    MemoryBudget budget{1 << 20};
    {
        ChunkPool pool{1024, 1, &budget};
        const Payload kept = Payload::copy_of(pool, as_bytes("abc"));
        {
            const Payload other = Payload::copy_of(pool, as_bytes("def"));
            EXPECT_EQ(kept.chunk_capacity(), 1024U);
            EXPECT_EQ(kept.chunk_share(), 1024U / 3) << "the pool, which fills it, counts too";
        }
        EXPECT_EQ(kept.chunk_share(), 1024U / 2);
        Payload own = kept.empty_with_room(6);
        EXPECT_TRUE(own.empty());
        EXPECT_EQ(budget.used(), 1024U + 6U);
        own.extend(kept.bytes());
        own.extend(as_bytes("xyz"));
        EXPECT_EQ(as_text(own.bytes()), "abcxyz");
        EXPECT_EQ(own.chunk_share(), 6U);
    }
    EXPECT_EQ(budget.used(), 0U);
}

TEST(chunk_pool_threads, payloads_are_released_on_other_threads) {
    constexpr std::uint64_t payload_count = 20'000;
    constexpr std::size_t payload_size = 64;
    ChunkPool pool{256, 4};
    Pipe pipes[2];
    std::atomic<bool> is_finished{false};
    std::atomic<std::uint64_t> wrong_count{0};
    std::atomic<std::uint64_t> read_count{0};

    const auto read_all = [&](Pipe& pipe) {
        for (;;) {
            const bool was_finished = is_finished.load();
            Payload payload;
            if (!pipe.pop(payload)) {
                if (was_finished) {
                    return;
                }
                std::this_thread::yield();
                continue;
            }
            const std::uint64_t first = load_u64(payload.data());
            for (std::size_t at = 0; at < payload.size(); at += 8) {
                wrong_count += load_u64(payload.data() + at) != first ? 1 : 0;
            }
            ++read_count;
        }
    };
    std::vector<std::thread> readers;
    for (Pipe& pipe : pipes) {
        readers.emplace_back([&read_all, &pipe] { read_all(pipe); });
    }
    {
        ChunkRef chunk;
        std::size_t used = 0;
        for (std::uint64_t number = 0; number < payload_count; ++number) {
            if (!chunk || chunk.capacity() - used < payload_size) {
                chunk = pool.allocate();
                used = 0;
            }
            for (std::size_t at = 0; at < payload_size; at += 8) {
                store_u64(chunk.bytes() + used + at, number);
            }
            const Payload payload{chunk, used, payload_size};
            used += payload_size;
            pipes[0].push(payload);
            pipes[1].push(payload);
        }
    }
    is_finished = true;
    for (std::thread& reader : readers) {
        reader.join();
    }
    EXPECT_EQ(wrong_count, 0U);
    EXPECT_EQ(read_count, 2 * payload_count);
    EXPECT_EQ(pool.outstanding_bytes(), 0U);
    EXPECT_LE(pool.free_chunks(), 4U);
}

TEST(chunk_pool_threads, the_last_payloads_race_with_the_end_of_the_pool) {
    for (int round = 0; round < 200; ++round) {
        auto pool = std::make_unique<ChunkPool>(std::size_t{256}, std::size_t{4});
        std::vector<Payload> ours;
        std::vector<Payload> theirs;
        for (int i = 0; i < 4; ++i) {
            const ChunkRef chunk = pool->allocate();
            ours.emplace_back(chunk, 0, 10);
            theirs.emplace_back(chunk, 10, 10);
        }
        std::thread other{[payloads = std::move(theirs)]() mutable { payloads.clear(); }};
        pool.reset();
        ours.clear();
        other.join();
    }
}

TEST(chunk_pool, chunks_are_freed_in_steps_and_used_again_before_that) {
    ChunkPool pool{chunk_size, 2};
    pool.free_in_steps();
    EXPECT_FALSE(pool.free_some(1));
    std::vector<ChunkRef> chunks;
    for (int i = 0; i < 10; ++i) {
        chunks.push_back(pool.allocate());
    }
    ChunkRef large = pool.allocate(100 * chunk_size);
    large.reset();
    chunks.clear();
    EXPECT_EQ(pool.outstanding_bytes(), 0U) << "nobody refers to them";
    EXPECT_EQ(pool.free_chunks(), 2U);
    const ChunkRef kept[] = {pool.allocate(), pool.allocate(), pool.allocate()};
    EXPECT_EQ(pool.free_chunks(), 0U) << "the third one was to be freed";
    EXPECT_TRUE(pool.free_some(1)) << "one of seven, and the large one";
    EXPECT_TRUE(pool.free_some(6 * chunk_size));
    EXPECT_FALSE(pool.free_some(1));
    EXPECT_FALSE(pool.free_some(1));
}

TEST(chunk_pool_threads, others_leave_chunks_to_be_freed_also_when_the_pool_goes) {
    for (int round = 0; round < 20; ++round) {
        auto pool = std::make_unique<ChunkPool>(chunk_size, 1);
        pool->free_in_steps();
        std::vector<ChunkRef> chunks;
        for (int i = 0; i < 64; ++i) {
            chunks.push_back(pool->allocate());
        }
        std::thread other{[chunks = std::move(chunks)]() mutable {
            while (!chunks.empty()) {
                chunks.pop_back();
            }
        }};
        for (int i = 0; i < round; ++i) {
            static_cast<void>(pool->free_some(chunk_size));
        }
        pool.reset();
        other.join();
    }
}

}  // namespace
}  // namespace baton
