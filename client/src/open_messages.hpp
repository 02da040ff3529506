// Which messages of one DELIVER are still undecided: a set of small numbers that only shrinks.
// Not responsible for what is decided: receiver_endpoint.hpp. One thread at a time (the endpoint's mutex).
// Next file: receiver_endpoint.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/assert.hpp"

namespace baton::client {

class OpenMessages {
public:
    // All of [0, count). Up to 64, the usual case, take no memory of their own.
    explicit OpenMessages(std::uint32_t count) : size_{count}, count_{count} {
        if (count > word_size) {
            words_.assign((count + word_size - 1) / word_size, ~std::uint64_t{0});
        }
    }

    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
    [[nodiscard]] bool contains(std::uint64_t index) const noexcept {
        return index < size_ && (word(index) >> (index % word_size) & 1U) != 0;
    }
    // False: it was not open.
    bool close(std::uint64_t index) noexcept {
        if (!contains(index)) {
            return false;
        }
        (words_.empty() ? small_ : words_[index / word_size]) &= ~(std::uint64_t{1} << (index % word_size));
        --count_;
        return true;
    }
    // visit(first, count) for each run of neighbours inside [begin, end), in order. It may close what it is told.
    template <class Visit>
    void visit_runs(std::uint32_t begin, std::uint32_t end, Visit visit) const {
        BATON_ASSERT(begin <= end && end <= size_);
        for (std::uint32_t at = begin; at < end && count_ != 0;) {
            if (!contains(at)) {
                ++at;
                continue;
            }
            const std::uint32_t first = at;
            while (at < end && contains(at)) {
                ++at;
            }
            visit(first, at - first);
        }
    }

private:
    static constexpr std::uint32_t word_size = 64;

    [[nodiscard]] std::uint64_t word(std::uint64_t index) const noexcept {
        return words_.empty() ? small_ : words_[index / word_size];
    }

    std::uint32_t size_;
    std::uint32_t count_;
    std::uint64_t small_ = ~std::uint64_t{0};
    std::vector<std::uint64_t> words_;
};

}  // namespace baton::client
