#include "client/cli/bench_ledger.hpp"

#include <algorithm>
#include <iterator>

namespace baton::cli {

bool SequenceSet::add(std::uint64_t number) {
    auto next = ranges_.upper_bound(number);
    const auto before = next == ranges_.begin() ? ranges_.end() : std::prev(next);
    if (before != ranges_.end() && number < before->second) {
        return false;
    }
    ++size_;
    const bool touches_next = next != ranges_.end() && next->first == number + 1;
    if (before != ranges_.end() && before->second == number) {
        before->second = touches_next ? next->second : number + 1;
    } else {
        ranges_.emplace(number, touches_next ? next->second : number + 1);
    }
    if (touches_next) {
        ranges_.erase(next);
    }
    return true;
}

void SequenceSet::add(Range range) {
    for (auto number = range.first; number < range.end; ++number) {
        add(number);
    }
}

std::vector<SequenceSet::Range> SequenceSet::missing(Range range) const {
    std::vector<Range> holes;
    auto from = range.first;
    for (const auto& [first, end] : ranges_) {
        if (from < first && from < range.end) {
            holes.push_back({from, std::min(first, range.end)});
        }
        from = std::max(from, end);
    }
    if (from < range.end) {
        holes.push_back({from, range.end});
    }
    return holes;
}

void SoakLedger::received(std::size_t receiver, std::uint32_t sender, std::uint64_t sequence, bool is_again) {
    if (!seen_[sender].add(sequence)) {
        ++(is_again ? repeated_ : duplicates_);
        return;
    }
    auto& last = last_[{receiver, sender}];
    if (sequence < last && !is_again) {
        if (++out_of_order_ == 1) {
            first_disorder_ = "message " + std::to_string(sequence) + " of sender " + std::to_string(sender) +
                              " after " + std::to_string(last);
        }
    }
    last = std::max(last, sequence);
}

std::uint64_t SoakLedger::distinct() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& [sender, seen] : seen_) {
        sum += seen.size();
    }
    return sum;
}

std::vector<SequenceSet::Range> SoakLedger::missing(std::uint32_t sender, std::uint64_t last,
                                                    const std::vector<SequenceSet::Range>& refused) const {
    const auto found = seen_.find(sender);
    auto accounted = found == seen_.end() ? SequenceSet{} : found->second;
    for (const auto range : refused) {
        accounted.add(range);
    }
    return accounted.missing({1, last + 1});
}

}  // namespace baton::cli
