// `baton bench`: its options, the histogram against exact quantiles, what soak notices, and the report for people.
#include "client/cli/bench.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "client/cli/bench_histogram.hpp"
#include "client/cli/bench_ledger.hpp"
#include "client/cli/bench_machine.hpp"
#include "client/cli/bench_report.hpp"
#include "client/cli/command_line.hpp"
#include "common/base/prng.hpp"
#include "tests/unit/cli/refusal.hpp"

namespace baton::cli {
namespace {

using std::chrono::nanoseconds;

// --- Options ---------------------------------------------------------------------------------------------------------

bool is_accepted(std::initializer_list<const char*> words) {
    Program program;
    define(program);
    return !parse(program, std::vector<const char*>{words});
}

TEST(BenchOptions, EveryOption) {
    EXPECT_TRUE(is_accepted({"bench", "throughput"}));
    EXPECT_TRUE(is_accepted({"bench",
                             "throughput",
                             "--size",
                             "16,128,1k,16k",
                             "--channels",
                             "2",
                             "--senders",
                             "4",
                             "--receivers",
                             "4",
                             "--kind",
                             "topic",
                             "--memory",
                             "--confirm",
                             "received",
                             "--window",
                             "64",
                             "--receive-window",
                             "100",
                             "--rate",
                             "1000",
                             "--duration",
                             "2s",
                             "--warm-up",
                             "0"}));
    EXPECT_TRUE(is_accepted({"bench", "latency", "--rate", "10000", "--durable", "--kind", "stream"}));
    EXPECT_TRUE(is_accepted({"bench", "soak", "--duration", "8h", "--output", "json"}));
}

TEST(BenchOptions, WhatCannotBeMeasuredIsRefused) {
    EXPECT_EQ(refusal_of({"bench"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "nothing"}), exit_usage);
    for (const auto* size : {"0", "", "1,,2", "x", "2g", "128,"}) {
        EXPECT_EQ(refusal_of({"bench", "throughput", "--size", size}), exit_usage) << size;
    }
    EXPECT_EQ(refusal_of({"bench", "throughput", "--kind", "heap"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "throughput", "--memory", "--durable"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "throughput", "--duration", "0"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "throughput", "--channels", "3", "--senders", "2"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "throughput", "--channels", "3", "--receivers", "2"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "latency"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "latency", "--rate", "10", "--size", "7"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "latency", "--rate", "10", "--receivers", "0"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "soak", "--size", "128,15"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "soak", "--receivers", "0"}), exit_usage);
    EXPECT_EQ(refusal_of({"bench", "soak", "--warm-up", "1s"}), exit_usage);
}

TEST(BenchOptions, OneSenderAndReceiverForEachChannelUnlessSaidOtherwise) {
    BenchSettings settings;
    settings.channels = 3;
    const auto filled = completed(settings, BenchVerb::throughput);
    EXPECT_EQ(filled.senders, 3U);
    EXPECT_EQ(filled.receivers, 3U);
    EXPECT_EQ(filled.sizes, std::vector<std::uint64_t>{128});
    settings.has_receivers = true;
    EXPECT_EQ(completed(settings, BenchVerb::throughput).receivers, 0U);
}

// --- Histogram -------------------------------------------------------------------------------------------------------

nanoseconds exact_quantile(const std::vector<std::int64_t>& sorted, double part) {
    const auto rank = std::max(1.0, std::ceil(part * static_cast<double>(sorted.size())));
    return nanoseconds{sorted[static_cast<std::size_t>(rank) - 1]};
}

TEST(LatencyHistogram, QuantilesAreTheExactOnesTo1In128) {
    Prng prng{7};
    std::vector<std::int64_t> values;
    LatencyHistogram histogram;
    for (int i = 0; i < 100'000; ++i) {
        // From nanoseconds to seconds, as many in each power of two.
        const auto value = static_cast<std::int64_t>(prng.next() >> (30 + prng.next() % 33));
        values.push_back(value);
        histogram.record(nanoseconds{value});
    }
    std::ranges::sort(values);
    for (const double part : {0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
        const auto exact = exact_quantile(values, part).count();
        const auto ours = histogram.quantile(part).count();
        EXPECT_GE(ours, exact) << part;
        EXPECT_LE(ours - exact, exact / 128) << part;
    }
    EXPECT_EQ(histogram.min().count(), values.front());
    EXPECT_EQ(histogram.max().count(), values.back());
    EXPECT_EQ(histogram.count(), values.size());
}

TEST(LatencyHistogram, SmallValuesAreExact) {
    LatencyHistogram histogram;
    for (int i = 0; i < 256; ++i) {
        histogram.record(nanoseconds{i});
    }
    for (int i = 0; i < 256; ++i) {
        EXPECT_EQ(histogram.quantile((i + 1) / 256.0).count(), i);
    }
    EXPECT_EQ(histogram.mean().count(), 127);
}

TEST(LatencyHistogram, EdgesOfTheRange) {
    LatencyHistogram histogram;
    EXPECT_EQ(histogram.quantile(0.5).count(), 0);
    EXPECT_TRUE(histogram.rows().empty());
    histogram.record(nanoseconds{-5});
    EXPECT_EQ(histogram.max().count(), 0);
    histogram.record(nanoseconds::max());
    EXPECT_EQ(histogram.quantile(1), nanoseconds::max());
    EXPECT_EQ(histogram.quantile(0.5).count(), 0);
}

TEST(LatencyHistogram, MergingIsRecordingInOne) {
    Prng prng{11};
    LatencyHistogram whole;
    LatencyHistogram parts[2];
    for (int i = 0; i < 1'000; ++i) {
        const nanoseconds value{static_cast<std::int64_t>(prng.next() % 1'000'000)};
        whole.record(value);
        parts[i % 2].record(value);
    }
    parts[0].merge(parts[1]);
    parts[0].merge({});
    EXPECT_EQ(parts[0].count(), whole.count());
    EXPECT_EQ(parts[0].quantile(0.99), whole.quantile(0.99));
    EXPECT_EQ(parts[0].min(), whole.min());
    EXPECT_EQ(parts[0].max(), whole.max());
}

TEST(LatencyHistogram, RowsHoldEverythingInSteps) {
    LatencyHistogram histogram;
    for (const int us : {3, 4, 12, 90, 90, 700}) {
        histogram.record(std::chrono::microseconds{us});
    }
    std::vector<std::pair<std::int64_t, std::uint64_t>> rows;
    for (const auto& row : histogram.rows()) {
        rows.emplace_back(row.up_to.count() / 1'000, row.count);
    }
    const std::vector<std::pair<std::int64_t, std::uint64_t>> expected{{5, 2},   {10, 0},  {20, 1},  {50, 0},
                                                                       {100, 2}, {200, 0}, {500, 0}, {1'000, 1}};
    EXPECT_EQ(rows, expected);
}

// --- What soak notices -----------------------------------------------------------------------------------------------

TEST(SequenceSet, AnyOrderBecomesOneRange) {
    SequenceSet set;
    for (const std::uint64_t number : {3U, 1U, 5U, 4U, 2U}) {
        EXPECT_TRUE(set.add(number));
    }
    EXPECT_FALSE(set.add(4));
    EXPECT_EQ(set.size(), 5U);
    EXPECT_TRUE(set.missing({1, 6}).empty());
    EXPECT_EQ(set.missing({0, 8}), (std::vector<SequenceSet::Range>{{0, 1}, {6, 8}}));
}

TEST(SoakLedger, InOrderAndCompleteIsFine) {
    SoakLedger ledger;
    for (std::uint64_t i = 1; i <= 10; ++i) {
        ledger.received(i % 2, 0, i, false);  // Two receivers that compete.
    }
    EXPECT_TRUE(ledger.missing(0, 10, {}).empty());
    EXPECT_EQ(ledger.duplicates() + ledger.out_of_order() + ledger.repeated(), 0U);
    EXPECT_EQ(ledger.distinct(), 10U);
}

TEST(SoakLedger, LossDuplicatesAndDisorder) {
    SoakLedger ledger;
    for (const std::uint64_t i : {1U, 2U, 5U, 4U, 5U, 8U}) {
        ledger.received(0, 0, i, false);
    }
    EXPECT_EQ(ledger.missing(0, 8, {{6, 7}}), (std::vector<SequenceSet::Range>{{3, 4}, {7, 8}}));
    EXPECT_EQ(ledger.duplicates(), 1U);
    EXPECT_EQ(ledger.out_of_order(), 1U);
    EXPECT_EQ(ledger.first_disorder(), "message 4 of sender 0 after 5");
    EXPECT_EQ(ledger.missing(1, 2, {}), (std::vector<SequenceSet::Range>{{1, 3}}));  // A sender never heard of.
}

TEST(SoakLedger, WhatIsGivenAgainMayComeTwiceAndLate) {
    SoakLedger ledger;
    ledger.received(0, 0, 2, false);
    ledger.received(0, 0, 1, true);
    ledger.received(0, 0, 2, true);
    EXPECT_EQ(ledger.repeated(), 1U);
    EXPECT_EQ(ledger.duplicates() + ledger.out_of_order(), 0U);
}

// --- The report ------------------------------------------------------------------------------------------------------

TEST(BenchMachine, TheModelOfTheProcessor) {
    EXPECT_EQ(cpu_model("processor\t: 0\nmodel name\t: Fast CPU 9000\nflags\t: fpu\n"), "Fast CPU 9000");
    EXPECT_EQ(cpu_model("processor\t: 0\nModel\t\t: Board 4"), "Board 4");
    EXPECT_EQ(cpu_model(""), "unknown");
}

TEST(BenchReport, TheDurabilityIsBesideEachNumber) {
    BenchSettings settings;
    settings.storage = "durable";
    const Json rate{{"messages", 10}, {"per_second", 1234567.4}, {"mb_per_second", 158.0}};
    const Json report{{"bench", "throughput"},
                      {"version", "1.2.3"},
                      {"broker", {{"agent", "batond/1.2.3"}, {"address", "tcp://h:1"}}},
                      {"settings",
                       {{"kind", "queue"},
                        {"storage", "durable"},
                        {"channels", 1},
                        {"senders", 2},
                        {"receivers", 1},
                        {"window", 1},
                        {"batch", nullptr},
                        {"receive_window", 1},
                        {"rate", nullptr},
                        {"duration_s", 5.0},
                        {"warm_up_s", 1.0}}},
                      {"machine", {{"cores", 2}, {"cpu", "Fast CPU"}, {"kernel", "Linux 6"}}},
                      {"load_before", {1, 2, 3}},
                      {"load_after", {4, 5, 6}},
                      {"interrupted", false},
                      {"results",
                       {{{"size", 1024},
                         {"durability", durability_of(settings, ConfirmLevel::durable)},
                         {"sent", rate},
                         {"received", rate},
                         {"blocked", {"full"}}}}}};
    const auto text = bench_text(report);
    for (const auto* part : {"baton 1.2.3, broker batond/1.2.3 at tcp://h:1", "2 senders, 1 receiver,",
                             "2 cores, Fast CPU, Linux 6", "load average 1.00 2.00 3.00 before, 4.00 5.00 6.00 after",
                             "1k     1,234,567      158.0", "durable, confirmed when on the disk", "full"}) {
        EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
    }
}

TEST(BenchReport, WhatAKilledBrokerMayLose) {
    const Json lost{{"durability", {{"storage", "durable"}, {"confirmed", "received"}}},
                    {"disconnects", 1},
                    {"lost", 3},
                    {"duplicates", 0},
                    {"out_of_order", 0},
                    {"damaged", 0}};
    EXPECT_TRUE(is_loss_permitted(lost));
    for (const auto& [key, value] : std::initializer_list<std::pair<const char*, Json>>{
             {"disconnects", 0},
             {"lost", 0},
             {"duplicates", 1},
             {"out_of_order", 1},
             {"damaged", 1},
             {"durability", {{"storage", "durable"}, {"confirmed", "durable"}}},
             {"durability", {{"storage", "memory"}, {"confirmed", "received"}}}}) {
        auto other = lost;
        other[key] = value;
        EXPECT_FALSE(is_loss_permitted(other)) << key;
    }
}

TEST(BenchReport, LatenciesAreMicroseconds) {
    LatencyHistogram histogram;
    histogram.record(std::chrono::microseconds{80});
    const auto json = latency_json(histogram);
    EXPECT_EQ(json.at("p50_us"), 80.0);
    EXPECT_EQ(json.at("p99.99_us"), 80.0);
    EXPECT_EQ(json.at("max_us"), 80.0);
    EXPECT_EQ(json.at("histogram"), Json::array({{{"up_to_us", 100.0}, {"count", 1}}}));
}

}  // namespace
}  // namespace baton::cli
