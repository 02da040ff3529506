// What `baton bench soak` knows of the messages that it has received: which are missing, doubled or out of order.
// One thread at a time (bench_soak.cpp locks it). Next file: bench_soak.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace baton::cli {

/// Numbers in the order in which they come, mostly ascending; as large as it has holes.
class SequenceSet {
public:
    struct Range {
        std::uint64_t first;
        std::uint64_t end;  // Behind the last.
        [[nodiscard]] bool operator==(const Range&) const noexcept = default;
    };

    /// False if it is there already.
    bool add(std::uint64_t number);
    void add(Range range);
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    /// Of those in [first, end), what is not there.
    [[nodiscard]] std::vector<Range> missing(Range range) const;

private:
    std::map<std::uint64_t, std::uint64_t> ranges_;  // first -> end; they neither overlap nor touch.
    std::uint64_t size_ = 0;
};

/// Of the receivers that share one channel, or of one that gets everything. Senders number their messages from 1.
class SoakLedger {
public:
    /// `is_again`: the broker says that somebody had it before, or a connection broke: then it may come twice, and
    /// late.
    void received(std::size_t receiver, std::uint32_t sender, std::uint64_t sequence, bool is_again);
    /// It cannot be one of ours.
    void foreign() noexcept { ++foreign_; }

    [[nodiscard]] std::uint64_t distinct() const noexcept;
    [[nodiscard]] std::uint64_t duplicates() const noexcept { return duplicates_; }
    [[nodiscard]] std::uint64_t repeated() const noexcept { return repeated_; }
    [[nodiscard]] std::uint64_t out_of_order() const noexcept { return out_of_order_; }
    [[nodiscard]] std::uint64_t foreign_count() const noexcept { return foreign_; }
    /// The first that was out of order, for people; empty if none was.
    [[nodiscard]] const std::string& first_disorder() const noexcept { return first_disorder_; }
    /// Of the numbers 1 to `last`, without those that the broker refused.
    [[nodiscard]] std::vector<SequenceSet::Range> missing(std::uint32_t sender, std::uint64_t last,
                                                          const std::vector<SequenceSet::Range>& refused) const;

private:
    std::map<std::uint32_t, SequenceSet> seen_;
    std::map<std::pair<std::size_t, std::uint32_t>, std::uint64_t> last_;
    std::uint64_t duplicates_ = 0;
    std::uint64_t repeated_ = 0;
    std::uint64_t out_of_order_ = 0;
    std::uint64_t foreign_ = 0;
    std::string first_disorder_;
};

}  // namespace baton::cli
