// The reports of `baton bench`: one JSON object for programs, and from it the text for people.
// Pure functions, except where they look at the machine. Next file: bench_machine.hpp.
#pragma once

#include <array>
#include <string>

#include "client/cli/admin.hpp"
#include "client/cli/bench.hpp"
#include "client/cli/bench_histogram.hpp"

namespace baton::cli {

/// What every report begins with; `results` are to be filled.
class BenchReport {
public:
    /// Before the load: takes the load average.
    BenchReport(const Program& program, const char* bench, const BenchSettings& settings);

    void add(Json result) { report_["results"].push_back(std::move(result)); }
    void set_broker(const std::optional<BrokerInfo>& broker);
    [[nodiscard]] bool has_results() const { return !report_["results"].empty(); }
    /// After the load: takes the load average again and prints everything.
    void print(bool is_interrupted);

private:
    const Program& program_;
    Json report_;
};

/// What a confirm meant: {"storage":"durable","confirmed":"durable"}.
[[nodiscard]] Json durability_of(const BenchSettings& settings, ConfirmLevel level);
/// Of a soak: messages are missing, nothing else is wrong, and a broker that was killed may have lost them: they were confirmed
/// before they were on the disk, and connections broke (docs/guarantees.md).
[[nodiscard]] bool is_loss_permitted(const Json& result);
/// Count, mean, quantiles and rows, in microseconds.
[[nodiscard]] Json latency_json(const LatencyHistogram& histogram);
/// The whole report for people.
[[nodiscard]] std::string bench_text(const Json& report);

}  // namespace baton::cli
