#include "client/cli/bench_histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace baton::cli {

namespace {

// Each power of two is cut into 128 equal buckets; below 256 a bucket is one value.
constexpr unsigned part_bits = 7;
constexpr std::uint64_t parts = std::uint64_t{1} << part_bits;
constexpr unsigned value_bits = 64;
constexpr std::size_t bucket_count = (value_bits - part_bits - 1) * parts + 2 * parts;

std::size_t bucket_of(std::uint64_t value) noexcept {
    const auto width = static_cast<unsigned>(std::bit_width(value));
    const unsigned shift = width > part_bits + 1 ? width - part_bits - 1 : 0;
    return shift * parts + (value >> shift);
}

/// The largest value of the bucket.
std::uint64_t top_of(std::size_t bucket) noexcept {
    if (bucket < 2 * parts) {
        return bucket;
    }
    const std::uint64_t shift = bucket / parts - 1;
    const std::uint64_t part = bucket - shift * parts;
    // The last bucket of all ends where 64 bits end; the shift wraps to 0 there, as it should.
    return ((part + 1) << shift) - 1;
}

std::chrono::nanoseconds as_time(std::uint64_t value) noexcept {
    return std::chrono::nanoseconds{static_cast<std::int64_t>(value)};
}

}  // namespace

LatencyHistogram::LatencyHistogram() : counts_(bucket_count) {}

void LatencyHistogram::record(std::chrono::nanoseconds value) noexcept {
    const auto number = static_cast<std::uint64_t>(std::max<std::int64_t>(value.count(), 0));
    ++counts_[bucket_of(number)];
    min_ = count_ == 0 ? number : std::min(min_, number);
    max_ = std::max(max_, number);
    sum_ += static_cast<double>(number);
    ++count_;
}

void LatencyHistogram::merge(const LatencyHistogram& other) noexcept {
    if (other.count_ == 0) {
        return;
    }
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        counts_[i] += other.counts_[i];
    }
    min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
    sum_ += other.sum_;
    count_ += other.count_;
}

std::chrono::nanoseconds LatencyHistogram::min() const noexcept {
    return as_time(min_);
}

std::chrono::nanoseconds LatencyHistogram::max() const noexcept {
    return as_time(max_);
}

std::chrono::nanoseconds LatencyHistogram::mean() const noexcept {
    return count_ == 0 ? as_time(0) : as_time(static_cast<std::uint64_t>(sum_ / static_cast<double>(count_)));
}

std::chrono::nanoseconds LatencyHistogram::quantile(double part) const noexcept {
    if (count_ == 0) {
        return as_time(0);
    }
    const auto wanted = std::ceil(std::clamp(part, 0.0, 1.0) * static_cast<double>(count_));
    const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, count_);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        seen += counts_[i];
        if (seen >= rank) {
            return as_time(std::clamp(top_of(i), min_, max_));
        }
    }
    return max();
}

std::vector<LatencyHistogram::Row> LatencyHistogram::rows() const {
    std::vector<Row> rows;
    std::uint64_t bound = 1'000;  // One microsecond.
    std::uint64_t step = 0;
    std::uint64_t in_row = 0;
    std::uint64_t seen = 0;
    const auto end_row = [&] {
        if (in_row != 0 || !rows.empty()) {
            rows.push_back({as_time(bound), in_row});
        }
        in_row = 0;
        bound = step % 3 == 1 ? bound / 2 * 5 : bound * 2;
        ++step;
    };
    for (std::size_t i = 0; i < counts_.size() && seen < count_; ++i) {
        while (top_of(i) > bound && bound < std::numeric_limits<std::int64_t>::max() / 8) {
            end_row();
        }
        in_row += counts_[i];
        seen += counts_[i];
    }
    if (in_row != 0) {
        end_row();
    }
    return rows;
}

}  // namespace baton::cli
