#include "tests/sim/client.hpp"

#include <algorithm>
#include <utility>

namespace baton::sim {

using client::LinkId;
using client::Outcome;

namespace {

constexpr std::uint64_t unconfirmed_max = 300;
constexpr int rounds_max = 64;  // As in connection.cpp.
constexpr Duration goodbye_timeout = std::chrono::seconds{2};

}  // namespace

SimClient::SimClient(std::string name, Scheduler& scheduler, Prng& prng, const SimOptions& options, Report& report,
                     Ledger& ledger, ClientWorld& world, std::vector<SenderWork*> senders,
                     const std::vector<std::uint32_t>& receivers)
    : name_{std::move(name)},
      scheduler_{scheduler},
      prng_{prng},
      options_{options},
      report_{report},
      ledger_{ledger},
      world_{world},
      protocol_{{.agent = "baton-sim",
                 .name = name_,
                 .heartbeat = options.client_heartbeat,
                 .frame_size_max = prng.chance(1, 2) ? wire::frame_size_max_minimum : wire::frame_size_max_default},
                pool_,
                outbox_,
                *this,
                prng_} {
    for (SenderWork* work : senders) {
        Sender& sender = senders_.emplace_back();
        sender.work = work;
        work->unconfirmed = 0;
        open(sender);
    }
    for (const std::uint32_t channel : receivers) {
        Receiver& receiver = receivers_.emplace_back();
        receiver.channel = channel;
        open(receiver);
    }
    connect_later();
}

SimClient::~SimClient() {
    life_.reset();
}

void SimClient::after(Duration delay, std::function<void()> action) {
    scheduler_.after(delay, [life = std::weak_ptr{life_}, action = std::move(action)] {
        if (!life.expired()) {
            action();
        }
    });
}

// --- Connection -----------------------------------------------------------------------------------------------------

void SimClient::connect_later() {
    after(options_.reconnect_pause.take(prng_), [this] { connect(); });
}

void SimClient::connect() {
    auto wire = world_.connect(name_ + "." + std::to_string(++connections_));
    if (!wire) {
        return connect_later();
    }
    net::ConnectionEvents& events = *this;
    socket_.emplace(scheduler_, std::move(wire), Side::client, read_buffer_, outbox_, events);
    is_leaving_ = false;
    broker_life_ = world_.broker_life();
    bytes_heard_ = 0;
    timer_at_.reset();
    protocol_.on_connected(scheduler_.now());
    end_turn();
}

std::size_t SimClient::on_bytes(BorrowedBytes readable) noexcept {
    return protocol_.on_bytes(scheduler_.now(), readable);
}

void SimClient::end_turn() {
    if (std::exchange(is_in_turn_, true)) {
        return;
    }
    for (int round = 0; round < rounds_max; ++round) {
        protocol_.finish_turn(scheduler_.now());
        const bool has_output = socket_ && socket_->is_open() && !outbox_.empty();
        if (has_output) {
            socket_->flush();
        }
        if (!has_output || !outbox_.empty()) {
            break;
        }
    }
    check_end();
    arm_timer();
    is_in_turn_ = false;
}

void SimClient::check_end() {
    if (!socket_ || !socket_->is_open() || is_leaving_) {
        return;
    }
    if (const auto& failure = protocol_.failure()) {
        const std::string text = std::string{wire::to_string(failure->status)} + ": " + failure->text;
        report_.note(name_ + ": gives up the connection: " + text);
        if (failure->status != wire::Status::heartbeat_timeout && failure->status != wire::Status::handshake_timeout &&
            failure->status != wire::Status::draining) {
            report_.violation(name_ + ": " + text);
        }
        socket_->close();
    } else if (protocol_.wants_close()) {
        report_.note(name_ + ": goes, as the broker asked");
        is_leaving_ = true;
        socket_->shutdown_after_flush();
        after(goodbye_timeout, [this, connection = connections_] {
            if (connection == connections_ && socket_) {
                socket_->close();
            }
        });
    }
}

void SimClient::on_closed(std::error_code reason) noexcept {
    report_.note(name_ + ": connection " + std::to_string(connections_) + " is closed " +
                 (reason ? reason.message() : ""));
    drop_connection();
    connect_later();
    end_turn();
}

void SimClient::drop_connection() {
    socket_.reset();
    timer_at_.reset();
    protocol_.on_disconnected(scheduler_.now());
}

void SimClient::arm_timer() {
    const auto next = protocol_.next_deadline();
    if (!socket_ || !next || (timer_at_ && *timer_at_ <= *next)) {
        return;
    }
    timer_at_ = *next;
    after(*next - scheduler_.now(), [this, when = *next] {
        if (socket_ && timer_at_ == when) {
            timer_at_.reset();
            if (std::exchange(bytes_heard_, socket_->bytes_received()) != socket_->bytes_received()) {
                protocol_.on_heard(scheduler_.now());
            }
            protocol_.tick(scheduler_.now());
            end_turn();
        }
    });
}

// --- Application ----------------------------------------------------------------------------------------------------

void SimClient::open(Sender& sender) {
    sender.is_careless = prng_.chance(options_.storage.received_percent, 100);
    sender.producer = ledger_.new_producer(sender.work->channel, sender.is_careless);
    sender.published = sender.decided = 0;
    sender.is_closing = false;
    sender.link =
        protocol_.open_sender(ledger_.channel_name(sender.work->channel), true,
                              sender.is_careless ? baton::ConfirmLevel::received : baton::ConfirmLevel::durable);
    schedule(sender, options_.publish_pause.take(prng_));
}

void SimClient::open(Receiver& receiver) {
    receiver.is_closing = false;
    receiver.last_receipt = 0;
    auto window = options_.window;
    if (prng_.chance(1, 4)) {
        window = {};
    }
    // Longer than anything here takes: through the narrowest network a full window travels for minutes, and the rules of the
    // ledger know no lease that ends on the way. Leases are the model's (tests/unit/channel).
    receiver.link = protocol_.open_receiver(ledger_.channel_name(receiver.channel), true, window, R"({"lease_ms":3600000})");
    schedule(receiver, options_.work_pause.take(prng_));
}

void SimClient::schedule(Sender& sender, Duration delay) {
    if (!std::exchange(sender.is_scheduled, true)) {
        after(delay, [this, &sender] {
            sender.is_scheduled = false;
            act(sender);
            end_turn();
        });
    }
}

void SimClient::schedule(Receiver& receiver, Duration delay) {
    if (!std::exchange(receiver.is_scheduled, true)) {
        after(delay, [this, &receiver] {
            receiver.is_scheduled = false;
            act(receiver);
            end_turn();
        });
    }
}

void SimClient::wake() {
    for (Receiver& receiver : receivers_) {
        schedule(receiver, Duration::zero());
    }
}

bool SimClient::holds_messages() const {
    return std::ranges::any_of(receivers_, [](const Receiver& receiver) { return !receiver.held.empty(); });
}

void SimClient::act(Sender& sender) {
    if (sender.is_closing || world_.is_ending()) {
        return;
    }
    if (sender.work->left == 0) {
        if (prng_.chance(1, 2)) {
            sender.is_closing = true;
            protocol_.close(sender.link);
        }
        return;
    }
    if (sender.work->unconfirmed < unconfirmed_max && (protocol_.takes_messages(sender.link) || prng_.chance(1, 10))) {
        publish_batch(sender);
    }
    if (prng_.chance(options_.link_close_percent, 200)) {
        sender.is_closing = true;
        protocol_.close(sender.link);
        return;
    }
    schedule(sender, std::max<Duration>(options_.publish_pause.take(prng_), std::chrono::microseconds{1}) +
                         (sender.work->unconfirmed >= unconfirmed_max ? std::chrono::milliseconds{5} : Duration{}));
}

std::size_t SimClient::body_size() {
    const bool is_large = prng_.chance(options_.large_percent, 1'000);
    return Ledger::body_size_min + prng_.below(is_large ? options_.large_max : options_.body_max);
}

void SimClient::publish_batch(Sender& sender) {
    const std::uint64_t count = std::min(sender.work->left, prng_.range(1, options_.batch_max));
    const bool has_properties = prng_.chance(1, 4);
    const std::byte correlation[] = {std::byte{7}, std::byte{2}, std::byte{0}, std::byte{1}, std::byte{2}};
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t number = sender.published + i + 1;
        const auto body = Ledger::make_body(sender.producer, number, body_size());
        ledger_.sent(sender.producer, number, body.size());
        builder_.append(body, has_properties ? Bytes{correlation} : Bytes{});
    }
    const auto confirm = prng_.chance(1, 2) ? client::ConfirmWhen::later : client::ConfirmWhen::now;
    const std::uint64_t first = protocol_.publish(sender.link, builder_.take(pool_), confirm);
    if (prng_.chance(1, 8)) {
        protocol_.await_confirms(sender.link);
    }
    if (first != sender.published + 1) {
        report_.violation(name_of(sender.link) + ": publish returned number " + std::to_string(first) + ", not " +
                          std::to_string(sender.published + 1));
    }
    sender.published += count;
    sender.work->left -= count;
    sender.work->unconfirmed += count;
    report_.note(name_of(sender.link) + ": producer " + std::to_string(sender.producer) + " publishes up to " +
                 std::to_string(sender.published));
}

void SimClient::act(Receiver& receiver) {
    if (receiver.is_closing || !world_.may_receive()) {
        return;
    }
    if (prng_.chance(options_.link_close_percent, 100)) {
        receiver.is_closing = true;
        report_.note(name_of(receiver.link) + ": closes");
        protocol_.close(receiver.link);
        return;
    }
    settle_some(receiver);
    if (options_.window.is_on_demand && receiver.held.empty()) {
        protocol_.ask(receiver.link, prng_.range(1, 10));
    }
    if (prng_.chance(1, 30)) {
        protocol_.ask_state(receiver.link);
    }
    if (!receiver.held.empty()) {
        schedule(receiver, options_.work_pause.take(prng_));
    }
}

void SimClient::settle_some(Receiver& receiver) {
    for (std::uint64_t steps = prng_.range(1, 10); steps > 0 && !receiver.held.empty(); --steps) {
        const std::size_t index = prng_.chance(3, 4) ? 0 : prng_.below(receiver.held.size());
        Held& held = receiver.held[index];
        if (!held.is_started && prng_.chance(3, 4)) {
            start(receiver, held);
            if (prng_.chance(1, 2)) {
                continue;
            }
        }
        const bool gives_back = prng_.chance(options_.give_back_percent, 100);
        if (settle(receiver, held, gives_back ? Outcome::give_back : Outcome::done)) {
            if (gives_back) {
                receiver.given_back[held.offset] = held.attempt + (held.is_started ? 1 : 0);
            } else {
                receiver.done.emplace_back(receiver.last_receipt, held.message);
            }
        }
        receiver.held.erase(receiver.held.begin() + static_cast<std::ptrdiff_t>(index));
    }
}

void SimClient::start(Receiver& receiver, Held& held) {
    const wire::Settlement range{.first = held.offset,
                                 .count = 1,
                                 .attempt = held.attempt,
                                 .outcome = static_cast<std::uint8_t>(Outcome::started),
                                 .argument = 0};
    if (protocol_.settle(receiver.link, held.epoch, range, 0)) {
        held.is_started = true;
        ++held.message->starts;
    }
}

// With a receipt or without; `last_receipt` becomes the one that will cover it.
bool SimClient::settle(Receiver& receiver, const Held& held, Outcome outcome) {
    const wire::Settlement range{.first = held.offset,
                                 .count = 1,
                                 .attempt = held.attempt,
                                 .outcome = static_cast<std::uint8_t>(outcome),
                                 .argument = 0};
    if (!prng_.chance(options_.receipt_percent, 100)) {
        const bool is_ours = protocol_.settle(receiver.link, held.epoch, range, held.region_bytes);
        receiver.last_receipt += is_ours ? 1 : 0;
        return is_ours;
    }
    if (!protocol_.settle_with_receipt(receiver.link, held.epoch, range, held.region_bytes,
                                       receiver.last_receipt + 1)) {
        return false;
    }
    ++receiver.last_receipt;
    return true;
}

SimClient::Sender* SimClient::sender_of(LinkId link) {
    const auto found = std::ranges::find(senders_, link, &Sender::link);
    return found != senders_.end() ? &*found : nullptr;
}

SimClient::Receiver* SimClient::receiver_of(LinkId link) {
    const auto found = std::ranges::find(receivers_, link, &Receiver::link);
    return found != receivers_.end() ? &*found : nullptr;
}

std::string SimClient::name_of(LinkId link) const {
    return name_ + " link " + std::to_string(link.value());
}

// --- ProtocolEvents -------------------------------------------------------------------------------------------------

void SimClient::on_ready(const wire::Welcome&) {
    report_.note(name_ + ": connection " + std::to_string(connections_) + " is ready");
}

void SimClient::on_takes_messages(LinkId link) {
    if (Sender* sender = sender_of(link)) {
        schedule(*sender, Duration::zero());
    }
}

void SimClient::on_refused(LinkId link, std::uint64_t first, std::uint64_t count, wire::Status status) {
    report_.note(name_of(link) + ": refused " + std::to_string(count) + " from " + std::to_string(first) + ": " +
                 std::string{wire::to_string(status)});
    if (Sender* sender = sender_of(link)) {
        ledger_.refused(sender->producer, first, count);
    }
}

bool SimClient::is_of_the_dead(std::uint32_t channel) const {
    return broker_life_ != world_.broker_life() && !ledger_.is_durable(channel);
}

void SimClient::on_confirmed(LinkId link, std::uint64_t up_to, std::uint8_t level) {
    if (Sender* sender = sender_of(link)) {
        report_.note(name_of(link) + ": producer " + std::to_string(sender->producer) + " is confirmed up to " +
                     std::to_string(up_to));
        const bool is_careless = sender->is_careless || !ledger_.is_durable(sender->work->channel);
        if (is_careless ? level != 1 && level != 2 : level != 2) {
            report_.violation(name_of(link) + ": confirmed with level " + std::to_string(level));
        }
        ledger_.confirmed(sender->producer, up_to, broker_life_ != world_.broker_life());
        sender->work->unconfirmed -= std::min(sender->work->unconfirmed, up_to - sender->decided);
        sender->decided = up_to;
    }
}

void SimClient::on_blocked(LinkId link, std::uint16_t reason, Duration) {
    report_.note(name_of(link) + ": blocked, reason " + std::to_string(reason));
}

void SimClient::on_delivered(LinkId link, client::DeliveredBatch&& batch) {
    Receiver* receiver = receiver_of(link);
    if (receiver == nullptr) {
        return report_.violation(name_of(link) + ": a delivery for a link that has ended");
    }
    if (is_of_the_dead(receiver->channel)) {
        return;
    }
    report_.note(name_of(link) + ": channel " + std::to_string(receiver->channel) + " delivers " +
                 std::to_string(batch.header.count) + " from " + std::to_string(batch.header.base_offset) +
                 ", attempt " + std::to_string(batch.attempt) + (batch.is_redelivered ? ", again" : ""));
    if (!batch.is_redelivered) {
        if (batch.header.base_offset <= receiver->last_first_offset) {
            return report_.violation(name_of(link) + ": first deliveries are not in order");
        }
        receiver->last_first_offset = batch.header.base_offset + batch.header.count - 1;
    }
    DeliveryFacts facts{.receiver = name_of(link),
                        .channel = receiver->channel,
                        .offset = batch.header.base_offset,
                        .attempt = batch.attempt,
                        .is_redelivered = batch.is_redelivered,
                        .is_stale = socket_->wire().is_given_up()};
    MessageCursor cursor{batch.messages.bytes(), batch.header.has_properties()};
    MessageView view;
    for (std::size_t before = 0; cursor.next(view); before = cursor.position(), ++facts.offset) {
        MessageRecord* message = ledger_.delivered(facts, view.payload);
        if (message == nullptr) {
            return;
        }
        if (const auto back = receiver->given_back.find(facts.offset); back != receiver->given_back.end()) {
            if (facts.attempt < back->second) {
                return report_.violation(name_of(link) + ": offset " + std::to_string(facts.offset) +
                                         " comes back as attempt " + std::to_string(facts.attempt) +
                                         ", it was given back and must be at least " + std::to_string(back->second));
            }
            receiver->given_back.erase(back);
        }
        receiver->held.push_back({.message = message,
                                  .offset = facts.offset,
                                  .epoch = batch.epoch,
                                  .region_bytes = cursor.position() - before,
                                  .attempt = facts.attempt,
                                  .is_started = false});
    }
    schedule(*receiver, options_.work_pause.take(prng_));
}

void SimClient::on_deliveries_lost(LinkId link) {
    if (Receiver* receiver = receiver_of(link)) {
        receiver->held.clear();
        receiver->done.clear();
        receiver->given_back.clear();
        receiver->last_first_offset = 0;
        schedule(*receiver, options_.work_pause.take(prng_));
    }
}

void SimClient::on_settled(LinkId link, std::uint64_t receipt, wire::RecordReader<wire::SettleException> exceptions) {
    wire::SettleException exception;
    if (exceptions.next(exception)) {
        return report_.violation(name_of(link) + ": a settlement of offset " + std::to_string(exception.first) +
                                 ", attempt " + std::to_string(exception.attempt) +
                                 " was refused: " + std::string{wire::to_string(exception.status)});
    }
    if (Receiver* receiver = receiver_of(link)) {
        std::erase_if(receiver->done, [&](const auto& done) {
            if (done.first <= receipt && !is_of_the_dead(receiver->channel)) {
                ledger_.done_with_receipt(*done.second, name_of(link));
            }
            return done.first <= receipt;
        });
    }
}

void SimClient::on_state(LinkId, const wire::State&) {}

void SimClient::on_link_failed(LinkId link, const client::LinkFailure& failure) {
    const std::string text = std::string{wire::to_string(failure.status)} + ": " + failure.text;
    report_.note(name_of(link) + ": failed: " + text);
    constexpr Duration patience = std::chrono::milliseconds{100};
    Sender* sender = sender_of(link);
    Receiver* receiver = receiver_of(link);
    const std::uint32_t channel = sender != nullptr     ? sender->work->channel
                                  : receiver != nullptr ? receiver->channel
                                                        : 0;
    if (!world_.is_forgivable(failure.status, channel)) {
        report_.violation(name_of(link) + " failed: " + text);
    } else if (sender != nullptr) {
        sender->work->unconfirmed = 0;
        sender->is_closing = true;
        open_again(*sender, patience);
    } else if (receiver != nullptr) {
        receiver->is_closing = true;
        receiver->held.clear();
        receiver->done.clear();
        receiver->given_back.clear();
        receiver->last_first_offset = 0;
        open_again(*receiver, patience);
    }
}

void SimClient::on_link_closed(LinkId link) {
    report_.note(name_of(link) + ": is closed");
    if (Sender* sender = sender_of(link)) {
        if (sender->decided != sender->published) {
            report_.violation(name_of(link) + ": closed with unconfirmed messages");
        }
        open_again(*sender, Duration::zero());
    } else if (Receiver* receiver = receiver_of(link)) {
        open_again(*receiver, Duration::zero());
    }
}

// Not from inside an event: events do not call the protocol. Links to an abandoned channel stay closed.
void SimClient::open_again(Sender& sender, Duration delay) {
    after(delay, [this, &sender] {
        if (ledger_.is_abandoned(sender.work->channel)) {
            sender.work->left = 0;
        }
        if (sender.work->left > 0) {
            open(sender);
            end_turn();
        }
    });
}

void SimClient::open_again(Receiver& receiver, Duration delay) {
    after(delay, [this, &receiver] {
        if (!ledger_.is_abandoned(receiver.channel)) {
            open(receiver);
            end_turn();
        }
    });
}

}  // namespace baton::sim
