// Which messages of one DELIVER are still undecided: a set of small numbers that only shrinks, and which of those that
// have left it were reported to somebody.
// Not responsible for what is decided: receiver_endpoint.hpp. Any thread may close; the reports are one thread's at a
// time (the endpoint's mutex).
// Next file: delivered_slice.hpp.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>

#include "common/base/assert.hpp"

namespace baton::client {

// A message is open, closed (some thread said so and nobody has looked yet), or accounted for. Whoever closes one and
// is told so is the only one; what the set says is the truth, without a lock around it.
class OpenMessages {
public:
    // All of [0, count). Up to 64, the usual case, take no memory of their own.
    explicit OpenMessages(std::uint32_t count)
        : size_{count},
          many_{count > word_size ? std::make_unique<Word[]>((count + word_size - 1) / word_size) : nullptr},
          words_{many_ != nullptr ? many_.get() : &small_} {
        for (std::uint32_t at = 0; at < words(); ++at) {
            words_[at].open.store(within(at, 0, size_), std::memory_order_relaxed);
        }
    }
    OpenMessages(const OpenMessages&) = delete;
    OpenMessages& operator=(const OpenMessages&) = delete;

    // --- Any thread
    [[nodiscard]] bool contains(std::uint64_t index) const noexcept {
        return index < size_ && (words_[index / word_size].open.load() & bit(index)) != 0;
    }
    // False: it was not open. In the single order of all such calls, and of what the caller does with `seq_cst`.
    bool close(std::uint64_t index) noexcept {
        return index < size_ && (words_[index / word_size].open.fetch_and(~bit(index)) & bit(index)) != 0;
    }

    [[nodiscard]] bool empty() const noexcept {
        return std::all_of(words_, words_ + words(), [](const Word& word) { return word.open.load() == 0; });
    }

    // --- One thread at a time
    // As close, and accounted for at once.
    bool close_and_account(std::uint64_t index) noexcept {
        if (!close(index)) {
            return false;
        }
        words_[index / word_size].accounted |= bit(index);
        return true;
    }
    // Every open one, accounted for; what had been closed before still waits for take_closed.
    void close_and_account_all() noexcept {
        for (std::uint32_t at = 0; at < words(); ++at) {
            words_[at].accounted |= words_[at].open.exchange(0);
        }
    }
    // visit(first, count) for each run of neighbours inside [begin, end) that are open, in order. It may close what it
    // is told.
    template <class Visit>
    void visit_open(std::uint32_t begin, std::uint32_t end, Visit visit) const {
        const auto is_open = [](const Word& word, std::uint64_t asked) { return word.open.load() & asked; };
        visit_runs(begin, end, is_open, visit);
    }
    // The same for those that are open or were accounted for: all that take_closed would not name.
    template <class Visit>
    void visit_others(std::uint32_t begin, std::uint32_t end, Visit visit) const {
        const auto is_other = [](const Word& word, std::uint64_t asked) { return ~word.closed() & asked; };
        visit_runs(begin, end, is_other, visit);
    }
    // The same for those of [0, end) that are closed and not accounted for; now they are.
    template <class Visit>
    void take_closed(std::uint32_t end, Visit visit) {
        const auto take = [](Word& word, std::uint64_t asked) {
            const std::uint64_t bits = word.closed() & asked;
            word.accounted |= bits;
            return bits;
        };
        visit_runs(0, end, take, visit);
    }
    // How many that would be.
    [[nodiscard]] std::uint32_t count_closed(std::uint32_t end) const noexcept {
        std::uint32_t count = 0;
        for (std::uint32_t at = 0; at * word_size < end; ++at) {
            count += static_cast<std::uint32_t>(std::popcount(words_[at].closed() & within(at, 0, end)));
        }
        return count;
    }

private:
    static constexpr std::uint32_t word_size = 64;

    struct Word {
        std::atomic<std::uint64_t> open{0};
        std::uint64_t accounted = 0;
        [[nodiscard]] std::uint64_t closed() const noexcept { return ~(open.load() | accounted); }
    };

    [[nodiscard]] static constexpr std::uint64_t bit(std::uint64_t index) noexcept {
        return std::uint64_t{1} << (index % word_size);
    }
    [[nodiscard]] std::uint32_t words() const noexcept { return (size_ + word_size - 1) / word_size; }
    // The bits of [begin, end) in word `at`.
    [[nodiscard]] static std::uint64_t within(std::uint32_t at, std::uint32_t begin, std::uint32_t end) noexcept {
        const auto up_to = [first = at * word_size](std::uint32_t index) {
            const std::uint32_t inside = index <= first ? 0 : std::min(index - first, word_size);
            return inside == word_size ? ~std::uint64_t{0} : bit(inside) - 1;
        };
        return up_to(end) & ~up_to(begin);
    }

    template <class Bits, class Visit>
    void visit_runs(std::uint32_t begin, std::uint32_t end, Bits bits_of, Visit& visit) const {
        BATON_ASSERT(begin <= end && end <= size_);
        std::uint32_t first = begin;
        std::uint32_t count = 0;  // Of the run that ends where we are; it may go on in the next word.
        for (std::uint32_t at = begin / word_size; at * word_size < end; ++at) {
            for (std::uint64_t bits = bits_of(words_[at], within(at, begin, end)); bits != 0;) {
                const auto skipped = static_cast<std::uint32_t>(std::countr_zero(bits));
                const auto length = static_cast<std::uint32_t>(std::countr_one(bits >> skipped));
                const std::uint32_t index = at * word_size + skipped;
                if (count != 0 && first + count != index) {
                    visit(first, count);
                    count = 0;
                }
                first = count == 0 ? index : first;
                count += length;
                bits &= ~within(0, skipped, skipped + length);
            }
        }
        if (count != 0) {
            visit(first, count);
        }
    }

    std::uint32_t size_;
    Word small_;
    std::unique_ptr<Word[]> many_;
    Word* words_;
};

}  // namespace baton::client
