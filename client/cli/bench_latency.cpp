// `baton bench latency`: one way at a fixed offered rate. Each message carries the time at which it should have been
// sent, whether that was possible or not, and its latency counts from then (no coordinated omission). Sender and
// receiver are threads of this process: they share a clock.
#include <cstring>

#include "client/cli/bench_load.hpp"
#include "client/cli/bench_report.hpp"
#include "client/cli/interrupt.hpp"

namespace baton::cli {

namespace {

/// How long it waits for what is on its way when the last message should have been sent.
constexpr auto patience = std::chrono::seconds{10};

class Stamps final : public BenchWork {
public:
    Stamps(const BenchSettings& settings, std::uint64_t size)
        : bodies_(settings.senders, std::string(size, 'b')),
          send_delays_(settings.senders),
          latencies_(settings.receivers) {}

    /// What should have been sent before counts as warm-up. Set before the load starts.
    void set_first(BenchClock::time_point first) noexcept { first_ = first.time_since_epoch().count(); }

    std::string_view body(std::size_t sender, std::uint64_t, BenchClock::time_point intended) override {
        const std::int64_t stamp = intended.time_since_epoch().count();
        if (stamp >= first_.load(std::memory_order_relaxed)) {
            send_delays_[sender].record(BenchClock::now() - intended);
        }
        std::memcpy(bodies_[sender].data(), &stamp, sizeof stamp);
        return bodies_[sender];
    }
    void on_message(std::size_t receiver, const Delivery& delivery) override {
        std::int64_t stamp = 0;
        if (delivery.body().size() < sizeof stamp) {
            return;  // Not one of ours.
        }
        std::memcpy(&stamp, delivery.body().data(), sizeof stamp);
        if (stamp >= first_.load(std::memory_order_relaxed)) {
            latencies_[receiver].record(BenchClock::now().time_since_epoch() - std::chrono::nanoseconds{stamp});
        }
    }

    /// Once the threads have ended.
    [[nodiscard]] LatencyHistogram send_delay() const { return merged(send_delays_); }
    [[nodiscard]] LatencyHistogram latency() const { return merged(latencies_); }

private:
    static LatencyHistogram merged(const std::vector<LatencyHistogram>& histograms) {
        LatencyHistogram whole;
        for (const auto& histogram : histograms) {
            whole.merge(histogram);
        }
        return whole;
    }

    std::atomic<std::int64_t> first_ = 0;
    std::vector<std::string> bodies_;
    std::vector<LatencyHistogram> send_delays_;
    std::vector<LatencyHistogram> latencies_;
};

struct Measured {
    bool is_whole = false;  // Not interrupted.
    std::uint64_t missing = 0;
};

/// What was to be sent and did not arrive: not posted in time, or posted and not received.
std::uint64_t missing_of(const BenchLoad& load, const std::vector<SenderEnd>& ends, std::uint64_t planned) {
    std::uint64_t posted = 0;
    for (const auto& end : ends) {
        posted += end.posted;
    }
    const auto expected = load.deliveries_of(ends);
    const auto received = load.received();
    return (planned > posted ? planned - posted : 0) + (expected > received ? expected - received : 0);
}

Measured measure(const Program& program, const BenchSettings& settings, std::uint64_t size, BenchReport& report) {
    Stamps work{settings, size};
    BenchLoad load{program, settings, work};
    report.set_broker(load.broker());
    Progress progress{program.global, "messages", 0};
    const auto whole = settings.warm_up + settings.duration;
    const auto begin = BenchClock::now() + std::chrono::milliseconds{1};
    work.set_first(begin + settings.warm_up);
    load.start(begin, whole);
    if (!load.run_until(load.started() + whole, progress) || !load.wait_posted(patience)) {
        return {};
    }
    progress.clear();
    const auto ends = load.end_senders();
    load.wait_received([&load] { return load.received(); }, load.deliveries_of(ends), patience);
    load.end_receivers();
    const auto seconds = std::chrono::duration<double>{settings.duration}.count();
    const auto planned =
        static_cast<std::uint64_t>(std::chrono::duration<double>{whole}.count() * static_cast<double>(settings.rate));
    const auto latency = work.latency();
    auto level = ConfirmLevel::none;
    for (const auto& end : ends) {
        level = std::max(level, end.level);
    }
    const Measured measured{.is_whole = true, .missing = missing_of(load, ends, planned)};
    report.add({{"size", size},
                {"durability", durability_of(settings, level)},
                {"offered_per_second", settings.rate},
                {"received_per_second", static_cast<double>(latency.count()) / seconds},
                {"latency", latency_json(latency)},
                {"send_delay", latency_json(work.send_delay())},
                {"missing", measured.missing},
                {"disconnects", load.disconnects()},
                {"blocked", load.blocked_reasons()}});
    return measured;
}

}  // namespace

int bench_latency(const Program& program, const BenchSettings& settings) {
    BenchReport report{program, "latency", settings};
    std::uint64_t missing = 0;
    try {
        for (const auto size : settings.sizes) {
            const auto measured = measure(program, settings, size, report);
            missing += measured.missing;
            if (!measured.is_whole) {
                break;
            }
        }
    } catch (const ClientError& error) {
        if (!program.interrupt->is_requested()) {
            throw failure_of(error, "cannot measure the latency of " + program.global.url);
        }
    }
    const bool is_interrupted = program.interrupt->is_requested();
    if (report.has_results() || !is_interrupted) {
        report.print(is_interrupted);
    }
    if (is_interrupted) {
        return exit_interrupted;
    }
    if (missing != 0) {
        throw Failure{exit_failed,
                      counted(missing, "message") + " did not come within 10 s: " + program.global.url +
                          " does not keep up with " + std::to_string(settings.rate) +
                          " a second; try a lower --rate or a larger --window",
                      "too_slow"};
    }
    return exit_done;
}

}  // namespace baton::cli
