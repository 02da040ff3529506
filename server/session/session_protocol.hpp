// The broker's side of the native protocol for one peer, sans I/O: bytes in, calls to the shard's broker; the broker's
// answers in, frames into the outbox (docs/protocol.md). The client's twin is client/src/client_protocol.
// Not responsible for sockets (session.hpp), for the rules of channels, or for who was given what: that is the channel's
// in-flight table. Thread: the shard's. Implementation: session_protocol.cpp (bytes, handshake, time, life),
// session_frames.cpp (frames in), session_answers.cpp (answers out).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/outbox.hpp"
#include "common/base/payload.hpp"
#include "common/wire/bodies.hpp"
#include "common/wire/frame.hpp"
#include "common/wire/step.hpp"
#include "common/wire/status.hpp"
#include "server/runtime/shard_broker.hpp"
#include "server/session/delivery_writer.hpp"
#include "server/session/link.hpp"
#include "server/session/session_host.hpp"

namespace baton::session {

class SessionProtocol final : public runtime::SessionEvents {
public:
    /// Everything borrowed outlives the session. `is_refused`: the broker has too many connections; the peer is told so
    /// after its HELLO.
    SessionProtocol(runtime::ShardBroker& broker, ChunkPool& pool, Outbox& outbox, SessionHost& host, bool is_refused);
    /// What was agreed with the peer before the session moved to another shard. Nothing else is worth moving: it had no
    /// links and no requests.
    struct Greeting {
        std::string agent;
        std::string name;
        std::uint32_t frame_size_max = 0;
        Duration heartbeat{};
        bool has_steps = false;
    };
    SessionProtocol(runtime::ShardBroker& broker, ChunkPool& pool, Outbox& outbox, SessionHost& host, Greeting greeting);
    ~SessionProtocol() override;

    // --- Bytes -----------------------------------------------------------------------------------------------------

    /// Takes what it can use from the front and returns how much that was; the rest comes again with more behind it.
    [[nodiscard]] std::size_t on_bytes(BorrowedBytes readable);
    /// Size of what has begun at the front of the rest: on_bytes needs at least so much in one piece.
    [[nodiscard]] std::size_t bytes_wanted() const noexcept { return wanted_; }
    /// Writes what was collected in this turn: confirms, credit, settlements, fragments. Before each write.
    void prepare_flush();
    /// So much is still unsent after a write, or after an attempt to write: adapts to a slow reader.
    void on_write_progress(std::size_t unsent_bytes);

    // --- Time --------------------------------------------------------------------------------------------------------

    /// When on_deadline wants to be called next. Earlier is harmless.
    [[nodiscard]] MonotonicTime deadline() const noexcept { return std::min(deadline_, held_until_); }
    /// Handshake timeout, heartbeats, confirms that were held back.
    void on_deadline(MonotonicTime now);
    /// Bytes have arrived that make no frame yet: the peer lives, however slow the way is. Before on_deadline.
    void on_heard() noexcept { last_heard_ = clock_.now(); }

    // --- Life --------------------------------------------------------------------------------------------------------

    /// The connection is gone: every link is detached, so that what receivers held goes back. Once, before destruction.
    void on_disconnected();
    /// Tells the peer that the broker is going down (GOAWAY).
    void begin_drain(std::uint32_t reconnect_after_ms);
    /// Closes with an ERROR on the connection.
    void fail_connection(wire::Status status, const std::string& text);
    [[nodiscard]] bool is_closing() const noexcept { return state_ == State::closing; }
    [[nodiscard]] bool has_had_sender() const noexcept { return has_had_sender_; }
    [[nodiscard]] channel::SessionId id() const noexcept { return id_; }
    [[nodiscard]] const std::string& peer_agent() const noexcept { return peer_agent_; }
    /// After SessionHost::move_to.
    [[nodiscard]] Greeting greeting() const;

    // --- SessionEvents -------------------------------------------------------------------------------------------------

    void on_attached(std::uint16_t link, const runtime::Attachment& attachment) override;
    void on_attach_failed(std::uint16_t link, std::error_code reason) override;
    void on_confirmed(std::uint16_t link, std::uint64_t sequence, channel::ConfirmLevel level) noexcept override;
    void on_refused(std::uint16_t link, std::uint64_t first, std::uint32_t count,
                    std::error_code reason) noexcept override;
    void on_sender_credit(std::uint16_t link, channel::Credit limit) noexcept override;
    void on_state(std::uint16_t link, const runtime::LinkStateReport& state) noexcept override;
    void on_deliver(std::uint16_t link, const channel::Slice& slice) noexcept override;
    void on_settle_refused(std::uint16_t link, const channel::SettleRange& range,
                           std::error_code reason) noexcept override;
    void on_settled(std::uint16_t link, std::uint64_t receipt) noexcept override;
    void on_closed(std::uint16_t link, std::error_code reason) noexcept override;
    void on_memory_granted(std::uint16_t link) override;
    void on_admin_reply(std::uint64_t request, const std::string& json) override;
    void on_step(std::uint64_t request, std::error_code reason, std::uint32_t section) override;

private:
    enum class State : std::uint8_t { preamble, hello, open, closing };

    /// A confirm for so many messages is told, also if nobody waits for it: the sender keeps them until then.
    static constexpr std::uint64_t held_messages_max = 256;

    // Bytes and handshake.
    [[nodiscard]] std::size_t take_preamble(Bytes readable);
    [[nodiscard]] std::size_t take_frame(const BorrowedBytes& readable);
    void on_hello(const wire::Frame& frame);
    void begin(std::uint32_t frame_size_max, Duration heartbeat);
    void answer_http();
    void close(wire::Status status, const std::string& text);
    void release_links();

    // Frames in.
    void on_frame(const wire::Frame& frame, const BorrowedBytes& body);
    void on_link_frame(const wire::Frame& frame, const BorrowedBytes& body);
    [[nodiscard]] bool moves_for(const wire::Frame& frame) noexcept;
    void on_unknown_frame(const wire::Frame& frame, const BorrowedBytes& body);
    void on_error(const wire::ErrorBody& error);
    [[nodiscard]] bool reads_answers(wire::FrameType type) const noexcept;
    void on_attach(const wire::Frame& frame);
    void on_detach(std::uint16_t number, Link& link);
    void on_publish(std::uint16_t number, Link& link, const wire::FrameHeader& header, const BorrowedBytes& body);
    void on_settle(std::uint16_t number, Link& link, const wire::Frame& frame);
    void on_credit(std::uint16_t number, Link& link, const wire::Frame& frame);
    void on_question(std::uint16_t number, Link& link, const wire::Frame& frame);
    void on_fragment(std::uint16_t number, Link& link, const wire::Frame& frame);
    void on_fragment_head(std::uint16_t number, Link& link, const wire::Frame& frame);
    void on_fragment_data(std::uint16_t number, Link& link, const wire::Frame& frame);
    void on_admin(const wire::Frame& frame);
    void on_step_frame(const wire::Frame& frame, const BorrowedBytes& body);
    [[nodiscard]] bool may_step(const wire::Frame& frame, const wire::Step& step);
    /// Not `ok`: the answer that the section gets. Nothing: the connection has failed.
    [[nodiscard]] std::optional<wire::Status> take_section(const wire::StepSection& section, const BorrowedBytes& body,
                                                           runtime::StepRequest& request);
    void answer_step(std::uint64_t request, wire::Status status, std::uint32_t section, const std::string& text);
    [[nodiscard]] Payload keep(const BorrowedBytes& batch);
    void publish(std::uint16_t number, Link& link, std::uint64_t sequence, Payload batch, bool is_assembled);

    // Links.
    [[nodiscard]] Link* find_link(std::uint16_t number) noexcept;
    [[nodiscard]] bool is_talking(std::uint16_t number) const noexcept;
    [[nodiscard]] channel::LinkAddress address(std::uint16_t number) const noexcept { return {id_, number}; }
    void begin_attach(std::uint16_t number, Link& link, runtime::AttachRequest request);
    void fail_link(std::uint16_t number, Link& link, wire::Status status, const std::string& text);
    void put_link_error(std::uint16_t number, wire::Status status, std::string_view text);
    void drop_link_state(std::uint16_t number, Link& link);
    void collect(std::uint16_t number, Link& link);
    void flush_collected();
    [[nodiscard]] bool may_hold(const Link& link) const noexcept;
    void hold(std::uint16_t number, Link& link);
    void flush_held();
    void flush_link(std::uint16_t number, Link& link);
    void set_slow(bool is_slow);

    runtime::ShardBroker& broker_;
    const runtime::Limits& limits_;
    const Clock& clock_;
    ChunkPool& pool_;
    Outbox& outbox_;
    SessionHost& host_;
    channel::SessionId id_{0};
    State state_ = State::preamble;
    bool is_refused_ = false;
    bool is_draining_ = false;
    bool is_slow_ = false;
    bool is_connected_ = true;
    bool has_settled_down_ = false;  ///< ATTACH has come: it stays on this shard.
    bool is_moving_ = false;         ///< It goes on on another one: nothing is used any more.
    bool has_refused_number_ = false;  ///< ATTACH with a number above links_max: its other frames are on their way.
    std::uint32_t admins_pending_ = 0;
    bool has_steps_ = false;  ///< HELLO said that the client knows them.
    bool has_had_sender_ = false;  ///< Some link of it, since it began.
    std::vector<std::shared_ptr<const runtime::StepRequest>> steps_;  ///< Without an answer.
    std::uint32_t frame_size_max_;  ///< For frames that come in; negotiated.
    std::size_t wanted_ = 0;
    Duration heartbeat_{};
    MonotonicTime last_heard_;
    MonotonicTime deadline_;
    std::vector<std::unique_ptr<Link>> links_;  ///< By number; clients count from 1.
    std::vector<std::uint16_t> collected_;      ///< Links with something for the next flush.
    std::vector<std::uint16_t> held_;           ///< Links with a confirm that nobody waits for.
    MonotonicTime held_until_ = MonotonicTime::max();
    std::vector<channel::SettleRange> settle_ranges_;  ///< Reused.
    DeliveryWriter writer_;
    std::string peer_agent_;
    std::string peer_name_;
};

}  // namespace baton::session
