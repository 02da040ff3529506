// A commit log in memory: keeps every record with its bytes; a test says how far it is committed, and in which
// condition it is. And a disk for blocks: makes of a relocation plan what server/runtime/shard_store.cpp makes of it.
// Fakes, not mocks. Next file: durable_world.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "common/base/assert.hpp"
#include "server/channel/channel.hpp"
#include "server/channel/relocation.hpp"
#include "server/commit/commit_log.hpp"
#include "server/commit/joint_record.hpp"

namespace baton::channel::test {

class FakeCommitLog final : public commit::CommitLog {
public:
    struct Record {
        std::vector<std::byte> body;
        commit::Urgency urgency{};
        bool is_joint = false;  ///< A record of the shard's own stream.
    };

    commit::Index submit(commit::StreamId stream, Bytes head, const Payload& body, commit::Urgency urgency) override {
        if (is_joint_) {
            joint_.add({.stream = stream, .number = 1, .shard = 0, .body = head}, body.bytes());
            return submitted();
        }
        Record& record = records_.emplace_back();
        record.urgency = urgency;
        record.body.assign(head.begin(), head.end());
        record.body.insert(record.body.end(), body.bytes().begin(), body.bytes().end());
        return submitted();
    }
    void begin_joint() override { is_joint_ = true; }
    commit::Index end_joint(std::uint64_t step) override {
        is_joint_ = false;
        if (joint_.empty() && step == 0) {
            return submitted();
        }
        records_.push_back({joint_.take(commit::ShardRecordType::joint, step), commit::Urgency::now, true});
        return submitted();
    }
    [[nodiscard]] commit::Index submitted() const noexcept override {
        return records_.size() + (joint_.empty() ? 0 : 1);
    }
    [[nodiscard]] commit::Index committed() const noexcept override { return committed_; }
    [[nodiscard]] commit::Condition condition() const noexcept override { return condition_; }
    [[nodiscard]] bool is_congested() const noexcept override { return is_congested_; }
    [[nodiscard]] std::uint64_t epoch() const noexcept override { return 1; }

    void commit_to(commit::Index index) {
        BATON_ASSERT(index >= committed_ && index <= submitted() && condition_ != commit::Condition::failed);
        committed_ = index;
    }
    void set_condition(commit::Condition condition) { condition_ = condition; }
    void set_congested(bool is_congested) { is_congested_ = is_congested; }
    [[nodiscard]] const Record& record(commit::Index index) const { return records_.at(index - 1); }

private:
    std::vector<Record> records_;
    bool is_joint_ = false;
    commit::RecordGatherer joint_;
    commit::Index committed_ = 0;
    commit::Condition condition_ = commit::Condition::open;
    bool is_congested_ = false;
};

class FakeBlockStore {
public:
    /// One block for each of the plan, in a segment of their own.
    std::vector<storage::BlockRef> write(const RelocationPlan& plan) {
        std::vector<storage::BlockRef> refs;
        std::uint64_t position = 64;
        ++segment_;
        for (const PlannedBlock& planned : plan.blocks) {
            std::vector<std::byte> body;
            for (std::size_t i = 0; i < planned.headers.size(); ++i) {
                body.insert(body.end(), planned.headers[i].begin(), planned.headers[i].end());
                const Bytes messages = planned.messages[i].bytes();
                body.insert(body.end(), messages.begin(), messages.end());
            }
            refs.push_back({.segment = segment_,
                            .size = static_cast<std::uint32_t>(body.size()),
                            .position = position,
                            .first = planned.first,
                            .end = planned.end});
            position += body.size() + 64;
            blocks_[{refs.back().segment, refs.back().position}] = std::move(body);
        }
        return refs;
    }
    /// The body of a block at a new place.
    storage::BlockRef write_copy(const storage::BlockRef& ref, std::vector<std::byte> body) {
        storage::BlockRef copy = ref;
        copy.segment = ++segment_;
        copy.position = 64;
        copy.size = static_cast<std::uint32_t>(body.size());
        blocks_[{copy.segment, copy.position}] = std::move(body);
        return copy;
    }
    /// Empty if it is not there (any more).
    [[nodiscard]] Payload read(const storage::BlockRef& ref) {
        const auto found = blocks_.find({ref.segment, ref.position});
        return found != blocks_.end() ? Payload::copy_of(pool_, found->second) : Payload{};
    }
    [[nodiscard]] BlockReader reader() {
        return [this](const storage::BlockRef& ref) { return read(ref); };
    }
    void remove(const storage::BlockRef& ref) { blocks_.erase({ref.segment, ref.position}); }
    [[nodiscard]] std::vector<std::byte>& bytes(const storage::BlockRef& ref) {
        return blocks_.at({ref.segment, ref.position});
    }
    [[nodiscard]] std::size_t size() const { return blocks_.size(); }

private:
    ChunkPool pool_;
    std::uint32_t segment_ = 0;
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::vector<std::byte>> blocks_;
};

}  // namespace baton::channel::test
