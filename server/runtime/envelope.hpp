// What shards send each other: commands from a session's shard to a channel's, events back. Values only; each pair of
// shards exchanges them in batches, one per turn, in order (mailbox: shard.hpp). Next file: shard_broker.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include "common/base/payload.hpp"
#include "server/channel/channel.hpp"
#include "server/channel/types.hpp"
#include "server/runtime/backup_files.hpp"
#include "server/runtime/placement.hpp"
#include "server/runtime/session_events.hpp"

namespace baton::runtime {

/// What a session asks for when it opens a link.
struct AttachRequest {
    std::string name;
    bool is_sender = false;
    bool create = true;
    channel::ProducerId producer;
    /// Sender: confirm as soon as this level is reached. `durable` on a memory channel means `received`.
    channel::ConfirmLevel confirm = channel::ConfirmLevel::durable;
    channel::ReceiverRequest receiver{};  ///< Receivers only.
    bool must_store = false;              ///< Senders only: see channel::Sender.
};

// Commands. `link` names the link; `channel` the channel on the receiving shard.
struct AttachCommand { channel::LinkAddress link; AttachRequest request; };
struct DetachCommand { channel::LinkAddress link; ChannelId channel{0}; };
struct PublishCommand {
    channel::LinkAddress link;
    ChannelId channel{0};
    std::uint64_t sequence = 0;
    bool is_assembled = false;
    Payload batch;
};
struct SettleCommand {
    channel::LinkAddress link;
    ChannelId channel{0};
    std::uint64_t receipt = 0;
    std::vector<channel::SettleRange> ranges;
    std::string note;
};
struct CreditCommand { channel::LinkAddress link; ChannelId channel{0}; channel::Credit limit; };
struct SlowCommand { channel::LinkAddress link; ChannelId channel{0}; bool is_slow = false; };
/// A large message of the sender waits for memory, or not any more.
struct RoomCommand { channel::LinkAddress link; ChannelId channel{0}; bool waits = false; };
struct QueryCommand { channel::LinkAddress link; ChannelId channel{0}; };
struct DrainCommand {};

/// An administrative request as it came in, and where the answer goes: to the shard of the session, which knows by the
/// number of the gathering whose answer it is. (A peer may use a request id twice.)
struct AdminCommand {
    channel::SessionId session{0};
    std::uint64_t gathering = 0;
    std::string name;
    std::string json;
    std::size_t reply_size_max = 0;
};

/// Steps of a backup; the shard `leader` hears of the end of each (backups.hpp). Go through the durable channels; then end the
/// picture and hold back commits.
struct BackupBeginCommand { std::uint32_t leader = 0; std::uint64_t id = 0; };
struct BackupSnapshotCommand { std::uint32_t leader = 0; std::uint64_t id = 0; };
struct BackupReleaseCommand {};

struct RestorePlan;
/// A step of a restore (restores.hpp) for the channels of the plan that belong here; the shard `leader` gets one answer.
struct RestoreCommand {
    enum class Step : std::uint8_t { check, install, reveal, drop };
    Step step{};
    std::uint32_t leader = 0;
    std::uint64_t id = 0;
    std::shared_ptr<const RestorePlan> plan;  ///< To check and to install.
};

/// One thing that a step does: it sends messages to a channel, or settles what a receiver holds.
struct StepSection {
    std::string name;           ///< Messages: of the channel, which is made if it does not exist
    bool must_exist = false;    ///< unless this is true.
    Payload batch;              ///< Messages: has passed check_batch.
    channel::LinkAddress link;  ///< Settlements: of the receiver,
    ChannelRef channel;         ///< and its channel.
    std::vector<channel::SettleRange> ranges;  ///< Settlements: what is done. Messages: none.

    [[nodiscard]] std::uint32_t shard(std::uint32_t shard_count) const noexcept {
        return ranges.empty() ? shard_of_channel(name, shard_count) : channel.shard;
    }
};
/// A step as a session asks for it. All shards read the same one.
struct StepRequest {
    channel::SessionId session{0};
    std::uint64_t request = 0;  ///< By which the session knows the answer.
    channel::ProducerId producer;
    std::uint64_t number = 0;
    std::vector<StepSection> sections;
};
/// What the leader of a step (steps.hpp) asks of a shard that has a part of it.
struct StepCommand {
    enum class Phase : std::uint8_t {
        begin,       ///< Check and set aside. Answered.
        give_back,   ///< What was set aside.
        do_durable,  ///< Durable channels of this shard. Answered when it is committed.
        do_rest,     ///< What is left; behind an intent everything. Answered, and behind an intent once more when it is committed.
        forget,      ///< The step is finished.
    };
    Phase phase{};
    bool has_intent = false;
    channel::StepId id = 0;
    std::shared_ptr<const StepRequest> request;
};

// Events.
struct AttachedEvent { channel::LinkAddress link; Attachment attachment; };
struct AttachFailedEvent { channel::LinkAddress link; std::error_code reason; };
struct ConfirmedEvent { channel::LinkAddress link; std::uint64_t sequence = 0; channel::ConfirmLevel level{}; };
struct RefusedEvent { channel::LinkAddress link; std::uint64_t first = 0; std::uint32_t count = 0; std::error_code reason; };
struct SenderCreditEvent { channel::LinkAddress link; channel::Credit limit; };
struct StateEvent { channel::LinkAddress link; LinkStateReport state; };
struct DeliverEvent { channel::LinkAddress link; channel::Slice slice; };
struct SettleRefusedEvent { channel::LinkAddress link; channel::SettleRange range; std::error_code reason; };
struct SettledEvent { channel::LinkAddress link; std::uint64_t receipt = 0; };
struct ClosedEvent { channel::LinkAddress link; std::error_code reason; };
/// One shard's part of an administrative answer (JSON).
struct AdminPartEvent { std::uint64_t gathering = 0; std::string json; };
/// Where records of a step go.
struct StepTarget {
    std::uint32_t section = 0;
    std::uint32_t shard = 0;
    commit::StreamId stream{0};
    channel::ReaderId reader = channel::queue_reader;  ///< Settlements.
};
struct StepAnswer {
    StepCommand::Phase phase{};
    bool is_committed = false;
    std::uint32_t shard = 0;
    channel::StepId id = 0;
    std::error_code reason;               ///< Why not.
    std::uint32_t section = UINT32_MAX;   ///< Of the reason.
    std::vector<StepTarget> targets;      ///< Of durable channels.
};
struct RestoreAnswer {
    RestoreCommand::Step step{};
    std::uint64_t id = 0;
    std::string code;                ///< Of what went wrong, a status name; empty: nothing.
    std::string text;
    std::vector<std::string> taken;  ///< Names that are there already.
};
struct BackupBegunEvent { std::uint64_t id = 0; };
struct BackupTakenEvent { std::uint64_t id = 0; };
struct BackupWrittenEvent { std::uint64_t id = 0; Result<std::vector<BackupFile>> files; };

using Envelope =
    std::variant<AttachCommand, DetachCommand, PublishCommand, SettleCommand, CreditCommand, SlowCommand, RoomCommand, QueryCommand,
                 DrainCommand, AdminCommand, AttachedEvent, AttachFailedEvent, ConfirmedEvent, RefusedEvent,
                 SenderCreditEvent, StateEvent, DeliverEvent, SettleRefusedEvent, SettledEvent, ClosedEvent,
                 AdminPartEvent, BackupBeginCommand, BackupSnapshotCommand, BackupReleaseCommand, BackupBegunEvent,
                 BackupTakenEvent, BackupWrittenEvent,
                 RestoreCommand, RestoreAnswer, StepCommand, StepAnswer>;

/// Everything that one shard has for another at the end of a turn, in order.
using EnvelopeBatch = std::vector<Envelope>;

/// How batches travel: by io_context::post between threads (shard.cpp), by a queue in the simulation.
class MailboxPort {
public:
    MailboxPort() = default;
    MailboxPort(const MailboxPort&) = delete;
    MailboxPort& operator=(const MailboxPort&) = delete;
    virtual ~MailboxPort() = default;
    /// Never blocks, keeps the order per target.
    virtual void send(std::uint32_t shard, EnvelopeBatch batch) = 0;
};

}  // namespace baton::runtime
