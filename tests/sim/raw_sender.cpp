#include "tests/sim/raw_sender.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/hex.hpp"
#include "common/wire/handshake.hpp"

namespace baton::sim {

using wire::FrameType;

namespace {

constexpr std::uint64_t repeated_max = 30;
constexpr std::uint64_t body_max = 1'500;                // Fits into the least credit: this one knows no fragments.
constexpr Duration patience = std::chrono::seconds{25};  // More than two of the longest heartbeats.

std::string make_producer_id(Prng& prng) {
    std::array<std::byte, 16> id;
    store_u64(id.data(), prng.next() | 1U);
    store_u64(id.data() + 8, prng.next());
    return hex_encode(id);
}

}  // namespace

RawSender::RawSender(std::string name, std::uint32_t channel, Scheduler& scheduler, Prng& prng,
                     const SimOptions& options, Report& report, Ledger& ledger, ClientWorld& world)
    : name_{std::move(name)},
      channel_{channel},
      scheduler_{scheduler},
      prng_{prng},
      options_{options},
      report_{report},
      ledger_{ledger},
      world_{world},
      producer_{ledger.new_producer(channel)},
      producer_id_{make_producer_id(prng)} {
    connect_later();
}

void RawSender::after(Duration delay, std::function<void()> action) {
    scheduler_.after(delay, [life = std::weak_ptr{life_}, action = std::move(action)] {
        if (!life.expired()) {
            action();
        }
    });
}

void RawSender::connect_later() {
    after(options_.reconnect_pause.take(prng_), [this] { connect(); });
}

void RawSender::connect() {
    auto wire = world_.connect(name_ + "." + std::to_string(++connections_));
    if (!wire) {
        return connect_later();
    }
    net::ConnectionEvents& events = *this;
    socket_.emplace(scheduler_, std::move(wire), Side::client, read_buffer_, outbox_, events);
    broker_life_ = world_.broker_life();
    has_preamble_ = is_attached_ = is_failed_ = false;
    limit_ = used_ = {};
    wanted_ = 0;
    last_heard_ = scheduler_.now();
    outbox_.frame(Lane::data, wire::encode(wire::ClientPreamble{}));
    wire::put_frame(outbox_, {.type = FrameType::hello}, as_bytes("{\"agent\":\"baton-sim raw\"}"));
    socket_->flush();
    after(options_.publish_pause.take(prng_), [this, connection = connections_] {
        if (connection == connections_) {
            act();
        }
    });
}

void RawSender::on_closed(std::error_code) noexcept {
    socket_.reset();
    outbox_.clear();
    connect_later();
}

// A step, again and again while this connection lives.
void RawSender::act() {
    if (!socket_ || !socket_->is_open()) {
        return;
    }
    if (is_failed_ || scheduler_.now() - last_heard_ > patience) {
        return socket_->close();
    }
    if (is_attached_ && !world_.is_ending()) {
        publish();
        socket_->flush();
    }
    const Duration pause = std::max<Duration>(options_.publish_pause.take(prng_), std::chrono::milliseconds{1});
    after(pause, [this, connection = connections_] {
        if (connection == connections_) {
            act();
        }
    });
}

void RawSender::publish() {
    const std::uint64_t first = next_;
    const std::uint64_t room = limit_.messages - used_.messages;
    const std::uint64_t count_max = std::min({room, options_.messages + 1 - next_, prng_.range(1, options_.batch_max)});
    for (; builder_.count() < count_max; ++next_) {
        const bool is_new = next_ > sizes_.size();
        const std::size_t size =
            is_new ? Ledger::body_size_min + prng_.below(std::min(options_.body_max, body_max)) : sizes_[next_ - 1];
        if (used_.bytes + builder_.size() + builder_.encoded_size(size, 0) > limit_.bytes || builder_.size() > 30'000) {
            break;
        }
        if (is_new) {
            sizes_.push_back(size);
            ledger_.sent(producer_, next_, size);
        }
        builder_.append(Ledger::make_body(producer_, next_, size));
    }
    if (builder_.empty()) {
        return;
    }
    used_.messages += builder_.count();
    used_.bytes += builder_.size();
    wire::put_publish(outbox_, link, first, builder_.take(pool_));
    report_.note(name_ + ": producer " + std::to_string(producer_) + " publishes " + std::to_string(first) + " to " +
                 std::to_string(next_ - 1));
}

std::size_t RawSender::on_bytes(BorrowedBytes readable) noexcept {
    last_heard_ = scheduler_.now();
    std::size_t used = 0;
    if (!has_preamble_) {
        if (readable.size < wire::preamble_size) {
            wanted_ = wire::preamble_size;
            return 0;
        }
        has_preamble_ = true;
        used = wire::preamble_size;
    }
    while (true) {
        const auto decoded = wire::decode_frame(readable.bytes().subspan(used), wire::frame_size_max_default);
        if (decoded.status != wire::FrameStatus::complete) {
            wanted_ = decoded.wanted;
            return used;
        }
        on_frame(decoded.frame);
        used += decoded.size();
    }
}

void RawSender::on_frame(const wire::Frame& frame) {
    switch (frame.header.type) {
        case FrameType::welcome:
            return wire::put_attach(outbox_, link,
                                    {.role = wire::Role::sender,
                                     .name = as_bytes(ledger_.channel_name(channel_)),
                                     .options = "{\"producer\":\"" + producer_id_ + "\"}"});
        case FrameType::attached: {
            is_attached_ = true;
            const std::uint64_t back = std::min(confirmed_, prng_.below(repeated_max));
            next_ = std::max(confirmed_ - back, refused_) + 1;
            // A channel that has lost everything knows what was sent to it since.
            if (const std::uint64_t known = frame.header.sequence; known > 0 && !ledger_.is_durable(channel_)) {
                next_ = std::min(next_, known + 1);
            }
            return;
        }
        case FrameType::ping:
            return wire::put_pong(outbox_, frame.header.sequence);
        case FrameType::credit:
            limit_ = *wire::decode_credit(frame.body);
            return;
        case FrameType::confirm:
            return on_confirm(frame);
        case FrameType::error: {
            const auto error = wire::decode_error(frame.body);
            report_.note(name_ + ": " + std::string{error->text});
            is_failed_ = true;
            if (error->status != wire::Status::draining && error->status != wire::Status::superseded &&
                error->status != wire::Status::heartbeat_timeout && error->status != wire::Status::handshake_timeout &&
                !world_.is_forgivable(error->status, channel_)) {
                report_.violation(name_ + " failed: " + std::string{error->text});
            }
            return;
        }
        default:
            return;
    }
}

void RawSender::on_confirm(const wire::Frame& frame) {
    const auto confirm = wire::decode_confirm(frame.body);
    auto exceptions = confirm->exceptions;
    for (wire::ConfirmException exception; exceptions.next(exception);) {
        ledger_.refused(producer_, exception.first, exception.count);
        refused_ = std::max<std::uint64_t>(refused_, exception.first + exception.count - 1);
    }
    confirmed_ = std::max(confirmed_, frame.header.sequence);
    report_.note(name_ + ": producer " + std::to_string(producer_) + " is confirmed up to " +
                 std::to_string(frame.header.sequence));
    ledger_.confirmed(producer_, confirmed_, broker_life_ != world_.broker_life());
}

}  // namespace baton::sim
