// The machine on which the broker runs: its disk, and one broker after the other, each a life. Ends them (killed, power
// cut, in the middle of an operation of the disk, while one starts) and makes the disk fail, by chance, until the calm.
// Not responsible for clients or rules; the ledger is told when a broker has died. One thread. Next file:
// simulation.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "tests/sim/broker.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/ledger.hpp"
#include "tests/sim/options.hpp"
#include "tests/sim/report.hpp"
#include "tests/sim/scheduler.hpp"

namespace baton::sim {

class Machine {
public:
    Machine(Scheduler& scheduler, Prng& prng, const SimOptions& options, Report& report, Ledger& ledger);

    /// `on_death` follows each death.
    void start(std::function<void()> on_death);
    /// Null: it is down.
    [[nodiscard]] SimBroker* broker() noexcept { return broker_.get(); }
    /// It takes connections.
    [[nodiscard]] bool is_listening() const noexcept { return is_serving_ && !is_closed_ && !broker_->is_draining(); }
    /// It is up, and all durable channels are there.
    [[nodiscard]] bool is_serving() const noexcept { return is_serving_; }
    /// From 1; the next one begins when the broker dies.
    [[nodiscard]] std::uint64_t life() const noexcept { return life_; }
    /// A file of messages cannot be read any more.
    [[nodiscard]] bool has_lost_segment() const noexcept { return has_lost_segment_; }
    [[nodiscard]] bool has_storage() const noexcept { return options_.storage.durable != DurableChannels::none; }

    /// Now and then, until the calm. The broker is looked after also then: of what failed just before it may hear later.
    void cause_faults();
    /// The disk works from now on. A broker that has given up is started again.
    void begin_calm();
    /// At the end, without clients: on another number of shards perhaps.
    void restart();

    /// For people.
    [[nodiscard]] std::string summary() const;

    /// Whether a link may fail like this. A channel that is damaged is abandoned.
    [[nodiscard]] bool is_forgivable(wire::Status status, std::uint32_t channel);

private:
    void cause_some();
    void look_after_broker();
    [[nodiscard]] bool happens(std::uint64_t per_second_thousandths);
    void die(Death death, const char* how);
    void power_on();
    void try_to_start();
    void recovered(const Result<void>& opened);
    void ask_for_channels(std::uint32_t channel);
    void serve();
    void fail_soon();
    void fill_up();
    void lose_a_segment();

    Scheduler& scheduler_;
    Prng& prng_;
    const SimOptions& options_;
    Report& report_;
    Ledger& ledger_;
    Prng fault_prng_;
    SimDisk disk_;
    std::unique_ptr<SimBroker> broker_;
    std::function<void()> on_death_;
    std::uint64_t life_ = 1;
    std::uint64_t deaths_ = 0;
    std::uint64_t torn_ = 0;
    SimBroker::StorageTotals totals_;  ///< Of those that have died.
    bool is_serving_ = false;
    bool is_calm_ = false;
    bool is_closed_ = false;  ///< To clients.
    bool is_full_ = false;
    bool has_been_full_ = false;  ///< In this life or an earlier one.
    bool will_be_restarted_ = false;
    bool has_failed_ = false;  ///< In this life or an earlier one an operation of the disk was made to fail.
    bool has_lost_segment_ = false;
    std::uint64_t last_failure_ = 0;                      ///< Operation of the disk that is the last to fail.
    MonotonicTime trouble_since_ = MonotonicTime::max();  ///< Of the disk, in this life.
    Death death_under_way_ = Death::power_cut;            ///< What the loss of power in the simulated disk stands for.
};

}  // namespace baton::sim
