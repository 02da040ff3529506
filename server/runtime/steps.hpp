// Steps: messages to some channels and settlements of messages of others that all happen or none of them, also when the
// broker dies in the middle (docs/protocol.md, section 10b; ADR 14). The shard of the session that asks leads; every
// shard has its part, its own included:
//
//     ask -> each shard: begin (check, set aside) -> no: each shard: give back -> answer
//         -> durable channels of no shard, or of one: that shard does its durable part, as one record
//         -> of several: the leader's log has the intent; committed: it is decided
//         -> each shard: do (the rest of) its part -> answer
//     behind an intent: each part is committed -> the log says that it is finished -> each shard forgets that it has
//     done its part
//
// Between begin and the decision nothing of it is visible, and nothing can happen to what was set aside. A decision is
// never taken back. What a crash finds decided and not done is done by whoever recovers (recovery.cpp); so a part that
// is done behind an intent says so in its record. Thread: the shard's. Next files: server/channel/channel_steps.cpp,
// server/commit/joint_record.hpp.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "server/commit/joint_record.hpp"
#include "server/runtime/envelope.hpp"

namespace baton::runtime {

class ShardStore;

/// What a shard's broker does for its steps.
class StepHost {
public:
    StepHost() = default;
    StepHost(const StepHost&) = delete;
    StepHost& operator=(const StepHost&) = delete;
    virtual ~StepHost() = default;
    /// A channel of this shard, made if need be and allowed, and the record that made it (0: committed, or a memory
    /// channel).
    struct Place {
        ChannelId id{0};
        commit::Index made_at = 0;
    };
    [[nodiscard]] virtual Result<Place> place_of(const std::string& name, bool must_exist) = 0;
    /// One of the names is that of a channel that is being restored: the command comes again when it is there, or is
    /// not.
    [[nodiscard]] virtual bool waits(const StepCommand& command, const std::string& name) = 0;
    /// Null: it is gone.
    [[nodiscard]] virtual channel::Channel* channel_of(ChannelId id) = 0;
    virtual void channel_changed(ChannelId id) = 0;
    virtual void send_step(std::uint32_t shard, Envelope envelope) = 0;
    /// To a session of this shard, if it is there still.
    virtual void answer_step(channel::SessionId session, std::uint64_t request, std::error_code reason,
                             std::uint32_t section) = 0;
    [[nodiscard]] virtual ShardStore* step_store() = 0;  ///< Null: there are no durable channels.
    [[nodiscard]] virtual WallTime wall_now() const = 0;
};

class Steps {
public:
    Steps(std::uint32_t shard, std::uint32_t shard_count, StepHost& host) noexcept
        : shard_{shard}, shard_count_{shard_count}, host_{host} {}
    Steps(const Steps&) = delete;
    Steps& operator=(const Steps&) = delete;

    /// Answered once, while its session lives.
    void ask(std::shared_ptr<const StepRequest> request);
    void on(StepCommand& command);
    void on(StepAnswer& answer);
    /// Of this shard's log.
    void on_committed();
    void on_failed();
    /// Clock pulse: steps that have come twice are asked again.
    void tick();
    /// What a checkpoint of this shard has to say of steps.
    [[nodiscard]] commit::StepsState state() const;

private:
    enum class Phase : std::uint8_t {
        beginning,  ///< Every shard checks its part.
        repeating,  ///< The same step is under way, or may be: a later pulse begins anew.
        joining,    ///< The one shard with durable channels has submitted its part.
        deciding,   ///< The intent is submitted.
        doing,      ///< It is decided; every shard does its part.
        settling,   ///< It is answered; parts are on their way to the disk.
        finishing,  ///< The log will say so.
    };
    /// One that is led by this shard.
    struct Step {
        std::shared_ptr<const StepRequest> request;
        Phase phase = Phase::beginning;
        std::vector<std::uint32_t> shards;  ///< Those that have a part.
        std::uint32_t missing = 0;          ///< Answers.
        bool is_known = false;
        bool is_under_way = false;
        bool was_doubted = false;         ///< What it settles was not there, and it comes again: it is looked at once more.
        std::uint32_t pulses = 0;         ///< Repeating: that it lets pass.
        std::error_code error;
        std::uint32_t section = UINT32_MAX;  ///< Of the error.
        std::vector<StepTarget> targets;
        std::set<std::uint32_t> uncommitted;  ///< Shards whose durable part is on its way to the disk.
        std::vector<std::byte> intent;
        commit::Index index = 0;  ///< Of the intent, and later of its end.
    };
    /// This shard's part of one that any shard leads.
    struct Part {
        std::shared_ptr<const StepRequest> request;
        std::set<ChannelId> channels;
    };
    struct Waiting {
        commit::Index index = 0;
        std::uint32_t leader = 0;
        StepAnswer answer;
    };
    using Entry = std::map<channel::StepId, Step>::iterator;

    // The leader.
    void begin(Entry entry);
    void decide(Entry entry);
    void submit_intent(Entry entry);
    [[nodiscard]] std::vector<std::byte> make_intent(channel::StepId id, const Step& step) const;
    void do_parts(Entry entry);
    void done(Entry entry);
    void settled(Entry entry);
    void give_up(Entry entry, std::error_code reason, std::uint32_t section);
    void send(Entry entry, std::uint32_t shard, StepCommand::Phase phase);
    [[nodiscard]] std::vector<std::uint32_t> durable_shards(const Step& step) const;

    // A part.
    [[nodiscard]] StepAnswer answer_to(const StepCommand& command) const;
    void begin_part(StepCommand& command);
    [[nodiscard]] std::error_code begin_section(StepAnswer& answer, Part& part, const StepCommand& command,
                                                std::uint32_t section, commit::Index& made_at);
    void do_part(const StepCommand& command);
    void finish_channels(channel::StepId id, const Part& part, bool is_done, bool is_durable);
    void give_back(channel::StepId id);
    [[nodiscard]] bool is_mine(const StepSection& section) const;
    void answer_when_committed(commit::Index index, std::uint32_t leader, StepAnswer answer);

    const std::uint32_t shard_;
    const std::uint32_t shard_count_;
    StepHost& host_;
    std::uint64_t made_ = 0;
    std::map<channel::StepId, Step> steps_;
    std::map<channel::StepId, Part> parts_;
    std::set<channel::StepId> applied_;  ///< Parts that were done behind an intent that is not finished.
    std::vector<Waiting> waiting_;       ///< For this shard's log, in the order of their indexes.
};

}  // namespace baton::runtime
