#include "server/commit/local_commit_log.hpp"

#include <utility>

#include "common/base/assert.hpp"
#include "server/storage/errc.hpp"

namespace baton::commit {

LocalCommitLog::LocalCommitLog(storage::IoQueue& queue, CommitEvents& events, const Clock& clock,
                               const LocalLogSettings& settings)
    : events_{events}, clock_{clock}, settings_{settings}, wal_{queue, *this, settings.wal} {}

Index LocalCommitLog::submit(StreamId stream, Bytes head, const Payload& body, Urgency urgency) {
    if (is_joint_) {
        joint_.add({.stream = stream, .number = ++numbers_[stream], .shard = 0, .body = head}, body.bytes());
        return submitted();
    }
    const std::uint64_t number = ++numbers_[stream];
    const Index index = wal_.append(stream, number, head, body);
    if (listener_ != nullptr) [[unlikely]] {
        listener_->on_record(stream, number, head, body);
    }
    if (urgency == Urgency::now) {
        urgent_ = index;
    } else {
        if (relaxed_ <= committed()) {
            relaxed_since_ = clock_.now();
        }
        relaxed_ = index;
    }
    return index;
}

void LocalCommitLog::begin_joint() {
    BATON_ASSERT(!is_joint_);
    is_joint_ = true;
}

Index LocalCommitLog::end_joint(std::uint64_t step) {
    BATON_ASSERT(is_joint_);
    is_joint_ = false;
    return joint_.empty() && step == 0
               ? submitted()
               : submit(shard_stream, joint_.take(ShardRecordType::joint, step), {}, Urgency::now);
}

void LocalCommitLog::end_turn() {
    if (urgent_ > committed()) {
        wal_.flush(urgent_);
    }
}

void LocalCommitLog::tick() {
    const bool is_due = relaxed_ > committed() && clock_.now() - relaxed_since_ >= settings_.settle_interval;
    if (is_due) {
        wal_.flush();
    } else if (urgent_ > committed() || wal_.is_full()) {
        wal_.flush(urgent_);
    }
    update_condition({});
}

void LocalCommitLog::set_space_low(bool is_low) {
    is_space_low_ = is_low;
    update_condition(is_low ? Error{make_error_code(storage::Errc::no_space), "free space is below disk_free_min"}
                            : Error{});
}

void LocalCommitLog::fail(const Error& reason) {
    has_failed_ = true;
    update_condition(reason);
}

std::uint64_t LocalCommitLog::number_of(StreamId stream) const noexcept {
    const auto found = numbers_.find(stream);
    return found != numbers_.end() ? found->second : 0;
}

void LocalCommitLog::hold() {
    if (holds_++ == 0) {
        held_at_ = submitted();
    }
}

void LocalCommitLog::release() {
    BATON_ASSERT(holds_ > 0);
    --holds_;
    tell_committed();
}

void LocalCommitLog::on_wal_synced(Index) noexcept {
    update_condition({});
    tell_committed();
}

void LocalCommitLog::tell_committed() {
    if (!has_failed_ && committed() > told_) {
        told_ = committed();
        events_.on_committed(told_);
    }
}

void LocalCommitLog::on_wal_failed(const Error& reason) noexcept { fail(reason); }

void LocalCommitLog::update_condition(const Error& reason) {
    Condition now = Condition::open;
    if (has_failed_ || wal_.has_failed()) {
        now = Condition::failed;
    } else if (is_space_low_ || wal_.is_full()) {
        now = Condition::full;
    }
    if (now == condition_ || condition_ == Condition::failed) {
        return;
    }
    condition_ = now;
    if (now == Condition::full && !reason.code) {
        events_.on_condition(now, Error{make_error_code(storage::Errc::no_space), "write-ahead log"});
    } else {
        events_.on_condition(now, reason);
    }
}

}  // namespace baton::commit
