#include "client/cli/bench_load.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include "client/cli/interrupt.hpp"

namespace baton::cli {

namespace {

constexpr std::size_t send_window_bytes = 32U << 20U;
constexpr std::size_t receive_window_bytes = 16U << 20U;
constexpr auto look_again = std::chrono::milliseconds{50};
constexpr auto flush_timeout = std::chrono::seconds{30};
constexpr auto delete_timeout = std::chrono::seconds{5};
/// After an interruption: for what is under way, and for each thing that is asked of the broker then.
constexpr auto interrupted_patience = std::chrono::seconds{1};
constexpr auto interrupted_timeout = std::chrono::milliseconds{300};
constexpr auto nanoseconds_per_second = std::uint64_t{1'000'000'000};

/// Nobody else has it, on this machine or another.
std::string unique_prefix() {
    std::random_device random;
    char text[64];
    std::snprintf(text, sizeof text, "bench.%d.%08x.", static_cast<int>(::getpid()), random());
    return text;
}

/// `messages` at `rate` a second, without overflow for any that a bench can reach.
std::chrono::nanoseconds time_of(std::uint64_t messages, std::uint64_t rate) {
    const auto whole = messages / rate * nanoseconds_per_second;
    return std::chrono::nanoseconds{static_cast<std::int64_t>(whole + messages % rate * nanoseconds_per_second / rate)};
}

ClientOptions admin_options(const GlobalOptions& global, const std::shared_ptr<OutageNotice>& outage) {
    auto options = client_options(global, outage);
    options.close_timeout = interrupted_timeout;  // It holds nothing that could be lost.
    return options;
}

}  // namespace

BenchLoad::BenchLoad(const Program& program, const BenchSettings& settings, BenchWork& work)
    : program_{program}, settings_{settings}, work_{work}, admin_{admin_options(program.global, outage_)} {
    const auto prefix = unique_prefix();
    for (std::uint64_t i = 0; i < settings.channels; ++i) {
        channels_.push_back(prefix + std::to_string(i + 1));
    }
    admin_.wait_connected({program_.stop});
    try {
        make_channels();
        attach();
    } catch (...) {
        end_threads();
        delete_channels();
        throw;
    }
}

BenchLoad::~BenchLoad() {
    end_threads();
    delete_channels();
}

void BenchLoad::make_channels() {
    ChannelSettings wanted;
    wanted.kind = settings_.kind;
    wanted.storage = settings_.storage;
    for (const auto& name : channels_) {
        admin_.create_channel(name, wanted, {program_.stop});
    }
    for (std::size_t i = 0; i < settings_.receivers && settings_.names_subscriptions; ++i) {
        admin_.create_subscription(channels_[channel_of(i)], subscription_of(i), {}, {program_.stop});
    }
}

std::string BenchLoad::subscription_of(std::size_t receiver) const {
    return settings_.names_subscriptions ? "receiver-" + std::to_string(receiver + 1) : std::string{};
}

// Also when we were interrupted; not for ever when the broker has gone.
Expected<std::string> BenchLoad::delete_channel(const std::string& name) noexcept {
    const auto ask = [&](const WaitLimit& limit) {
        return admin_.admin("channel.delete", name, R"({"force":true})", limit, std::nothrow);
    };
    if (!program_.interrupt->is_requested()) {
        auto reply = ask({delete_timeout, program_.stop});
        if (reply || reply.error().code() != ClientErrc::interrupted) {
            return reply;
        }
    }
    return ask({interrupted_timeout});
}

void BenchLoad::delete_channels() noexcept {
    for (std::size_t i = 0; i < channels_.size(); ++i) {
        const auto deleted = delete_channel(channels_[i]);
        if (deleted || deleted.error().code() == ClientErrc::not_found) {
            continue;
        }
        // Who does not answer for this one will not for the others.
        const bool is_silent = deleted.error().code() == ClientErrc::timed_out;
        const auto others = is_silent ? channels_.size() - i - 1 : 0;
        say(program_.global, "channel " + channels_[i] + (others != 0 ? " and " + std::to_string(others) + " more are" : " is") +
                                 " left behind: " + deleted.error().text() + "; `baton channel delete` removes it later");
        if (is_silent) {
            return;
        }
    }
}

void BenchLoad::on_event(const ClientEvent& event) {
    if (event.kind == ClientEvent::Kind::disconnected) {
        disconnects_.fetch_add(1, std::memory_order_relaxed);
    }
    if (event.kind == ClientEvent::Kind::blocked) {
        const std::lock_guard lock{mutex_};
        blocked_.insert(event.text);
    }
}

std::unique_ptr<Client> BenchLoad::connect() {
    auto options = client_options(program_.global, outage_);
    options.on_event = [this, say_it = options.on_event](const ClientEvent& event) {
        on_event(event);
        if (event.kind != ClientEvent::Kind::abandoned) {  // At the end, and on purpose.
            say_it(event);
        }
    };
    options.send_window_bytes = send_window_bytes;
    options.receive_window_bytes = receive_window_bytes;
    options.close_timeout = std::chrono::seconds{1};
    return std::make_unique<Client>(std::move(options));
}

void BenchLoad::attach() {
    for (std::size_t i = 0; i < settings_.receivers; ++i) {
        auto& slot = *receivers_.emplace_back(std::make_unique<ReceiverSlot>(i));
        slot.client = connect();
        slot.receiver.emplace(slot.client->receiver(channels_[channel_of(i)], {.create = false,
                                                                               .window_messages = settings_.receive_window,
                                                                               .subscription = subscription_of(i)}));
    }
    for (std::size_t i = 0; i < settings_.senders; ++i) {
        auto& slot = *senders_.emplace_back(std::make_unique<SenderSlot>(i));
        slot.client = connect();
        slot.sender.emplace(slot.client->sender(
            channels_[channel_of(i)],
            {.create = false,
             .window_messages = settings_.window,
             .window_bytes = 0,
             .batch_messages = static_cast<std::uint32_t>(settings_.batch),
             .confirm = wanted_level()}));
    }
    is_receiving_ = true;
    for (const auto& slot : receivers_) {
        // An answer means that it is attached: whoever subscribes later misses what came before.
        static_cast<void>(slot->receiver->is_empty({program_.stop}));
        slot->thread = std::thread{[this, &slot] { guarded_run([&] { receive(*slot); }); }};
    }
    for (const auto& slot : senders_) {
        slot->client->wait_connected({program_.stop});
    }
}

template <class Body>
void BenchLoad::guarded_run(Body body) noexcept {
    try {
        body();
    } catch (...) {
        const std::lock_guard lock{mutex_};
        if (!failure_) {
            failure_ = std::current_exception();
        }
    }
}

void BenchLoad::rethrow_failure() {
    const std::lock_guard lock{mutex_};
    if (failure_) {
        std::rethrow_exception(failure_);
    }
}

void BenchLoad::receive(ReceiverSlot& slot) {
    const WaitLimit until_stopped{receiving_.get_token()};
    std::uint64_t count = 0;
    while (is_receiving_.load(std::memory_order_relaxed)) {
        auto delivery = slot.receiver->receive(until_stopped);
        while (delivery) {
            work_.on_message(slot.index, *delivery);
            delivery->ack();
            slot.received.store(++count, std::memory_order_relaxed);
            delivery = is_receiving_.load(std::memory_order_relaxed) ? slot.receiver->try_receive() : std::nullopt;
        }
    }
}

/// False: stopped before.
bool BenchLoad::wait_for(BenchClock::time_point intended) const {
    while (is_sending_.load(std::memory_order_relaxed)) {
        const auto now = BenchClock::now();
        if (now >= intended) {
            return true;
        }
        std::this_thread::sleep_until(std::min(intended, now + look_again));
    }
    return false;
}

void BenchLoad::send(SenderSlot& slot) {
    ::prctl(PR_SET_TIMERSLACK, 1UL);  // Sleep as long as asked for, not 50 us longer.
    const WaitLimit until_stopped{sending_.get_token()};
    for (std::uint64_t sequence = 1; is_sending_.load(std::memory_order_relaxed); ++sequence) {
        BenchClock::time_point intended{};
        if (settings_.rate != 0) {
            // The senders take turns, so that together they are as even as one.
            intended = started_ + time_of((sequence - 1) * settings_.senders + slot.index, settings_.rate);
            if (intended >= last_intended_ || !wait_for(intended)) {
                break;
            }
        }
        const Message message{work_.body(slot.index, sequence, intended)};
        if (!slot.sender->try_post(message)) {
            const auto posted = slot.sender->post(message, until_stopped, std::nothrow);
            if (!posted && posted.error().code() == ClientErrc::cannot_connect && !is_sending_) {
                break;
            }
            if (!posted && posted.error().code() == ClientErrc::interrupted) {
                break;
            }
            if (!posted) {
                throw posted.error();
            }
        }
        slot.posted.store(sequence, std::memory_order_relaxed);
    }
    slot.is_done = true;
}

void BenchLoad::start(BenchClock::time_point begin, std::chrono::nanoseconds duration) {
    is_sending_ = true;
    started_ = begin;
    last_intended_ = started_ + duration;
    for (const auto& slot : senders_) {
        slot->thread = std::thread{[this, &slot] { guarded_run([&] { send(*slot); }); }};
    }
}

bool BenchLoad::pause(std::chrono::nanoseconds at_most) {
    const auto wait = std::min<std::chrono::nanoseconds>(at_most, look_again);
    if (wait < std::chrono::milliseconds{1}) {
        std::this_thread::sleep_for(std::max(wait, std::chrono::nanoseconds::zero()));
    } else {
        program_.interrupt->pause(std::chrono::duration_cast<std::chrono::milliseconds>(wait));
    }
    rethrow_failure();
    return !program_.interrupt->is_requested();
}

bool BenchLoad::run_until(BenchClock::time_point time, Progress& progress) {
    const auto begin = started_;
    while (BenchClock::now() < time) {
        if (!pause(time - BenchClock::now())) {
            return false;
        }
        using Seconds = std::chrono::duration<double>;
        progress.tick(received() + (receivers_.empty() ? confirmed() : 0),
                      Seconds{BenchClock::now() - begin} / Seconds{time - begin});
    }
    rethrow_failure();
    return !program_.interrupt->is_requested();
}

bool BenchLoad::wait_posted(std::chrono::nanoseconds timeout) {
    const auto deadline = BenchClock::now() + timeout;
    const auto is_posted = [this] {
        return std::ranges::all_of(senders_, [](const auto& slot) { return slot->is_done.load(); });
    };
    while (!is_posted() && BenchClock::now() < deadline) {
        if (!pause(std::chrono::milliseconds{5})) {
            return false;
        }
    }
    return true;
}

std::vector<SenderEnd> BenchLoad::end_senders() {
    is_sending_ = false;
    sending_.request_stop();
    std::vector<SenderEnd> ends;
    for (const auto& slot : senders_) {
        if (slot->thread.joinable()) {
            slot->thread.join();
        }
    }
    rethrow_failure();
    if (receivers_.empty()) {
        // Nobody makes room, and what was accepted must be decided.
        for (const auto& name : channels_) {
            admin_.purge_channel(name, {flush_timeout, program_.stop});
        }
    }
    for (const auto& slot : senders_) {
        ends.push_back(end_of(*slot));
    }
    return ends;
}

SenderEnd BenchLoad::end_of(SenderSlot& slot) {
    auto report = flush(*slot.sender);
    if (!report && !program_.interrupt->is_requested()) {
        throw report.error();
    }
    if (!report) {
        return {.channel = channel_of(slot.index),
                .posted = slot.sender->confirmed_up_to(),
                .is_decided = false,
                .level = settings_.storage == "memory" ? ConfirmLevel::received : wanted_level()};
    }
    return {.channel = channel_of(slot.index),
            .posted = slot.posted.load(),
            .refused = std::move(report->refused),
            .level = report->level};
}

Expected<FlushReport> BenchLoad::flush(Sender& sender) {
    if (!program_.interrupt->is_requested()) {
        auto report = sender.flush({flush_timeout, program_.stop}, std::nothrow);
        if (report || report.error().code() != ClientErrc::interrupted) {
            return report;
        }
    }
    return sender.flush({patience_end()}, std::nothrow);
}

BenchClock::time_point BenchLoad::patience_end() {
    if (!patience_end_) {
        patience_end_ = BenchClock::now() + interrupted_patience;
    }
    return *patience_end_;
}

void BenchLoad::wait_received(const std::function<std::uint64_t()>& counter, std::uint64_t count,
                              std::chrono::nanoseconds patience) {
    auto seen = counter();
    auto last_news = BenchClock::now();
    const auto deadline = [&] { return program_.interrupt->is_requested() ? patience_end() : last_news + patience; };
    while (seen < count && BenchClock::now() < deadline()) {
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
        rethrow_failure();
        if (const auto now = counter(); now != seen) {
            seen = now;
            last_news = BenchClock::now();
        }
    }
}

bool BenchLoad::has_nothing_left() {
    const WaitLimit limit{interrupted_timeout};
    return std::ranges::all_of(
        receivers_, [&](const auto& slot) { return slot->receiver->is_empty(limit, std::nothrow).value_or(false); });
}

void BenchLoad::end_receivers() {
    is_receiving_ = false;
    receiving_.request_stop();
    for (const auto& slot : receivers_) {
        if (slot->thread.joinable()) {
            slot->thread.join();
        }
    }
    rethrow_failure();
}

void BenchLoad::end_threads() noexcept {
    is_sending_ = false;
    is_receiving_ = false;
    sending_.request_stop();
    receiving_.request_stop();
    for (const auto& slot : senders_) {
        if (slot->thread.joinable()) {
            slot->thread.join();
        }
    }
    for (const auto& slot : receivers_) {
        if (slot->thread.joinable()) {
            slot->thread.join();
        }
    }
    // Nobody waits for what is still under way: the channels are deleted next.
    for (const auto& slot : senders_) {
        slot->client->close(std::chrono::nanoseconds::zero());
    }
    for (const auto& slot : receivers_) {
        slot->client->close(std::chrono::nanoseconds::zero());
    }
}

std::uint64_t BenchLoad::posted() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& slot : senders_) {
        sum += slot->posted.load(std::memory_order_relaxed);
    }
    return sum;
}

std::uint64_t BenchLoad::confirmed() const {
    std::uint64_t sum = 0;
    for (const auto& slot : senders_) {
        sum += slot->sender->confirmed_up_to();
    }
    return sum;
}

std::uint64_t BenchLoad::received() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& slot : receivers_) {
        sum += slot->received.load(std::memory_order_relaxed);
    }
    return sum;
}

std::uint64_t BenchLoad::deliveries_of(std::span<const SenderEnd> ends) const {
    std::uint64_t sum = 0;
    for (const auto& end : ends) {
        auto stored = end.posted;
        for (const auto& refusal : end.refused) {
            stored -= refusal.count;
        }
        const auto copies = settings_.kind == "queue" ? 1 : std::ranges::count_if(receivers_, [&](const auto& slot) {
            return channel_of(slot->index) == end.channel;
        });
        sum += stored * static_cast<std::uint64_t>(copies);
    }
    return sum;
}

std::set<std::string> BenchLoad::blocked_reasons() const {
    const std::lock_guard lock{mutex_};
    return blocked_;
}

}  // namespace baton::cli
