// The blocking client library of Baton. The whole of it in four lines:
//
//   baton::Client broker{"baton://localhost"};
//   broker.channel("greetings").send("Hello");              // returns when confirmed
//   auto delivery = broker.channel("greetings").receive();  // blocks until a message is pushed
//   delivery.ack();
//
// Threads. Client, Channel and Sender may be used from any threads at once; a Receiver by one thread at a time; a
// Delivery by one thread at a time, whichever it is. Each Client owns one I/O thread, which keeps connection,
// heartbeats, credit and leases going whatever the user's threads do; a thread that waits in a call does that work
// meanwhile if it is the only one. The library calls the user only in
// ClientOptions::on_event and in the handlers of async.hpp, and holds no lock then. Destructors never wait longer than
// ClientOptions::close_timeout.
//
// fork(): the connection stays with the process that made the Client. The other one makes a Client of its own if it needs
// one, and uses nothing that came from the first; that Client's destructor waits for nothing there.
//
// Errors are thrown as ClientError; every call that can fail has a twin with std::nothrow that returns it.
// For completion tokens and coroutines: async.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <baton/delivery.hpp>
#include <baton/error.hpp>
#include <baton/message.hpp>
#include <baton/options.hpp>
#include <baton/receiver.hpp>
#include <baton/sender.hpp>
#include <baton/step.hpp>
#include <baton/wait_limit.hpp>

namespace baton {

namespace client {
class Core;
}

// What the broker said of itself when we connected.
struct BrokerInfo {
    std::string agent;
    std::string address;  // Where we are connected to.
    std::uint64_t session = 0;
    Milliseconds heartbeat{};
    std::uint64_t frame_size_max = 0;
    std::uint64_t message_size_max = 0;
    std::uint64_t channel_name_size_max = 0;
    bool draining = false;  // Also set when it says so later.
};

// Settings of a channel (docs/protocol.md, section 11): of one to be created, where what is absent gets the broker's
// default, or of one that exists, where what is absent stays as it is. Values out of their range are bad_argument.
struct ChannelSettings {
    std::string kind{};     // "queue", "topic" or "stream"; cannot change while the channel exists.
    std::string storage{};  // "memory" or "durable"; cannot change while the channel exists.
    std::optional<std::uint64_t> messages_max{};      // Stored; 1 and more.
    std::optional<std::uint64_t> bytes_max{};         // Stored; 1 and more.
    std::optional<std::uint64_t> message_size_max{};  // Bytes; 1 to the broker's limit.
    std::optional<Milliseconds> age_max{};            // 0: none. Queue, topic: then expired. Stream: then forgotten.
    std::string overflow{};                           // "block", "reject", "drop-oldest" or "drop-newest".
    std::optional<Milliseconds> lease{};              // 100ms to 24h: how long a delivery belongs to its receiver.
    std::optional<Milliseconds> lease_max{};          // `lease` to 7 days: how long it can be extended.
    std::optional<std::uint32_t> attempts_max{};      // 0 (no limit) to 1,000,000; then quarantined.
    std::optional<Milliseconds> retry_first{};        // 0 to 7 days: the wait before the second attempt.
    std::optional<Milliseconds> retry_max{};          // 0 to 7 days: the longest wait between two attempts.
    std::optional<std::uint32_t> retry_factor_percent{};  // 100 to 10,000: each wait in percent of the one before.
    std::optional<std::uint32_t> retry_jitter_percent{};  // 0 to 100: up to this part of it is taken off at random.
    std::string expired{};                                // "drop" or "quarantine".
    std::string late{};                                   // "fire" or "drop": delayed ones after a downtime.
    std::optional<bool> ordered_by_key{};                 // At most one message of a key is with receivers, in order.
    std::optional<bool> exclusive{};                      // One receiver gets everything, the next when it ends.
    std::optional<std::string> fair_by{};                 // "" (off), "key" or "header:NAME".
    std::optional<std::map<std::string, std::uint32_t>> fair_weights{};  // By tenant, 1 to 1,000.
    std::optional<Milliseconds> dedupe_window{};                         // 0 (off) to 7 days; by message_id.
    std::optional<bool> compact{};                                       // Stream: only the newest of each key is kept.
    std::optional<Milliseconds> tombstone_age{};  // Compacted: so long a newest message with an empty body stays.
};

// Of a named subscription of a topic or stream.
struct SubscriptionSettings {
    std::optional<StartFrom> from{};  // Nothing: what is published from now on (topic), the first message (stream).
    std::string filter{};             // As ReceiverOptions::filter.
    std::string overflow{};  // "block", "drop-oldest", "drop-newest" or "disconnect"; when backlog_max is reached.
    std::optional<std::uint64_t> backlog_max{};  // Messages that it may have waiting.
};

// Which messages an administrator means: either `all` in that state, or these offsets (up to 1,000).
struct MessageSelection {
    std::vector<std::uint64_t> offsets{};
    bool all = false;
    std::string state{};         // "ready", "delayed" or "quarantined"; empty: see the call. Not for retry_messages.
    std::string subscription{};  // Of a topic or stream.
};

class Client;

// A channel by its name; costs nothing and needs no connection by itself. It must not outlive its Client.
// For many messages use sender() and receiver(): their windows keep the wire busy.
class Channel {
public:
    // As Sender::send. All calls for one name share one link, which stays attached until the client is closed.
    SendReceipt send(const Message& message, const WaitLimit& limit = WaitLimit::forever());
    Expected<SendReceipt> send(const Message& message, const WaitLimit& limit, std::nothrow_t) noexcept;

    // As Receiver::receive, but from any threads at once, and on demand: the broker gives us a message only while
    // somebody waits here, so nothing is held back from other receivers.
    [[nodiscard]] Delivery receive();
    [[nodiscard]] std::optional<Delivery> receive(const WaitLimit& limit);
    [[nodiscard]] Expected<std::optional<Delivery>> receive(const WaitLimit& limit, std::nothrow_t) noexcept;

    [[nodiscard]] Sender sender(const SenderOptions& options = {});
    [[nodiscard]] Receiver receiver(const ReceiverOptions& options = {});

    [[nodiscard]] const std::string& name() const noexcept { return name_; }

private:
    friend class Client;
    Channel(std::shared_ptr<client::Core> core, std::string name) noexcept;

    std::shared_ptr<client::Core> core_;
    std::string name_;
};

class Client {
public:
    // Starts the I/O thread, which begins to connect; does not wait for it. Throws bad_argument for a URL or option
    // that cannot work.
    explicit Client(ClientOptions options);
    explicit Client(std::string_view url);
    // close(close_timeout).
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Names are any bytes, 1 to 255 of them. (Their text form is for showing and typing: common/base/text_form.hpp.)
    [[nodiscard]] Channel channel(std::string_view name);
    // Neither waits. A channel that cannot be had (not_found, refused) shows in the first call on it.
    [[nodiscard]] Sender sender(std::string_view name, const SenderOptions& options = {});
    [[nodiscard]] Receiver receiver(std::string_view name, const ReceiverOptions& options = {});

    // An empty step; see step.hpp.
    [[nodiscard]] Step step();

    // Returns once connected. Throws cannot_connect, timed_out, interrupted, closed.
    void wait_connected(const WaitLimit& limit = WaitLimit::forever());
    Expected<void> wait_connected(const WaitLimit& limit, std::nothrow_t) noexcept;
    [[nodiscard]] bool is_connected() const noexcept;

    // One round trip through the broker; connects first, if need be. Throws disconnected if the connection breaks meanwhile.
    std::chrono::nanoseconds ping(const WaitLimit& limit = WaitLimit::forever());
    Expected<std::chrono::nanoseconds> ping(const WaitLimit& limit, std::nothrow_t) noexcept;

    // Of the last connection; nothing before the first.
    [[nodiscard]] std::optional<BrokerInfo> broker_info() const;

    // An administrative request (docs/protocol.md section 11): `arguments` is the text of a JSON object, empty for
    // none; returns the text of the reply {"ok":true,...}. Throws what the broker answered if that is an error, with
    // its status, and disconnected if the connection broke before the answer.
    std::string admin(std::string_view operation, std::string_view channel_name, std::string_view arguments,
                      const WaitLimit& limit = WaitLimit::forever());
    Expected<std::string> admin(std::string_view operation, std::string_view channel_name, std::string_view arguments,
                                const WaitLimit& limit, std::nothrow_t) noexcept;

    // "Make it so": true if it did not exist before. `refused` with status incompatible_options if it exists with
    // settings that cannot change; the text names them.
    bool create_channel(std::string_view name, const ChannelSettings& settings = {},
                        const WaitLimit& limit = WaitLimit::forever());
    // Number of messages that were dropped with it. `refused` with status in_use while links are attached, unless
    // forced: those then end with not_found.
    std::uint64_t delete_channel(std::string_view name, const WaitLimit& limit = WaitLimit::forever());
    std::uint64_t delete_channel(std::string_view name, bool force, const WaitLimit& limit = WaitLimit::forever());
    std::uint64_t purge_channel(std::string_view name, const WaitLimit& limit = WaitLimit::forever());
    // Quarantined messages are ready again, with their first attempt. These three return how many it was about.
    std::uint64_t retry_messages(std::string_view name, const MessageSelection& selection,
                                 const WaitLimit& limit = WaitLimit::forever());
    // They are forgotten. Without a state: quarantined ones.
    std::uint64_t drop_messages(std::string_view name, const MessageSelection& selection,
                                const WaitLimit& limit = WaitLimit::forever());
    // They are sent to another channel, which is made if it does not exist, and then forgotten here. Without a state:
    // all that nobody holds.
    std::uint64_t move_messages(std::string_view name, std::string_view to, const MessageSelection& selection,
                                const WaitLimit& limit = WaitLimit::forever());
    // Who waits for what, or what is the matter with one message: JSON text of the reply of channel.explain.
    std::string explain_channel(std::string_view name, std::optional<std::uint64_t> offset = std::nullopt,
                                const WaitLimit& limit = WaitLimit::forever());

    // Subscriptions of a topic or stream (a queue has none: `refused`). create: true if it did not exist; delete: how
    // many messages nobody else needed any more, `refused` with status in_use while receivers are attached unless
    // forced.
    bool create_subscription(std::string_view name, std::string_view subscription,
                             const SubscriptionSettings& settings = {}, const WaitLimit& limit = WaitLimit::forever());
    // The JSON text of the reply: while it has "more", its "next" is `after` for those that follow.
    std::string list_subscriptions(std::string_view name, std::uint64_t after = 0,
                                   const WaitLimit& limit = WaitLimit::forever());
    std::uint64_t delete_subscription(std::string_view name, std::string_view subscription, bool force = false,
                                      const WaitLimit& limit = WaitLimit::forever());

    // JSON texts of the replies of channel.list, channel.show, broker.show.
    std::string list_channels(std::string_view after_text = {}, std::uint32_t count_max = 100,
                              const WaitLimit& limit = WaitLimit::forever());
    std::string show_channel(std::string_view name, const WaitLimit& limit = WaitLimit::forever());
    std::string show_broker(const WaitLimit& limit = WaitLimit::forever());

    // Sends and settles what is pending, detaches, disconnects and stops the I/O thread; every other call then fails
    // with `closed`. Returns false, and reports `abandoned`, if the timeout came first. Idempotent.
    bool close(std::chrono::nanoseconds timeout) noexcept;
    bool close() noexcept;

private:
    friend class client_access;
    std::shared_ptr<client::Core> core_;
};

}  // namespace baton
