// The client's side of docs/protocol.md: bytes in, bytes out, commands in, events out. No I/O, no threads, no clock and
// no chance of its own, so the same class runs under the blocking face, under the asynchronous one and in the
// simulation. Not responsible for sockets and reconnecting (connection.hpp) or for users who wait (core.hpp). One
// thread. Next files: handshake.hpp, link.hpp, sender_link.hpp, receiver_link.hpp, requests.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/src/handshake.hpp"
#include "client/src/heartbeat.hpp"
#include "client/src/protocol_context.hpp"
#include "client/src/protocol_events.hpp"
#include "client/src/receiver_link.hpp"
#include "client/src/requests.hpp"
#include "client/src/sender_link.hpp"
#include "client/src/steps.hpp"

namespace baton::client {

// Order of calls, with times that never decrease:
//
//   on_connected, then any of {on_bytes, tick, commands}, each turn ended by finish_turn, until on_disconnected; again.
//
// Commands may be given at any time, connected or not. After finish_turn the owner writes what is in the outbox; when
// it has been written in part or in full it calls finish_turn again, for what did not fit before. After any call but a
// command failure() or wants_close() may have something to say; the owner then closes and calls on_disconnected.
//
// The outbox belongs to this class while connected; on_disconnected clears it.
class ClientProtocol {
public:
    struct Options {
        std::string agent = "baton-cpp";
        std::string name;
        Duration heartbeat = std::chrono::seconds{10};
        std::size_t frame_size_max = wire::frame_size_max_default;
    };

    ClientProtocol(Options options, ChunkPool& pool, Outbox& outbox, ProtocolEvents& events, Prng& prng);
    ClientProtocol(const ClientProtocol&) = delete;
    ClientProtocol& operator=(const ClientProtocol&) = delete;
    ~ClientProtocol();

    // --- Connection
    void on_connected(MonotonicTime now);
    // Decodes all whole frames; returns how many bytes were used up. If it is fewer than were given, `bytes_wanted`
    // says how many, from the first that was left, make further progress.
    [[nodiscard]] std::size_t on_bytes(MonotonicTime now, BorrowedBytes bytes);
    [[nodiscard]] std::size_t bytes_wanted() const noexcept { return bytes_wanted_; }
    void on_disconnected(MonotonicTime now);
    // Bytes have arrived that make no frame yet: the broker lives, however slow the way is. Before tick.
    void on_heard(MonotonicTime now) noexcept { heartbeat_.on_heard(now); }
    // At the latest when `next_deadline` has come; more often does no harm.
    void tick(MonotonicTime now);
    [[nodiscard]] std::optional<MonotonicTime> next_deadline() const noexcept;
    // Writes what the turn has collected.
    void finish_turn(MonotonicTime now);

    // The connection has to be closed for this reason. Until on_disconnected.
    [[nodiscard]] const std::optional<ConnectionFailure>& failure() const noexcept { return failure_; }
    // The broker asked us to go and there is nothing left to do here.
    [[nodiscard]] bool wants_close() const noexcept;
    [[nodiscard]] bool is_ready() const noexcept { return context_.is_ready; }
    [[nodiscard]] const wire::Welcome& welcome() const noexcept { return context_.welcome; }

    // --- Commands for links. A link exists from open_ until its on_link_failed or on_link_closed; later ids are
    // ignored.
    LinkId open_sender(std::string channel, bool may_create, ConfirmLevel confirm = ConfirmLevel::durable);
    LinkId open_receiver(std::string channel, bool may_create, const ReceiverWindow& window, std::string options = {});
    // A sender detaches once everything is confirmed, a receiver at once (and then holds nothing any more).
    void close(LinkId link);
    [[nodiscard]] bool exists(LinkId link) const noexcept { return links_.contains(link); }

    // Whether a batch that is published now could be written now. After a no, on_takes_messages says when to ask again.
    // Publishing nevertheless is right, too: it waits here then.
    [[nodiscard]] bool takes_messages(LinkId sender);
    // Returns the number of the first message: 1 plus the count of all before it. 0: the link does not exist.
    std::uint64_t publish(LinkId sender, const Payload& batch, ConfirmWhen when = ConfirmWhen::now);
    // Somebody waits for the confirms of everything that was published there.
    void await_confirms(LinkId sender);
    // Takes back what was published and no broker has seen: for those who would rather hear at once that it cannot be
    // stored now. Returns the number that the next message gets; those from there on are free again.
    std::uint64_t withdraw(LinkId sender);

    void ask(LinkId receiver, std::uint64_t messages);
    bool settle(LinkId receiver, std::uint64_t epoch, const wire::Settlement& range, std::uint64_t region_bytes,
                std::string_view note = {});
    bool settle_with_receipt(LinkId receiver, std::uint64_t epoch, const wire::Settlement& range,
                             std::uint64_t region_bytes, std::uint64_t receipt, std::string_view note = {});
    bool give_room(LinkId receiver, std::uint64_t epoch, std::uint64_t messages, std::uint64_t region_bytes);
    void ask_state(LinkId receiver);

    // --- Commands for the broker
    void admin(RequestId id, std::string channel, std::string json);
    void ping(RequestId id);
    void commit(RequestId id, StepPlan plan) { steps_.commit(id, std::move(plan)); }
    void forget(RequestId id) {
        requests_.forget(id);
        steps_.forget(id);
    }

private:
    [[nodiscard]] std::size_t take_preamble(BorrowedBytes bytes);
    void on_frame(const wire::FrameHeader& header, BorrowedBytes body);
    void on_connection_frame(const wire::FrameHeader& header, Bytes body);
    void on_link_frame(const wire::FrameHeader& header, BorrowedBytes body);
    void on_welcome(const wire::Frame& frame);
    void on_goaway(Bytes body);
    void on_connection_error(Bytes body);
    void fail(ConnectionFailure failure);
    void fail_protocol(std::string text);

    [[nodiscard]] std::optional<std::uint16_t> take_number();
    LinkId add(std::unique_ptr<Link> link, std::uint16_t number);
    [[nodiscard]] Link* find(LinkId id) noexcept;
    [[nodiscard]] SenderLink* find_sender(LinkId id) noexcept;
    [[nodiscard]] ReceiverLink* find_receiver(LinkId id) noexcept;
    void schedule(Link& link);
    void drop_if_ended(Link& link);
    [[nodiscard]] std::vector<LinkId> all_links() const;
    void attach_due(MonotonicTime now);
    void pump_senders();
    void announce_takers();

    Options options_;
    ProtocolContext context_;
    Handshake handshake_;
    Heartbeat heartbeat_;
    Requests requests_;
    Steps steps_;
    bool is_connected_ = false;
    std::optional<ConnectionFailure> failure_;
    std::size_t bytes_wanted_ = 0;

    std::unordered_map<LinkId, std::unique_ptr<Link>> links_;
    std::vector<Link*> by_number_{nullptr};  // Index: link number; 0 is the connection.
    std::priority_queue<std::uint16_t, std::vector<std::uint16_t>, std::greater<>> free_numbers_;
    std::uint32_t last_id_ = 0;

    std::deque<SenderLink*> sending_;       // In turns, a frame each, while the outbox has room.
    std::vector<ReceiverLink*> receiving_;  // Have settlements or credit to write at the end of the turn.
    std::vector<LinkId> takers_;            // Were told no by takes_messages.
};

}  // namespace baton::client
