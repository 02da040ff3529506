// The public faces: Client, Channel, Sender, Receiver.
#include <utility>

#include <nlohmann/json.hpp>

#include "client/src/access.hpp"
#include "client/src/core.hpp"
#include "client/src/receiver_options.hpp"
#include "common/base/text_form.hpp"
#include <baton/client.hpp>

namespace baton {

namespace {

using Json = nlohmann::json;

template <class T>
T value_or_throw(Expected<T>&& result) {
    if (!result) {
        throw std::move(result.error());
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

// What users share; its end is the end of the last handle, whatever the engine still holds.
struct SenderHandle {
    explicit SenderHandle(std::shared_ptr<client::SenderEndpoint> held) noexcept : endpoint{std::move(held)} {}
    SenderHandle(const SenderHandle&) = delete;
    SenderHandle& operator=(const SenderHandle&) = delete;
    ~SenderHandle() { endpoint->close_in_background(endpoint); }
    std::shared_ptr<client::SenderEndpoint> endpoint;
};

Sender make_sender(std::shared_ptr<client::SenderEndpoint> endpoint) {
    const auto handle = std::make_shared<SenderHandle>(std::move(endpoint));
    return client_access::sender(std::shared_ptr<client::SenderEndpoint>{handle, handle->endpoint.get()});
}

// Waits without a limit other than a lost connection; so a missing message means neither timeout nor stop.
Delivery only_value(std::optional<Delivery>&& delivery) {
    if (!delivery) {
        throw ClientError{ClientErrc::interrupted, "nothing received"};
    }
    return std::move(*delivery);
}

std::uint64_t number_at(const std::string& reply, const char* key) {
    const Json json = Json::parse(reply, nullptr, false);
    if (!json.is_object() || !json.contains(key) || !json[key].is_number_unsigned()) {
        throw ClientError{ClientErrc::protocol_error, std::string{"the broker's reply has no number \""} + key + "\""};
    }
    return json[key].get<std::uint64_t>();
}

}  // namespace

// --- Sender
// ------------------------------------------------------------------------------------------------------------

Sender::Sender(std::shared_ptr<client::SenderEndpoint> endpoint) noexcept : endpoint_{std::move(endpoint)} {}
Sender::Sender(const Sender&) noexcept = default;
Sender::Sender(Sender&&) noexcept = default;
Sender& Sender::operator=(const Sender&) noexcept = default;
Sender& Sender::operator=(Sender&&) noexcept = default;
Sender::~Sender() = default;

Expected<SendReceipt> Sender::send(const Message& message, const WaitLimit& limit, std::nothrow_t) noexcept {
    return endpoint_->send(endpoint_, message, limit);
}
SendReceipt Sender::send(const Message& message, const WaitLimit& limit) {
    return value_or_throw(send(message, limit, std::nothrow));
}

Expected<std::uint64_t> Sender::post(const Message& message, const WaitLimit& limit, std::nothrow_t) noexcept {
    if (const std::uint64_t sequence = endpoint_->post_with_others(message); sequence != 0) {
        return sequence;
    }
    return endpoint_->post(endpoint_, message, limit);
}
std::uint64_t Sender::post(const Message& message, const WaitLimit& limit) {
    if (const std::uint64_t sequence = endpoint_->post_with_others(message); sequence != 0) {
        return sequence;
    }
    return value_or_throw(endpoint_->post(endpoint_, message, limit));
}

std::optional<std::uint64_t> Sender::try_post(const Message& message) {
    auto sequence = post(message, WaitLimit::no_wait(), std::nothrow);
    if (!sequence &&
        (sequence.error().code() == ClientErrc::timed_out || sequence.error().code() == ClientErrc::blocked)) {
        return std::nullopt;
    }
    return value_or_throw(std::move(sequence));
}

Expected<FlushReport> Sender::flush(const WaitLimit& limit, std::nothrow_t) noexcept {
    return endpoint_->flush(endpoint_, limit);
}
FlushReport Sender::flush(const WaitLimit& limit) {
    return value_or_throw(flush(limit, std::nothrow));
}

std::size_t Sender::unconfirmed() const noexcept {
    return endpoint_->unconfirmed();
}
std::uint64_t Sender::confirmed_up_to() const noexcept {
    return endpoint_->confirmed_up_to();
}
std::string Sender::blocked() const {
    return endpoint_->blocked();
}
const std::string& Sender::channel() const noexcept {
    return endpoint_->channel();
}

FlushReport Sender::close(const WaitLimit& limit) {
    FlushReport report = flush(limit);
    endpoint_->close_in_background(endpoint_);
    return report;
}

// --- Receiver
// ----------------------------------------------------------------------------------------------------------

Receiver::Receiver(std::shared_ptr<client::ReceiverEndpoint> endpoint) noexcept : endpoint_{std::move(endpoint)} {}
Receiver::Receiver(Receiver&&) noexcept = default;
Receiver& Receiver::operator=(Receiver&& other) noexcept {
    if (this != &other) {
        Receiver old{std::move(endpoint_)};
        endpoint_ = std::move(other.endpoint_);
    }
    return *this;
}
Receiver::~Receiver() {
    if (endpoint_ != nullptr) {
        endpoint_->close_in_background(endpoint_);
    }
}

Delivery Receiver::receive() {
    return only_value(receive(WaitLimit::forever()));
}
// Each way out returns the same variable, so that a delivery is made where the caller wants it.
std::optional<Delivery> Receiver::receive(const WaitLimit& limit) {
    std::optional<Delivery> next;
    if (!endpoint_->take_from_hand(next)) {
        next = value_or_throw(endpoint_->receive(endpoint_, limit));
    }
    return next;
}
Expected<std::optional<Delivery>> Receiver::receive(const WaitLimit& limit, std::nothrow_t) noexcept {
    Expected<std::optional<Delivery>> next;
    if (!endpoint_->take_from_hand(*next)) {
        next = endpoint_->receive(endpoint_, limit);
    }
    return next;
}
std::optional<Delivery> Receiver::try_receive() {
    return receive(WaitLimit::no_wait());
}

bool Receiver::is_empty(const WaitLimit& limit) {
    return value_or_throw(is_empty(limit, std::nothrow));
}
Expected<bool> Receiver::is_empty(const WaitLimit& limit, std::nothrow_t) noexcept {
    return endpoint_->is_empty(endpoint_, limit);
}

std::size_t Receiver::waiting() const noexcept {
    return endpoint_->waiting();
}
std::size_t Receiver::unsettled() const noexcept {
    return endpoint_->unsettled();
}
const std::string& Receiver::channel() const noexcept {
    return endpoint_->channel();
}
bool Receiver::close(const WaitLimit& limit) noexcept {
    return endpoint_->close_and_wait(endpoint_, limit);
}

void Receiver::Iterator::advance() {
    delivery_.reset();
    auto next = receiver_->receive(WaitLimit::forever(), std::nothrow);
    if (next) {
        delivery_ = std::move(*next);
    } else if (next.error().code() != ClientErrc::closed) {
        throw std::move(next.error());
    }
}

// --- Channel
// -----------------------------------------------------------------------------------------------------------

Channel::Channel(std::shared_ptr<client::Core> core, std::string name) noexcept
    : core_{std::move(core)}, name_{std::move(name)} {}

Expected<SendReceipt> Channel::send(const Message& message, const WaitLimit& limit, std::nothrow_t) noexcept {
    const auto endpoint = core_->shared_sender(name_);
    return endpoint->send(endpoint, message, limit);
}
SendReceipt Channel::send(const Message& message, const WaitLimit& limit) {
    return value_or_throw(send(message, limit, std::nothrow));
}

Expected<std::optional<Delivery>> Channel::receive(const WaitLimit& limit, std::nothrow_t) noexcept {
    const auto endpoint = core_->shared_receiver(name_, {.on_demand = true});
    return endpoint->receive(endpoint, limit);
}
std::optional<Delivery> Channel::receive(const WaitLimit& limit) {
    return value_or_throw(receive(limit, std::nothrow));
}
Delivery Channel::receive() {
    return only_value(receive(WaitLimit::forever()));
}

Sender Channel::sender(const SenderOptions& options) {
    return make_sender(core_->open_sender(name_, options));
}
Receiver Channel::receiver(const ReceiverOptions& options) {
    return client_access::receiver(core_->open_receiver(name_, options));
}

// --- Client
// ------------------------------------------------------------------------------------------------------------

Client::Client(ClientOptions options) : core_{std::make_shared<client::Core>(std::move(options))} {}
Client::Client(std::string_view url) : Client{ClientOptions{.url = std::string{url}}} {}
Client::~Client() {
    close();
}

Channel Client::channel(std::string_view name) {
    return {core_, std::string{name}};
}
Sender Client::sender(std::string_view name, const SenderOptions& options) {
    return make_sender(core_->open_sender(std::string{name}, options));
}
Receiver Client::receiver(std::string_view name, const ReceiverOptions& options) {
    return client_access::receiver(core_->open_receiver(std::string{name}, options));
}

Step Client::step() {
    return Step{core_};
}

Expected<void> Client::wait_connected(const WaitLimit& limit, std::nothrow_t) noexcept {
    return core_->wait_connected(limit);
}
void Client::wait_connected(const WaitLimit& limit) {
    value_or_throw(wait_connected(limit, std::nothrow));
}
bool Client::is_connected() const noexcept {
    return core_->board().is_connected();
}

Expected<std::chrono::nanoseconds> Client::ping(const WaitLimit& limit, std::nothrow_t) noexcept {
    return core_->ping(limit);
}
std::chrono::nanoseconds Client::ping(const WaitLimit& limit) {
    return value_or_throw(ping(limit, std::nothrow));
}

std::optional<BrokerInfo> Client::broker_info() const {
    return core_->board().broker();
}

Expected<std::string> Client::admin(std::string_view operation, std::string_view channel_name,
                                    std::string_view arguments, const WaitLimit& limit, std::nothrow_t) noexcept {
    return core_->admin(operation, std::string{channel_name}, arguments, limit);
}
std::string Client::admin(std::string_view operation, std::string_view channel_name, std::string_view arguments,
                          const WaitLimit& limit) {
    return value_or_throw(admin(operation, channel_name, arguments, limit, std::nothrow));
}

namespace {

void set(Json& json, const char* key, const std::string& text) {
    if (!text.empty()) {
        json[key] = text;
    }
}
template <class T>
void set(Json& json, const char* key, const std::optional<T>& value) {
    if (value) {
        json[key] = *value;
    }
}
void set(Json& json, const char* key, const std::optional<Milliseconds>& value) {
    if (value) {
        json[key] = value->count();
    }
}

std::string text_of(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json json_of(const ChannelSettings& settings) {
    Json json = Json::object();
    set(json, "kind", settings.kind);
    set(json, "storage", settings.storage);
    set(json, "messages_max", settings.messages_max);
    set(json, "bytes_max", settings.bytes_max);
    set(json, "message_size_max", settings.message_size_max);
    set(json, "age_max_ms", settings.age_max);
    set(json, "overflow", settings.overflow);
    set(json, "lease_ms", settings.lease);
    set(json, "lease_max_ms", settings.lease_max);
    set(json, "attempts_max", settings.attempts_max);
    set(json, "retry_first_ms", settings.retry_first);
    set(json, "retry_max_ms", settings.retry_max);
    set(json, "retry_factor_percent", settings.retry_factor_percent);
    set(json, "retry_jitter_percent", settings.retry_jitter_percent);
    set(json, "expired", settings.expired);
    set(json, "late", settings.late);
    set(json, "ordered_by_key", settings.ordered_by_key);
    set(json, "exclusive", settings.exclusive);
    set(json, "fair_by", settings.fair_by);
    set(json, "fair_weights", settings.fair_weights);
    set(json, "dedupe_window_ms", settings.dedupe_window);
    set(json, "compact", settings.compact);
    set(json, "tombstone_age_ms", settings.tombstone_age);
    return json;
}

void set_subscription(Json& json, std::string_view subscription) {
    if (!subscription.empty()) {
        json["subscription"] = name_text(as_bytes(subscription));
    }
}

// Of channel.retry, channel.drop and channel.move.
Json json_of(const MessageSelection& selection) {
    if (selection.all == !selection.offsets.empty()) {
        throw ClientError{ClientErrc::bad_argument, "a selection has either offsets or all messages"};
    }
    Json json = Json::object();
    set_subscription(json, selection.subscription);
    set(json, "state", selection.state);
    if (selection.all) {
        json["all"] = true;
    } else {
        json["offsets"] = selection.offsets;
    }
    return json;
}

bool was_created(const std::string& reply) {
    return Json::parse(reply, nullptr, false).value("created", false);
}

}  // namespace

bool Client::create_channel(std::string_view name, const ChannelSettings& settings, const WaitLimit& limit) {
    return was_created(admin("channel.create", name, text_of(json_of(settings)), limit));
}

std::uint64_t Client::delete_channel(std::string_view name, const WaitLimit& limit) {
    return number_at(admin("channel.delete", name, {}, limit), "messages");
}
std::uint64_t Client::delete_channel(std::string_view name, bool force, const WaitLimit& limit) {
    return number_at(admin("channel.delete", name, force ? R"({"force":true})" : "", limit), "messages");
}
std::uint64_t Client::purge_channel(std::string_view name, const WaitLimit& limit) {
    return number_at(admin("channel.purge", name, {}, limit), "messages");
}

std::uint64_t Client::retry_messages(std::string_view name, const MessageSelection& selection, const WaitLimit& limit) {
    return number_at(admin("channel.retry", name, text_of(json_of(selection)), limit), "messages");
}
std::uint64_t Client::drop_messages(std::string_view name, const MessageSelection& selection, const WaitLimit& limit) {
    return number_at(admin("channel.drop", name, text_of(json_of(selection)), limit), "messages");
}
std::uint64_t Client::move_messages(std::string_view name, std::string_view to, const MessageSelection& selection,
                                    const WaitLimit& limit) {
    Json request = json_of(selection);
    request["to"] = name_text(as_bytes(to));
    return number_at(admin("channel.move", name, text_of(request), limit), "messages");
}
std::string Client::explain_channel(std::string_view name, std::optional<std::uint64_t> offset,
                                    const WaitLimit& limit) {
    return admin("channel.explain", name, offset ? text_of({{"offset", *offset}}) : std::string{}, limit);
}

bool Client::create_subscription(std::string_view name, std::string_view subscription,
                                 const SubscriptionSettings& settings, const WaitLimit& limit) {
    if (auto error = client::check_subscription(subscription, settings.filter)) {
        throw std::move(*error);
    }
    Json request = Json::object();
    set_subscription(request, subscription);
    if (settings.from) {
        request["from"] = Json::parse(settings.from->json());
    }
    set(request, "filter", settings.filter);
    set(request, "overflow", settings.overflow);
    set(request, "backlog_max", settings.backlog_max);
    return was_created(admin("subscription.create", name, text_of(request), limit));
}
std::string Client::list_subscriptions(std::string_view name, std::uint64_t after, const WaitLimit& limit) {
    return admin("subscription.list", name, text_of({{"after", after}}), limit);
}
std::uint64_t Client::delete_subscription(std::string_view name, std::string_view subscription, bool force,
                                          const WaitLimit& limit) {
    Json request = Json::object();
    set_subscription(request, subscription);
    if (force) {
        request["force"] = true;
    }
    return number_at(admin("subscription.delete", name, text_of(request), limit), "messages");
}

std::string Client::list_channels(std::string_view after_text, std::uint32_t count_max, const WaitLimit& limit) {
    Json request{{"limit", count_max}};
    if (!after_text.empty()) {
        request["after"] = std::string{after_text};
    }
    return admin("channel.list", {}, request.dump(-1, ' ', false, Json::error_handler_t::replace), limit);
}
std::string Client::show_channel(std::string_view name, const WaitLimit& limit) {
    return admin("channel.show", name, {}, limit);
}
std::string Client::show_broker(const WaitLimit& limit) {
    return admin("broker.show", {}, {}, limit);
}

bool Client::close(std::chrono::nanoseconds timeout) noexcept {
    return core_->close(timeout);
}
bool Client::close() noexcept {
    return core_->close(core_->options().close_timeout);
}

}  // namespace baton
