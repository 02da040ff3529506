// The commit log of one node: committed means synced to the disk of this machine. Adds to the write-ahead log what the
// port asks for: numbers within streams, a bounded wait for what nobody waits for, and a condition.
// Not responsible for what records mean or which files may go (server/runtime/checkpointer.hpp). Thread: its shard's.
// Next file: server/storage/wal_writer.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_map>

#include "common/base/clock.hpp"
#include "server/commit/commit_log.hpp"
#include "server/commit/joint_record.hpp"
#include "server/storage/wal_writer.hpp"

namespace baton::commit {

struct LocalLogSettings {
    storage::WalSettings wal;
    /// A relaxed record waits at most so long before its group is handed to the disk (and a tick longer).
    Duration settle_interval = std::chrono::milliseconds{15};
    /// More bytes than this waiting for the disk: senders get no more credit.
    std::uint64_t congestion_bytes = 64ULL << 20;
    /// The same with more log files than this, on a disk too small for a log that outruns the checkpoints. 0: no limit.
    std::size_t congestion_files = 0;
};

/// Hears of each record that is submitted, as it is written.
class RecordListener {
public:
    RecordListener() = default;
    RecordListener(const RecordListener&) = delete;
    RecordListener& operator=(const RecordListener&) = delete;
    virtual ~RecordListener() = default;
    /// `number`: in its stream. `head` is valid until it returns.
    virtual void on_record(StreamId stream, std::uint64_t number, Bytes head, const Payload& body) = 0;
};

class LocalCommitLog final : public CommitLog, private storage::WalEvents {
public:
    /// Everything borrowed outlives the log.
    LocalCommitLog(storage::IoQueue& queue, CommitEvents& events, const Clock& clock, const LocalLogSettings& settings);

    Index submit(StreamId stream, Bytes head, const Payload& body, Urgency urgency) override;
    void begin_joint() override;
    Index end_joint(std::uint64_t step) override;
    [[nodiscard]] Index submitted() const noexcept override { return wal_.appended() + (joint_.empty() ? 0 : 1); }
    [[nodiscard]] Index committed() const noexcept override {
        return holds_ > 0 ? std::min(held_at_, wal_.synced()) : wal_.synced();
    }
    [[nodiscard]] Condition condition() const noexcept override { return condition_; }
    [[nodiscard]] bool is_congested() const noexcept override {
        return wal_.unsynced_bytes() > settings_.congestion_bytes ||
               (settings_.congestion_files != 0 && wal_.files().size() > settings_.congestion_files);
    }
    [[nodiscard]] std::uint64_t epoch() const noexcept override { return 1; }

    /// At the end of a turn: hands urgent records to the disk, if it is not busy with others.
    void end_turn();
    /// Clock pulse: the same for relaxed ones whose time has come, and tries again when there was no space.
    void tick();
    /// Whatever was submitted goes to the disk now.
    void flush() { wal_.flush(); }
    /// What is submitted from now on does not count as committed before release(), whatever the disk does: nobody hears
    /// of it. Several may hold; the first one says where.
    void hold();
    void release();
    /// Outlives the log, or null: nobody.
    void set_listener(RecordListener* listener) noexcept { listener_ = listener; }
    /// Everything that was submitted is committed, or never will be.
    [[nodiscard]] bool is_idle() const noexcept { return wal_.has_failed() || wal_.is_idle(); }

    /// The file system has, or no longer has, less space than the watermark.
    void set_space_low(bool is_low);
    /// Something beside the log failed that makes it useless: no commit any more.
    void fail(const Error& reason);

    /// Of the last record of the stream; 0: none.
    [[nodiscard]] std::uint64_t number_of(StreamId stream) const noexcept;
    /// The stream will have no further record.
    void forget(StreamId stream) { numbers_.erase(stream); }

    [[nodiscard]] const storage::WalWriter& wal() const noexcept { return wal_; }
    void recycle_before(std::uint64_t file_number) { wal_.recycle_before(file_number); }
    void drop_spares() { wal_.drop_spares(); }

private:
    void on_wal_synced(Index index) noexcept override;
    void on_wal_failed(const Error& reason) noexcept override;
    void update_condition(const Error& reason);
    void tell_committed();

    CommitEvents& events_;
    RecordListener* listener_ = nullptr;
    const Clock& clock_;
    const LocalLogSettings settings_;
    std::unordered_map<StreamId, std::uint64_t> numbers_;
    bool is_joint_ = false;  ///< Between begin_joint() and end_joint().
    RecordGatherer joint_;
    Index urgent_ = 0;   ///< The last record that somebody waits for.
    Index relaxed_ = 0;  ///< The last one that nobody waits for.
    MonotonicTime relaxed_since_{};
    std::uint32_t holds_ = 0;
    Index held_at_ = 0;
    Index told_ = 0;  ///< How far on_committed has got.
    bool is_space_low_ = false;
    bool has_failed_ = false;
    Condition condition_ = Condition::open;
    storage::WalWriter wal_;
};

}  // namespace baton::commit
