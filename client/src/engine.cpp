// Commands, turns and the end. What the protocol tells: engine_events.cpp.
#include "client/src/engine.hpp"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <random>
#include <utility>

#include "client/src/errors.hpp"
#include "common/base/assert.hpp"
#include "common/base/text_form.hpp"

namespace baton::client {

namespace {

std::uint64_t random_seed() {
    std::random_device device;
    return (std::uint64_t{device()} << 32U) ^ device();
}

ClientProtocol::Options protocol_options(const ClientOptions& options) {
    return {.agent = "baton-cpp",
            .name = options.name.empty() ? "pid " + std::to_string(::getpid()) : options.name,
            .heartbeat = options.heartbeat,
            .frame_size_max = wire::frame_size_max_default};
}

}  // namespace

Engine::Engine(const ClientOptions& options, net::Endpoint endpoint, std::shared_ptr<Shared> shared)
    : options_{options},
      shared_{std::move(shared)},
      prng_{random_seed()},
      protocol_{protocol_options(options), pool_, outbox_, *this, prng_},
      pace_timer_{context_.get_executor()},
      lease_timer_{context_.get_executor()},
      close_timer_{context_.get_executor()},
      connection_{context_.get_executor(),
                  std::move(endpoint),
                  Backoff{options.reconnect_wait_first, options.reconnect_wait_max},
                  protocol_,
                  outbox_,
                  read_buffer_,
                  clock_,
                  prng_,
                  *this} {
    shared_->loop.open(context_, *this);
    shared_->inbox.open([this] { wake(); });
}

Engine::~Engine() = default;

void Engine::run() {
    asio::post(context_, [this] {
        const auto turn = enter_turn();
        connection_.start();
    });
    shared_->loop.run();
    BATON_ASSERT(is_finished_);
}

void Engine::wake() {
    asio::post(context_, [this] {
        shared_->loop.note_attended();
        const auto turn = enter_turn();
        connection_.end_turn();
    });
    shared_->loop.attend();
}

// --- Commands
// ----------------------------------------------------------------------------------------------------------

void Engine::open_sender(std::shared_ptr<SenderEndpoint> endpoint, bool may_create, ConfirmLevel confirm) {
    SenderEndpoint* sender = endpoint.get();
    sender->set_pool(pool_);
    const LinkId link = is_closing_ ? LinkId{} : protocol_.open_sender(sender->channel(), may_create, confirm);
    add(link, {.endpoint = std::move(endpoint), .sender = sender, .receiver = nullptr});
}

void Engine::open_receiver(std::shared_ptr<ReceiverEndpoint> endpoint, bool may_create, const ReceiverWindow& window,
                           std::string options) {
    ReceiverEndpoint* receiver = endpoint.get();
    const LinkId link =
        is_closing_ ? LinkId{} : protocol_.open_receiver(receiver->channel(), may_create, window, std::move(options));
    add(link, {.endpoint = std::move(endpoint), .sender = nullptr, .receiver = receiver});
}

void Engine::add(LinkId link, Entry entry) {
    if (link == LinkId{}) {
        entry.endpoint->end(closed_error("the client"), completions_);
        return;
    }
    entry.endpoint->link = link;
    entries_.emplace(link, std::move(entry));
    if (unclaimed_failure_) {
        const LinkFailure failure = *std::exchange(unclaimed_failure_, std::nullopt);
        on_link_failed(link, failure);
    }
}

void Engine::admin(RequestId id, std::string channel, std::string json, AdminDone done) {
    requests_[id] = {.admin = std::move(done), .ping = {}, .connected = {}, .asked_at = clock_.now()};
    protocol_.admin(id, std::move(channel), std::move(json));
}

void Engine::ping(RequestId id, PingDone done) {
    requests_[id] = {.admin = {}, .ping = std::move(done), .connected = {}, .asked_at = clock_.now()};
    protocol_.ping(id);
}

// Of each receiver and epoch one section, with as few ranges as there can be.
void Engine::commit(RequestId id, StepWish wish, StepDone done) {
    requests_[id] = {.admin = {}, .ping = {}, .connected = {}, .step = std::move(done), .asked_at = clock_.now()};
    StepPlan plan{.producer = wish.producer, .number = wish.number, .sendings = std::move(wish.sendings), .settlings{}};
    std::map<std::pair<LinkId, std::uint64_t>, Settlements> settlings;
    for (const StepWish::Settling& settling : wish.settlings) {
        const DeliveredBatch& batch = settling.slice->batch;
        settlings[{settling.slice->owner->link, batch.epoch}].add(settling.offset, batch.attempt, Outcome::done);
    }
    for (auto& [place, settlements] : settlings) {
        const auto ranges = settlements.take();
        plan.settlings.push_back({place.first, place.second, {ranges.begin(), ranges.end()}});
    }
    protocol_.commit(id, std::move(plan));
}

void Engine::notify_connected(RequestId id, CloseDone done) {
    if (protocol_.is_ready()) {
        completions_.emplace_back([done = std::move(done)]() mutable { done({}); });
        return;
    }
    requests_[id] = {.admin = {}, .ping = {}, .connected = std::move(done), .asked_at = clock_.now()};
}

void Engine::forget(RequestId id) {
    requests_.erase(id);
    protocol_.forget(id);
}

void Engine::begin_close(Duration timeout, CloseDone done) {
    if (std::exchange(is_closing_, true)) {
        // The second one has nothing to wait for: whoever began has the answer.
        completions_.emplace_back([done = std::move(done)]() mutable { done({}); });
        return;
    }
    close_done_ = std::move(done);
    close_timer_.expires_after(timeout);
    close_timer_.async_wait([this](std::error_code error) {
        const auto turn = enter_turn();
        if (!error) {
            on_close_timeout();
        }
    });
    std::vector<std::shared_ptr<Endpoint>> all;
    for (const auto& [link, entry] : entries_) {
        all.push_back(entry.endpoint);
    }
    for (const auto& endpoint : all) {
        endpoint->close_in_background(endpoint);
    }
}

void Engine::on_close_timeout() {
    if (!is_finished_) {
        connection_.abort();
    }
}

// --- Turns
// -------------------------------------------------------------------------------------------------------------

void Engine::take_turn() noexcept {
    connection_.end_turn();
    if (!outbox_.empty()) {
        shared_->loop.attend();  // The socket is full: somebody must wait for it.
    }
}

bool Engine::is_ready_for_turn() const noexcept {
    return !is_closing_ && connection_.is_between_turns() && !shared_->inbox.has_commands();
}

void Engine::collect() {
    shared_->inbox.take(content_);
    for (Inbox::Command& command : content_.commands) {
        command(this);
    }
    for (const auto& endpoint : content_.endpoints) {
        hand_over(endpoint);
    }
    content_.commands.clear();
    content_.endpoints.clear();
    for (const LinkId link : std::exchange(takers_, {})) {
        if (Entry* entry = find(link)) {
            hand_over(std::shared_ptr{entry->endpoint});
        }
    }
}

void Engine::hand_over(const std::shared_ptr<Endpoint>& endpoint) {
    Entry* entry = find(endpoint->link);
    if (entry == nullptr) {
        return;
    }
    if (entry->receiver != nullptr) {
        paced_.push_back(endpoint->link);
        wait_for_pace();
    }
    endpoint->hand_over(protocol_, completions_);
}

void Engine::wait_for_pace() {
    if (std::exchange(is_pace_running_, true)) {
        return;
    }
    pace_timer_.expires_after(ReceiverEndpoint::pace);
    pace_timer_.async_wait([this](std::error_code error) {
        const auto turn = enter_turn();
        is_pace_running_ = false;
        if (!error) {
            on_pace();
        }
    });
}

void Engine::on_pace() {
    for (const LinkId link : std::exchange(paced_, {})) {
        Entry* entry = find(link);
        if (entry != nullptr && entry->receiver->end_pace()) {
            hand_over(std::shared_ptr{entry->endpoint});
        }
    }
    connection_.end_turn();
}

void Engine::renew_leases_within(Duration interval) {
    const MonotonicTime due = clock_.now() + interval;
    if (interval == Duration{} || is_finished_ || (leases_due_ && *leases_due_ <= due)) {
        return;
    }
    leases_due_ = due;
    lease_timer_.expires_after(interval);
    lease_timer_.async_wait([this](std::error_code error) {
        const auto turn = enter_turn();
        if (!error) {
            leases_due_.reset();
            on_lease_timer();
        }
    });
}

void Engine::on_lease_timer() {
    const MonotonicTime now = clock_.now();
    for (const auto& [link, entry] : entries_) {
        if (entry.receiver != nullptr && entry.receiver->renew_leases(protocol_, now)) {
            renew_leases_within(entry.receiver->renewal_interval());
        }
    }
    connection_.end_turn();
}

void Engine::on_turn_done() {
    run_completions();
    if (is_closing_ && !is_finished_ && entries_.empty() && outbox_.empty()) {
        connection_.finish();
    }
}

// Users are called here and nowhere else: no lock is held, and the state is whole. Events are for the I/O thread; so are
// a user's completions, whose client does not lend its loop, and ours may run anywhere.
void Engine::run_completions() {
    if (completions_.empty() && events_.empty()) {
        return;
    }
    if (!options_.on_event) {
        events_.clear();
    }
    const bool may_report = shared_->loop.is_on_io_thread();
    while (!completions_.empty() || (may_report && !events_.empty())) {
        auto completions = std::exchange(completions_, {});
        auto events = may_report ? std::exchange(events_, {}) : std::vector<ClientEvent>{};
        shared_->loop.leave_turn();
        for (auto& complete : completions) {
            complete();
        }
        for (const ClientEvent& event : events) {
            options_.on_event(event);
        }
        completions.clear();  // What they hold may lead to us.
        shared_->loop.reenter_turn();
    }
    has_events_ = !events_.empty();
    if (has_events_) {
        wake();
        shared_->loop.call_io_thread();
    }
}

// --- The end
// -----------------------------------------------------------------------------------------------------------

void Engine::on_finished() {
    is_finished_ = true;
    close_timer_.cancel();
    pace_timer_.cancel();
    lease_timer_.cancel();
    const std::string left = left_over();
    if (!left.empty()) {
        report(ClientEvent::Kind::abandoned, {}, left);
    }
    shared_->board.set_closed();
    is_closing_ = true;
    Inbox::Content late = shared_->inbox.shut();
    for (Inbox::Command& command : late.commands) {
        command(this);  // Whoever asks or opens something now waits for an answer, too: `closed`.
    }
    end_everything();
    if (close_done_) {
        Expected<void> outcome;
        if (!left.empty()) {
            outcome = std::unexpected{ClientError{ClientErrc::timed_out, "closing: " + left, false}};
        }
        completions_.emplace_back(
            [done = std::move(close_done_), result = std::move(outcome)]() mutable { done(std::move(result)); });
    }
    run_completions();
    shared_->board.set_ended();
    work_.reset();
    context_.stop();  // A look-up of a name may be running still: whoever joins this thread does so with patience.
}

void Engine::end_everything() {
    const ClientError closed = closed_error("the client");
    for (const auto& [link, entry] : std::exchange(entries_, {})) {
        entry.endpoint->end(closed, completions_);
    }
    while (!requests_.empty()) {
        end_request(requests_.begin()->first, closed);
    }
}

std::string Engine::left_over() const {
    std::size_t unconfirmed = 0;
    std::size_t unsettled = 0;
    for (const auto& [link, entry] : entries_) {
        unconfirmed += entry.sender != nullptr ? entry.sender->unconfirmed() : 0;
        unsettled += entry.receiver != nullptr ? entry.receiver->unsettled() : 0;
    }
    if (unconfirmed == 0 && unsettled == 0) {
        return {};
    }
    return std::to_string(unconfirmed) + " messages were not confirmed, " + std::to_string(unsettled) +
           " deliveries not settled";
}

void Engine::wake_everybody() {
    for (const auto& [link, entry] : entries_) {
        entry.endpoint->wake_all();
    }
    shared_->board.wake_waits();
}

}  // namespace baton::client
