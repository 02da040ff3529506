// `baton bench throughput`: how many messages are confirmed, and received and acked, in a measured time.
#include "client/cli/bench_load.hpp"
#include "client/cli/bench_report.hpp"
#include "client/cli/interrupt.hpp"

namespace baton::cli {

namespace {

class Fill final : public BenchWork {
public:
    explicit Fill(std::uint64_t size) : body_(size, 'b') {}
    std::string_view body(std::size_t, std::uint64_t, BenchClock::time_point) override { return body_; }
    void on_message(std::size_t, const Delivery&) override {}

private:
    const std::string body_;
};

Json rate_json(std::uint64_t messages, std::uint64_t size, double seconds) {
    constexpr double bytes_per_mb = 1e6;
    const auto per_second = static_cast<double>(messages) / seconds;
    return {{"messages", messages},
            {"per_second", per_second},
            {"mb_per_second", per_second * static_cast<double>(size) / bytes_per_mb}};
}

/// False: interrupted.
bool measure(const Program& program, const BenchSettings& settings, std::uint64_t size, BenchReport& report) {
    Fill work{size};
    BenchLoad load{program, settings, work};
    report.set_broker(load.broker());
    Progress progress{program.global, "messages", 0};
    load.start(BenchClock::now(), settings.warm_up + settings.duration);
    if (!load.run_until(load.started() + settings.warm_up, progress)) {
        return false;
    }
    const auto begin = BenchClock::now();
    const auto confirmed = load.confirmed();
    const auto received = load.received();
    const bool is_whole = load.run_until(begin + settings.duration, progress);
    const auto seconds = std::chrono::duration<double>{BenchClock::now() - begin}.count();
    const auto confirmed_end = load.confirmed();
    const auto received_end = load.received();
    progress.clear();
    if (!is_whole) {
        return false;
    }
    auto level = ConfirmLevel::none;
    std::uint64_t refused = 0;
    for (const auto& end : load.end_senders()) {
        level = std::max(level, end.level);
        for (const auto& refusal : end.refused) {
            refused += refusal.count;
            if (refused == refusal.count) {
                say(program.global, "the broker refused messages, which are counted as sent: " + refusal.error.text());
            }
        }
    }
    load.end_receivers();
    report.add({{"size", size},
                {"durability", durability_of(settings, level)},
                {"seconds", seconds},
                {"sent", rate_json(confirmed_end - confirmed, size, seconds)},
                {"received", rate_json(received_end - received, size, seconds)},
                {"refused", refused},
                {"disconnects", load.disconnects()},
                {"blocked", load.blocked_reasons()}});
    return true;
}

}  // namespace

int bench_throughput(const Program& program, const BenchSettings& settings) {
    BenchReport report{program, "throughput", settings};
    try {
        for (const auto size : settings.sizes) {
            if (!measure(program, settings, size, report)) {
                break;
            }
        }
    } catch (const ClientError& error) {
        if (!program.interrupt->is_requested()) {
            throw failure_of(error, "cannot measure the throughput of " + program.global.url);
        }
    }
    const bool is_interrupted = program.interrupt->is_requested();
    if (report.has_results() || !is_interrupted) {
        report.print(is_interrupted);
    }
    return is_interrupted ? exit_interrupted : exit_done;
}

}  // namespace baton::cli
