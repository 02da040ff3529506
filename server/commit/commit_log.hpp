// The port through which state becomes durable: opaque records, ordered, numbered, committed in order. On one node
// *committed* means synced to the disk (local_commit_log.hpp); behind the same port a replicated log may stand, where it
// means a quorum. Nothing in server/channel knows which one it has.
//
// The contract:
//   - submit() never blocks and never fails: it returns the record's index. Records are committed in the order of their
//     indexes; CommitEvents::on_committed says how far.
//   - A failure means *outcome unknown*, never *did not happen*: what was submitted and not committed may come back after
//     a restart.
//   - One record counts as a whole or not at all. begin_joint() makes one of several.
//   - After a restart, or on a node that did not submit it, each committed record is applied once, in order, to the state
//     machine (channel/channel_image.hpp), whose state can be saved (a manifest plus references to blocks in segment
//     files) and installed. Records from before a saved state may be applied again: they are made so that this changes
//     nothing. The node that submitted a record has decided what it means and does not apply it a second time.
//   - Deliveries in hand are no part of it: after a restart or a fail-over they are given again.
// Thread: one owner, a shard. Next file: local_commit_log.hpp.
#pragma once

#include <cstdint>

#include "common/base/error.hpp"
#include "common/base/payload.hpp"
#include "server/storage/segment.hpp"
#include "server/storage/wal_format.hpp"

namespace baton::commit {

using storage::BlockRef;
using storage::Index;
using storage::StreamId;

enum class Urgency : std::uint8_t {
    now,      ///< Somebody waits: commit as soon as may be.
    relaxed,  ///< Goes along with the next commit, at the latest after the settle interval (docs/operations.md).
};

/// May records be submitted that somebody waits for?
enum class Condition : std::uint8_t {
    open,
    full,    ///< No space. What was submitted waits, what is new had better be refused; it may become open again.
    failed,  ///< For good: nothing will be committed any more.
};

class CommitLog {
public:
    CommitLog() = default;
    CommitLog(const CommitLog&) = delete;
    CommitLog& operator=(const CommitLog&) = delete;
    virtual ~CommitLog() = default;

    /// A record with the body `head` (copied) followed by `body` (referenced if it is large).
    virtual Index submit(StreamId stream, Bytes head, const Payload& body, Urgency urgency) = 0;

    /// What is submitted until end_joint() becomes one record, which somebody waits for: after a crash all of it is there or
    /// none. Each submit() returns the index of that record. Not nested.
    virtual void begin_joint() = 0;
    /// `step`: with it the record also says that this shard has done its part of this step, even if nothing was submitted. 0:
    /// of no step. Returns the record's index; that of the last one if there was nothing to say.
    virtual Index end_joint(std::uint64_t step) = 0;

    [[nodiscard]] virtual Index submitted() const noexcept = 0;  ///< The last one; 0: none.
    [[nodiscard]] virtual Index committed() const noexcept = 0;
    [[nodiscard]] virtual Condition condition() const noexcept = 0;
    /// Submitted and not committed, in bytes: memory that waits for the disk. Beyond a limit senders get no credit.
    [[nodiscard]] virtual bool is_congested() const noexcept = 0;
    /// Under which right records are submitted; grows when it passes to another node. Always 1 on one node.
    [[nodiscard]] virtual std::uint64_t epoch() const noexcept = 0;
};

/// How the owner of a log hears of it. Called on the owner's thread, never from inside submit().
class CommitEvents {
public:
    CommitEvents() = default;
    CommitEvents(const CommitEvents&) = delete;
    CommitEvents& operator=(const CommitEvents&) = delete;
    virtual ~CommitEvents() = default;

    /// Every record up to `index` is committed. Increasing.
    virtual void on_committed(Index index) noexcept = 0;
    /// condition() has changed. `reason` is empty when it is open again.
    virtual void on_condition(Condition condition, const Error& reason) noexcept = 0;
};

}  // namespace baton::commit
