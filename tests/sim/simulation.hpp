// One run: clients come, send, receive, fail and come back until the calm begins; then everything must come right in
// bounded time; then the broker is drained and every rule is checked against what is left in its channels.
// Thread: one. Next files: options.hpp (what the seed decides), ledger.hpp (the rules).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/client.hpp"
#include "tests/sim/ledger.hpp"
#include "tests/sim/machine.hpp"
#include "tests/sim/options.hpp"
#include "tests/sim/raw_sender.hpp"
#include "tests/sim/report.hpp"
#include "tests/sim/scheduler.hpp"
#include "tests/sim/step_worker.hpp"

namespace baton::sim {

class Simulation final : private ClientWorld {
public:
    Simulation(const SimOptions& options, bool is_echo);

    // True: every rule held.
    [[nodiscard]] bool run();

    [[nodiscard]] const Report& report() const noexcept { return report_; }
    [[nodiscard]] std::string summary() const;

private:
    // A place where client processes live, one after the other.
    struct Place {
        std::string name;
        std::vector<std::unique_ptr<SenderWork>> senders;
        std::vector<std::uint32_t> receivers;
        std::uint32_t processes = 0;
        std::unique_ptr<SimClient> client;
    };

    [[nodiscard]] std::shared_ptr<Wire> connect(const std::string& client) override;
    [[nodiscard]] bool may_receive() const override { return !is_paused_; }
    [[nodiscard]] bool is_ending() const override { return is_ending_; }
    [[nodiscard]] std::uint64_t broker_life() const override { return machine_.life(); }
    [[nodiscard]] bool is_forgivable(wire::Status status, std::uint32_t channel) override {
        return machine_.is_forgivable(status, channel);
    }

    void make_places();
    void start(Place& place);
    void cause_faults();
    void fault(Place& place);
    void fault(const std::string& name, Wire& wire);
    [[nodiscard]] bool happens(std::uint64_t per_second_thousandths);
    void look_at_limits();

    // Runs until `is_done`; it is a violation ("`what` takes too long") if nothing has moved on for `time_max`.
    template <class IsDone>
    void run_until(const char* what, Duration time_max, IsDone is_done);
    void run_for(Duration time);
    [[nodiscard]] std::string unfinished();
    [[nodiscard]] bool is_everything_sent() const;
    [[nodiscard]] bool is_everything_received();
    void wake_everybody();
    void drain();
    // A question to the inspector, if there is one.
    template <class Answered>
    void ask(std::uint32_t channel, const std::string& json, Answered answered);
    void check_channels();
    void check_channel(std::uint32_t channel);
    void restart();
    void check_deleted();
    void peek(std::uint32_t channel, const char* state, std::uint64_t from);
    void delete_channels();

    const SimOptions options_;
    Scheduler scheduler_;
    Prng prng_;
    Prng fault_prng_;
    Report report_;
    Ledger ledger_;
    ChunkPool step_pool_;  // What is published without a connection. Not of the broker's memory: it would not be dense there.
    Machine machine_;
    StepWorker steps_;
    std::vector<std::unique_ptr<Place>> places_;
    std::vector<std::unique_ptr<RawSender>> raw_senders_;
    bool is_calm_ = false;
    bool is_paused_ = false;
    bool is_ending_ = false;
    std::uint64_t questions_ = 0;  // To the inspector, not answered yet.
    std::vector<std::uint64_t> left_in_channels_;
    std::uint64_t events_ = 0;
    std::uint64_t evicted_seen_ = 0;
};

}  // namespace baton::sim
