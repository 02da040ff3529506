#include "tests/sim/simulation.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/base/base64.hpp"

namespace baton::sim {

namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Generous: several times the longest heartbeats, and the slowest message on the slowest network.
constexpr Duration calm_time_max = seconds{200};
constexpr Duration drain_time_max = seconds{60};
constexpr Duration close_time_max = seconds{30};
constexpr Duration fault_period = milliseconds{50};

std::vector<bool> durable_channels(const SimOptions& options) {
    std::vector<bool> is_durable(options.channels, options.storage.durable == DurableChannels::all);
    for (std::size_t channel = 0; channel < is_durable.size(); channel += 2) {
        is_durable[channel] = options.storage.durable != DurableChannels::none;
    }
    return is_durable;
}

}  // namespace

Simulation::Simulation(const SimOptions& options, bool is_echo)
    : options_{options},
      scheduler_{options.seed},
      prng_{options.seed * 3 + 1},
      fault_prng_{options.seed * 5 + 2},
      report_{scheduler_.clock(), is_echo},
      ledger_{report_, scheduler_.clock(), durable_channels(options)},
      machine_{scheduler_, prng_, options_, report_, ledger_},
      steps_{scheduler_, options_, report_, machine_, step_pool_},
      left_in_channels_(options.channels) {
    make_places();
}

void Simulation::make_places() {
    std::vector<bool> has_receiver(options_.channels);
    for (std::uint32_t i = 0; i < options_.clients; ++i) {
        Place& place = *places_.emplace_back(std::make_unique<Place>());
        place.name = "client " + std::to_string(i);
        const std::uint64_t senders = prng_.range(i == 0 ? 1 : 0, options_.senders_max);
        const std::uint64_t receivers = prng_.range(i == 1 ? 1 : 0, options_.receivers_max);
        for (std::uint64_t s = 0; s < senders; ++s) {
            const auto channel = static_cast<std::uint32_t>(prng_.below(options_.channels));
            const SenderWork work{.channel = channel, .left = options_.messages, .unconfirmed = 0};
            place.senders.push_back(std::make_unique<SenderWork>(work));
        }
        for (std::uint64_t r = 0; r < receivers; ++r) {
            place.receivers.push_back(static_cast<std::uint32_t>(prng_.below(options_.channels)));
            has_receiver[place.receivers.back()] = true;
        }
    }
    for (std::uint32_t channel = 0; channel < options_.channels; ++channel) {
        if (!has_receiver[channel]) {
            places_.back()->receivers.push_back(channel);
        }
    }
}

void Simulation::start(Place& place) {
    std::vector<SenderWork*> senders;
    for (const auto& work : place.senders) {
        senders.push_back(work.get());
    }
    const std::string name = place.name + " process " + std::to_string(++place.processes);
    report_.note(name + ": starts");
    ClientWorld& world = *this;
    place.client = std::make_unique<SimClient>(name, scheduler_, prng_, options_, report_, ledger_, world,
                                               std::move(senders), place.receivers);
}

std::shared_ptr<Wire> Simulation::connect(const std::string& client) {
    if (!machine_.is_listening()) {
        return nullptr;
    }
    auto wire = std::make_shared<Wire>(scheduler_, prng_, options_.network,
                                       std::make_unique<WireTap>(report_, ledger_, client));
    machine_.broker()->accept(wire, client);
    return wire;
}

// --- Faults ---------------------------------------------------------------------------------------------------------

void Simulation::cause_faults() {
    if (is_calm_) {
        return;
    }
    for (const auto& place : places_) {
        if (place->client) {
            fault(*place);
        }
    }
    for (const auto& sender : raw_senders_) {
        if (Wire* wire = sender->wire()) {
            fault("raw sender", *wire);
        }
    }
    look_at_limits();
    scheduler_.after(fault_period, [this] { cause_faults(); });
}

bool Simulation::happens(std::uint64_t per_second_thousandths) {
    return fault_prng_.below(1'000 * (seconds{1} / fault_period)) < per_second_thousandths;
}

void Simulation::fault(Place& place) {
    if (happens(options_.faults.crash)) {
        report_.note(place.name + ": FAULT crash");
        if (Wire* wire = place.client->wire(); wire != nullptr && fault_prng_.chance(1, 2)) {
            wire->reset();
        }
        place.client.reset();
        scheduler_.after(options_.reconnect_pause.take(fault_prng_), [this, &place] { start(place); });
    } else if (Wire* wire = place.client->wire()) {
        fault(place.name, *wire);
    }
}

void Simulation::fault(const std::string& name, Wire& wire) {
    if (happens(options_.faults.reset)) {
        report_.note(name + ": FAULT reset");
        wire.reset();
    }
    if (happens(options_.faults.half_open)) {
        const std::uint64_t which = fault_prng_.range(1, 3);
        report_.note(name + ": FAULT half open" + ((which & 1U) != 0 ? ", client is deaf" : "") +
                     ((which & 2U) != 0 ? ", broker is deaf" : ""));
        if ((which & 1U) != 0) {
            wire.cut(Side::client);
        }
        if ((which & 2U) != 0) {
            wire.cut(Side::broker);
        }
    }
    if (happens(options_.faults.stall)) {
        report_.note(name + ": FAULT stall");
        wire.stall(Side::client, options_.faults.stall_time.take(fault_prng_));
    }
}

template <class Answered>
void Simulation::ask(std::uint32_t channel, const std::string& json, Answered answered) {
    if (!machine_.is_serving()) {
        return;
    }
    ++questions_;
    machine_.broker()->inspector().ask(ledger_.channel_name(channel), json, [this, answered](const std::string& text) {
        --questions_;
        answered(Json::parse(text));
    });
}

void Simulation::look_at_limits() {
    for (std::uint32_t channel = 0; channel < options_.channels; ++channel) {
        ask(channel, R"({"op":"channel.show"})", [this, channel](const Json& reply) {
            if (!reply.at("ok").get<bool>()) {
                return;  // Not there yet.
            }
            const Json& shown = reply.at("channel");
            const auto& limits = options_.limits.channel_defaults;
            const auto messages = shown.at("ready").get<std::uint64_t>() + shown.at("in_flight").get<std::uint64_t>();
            evicted_seen_ += shown.value("resident_bytes", UINT64_MAX) < shown.at("bytes").get<std::uint64_t>() ? 1 : 0;
            // After a restart settled messages may have come back, and bytes are not known exactly.
            const bool has_counted_all = machine_.life() == 1 || !ledger_.is_durable(channel);
            if (has_counted_all &&
                (messages > limits.messages_max || shown.at("bytes").get<std::uint64_t>() > limits.bytes_max)) {
                report_.violation("channel " + std::to_string(channel) + " stores " + std::to_string(messages) +
                                  " messages, " + shown.at("bytes").dump() + " bytes, beyond its limits");
            }
        });
    }
}

// --- The run --------------------------------------------------------------------------------------------------------

template <class IsDone>
void Simulation::run_until(const char* what, Duration time_max, IsDone is_done) {
    MonotonicTime end = scheduler_.now() + time_max;
    std::uint64_t progress = ledger_.progress();
    while (!report_.is_violated() && !is_done()) {
        if (std::exchange(progress, ledger_.progress()) != progress) {
            end = scheduler_.now() + time_max;
        } else if (scheduler_.now() > end) {
            return report_.violation(std::string{what} + " takes too long" + unfinished());
        }
        (void)scheduler_.run_one();
    }
}

void Simulation::run_for(Duration time) {
    const MonotonicTime end = scheduler_.now() + time;
    run_until("a moment", time * 2, [&] { return scheduler_.now() >= end; });
}

std::string Simulation::unfinished() {
    std::string text = "; no broker";
    if (machine_.broker() != nullptr) {
        const auto& memory = machine_.broker()->state().memory;
        text = "; memory " + std::to_string(memory.used()) + " of " + std::to_string(memory.limit());
    }
    for (const auto& place : places_) {
        for (const auto& work : place->senders) {
            if (work->left + work->unconfirmed > 0) {
                text += "; " + place->name + " has " + std::to_string(work->left) + " to send to channel " +
                        std::to_string(work->channel) + ", " + std::to_string(work->unconfirmed) + " unconfirmed";
            }
        }
    }
    for (std::uint32_t channel = 0; channel < options_.channels; ++channel) {
        if (left_in_channels_[channel] > 1) {
            text += "; channel " + std::to_string(channel) + " holds " + std::to_string(left_in_channels_[channel] - 1);
        }
    }
    return text;
}

bool Simulation::is_everything_sent() const {
    return std::ranges::all_of(raw_senders_, [](const auto& sender) { return sender->is_done(); }) &&
           std::ranges::all_of(places_, [](const auto& place) {
               return place->client && std::ranges::all_of(place->senders, [](const auto& work) {
                          return work->left == 0 && work->unconfirmed == 0;
                      });
           });
}

// Asks the channels now and then; the answer of the last time counts.
bool Simulation::is_everything_received() {
    if (questions_ == 0 && std::ranges::all_of(left_in_channels_, [](std::uint64_t left) { return left == 1; })) {
        return true;
    }
    if (questions_ > 0 || scheduler_.carried_out() < events_ + 500) {
        return false;
    }
    events_ = scheduler_.carried_out();
    for (std::uint32_t channel = 0; channel < options_.channels; ++channel) {
        ask(channel, R"({"op":"channel.show"})", [this, channel](const Json& reply) {
            // One more than there are: 0 is "never asked".
            left_in_channels_[channel] = 1;
            if (reply.at("ok").get<bool>() && !ledger_.is_abandoned(channel)) {
                const Json& shown = reply.at("channel");
                left_in_channels_[channel] +=
                    shown.at("ready").get<std::uint64_t>() + shown.at("in_flight").get<std::uint64_t>();
            }
        });
    }
    return false;
}

bool Simulation::run() {
    machine_.start([this] {
        questions_ = 0;
        steps_.broker_died();
    });
    machine_.has_storage() ? steps_.start() : void();
    for (const auto& place : places_) {
        start(*place);
    }
    ClientWorld& world = *this;
    for (std::uint32_t i = 0; i < options_.raw_senders; ++i) {
        const auto channel = static_cast<std::uint32_t>(prng_.below(options_.channels));
        raw_senders_.push_back(std::make_unique<RawSender>("raw sender " + std::to_string(i), channel, scheduler_,
                                                           prng_, options_, report_, ledger_, world));
    }
    if (options_.storage.backlog_time > Duration::zero()) {
        is_paused_ = true;
        scheduler_.after(options_.storage.backlog_time, [this] {
            is_paused_ = false;
            wake_everybody();
        });
    }
    cause_faults();
    machine_.cause_faults();
    run_for(options_.faults_time);
    machine_.begin_calm();
    run_until("starting the broker", seconds{30}, [this] { return machine_.is_serving(); });
    if (!options_.is_drained_under_load) {
        is_calm_ = true;
        report_.note("the calm begins");
        run_until("sending everything", calm_time_max, [this] { return is_everything_sent(); });
        if (options_.is_left_over && !is_paused_) {
            is_paused_ = true;
            report_.note("receivers stop");
        } else {
            run_until("receiving everything", calm_time_max, [this] { return is_everything_received(); });
        }
        run_until("doing everything in steps", calm_time_max, [this] { return !machine_.has_storage() || steps_.is_done(); });
    }
    steps_.stop();
    drain();
    run_until("an answer", seconds{5}, [this] { return questions_ == 0; });
    check_channels();
    if (machine_.has_storage()) {
        restart();
        check_channels();
    }
    delete_channels();
    if (!report_.is_violated()) {
        machine_.broker()->check_memory_at_end();
    }
    if (machine_.has_storage() && prng_.chance(1, 4)) {
        restart();
        check_deleted();
    }
    return !report_.is_violated();
}

void Simulation::wake_everybody() {
    for (const auto& place : places_) {
        if (place->client) {
            place->client->wake();
        }
    }
}

void Simulation::drain() {
    run_until("starting the broker", seconds{30}, [this] { return machine_.is_serving(); });  // Its disk may have failed.
    if (report_.is_violated()) {
        return;
    }
    report_.note("DRAIN");
    is_calm_ = is_ending_ = true;
    is_paused_ = false;
    machine_.broker()->drain();
    wake_everybody();
    run_until("draining", drain_time_max, [this] { return machine_.broker()->is_quiet(); });
    report_.note("everything is settled");
    machine_.broker()->finish_connections();
    run_until("closing", close_time_max, [this] { return machine_.broker()->session_count() == 0; });
    for (const auto& place : places_) {
        place->client.reset();
    }
    raw_senders_.clear();
    run_for(seconds{1});
}

// What is there is there again, and what is settled is not.
void Simulation::restart() {
    if (report_.is_violated()) {
        return;
    }
    machine_.restart();
    run_until("starting the broker", seconds{30}, [this] { return machine_.is_serving(); });
    ledger_.forget_stored();
}

void Simulation::check_channels() {
    for (std::uint32_t channel = 0; channel < options_.channels && !report_.is_violated(); ++channel) {
        for (const char* state : {"ready", "delayed", "quarantined"}) {  // A message may have been started too often.
            peek(channel, state, 0);
            run_until("peeking", seconds{60}, [this] { return questions_ == 0; });
        }
        check_channel(channel);
        run_until("an answer", seconds{5}, [this] { return questions_ == 0; });
    }
    ledger_.check_confirmed();
}

void Simulation::check_channel(std::uint32_t channel) {
    ask(channel, R"({"op":"channel.show"})", [this, channel](const Json& reply) {
        if (!reply.at("ok").get<bool>()) {
            return ledger_.check_channel(channel, {.next_offset = 1, .stored = 0, .settled = 0, .published = 0}, true);
        }
        const Json& shown = reply.at("channel");
        if (shown.contains("damage")) {
            if (!machine_.is_forgivable(wire::Status::channel_damaged, channel)) {
                report_.violation("a channel is damaged: " + shown.dump());
            }
            return;
        }
        const auto number = [&](const char* key) { return shown.at(key).get<std::uint64_t>(); };
        // A disk that has failed never says what became of these; nobody has seen them, and nobody was told that they are there.
        const std::uint64_t unknown = number("committing");
        if (unknown != 0 && !machine_.is_forgivable(wire::Status::storage_failed, channel)) {
            report_.violation("messages are not committed, and the disk works: " + shown.dump());
        }
        ledger_.check_channel(channel,
                              {.next_offset = number("next_offset") - unknown,
                               .stored = number("ready") + number("in_flight") + number("delayed") + number("quarantined"),
                               .settled = number("settled"),
                               .published = number("published") - unknown},
                              machine_.life() == 1);
        if (number("in_flight") != 0 || number("parked") != 0 || number("senders") + number("receivers") != 0) {
            report_.violation("the channel still has links, or messages with somebody: " + shown.dump());
        }
        if (number("bytes") != 0 && number("stored") == 0) {
            report_.violation("an empty channel counts bytes");
        }
    });
}

void Simulation::peek(std::uint32_t channel, const char* state, std::uint64_t from) {
    const Json request{{"op", "channel.peek"}, {"state", state}, {"from", from}, {"count", 1'000}};
    ask(channel, request.dump(), [this, channel, state](const Json& reply) {
        if (!reply.at("ok").get<bool>() || ledger_.is_abandoned(channel)) {
            return;
        }
        for (const Json& message : reply.at("messages")) {
            const auto body = base64_decode(message.at("body_base64").get_ref<const std::string&>());
            ledger_.stored(channel, message.at("offset").get<std::uint64_t>(),
                           message.at("attempt").get<std::uint32_t>(), message.at("size").get<std::uint64_t>(),
                           Bytes{*body});
        }
        if (reply.at("more").get<bool>()) {
            // Not from inside the answer.
            ++questions_;
            const auto next = reply.at("next").get<std::uint64_t>();
            scheduler_.after(Duration::zero(), [this, channel, state, next] {
                --questions_;
                peek(channel, state, next);
            });
        }
    });
}

void Simulation::delete_channels() {
    for (std::uint32_t channel = 0; channel < options_.channels && !report_.is_violated(); ++channel) {
        ask(channel, R"({"op":"channel.delete","force":true})", [](const Json&) {});
    }
    machine_.has_storage() ? steps_.clean_up() : void();
    run_until("deleting", seconds{5}, [this] { return questions_ == 0; });
    run_for(seconds{1});
}

// What was deleted does not come back, nor do its files.
void Simulation::check_deleted() {
    if (!report_.is_violated() && options_.storage.durable != DurableChannels::asked &&
        machine_.broker()->state().channels.load() != 0) {
        report_.violation("channels that were deleted are there again");
    }
}

std::string Simulation::summary() const {
    return "events " + std::to_string(scheduler_.carried_out()) + ", sent " + std::to_string(ledger_.sent_count()) +
           ", delivered " + std::to_string(ledger_.delivered_count()) + ", seconds " +
           std::to_string(std::chrono::duration_cast<seconds>(scheduler_.now().time_since_epoch()).count()) +
           ", looks at evicted messages " + std::to_string(evicted_seen_) + "; " + steps_.summary() + "; " + machine_.summary();
}

}  // namespace baton::sim
