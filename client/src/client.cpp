// The public faces: Client, Channel, Sender, Receiver.
#include <utility>

#include <nlohmann/json.hpp>

#include "client/src/access.hpp"
#include "client/src/core.hpp"
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
    return endpoint_->post(endpoint_, message, limit);
}
std::uint64_t Sender::post(const Message& message, const WaitLimit& limit) {
    return value_or_throw(post(message, limit, std::nothrow));
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
    return endpoint_->flush(limit);
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
std::optional<Delivery> Receiver::receive(const WaitLimit& limit) {
    return value_or_throw(receive(limit, std::nothrow));
}
Expected<std::optional<Delivery>> Receiver::receive(const WaitLimit& limit, std::nothrow_t) noexcept {
    return endpoint_->receive(endpoint_, limit);
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
    Json request = arguments.empty() ? Json::object() : Json::parse(arguments, nullptr, false);
    if (!request.is_object()) {
        return std::unexpected{ClientError{ClientErrc::bad_argument, "the arguments are not a JSON object"}};
    }
    request["op"] = std::string{operation};
    return core_->admin(std::string{channel_name}, request.dump(-1, ' ', false, Json::error_handler_t::replace), limit);
}
std::string Client::admin(std::string_view operation, std::string_view channel_name, std::string_view arguments,
                          const WaitLimit& limit) {
    return value_or_throw(admin(operation, channel_name, arguments, limit, std::nothrow));
}

bool Client::create_channel(std::string_view name, const ChannelSettings& settings, const WaitLimit& limit) {
    Json request = Json::object();
    const auto set_text = [&request](const char* key, const std::string& value) {
        if (!value.empty()) {
            request[key] = value;
        }
    };
    const auto set_number = [&request](const char* key, const std::optional<std::uint64_t>& value) {
        if (value) {
            request[key] = *value;
        }
    };
    set_text("kind", settings.kind);
    set_text("storage", settings.storage);
    set_number("messages_max", settings.messages_max);
    set_number("bytes_max", settings.bytes_max);
    set_number("message_size_max", settings.message_size_max);
    const Json reply = Json::parse(admin("channel.create", name, request.dump(), limit), nullptr, false);
    return reply.value("created", false);
}

std::uint64_t Client::delete_channel(std::string_view name, const WaitLimit& limit) {
    return number_at(admin("channel.delete", name, {}, limit), "messages");
}
std::uint64_t Client::purge_channel(std::string_view name, const WaitLimit& limit) {
    return number_at(admin("channel.purge", name, {}, limit), "messages");
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
