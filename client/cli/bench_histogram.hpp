// How often each latency was measured: a log-linear histogram, exact below 256 ns and to 0.8 % above, over all of 64
// bits, in 58 kB. Our own, because it is these few lines; a library would be one more package for each user.
// One thread at a time. Next file: bench_latency.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace baton::cli {

class LatencyHistogram {
public:
    LatencyHistogram();

    /// A negative one counts as zero.
    void record(std::chrono::nanoseconds value) noexcept;
    void merge(const LatencyHistogram& other) noexcept;

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::chrono::nanoseconds min() const noexcept;
    [[nodiscard]] std::chrono::nanoseconds max() const noexcept;
    [[nodiscard]] std::chrono::nanoseconds mean() const noexcept;
    /// The smallest value that at least this part (0 to 1) of all do not exceed; at most 0.8 % too large. Zero if
    /// empty.
    [[nodiscard]] std::chrono::nanoseconds quantile(double part) const noexcept;

    struct Row {
        std::chrono::nanoseconds up_to;
        std::uint64_t count;
    };
    /// In steps of 1, 2, 5, 10 ..., from the first to the last that is not empty.
    [[nodiscard]] std::vector<Row> rows() const;

private:
    std::vector<std::uint64_t> counts_;
    std::uint64_t count_ = 0;
    std::uint64_t min_ = 0;
    std::uint64_t max_ = 0;
    double sum_ = 0;
};

}  // namespace baton::cli
