#include "tests/sim/machine.hpp"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include <nlohmann/json.hpp>

#include "server/storage/errc.hpp"

namespace baton::sim {

namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration fault_period = milliseconds{50};
constexpr std::uint64_t deaths_max = 12;  // Then it is enough; starts that are cut short count.
constexpr std::uint64_t operations_ahead =
    40;  // An operation of the disk that is chosen to fail is at most so far away.
constexpr std::uint64_t start_operations = 300;

}  // namespace

Machine::Machine(Scheduler& scheduler, Prng& prng, const SimOptions& options, Report& report, Ledger& ledger)
    : scheduler_{scheduler},
      prng_{prng},
      options_{options},
      report_{report},
      ledger_{ledger},
      fault_prng_{options.seed * 7 + 3},
      disk_{{.capacity = options.storage.capacity, .seed = options.seed}} {}

void Machine::start(std::function<void()> on_death) {
    on_death_ = std::move(on_death);
    try_to_start();
}

// --- Lives ----------------------------------------------------------------------------------------------------------

void Machine::try_to_start() {
    const bool is_in_trouble = is_full_ || disk_.operations() < last_failure_;
    trouble_since_ = is_in_trouble ? scheduler_.now() : MonotonicTime::max();
    const auto shards =
        has_storage() ? static_cast<std::uint32_t>(prng_.range(1, options_.storage.shards_max)) : options_.shards;
    broker_ = std::make_unique<SimBroker>(scheduler_, prng_, options_, report_, shards);
    report_.note("broker: life " + std::to_string(life_) + " with " + std::to_string(shards) + " shards");
    if (!has_storage()) {
        return serve();
    }
    const auto& storage = options_.storage;
    if (!is_calm_ && deaths_ < deaths_max && fault_prng_.chance(storage.interrupted_start_percent, 100)) {
        const std::uint64_t operation = disk_.operations() + fault_prng_.range(1, start_operations);
        death_under_way_ = fault_prng_.chance(1, 3) ? Death::killed : Death::power_cut;
        report_.note("broker: FAULT will die at operation " + std::to_string(operation));
        disk_.crash_at(operation);
    }
    recovered(broker_->open_storage(disk_, [this] { die(death_under_way_, "in the middle of an operation"); }));
}

void Machine::recovered(const Result<void>& opened) {
    for (const auto& text : broker_->recovery().torn) {
        report_.note("broker: torn: " + text);
        ++torn_;
    }
    for (const auto& text : broker_->recovery().damage) {
        report_.note("broker: damage: " + text);
        if (!has_lost_segment_) {
            report_.violation("the broker reports damage, and there is none: " + text);
        }
    }
    if (opened) {
        return ask_for_channels(0);
    }
    report_.note("broker: cannot start: " + opened.error().message());
    if (disk_.is_off()) {
        return die(death_under_way_, "while it started");
    }
    if (!has_failed_ && !is_full_ && !has_lost_segment_) {
        report_.violation("the broker cannot start: " + opened.error().message());
    }
    die(Death::killed, "because it could not start");
}

// Those that are asked for by name, before anybody could make memory channels of them.
void Machine::ask_for_channels(std::uint32_t channel) {
    if (channel == options_.channels) {
        return serve();
    }
    if (options_.storage.durable != DurableChannels::asked || !ledger_.is_durable(channel)) {
        return ask_for_channels(channel + 1);
    }
    broker_->start_once();
    broker_->inspector().ask(ledger_.channel_name(channel), R"({"op":"channel.create","storage":"durable"})",
                             [this, channel, broker = broker_.get()](const std::string& text) {
                                 const Json reply = Json::parse(text);
                                 const bool is_there = reply.at("ok").get<bool>() || ledger_.is_abandoned(channel) ||
                                                       is_forgivable(wire::Status::channel_damaged, channel);
                                 if (!is_there) {
                                     report_.note("broker: channel.create: " + text);
                                 }
                                 broker->after(
                                     is_there ? Duration::zero() : Duration{milliseconds{100}},
                                     [this, channel, is_there] { ask_for_channels(channel + (is_there ? 1 : 0)); });
                             });
}

void Machine::serve() {
    is_serving_ = true;
    broker_->start_once();
}

void Machine::die(Death death, const char* how) {
    if (!broker_) {
        return;
    }
    report_.note("broker: FAULT dies " + std::string{how} + (death == Death::power_cut ? ", power cut" : ", killed"));
    ++deaths_;
    ++life_;
    is_serving_ = false;
    will_be_restarted_ = false;
    const MonotonicTime safe = std::min(scheduler_.now(), trouble_since_) - broker_->settle_window();
    const auto totals = broker_->storage_totals();
    totals_.groups += totals.groups;
    totals_.log_bytes += totals.log_bytes;
    totals_.log_files += totals.log_files;
    totals_.segment_bytes += totals.segment_bytes;
    broker_->die(death);
    // Not from inside what it does.
    scheduler_.after(Duration::zero(), [broker = std::shared_ptr<SimBroker>{std::move(broker_)}] {});
    if (death != Death::power_cut) {
        disk_.crash_keeping_everything();
    } else if (fault_prng_.chance(1, 4)) {
        disk_.crash_losing_everything();
    } else {
        disk_.crash(fault_prng_);
    }
    ledger_.broker_died(safe, trouble_since_ != MonotonicTime::max());
    on_death_();
    scheduler_.after(options_.storage.restart_pause.take(fault_prng_), [this] { power_on(); });
}

void Machine::power_on() {
    if (!broker_) {
        try_to_start();
    }
}

void Machine::restart() {
    is_closed_ = true;
    const bool is_cut = fault_prng_.chance(1, 2);
    die(is_cut ? Death::power_cut : Death::killed, "at the end");
}

std::string Machine::summary() const {
    return "deaths " + std::to_string(deaths_) + ", torn " + std::to_string(torn_) + ", groups " +
           std::to_string(totals_.groups) + ", log bytes " + std::to_string(totals_.log_bytes) + ", log files " +
           std::to_string(totals_.log_files) + ", segment bytes " + std::to_string(totals_.segment_bytes);
}

// --- Faults ---------------------------------------------------------------------------------------------------------

bool Machine::happens(std::uint64_t per_second_thousandths) {
    return fault_prng_.below(1'000 * (seconds{1} / fault_period)) < per_second_thousandths;
}

void Machine::cause_faults() {
    if (!has_storage()) {
        return;
    }
    if (!is_calm_) {
        cause_some();
    }
    look_after_broker();
    scheduler_.after(fault_period, [this] { cause_faults(); });
}

// The operator does.
void Machine::look_after_broker() {
    if (!broker_ || !broker_->has_failed() || broker_->is_draining() || std::exchange(will_be_restarted_, true)) {
        return;
    }
    broker_->after(options_.storage.restart_pause.take(fault_prng_) * 2, [this] {
        if (!broker_->is_draining()) {
            die(Death::killed, "as its disk failed");
        }
    });
}

void Machine::cause_some() {
    const auto& storage = options_.storage;
    if (broker_ && deaths_ < deaths_max && happens(storage.death)) {
        const auto death =
            std::data({Death::killed, Death::reset, Death::power_cut, Death::power_cut})[fault_prng_.below(4)];
        if (fault_prng_.chance(1, 3)) {
            die(death, "between two operations");
        } else {
            death_under_way_ = death;
            disk_.crash_at(disk_.operations() + fault_prng_.range(1, operations_ahead));
        }
    }
    if (broker_ && happens(storage.failure)) {
        fail_soon();
    }
    if (!is_full_ && happens(storage.full)) {
        fill_up();
    }
    if (happens(storage.unreadable)) {
        lose_a_segment();
    }
}

void Machine::fail_soon() {
    const bool is_space = fault_prng_.chance(1, 2);
    const std::uint64_t operation = disk_.operations() + fault_prng_.range(1, operations_ahead);
    report_.note("disk: FAULT operation " + std::to_string(operation) + " will fail, " +
                 (is_space ? "no space" : "I/O error"));
    const std::uint64_t count = fault_prng_.range(1, 3);
    disk_.fail_at(operation, is_space ? DiskFault::no_space : DiskFault::io_error, count);
    last_failure_ = operation + count - 1;
    has_failed_ = true;
    trouble_since_ = std::min(trouble_since_, scheduler_.now());
}

void Machine::fill_up() {
    report_.note("disk: FAULT no space");
    const auto space = disk_.space();
    if (!space) {
        return;
    }
    is_full_ = has_been_full_ = true;
    trouble_since_ = std::min(trouble_since_, scheduler_.now());
    disk_.set_capacity(space->total - space->available + fault_prng_.below(200'000));
    scheduler_.after(options_.storage.full_time.take(fault_prng_), [this] {
        if (std::exchange(is_full_, false)) {
            report_.note("disk: space again");
            disk_.set_capacity(options_.storage.capacity);
        }
    });
}

void Machine::lose_a_segment() {
    std::vector<std::string> segments;
    for (auto& path : disk_.all_files()) {
        if (path.starts_with("channels/")) {
            segments.push_back(std::move(path));
        }
    }
    if (!segments.empty()) {
        const auto& path = segments[fault_prng_.below(segments.size())];
        report_.note("disk: FAULT " + path + " cannot be read");
        disk_.fail_reads(path);
        has_lost_segment_ = true;
    }
}

void Machine::begin_calm() {
    is_calm_ = true;
    disk_.clear_faults();
    disk_.set_capacity(options_.storage.capacity);
    is_full_ = false;
    if (broker_ && broker_->has_failed()) {
        die(Death::killed, "as its disk failed");
    }
}

bool Machine::is_forgivable(wire::Status status, std::uint32_t channel) {
    switch (status) {
        case wire::Status::storage_failed:
            return has_failed_;
        case wire::Status::disk_full:
            return has_failed_ || has_been_full_;
        case wire::Status::channel_damaged:
            if (has_lost_segment_ && ledger_.is_durable(channel)) {
                report_.note("channel " + std::to_string(channel) + " is abandoned");
                ledger_.abandon(channel);
                return true;
            }
            return false;
        default:
            return false;
    }
}

}  // namespace baton::sim
