// See core.hpp.
#include "client/src/core.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <random>
#include <utility>

#include "client/src/errors.hpp"
#include "client/src/json_text.hpp"
#include "client/src/receiver_options.hpp"
#include "client/src/sender_link.hpp"
#include "common/base/text_form.hpp"

namespace baton::client {

namespace {

// Of the time for closing, what is kept for ending in disorder.
std::chrono::nanoseconds reserve_of(std::chrono::nanoseconds timeout) noexcept {
    return std::min<std::chrono::nanoseconds>(std::chrono::milliseconds{200}, timeout / 4);
}

ReceiverWindow window_of(const ReceiverOptions& wanted, const ClientOptions& defaults) noexcept {
    return {.messages = wanted.on_demand              ? 1
                        : wanted.window_messages != 0 ? wanted.window_messages
                                                      : std::max<std::size_t>(1, defaults.receive_window_messages),
            .bytes = wanted.window_bytes != 0 ? wanted.window_bytes : defaults.receive_window_bytes,
            .is_on_demand = wanted.on_demand};
}

// Signals are for the program's own threads.
class SignalsBlocked {
public:
    SignalsBlocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
    sigset_t before_;
};

}  // namespace

net::Endpoint check(const ClientOptions& options) {
    const auto bad = [](std::string text) { return ClientError{ClientErrc::bad_argument, std::move(text)}; };
    auto endpoint = net::parse_client_url(options.url);
    if (!endpoint) {
        throw bad(endpoint.error().message());
    }
    constexpr std::size_t name_size_max = 200;
    if (options.name.size() > name_size_max) {
        throw bad("the client's name has " + std::to_string(options.name.size()) + " bytes, at most 200 are possible");
    }
    if (options.heartbeat < Milliseconds{100} || options.heartbeat > Milliseconds{3'600'000}) {
        throw bad("heartbeat must be 100ms to 1h, not " + std::to_string(options.heartbeat.count()) + "ms");
    }
    if (options.reconnect_wait_first < Milliseconds{1} || options.reconnect_wait_max < options.reconnect_wait_first) {
        throw bad("reconnect_wait_first must be at least 1ms and not above reconnect_wait_max, not " +
                  std::to_string(options.reconnect_wait_first.count()) + "ms and " +
                  std::to_string(options.reconnect_wait_max.count()) + "ms");
    }
    for (const auto& [name, window] : {std::pair{"send_window_messages", options.send_window_messages},
                                       std::pair{"send_window_bytes", options.send_window_bytes},
                                       std::pair{"receive_window_bytes", options.receive_window_bytes}}) {
        if (window == 0) {
            throw bad(std::string{name} + " must be at least 1, not 0");
        }
    }
    for (const auto& [name, timeout] :
         {std::pair{"close_timeout", options.close_timeout}, std::pair{"connect_timeout", options.connect_timeout}}) {
        if (timeout < std::chrono::nanoseconds::zero()) {
            throw bad(std::string{name} + " must not be negative, as " + std::to_string(timeout.count()) + "ns is");
        }
    }
    return std::move(*endpoint);
}

Core::Core(ClientOptions options)
    : options_{std::move(options)}, process_{::getpid()}, shared_{std::make_shared<Shared>(options_.connect_timeout)} {
    // The engine belongs to its thread alone: it may outlast us for a moment if a name is being looked up.
    auto engine = std::make_unique<Engine>(options_, check(options_), shared_);
    const SignalsBlocked blocked;
    thread_ = std::thread{[engine = std::move(engine), exited = has_exited_, shared = shared_]() mutable {
        engine->run();
        engine.reset();
        exited->store(true);
        shared->board.wake_waits();
    }};
}

Core::~Core() {
    close(options_.close_timeout);
}

// --- Endpoints
// ---------------------------------------------------------------------------------------------------------

std::shared_ptr<SenderEndpoint> Core::open_sender(std::string channel, const SenderOptions& options) {
    const SendWindow window{
        .messages = options.window_messages != 0 ? options.window_messages : options_.send_window_messages,
        .bytes = options.window_bytes != 0 ? options.window_bytes : options_.send_window_bytes,
        .batch_messages = options.batch_messages != 0 ? options.batch_messages : SenderLink::batch_count_max};
    auto endpoint = std::make_shared<SenderEndpoint>(shared_, std::move(channel), window);
    Completions none;
    if (options.confirm != ConfirmLevel::received && options.confirm != ConfirmLevel::durable) {
        const std::string level{name_of(options.confirm)};
        endpoint->end({ClientErrc::bad_argument, "confirm must be received or durable, not " + level}, none);
        return endpoint;
    }
    if (options.batch_messages > SenderLink::batch_count_max) {
        endpoint->end({ClientErrc::bad_argument,
                       "batch_messages must be at most 4096, not " + std::to_string(options.batch_messages)},
                      none);
        return endpoint;
    }
    const bool is_open = shared_->inbox.post([endpoint, create = options.create, confirm = options.confirm](
                                                 Engine* engine) { engine->open_sender(endpoint, create, confirm); });
    if (!is_open) {
        endpoint->end(closed_error("the client"), none);
    }
    return endpoint;
}

std::shared_ptr<ReceiverEndpoint> Core::open_receiver(std::string channel, const ReceiverOptions& options) {
    const ReceiverWindow window = window_of(options, options_);
    auto endpoint = std::make_shared<ReceiverEndpoint>(shared_, std::move(channel), window);
    Completions none;
    auto attach = attach_options(options);
    if (!attach) {
        endpoint->end({attach.error().code(), name_text(as_bytes(endpoint->channel())) + ": " + attach.error().text()},
                      none);
        return endpoint;
    }
    const bool is_open = shared_->inbox.post(
        [endpoint, window, create = options.create, text = std::move(*attach)](Engine* engine) mutable {
            engine->open_receiver(endpoint, create, window, std::move(text));
        });
    if (!is_open) {
        endpoint->end(closed_error("the client"), none);
    }
    return endpoint;
}

std::shared_ptr<SenderEndpoint> Core::shared_sender(const std::string& channel) {
    const std::lock_guard lock{mutex_};
    auto& endpoint = senders_[channel];
    if (endpoint == nullptr || endpoint->is_over()) {
        endpoint = open_sender(channel, {});
    }
    return endpoint;
}

std::shared_ptr<ReceiverEndpoint> Core::shared_receiver(const std::string& channel, const ReceiverOptions& options) {
    const auto attach = attach_options(options);
    if (!attach) {
        return open_receiver(channel, options);  // It has ended already, and says why.
    }
    const std::string key = channel + '\0' + *attach + (options.create ? "" : "-");
    const std::lock_guard lock{mutex_};
    auto& endpoint = receivers_[key];
    if (endpoint == nullptr || endpoint->is_over()) {
        endpoint = open_receiver(channel, options);
    }
    return endpoint;
}

// --- Questions
// ---------------------------------------------------------------------------------------------------------

// `begin(id, done)` makes the command that asks.
template <class Answer, class Ask>
Expected<Answer> Core::ask(const WaitLimit& limit, const char* what, Ask begin) {
    struct Slot {
        std::optional<Expected<Answer>> answer;
    };
    const RequestId id{++last_request_};
    const auto slot = std::make_shared<Slot>();
    auto done = [slot, shared = shared_](Expected<Answer> answer) {
        const std::lock_guard lock{shared->board.waits_mutex};
        slot->answer = std::move(answer);
        shared->board.waits_changed.notify_all();
        shared->loop.lend();
    };
    if (!shared_->inbox.post(begin(id, std::move(done)))) {
        return std::unexpected{closed_error("the client")};
    }
    WaitScope scope{shared_->board, shared_->board.waits_mutex, shared_->board.waits_changed, limit, &shared_->loop};
    Waited waited = scope.wait([&] { return slot->answer.has_value(); });
    if (slot->answer) {
        return std::move(*slot->answer);
    }
    scope.unlock();
    forget(id);
    if (waited.error) {
        return std::unexpected{std::move(*waited.error)};
    }
    if (waited.end == WaitEnd::interrupted) {
        return std::unexpected{ClientError{ClientErrc::interrupted, std::string{what} + ": interrupted", true}};
    }
    return std::unexpected{ClientError{
        ClientErrc::timed_out, std::string{what} + ": no answer in time" + shared_->board.connection_text(), true}};
}

Expected<void> Core::wait_connected(const WaitLimit& limit) {
    WaitScope scope{shared_->board, shared_->board.waits_mutex, shared_->board.waits_changed, limit};
    Waited waited = scope.wait([this] { return shared_->board.is_connected(); });
    if (waited.end == WaitEnd::ready) {
        return {};
    }
    if (waited.error) {
        return std::unexpected{std::move(*waited.error)};
    }
    if (waited.end == WaitEnd::interrupted) {
        return std::unexpected{ClientError{ClientErrc::interrupted, "connecting: interrupted", true}};
    }
    return std::unexpected{
        ClientError{ClientErrc::timed_out, "connecting: not in time" + shared_->board.connection_text(), true}};
}

Expected<std::chrono::nanoseconds> Core::ping(const WaitLimit& limit) {
    return ask<std::chrono::nanoseconds>(limit, "ping", [](RequestId id, Engine::PingDone done) {
        return [id, done = std::move(done)](Engine* engine) mutable { engine->ping(id, std::move(done)); };
    });
}

namespace {

ClientError bad_arguments() {
    return {ClientErrc::bad_argument, "the arguments are not a JSON object"};
}

}  // namespace

Expected<std::string> Core::admin(std::string_view operation, std::string channel, std::string_view arguments,
                                  const WaitLimit& limit) {
    auto request = request_text(operation, arguments);
    if (!request) {
        return std::unexpected{bad_arguments()};
    }
    return ask<std::string>(limit, "administrative request", [&](RequestId id, Engine::AdminDone done) {
        return [id, done = std::move(done), name = std::move(channel), text = std::move(*request)](
                   Engine* engine) mutable { engine->admin(id, std::move(name), std::move(text), std::move(done)); };
    });
}

Core::StepProducer Core::take_producer() {
    const std::lock_guard lock{mutex_};
    if (!step_producers_.empty()) {
        const StepProducer producer = step_producers_.back();
        step_producers_.pop_back();
        return producer;
    }
    StepProducer producer;
    std::random_device random;
    for (std::size_t at = 0; at < producer.id.size(); at += sizeof(std::uint32_t)) {
        store_u32(&producer.id[at], random());
    }
    return producer;
}

// A producer whose last step has an unknown outcome is not used again: its next number would not be known.
Expected<void> Core::commit(StepWish wish, const WaitLimit& limit) {
    StepProducer producer = take_producer();
    wish.producer = producer.id;
    wish.number = producer.done + 1;
    auto answer = ask<StepAnswer>(limit, "step", [&](RequestId id, Engine::StepDone done) {
        return [id, wish = std::move(wish), done = std::move(done)](Engine* engine) mutable {
            engine->commit(id, std::move(wish), std::move(done));
        };
    });
    if (!answer) {
        return std::unexpected{ClientError{answer.error().code(), answer.error().text() + "; the outcome is unknown",
                                           answer.error().retryable(), answer.error().status()}};
    }
    if (answer->status != wire::Status::storage_failed) {
        producer.done += answer->status == wire::Status::ok ? 1 : 0;
        const std::lock_guard lock{mutex_};
        step_producers_.push_back(producer);
    }
    if (answer->status == wire::Status::ok) {
        return {};
    }
    return std::unexpected{
        error_of_status(answer->status, wire::is_retryable(answer->status), "step: " + answer->text)};
}

RequestId Core::admin_async(std::string_view operation, std::string channel, std::string_view arguments,
                            Engine::AdminDone done) {
    const RequestId id{++last_request_};
    auto request = request_text(operation, arguments);
    if (!request) {
        done(std::unexpected{bad_arguments()});
        return id;
    }
    // Shared, because a command that is refused is gone with what it holds.
    const auto holder = std::make_shared<Engine::AdminDone>(std::move(done));
    if (!shared_->inbox.post(
            [id, holder, name = std::move(channel), text = std::move(*request)](Engine* engine) mutable {
                engine->admin(id, std::move(name), std::move(text), std::move(*holder));
            })) {
        (*holder)(std::unexpected{closed_error("the client")});
    }
    return id;
}

RequestId Core::notify_connected(Engine::CloseDone done) {
    const RequestId id{++last_request_};
    // Shared, because a command that is refused is gone with what it holds.
    const auto holder = std::make_shared<Engine::CloseDone>(std::move(done));
    if (!shared_->inbox.post([id, holder](Engine* engine) { engine->notify_connected(id, std::move(*holder)); })) {
        (*holder)(std::unexpected{closed_error("the client")});
    }
    return id;
}

void Core::forget(RequestId id) {
    shared_->inbox.post([id](Engine* engine) { engine->forget(id); });
}

// --- The end
// -----------------------------------------------------------------------------------------------------------

void Core::begin_close(std::chrono::nanoseconds timeout, Engine::CloseDone done) {
    shared_->loop.keep();
    const auto holder = std::make_shared<Engine::CloseDone>(std::move(done));
    if (!shared_->inbox.post([timeout, holder](Engine* engine) { engine->begin_close(timeout, std::move(*holder)); })) {
        (*holder)({});
    }
}

bool Core::close(std::chrono::nanoseconds timeout) noexcept {
    if (::getpid() != process_) {
        thread_.joinable() ? thread_.detach() : void();  // It is in the other process, and whatever it held is held here for ever.
        return false;
    }
    const SteadyTime until = WaitLimit{timeout}.until();
    const auto is_orderly = std::make_shared<std::atomic<bool>>(false);
    begin_close(timeout - reserve_of(timeout), [is_orderly, left_over = has_left_over_](const Expected<void>& outcome) {
        is_orderly->store(outcome.has_value());
        outcome ? void() : left_over->store(true);
    });
    {
        std::unique_lock lock{shared_->board.waits_mutex};
        const auto is_ended = [this] { return shared_->board.is_ended(); };
        shared_->board.waits_changed.wait_until(lock, until, is_ended);
    }
    end_thread(until);
    is_orderly->load() ? void() : has_left_over_->store(true);
    return !has_left_over_->load();
}

// A thread that does not end in time looks up a name, or is inside the user's on_event; it needs nothing of ours.
void Core::end_thread(SteadyTime until) noexcept {
    const std::lock_guard guard{thread_mutex_};
    if (!thread_.joinable()) {
        return;
    }
    if (thread_.get_id() != std::this_thread::get_id()) {
        std::unique_lock lock{shared_->board.waits_mutex};
        // What is left of the time, and a moment to leave a thread that has only to return.
        const SteadyTime patience = std::max(until, WaitLimit::Clock::now() + std::chrono::milliseconds{5});
        shared_->board.waits_changed.wait_until(lock, patience, [this] { return has_exited_->load(); });
    }
    if (has_exited_->load()) {
        thread_.join();
    } else {
        thread_.detach();
    }
}

}  // namespace baton::client
