#include "server/runtime/steps.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/durable_records.hpp"
#include "server/channel/errc.hpp"
#include "server/runtime/placement.hpp"
#include "server/runtime/shard_store.hpp"

namespace baton::runtime {

using channel::StepId;

namespace {

constexpr unsigned leader_shift = 48;

std::uint32_t leader_of(StepId id) noexcept {
    return static_cast<std::uint32_t>(id >> leader_shift);
}

/// Pulses after which one that was under way when this one came has been seen or is done.
constexpr std::uint32_t pulses_of_doubt = 10;

/// It was sent before, by a connection that is gone: then it names no links.
bool comes_again(const StepRequest& request) noexcept {
    return std::ranges::any_of(request.sections, [](const StepSection& section) {
        return !section.ranges.empty() && section.link.link == 0;
    });
}

}  // namespace

// --- The leader ------------------------------------------------------------------------------------------------------

bool Steps::is_mine(const StepSection& section) const {
    return section.shard(shard_count_) == shard_;
}

void Steps::send(Entry entry, std::uint32_t shard, StepCommand::Phase phase) {
    host_.send_step(shard, StepCommand{phase, entry->second.phase != Phase::joining && !entry->second.intent.empty(),
                                       entry->first, entry->second.request});
}

void Steps::ask(std::shared_ptr<const StepRequest> request) {
    const StepId id = (static_cast<std::uint64_t>(shard_) << leader_shift) | ++made_;
    const auto entry = steps_.emplace(id, Step{}).first;
    Step& step = entry->second;
    step.request = std::move(request);
    for (const StepSection& section : step.request->sections) {
        const std::uint32_t shard = section.shard(shard_count_);
        if (std::ranges::find(step.shards, shard) == step.shards.end()) {
            step.shards.push_back(shard);
        }
    }
    begin(entry);
}

void Steps::begin(Entry entry) {
    Step& step = entry->second;
    step.phase = Phase::beginning;
    step.missing = static_cast<std::uint32_t>(step.shards.size());
    step.is_under_way = false;
    step.error = {};
    step.section = UINT32_MAX;
    step.targets.clear();
    const auto shards = step.shards;  // Answers of this shard come at once, and can end the step.
    for (const std::uint32_t shard : shards) {
        send(entry, shard, StepCommand::Phase::begin);
    }
}

void Steps::on(StepAnswer& answer) {
    const auto entry = steps_.find(answer.id);
    if (entry == steps_.end()) {
        return;
    }
    Step& step = entry->second;
    if (answer.phase == StepCommand::Phase::begin) {
        step.is_known = step.is_known || answer.reason == channel::Errc::step_known;
        step.is_under_way = step.is_under_way || answer.reason == channel::Errc::step_under_way;
        if (answer.reason && (!step.error || answer.section < step.section)) {
            step.error = answer.reason;
            step.section = answer.section;
        }
        step.targets.insert(step.targets.end(), answer.targets.begin(), answer.targets.end());
        if (--step.missing == 0) {
            decide(entry);
        }
    } else if (answer.reason) {
        host_.answer_step(step.request->session, step.request->request, answer.reason, UINT32_MAX);
        steps_.erase(entry);
    } else if (answer.is_committed) {
        step.uncommitted.erase(answer.shard);
        if (step.phase == Phase::joining) {
            do_parts(entry);
        } else if (step.phase == Phase::settling && step.uncommitted.empty()) {
            settled(entry);
        }
    } else if (--step.missing == 0) {
        done(entry);
    }
}

std::vector<std::uint32_t> Steps::durable_shards(const Step& step) const {
    std::vector<std::uint32_t> shards;
    for (const StepTarget& target : step.targets) {
        shards.push_back(target.shard);
    }
    std::ranges::sort(shards);
    shards.erase(std::ranges::unique(shards).begin(), shards.end());
    return shards;
}

void Steps::decide(Entry entry) {
    Step& step = entry->second;
    if (step.is_known) {
        return give_up(entry, {}, UINT32_MAX);
    }
    // The first one may not have come to all shards when this one did.
    const bool is_doubtful = !step.was_doubted && step.error == channel::Errc::lost_lease && comes_again(*step.request);
    if (step.is_under_way || is_doubtful) {
        for (const std::uint32_t shard : step.shards) {
            send(entry, shard, StepCommand::Phase::give_back);
        }
        step.phase = Phase::repeating;
        step.was_doubted = step.was_doubted || is_doubtful;
        step.pulses = is_doubtful ? pulses_of_doubt : 0;
        return;
    }
    if (step.error) {
        return give_up(entry, step.error, step.section);
    }
    const auto durable = durable_shards(step);
    if (durable.empty()) {
        return do_parts(entry);
    }
    if (durable.size() > 1) {
        return submit_intent(entry);
    }
    step.phase = Phase::joining;
    step.uncommitted = {durable.front()};
    send(entry, durable.front(), StepCommand::Phase::do_durable);
}

// What goes into it is on no disk yet; that the channels are there is.
void Steps::submit_intent(Entry entry) {
    Step& step = entry->second;
    ShardStore& store = *host_.step_store();
    if (store.condition() != commit::Condition::open) {
        return give_up(
            entry,
            store.condition() == commit::Condition::full ? channel::Errc::disk_full : channel::Errc::storage_failed,
            UINT32_MAX);
    }
    step.intent = make_intent(entry->first, step);
    step.phase = Phase::deciding;
    step.index = store.log().submit(commit::shard_stream, step.intent, {}, commit::Urgency::now);
    const auto durable = durable_shards(step);
    step.uncommitted = {durable.begin(), durable.end()};
}

// As records of the channels, except that offsets are not known before they are applied.
std::vector<std::byte> Steps::make_intent(StepId id, const Step& step) const {
    commit::RecordGatherer gatherer;
    for (const StepTarget& target : step.targets) {
        const StepSection& section = step.request->sections[target.section];
        std::vector<std::byte> head;
        Bytes messages;
        if (section.ranges.empty()) {
            BatchHeader header = *decode_batch_header(section.batch.bytes());
            header.base_offset = 1;
            header.time_us = host_.wall_now().us;
            messages = messages_of(section.batch.bytes());
            encode(channel::PublishRecord{.header = header,
                                          .producer = step.request->producer,
                                          .last_sequence = step.request->number,
                                          .messages{}},
                   head);
        } else {
            channel::ProgressRecord record{.reader = target.reader, .cursor = 1, .started{}, .entries{}};
            for (const channel::SettleRange& range : section.ranges) {
                record.entries.push_back({.first = range.first,
                                          .end = range.first + range.count,
                                          .kind = channel::ReaderEntryKind::settled,
                                          .note{}});
            }
            encode(record, head);
        }
        gatherer.add({.stream = target.stream, .number = 0, .shard = target.shard, .body = head}, messages);
    }
    return gatherer.take(commit::ShardRecordType::intent, id);
}

// Decided. Durable parts that were done first have nothing left to do then.
void Steps::do_parts(Entry entry) {
    Step& step = entry->second;
    step.missing = static_cast<std::uint32_t>(step.shards.size());
    step.phase = Phase::doing;
    const auto shards = step.shards;
    for (const std::uint32_t shard : shards) {
        send(entry, shard, StepCommand::Phase::do_rest);
    }
}

void Steps::done(Entry entry) {
    Step& step = entry->second;
    host_.answer_step(step.request->session, step.request->request, {}, UINT32_MAX);
    if (step.intent.empty()) {
        steps_.erase(entry);
        return;
    }
    step.phase = Phase::settling;
    if (step.uncommitted.empty()) {
        settled(entry);
    }
}

// Nobody waits for that: until it is on the disk, a crash finds that every part was done.
void Steps::settled(Entry entry) {
    Step& step = entry->second;
    commit::RecordGatherer gatherer;
    step.phase = Phase::finishing;
    step.index = host_.step_store()->log().submit(commit::shard_stream,
                                                  gatherer.take(commit::ShardRecordType::finished, entry->first), {},
                                                  commit::Urgency::relaxed);
    step.request.reset();
    step.intent.clear();
}

void Steps::give_up(Entry entry, std::error_code reason, std::uint32_t section) {
    Step& step = entry->second;
    for (const std::uint32_t shard : step.shards) {
        send(entry, shard, StepCommand::Phase::give_back);
    }
    host_.answer_step(step.request->session, step.request->request, reason, section);
    steps_.erase(entry);
}

void Steps::tick() {
    std::vector<StepId> again;
    for (auto& [id, step] : steps_) {
        if (step.phase == Phase::repeating && step.pulses-- == 0) {
            again.push_back(id);
        }
    }
    for (const StepId id : again) {
        begin(steps_.find(id));
    }
}

commit::StepsState Steps::state() const {
    commit::StepsState state;
    state.applied.assign(applied_.begin(), applied_.end());
    for (const auto& [id, step] : steps_) {
        if (!step.intent.empty()) {
            state.intents.push_back(step.intent);
        }
    }
    return state;
}

// --- A part ----------------------------------------------------------------------------------------------------------

void Steps::on(StepCommand& command) {
    switch (command.phase) {
        case StepCommand::Phase::begin:
            return begin_part(command);
        case StepCommand::Phase::give_back:
            return give_back(command.id);
        case StepCommand::Phase::do_durable:
        case StepCommand::Phase::do_rest:
            return do_part(command);
        case StepCommand::Phase::forget:
            applied_.erase(command.id);
            return;
    }
}

StepAnswer Steps::answer_to(const StepCommand& command) const {
    StepAnswer answer;
    answer.phase = command.phase;
    answer.shard = shard_;
    answer.id = command.id;
    return answer;
}

void Steps::begin_part(StepCommand& command) {
    for (const StepSection& section : command.request->sections) {
        if (is_mine(section) && section.ranges.empty() && host_.waits(command, section.name)) {
            return;
        }
    }
    StepAnswer answer = answer_to(command);
    Part part{.request = command.request, .channels{}};
    commit::Index made_at = 0;
    // Messages first: they know whether the step was done before.
    for (const bool is_settling : {false, true}) {
        for (std::uint32_t at = 0; at < command.request->sections.size() && !answer.reason; ++at) {
            const StepSection& section = command.request->sections[at];
            if (is_mine(section) && section.ranges.empty() != is_settling) {
                answer.reason = begin_section(answer, part, command, at, made_at);
                answer.section = answer.reason ? at : UINT32_MAX;
            }
        }
    }
    parts_.insert_or_assign(command.id, std::move(part));
    if (answer.reason) {
        give_back(command.id);
    }
    // A channel that was made for it is there after a crash, or nothing of the step is.
    answer_when_committed(answer.reason ? 0 : made_at, leader_of(command.id), std::move(answer));
}

std::error_code Steps::begin_section(StepAnswer& answer, Part& part, const StepCommand& command, std::uint32_t at,
                                     commit::Index& made_at) {
    const StepSection& section = command.request->sections[at];
    if (!section.ranges.empty()) {
        channel::Channel* channel = host_.channel_of(section.channel.id);
        if (channel == nullptr) {
            return channel::Errc::lost_lease;
        }
        std::optional<channel::ReaderId> noted;
        if (const auto refused = channel->begin_step(command.id, section.link, section.ranges, noted)) {
            return refused;
        }
        part.channels.insert(section.channel.id);
        if (noted) {
            answer.targets.push_back({at, shard_, channel->stream(), *noted});
        }
        return {};
    }
    const auto place = host_.place_of(section.name, section.must_exist);
    if (!place) {
        return place.error().code;
    }
    channel::Channel& channel = *host_.channel_of(place->id);
    if (const auto refused =
            channel.begin_step(command.id, {command.request->producer, command.request->number, section.batch})) {
        return refused;
    }
    part.channels.insert(place->id);
    if (channel.is_durable()) {
        answer.targets.push_back({at, shard_, channel.stream(), channel::queue_reader});
        made_at = std::max(made_at, place->made_at);
    }
    return {};
}

void Steps::finish_channels(StepId id, const Part& part, bool is_done, bool is_durable) {
    for (const ChannelId channel_id : part.channels) {
        channel::Channel* channel = host_.channel_of(channel_id);
        if (channel == nullptr || channel->is_durable() != is_durable) {
            continue;
        }
        channel->finish_step(id, is_done);
        if (is_durable && is_done && channel->has_notes()) {
            channel->write_notes();
        }
        host_.channel_changed(channel_id);
    }
}

void Steps::give_back(StepId id) {
    const auto node = parts_.extract(id);
    if (!node.empty()) {
        finish_channels(id, node.mapped(), false, true);
        finish_channels(id, node.mapped(), false, false);
    }
}

void Steps::do_part(const StepCommand& command) {
    const auto found = parts_.find(command.id);
    BATON_ASSERT(found != parts_.end());
    const Part& part = found->second;
    StepAnswer answer = answer_to(command);
    const bool is_joining = command.phase == StepCommand::Phase::do_durable;
    const bool is_durable = std::ranges::any_of(part.channels, [&](ChannelId id) {
        const auto* channel = host_.channel_of(id);
        return channel != nullptr && channel->is_durable();
    });
    commit::Index index = 0;
    if (is_joining || command.has_intent) {
        ShardStore* store = host_.step_store();
        if (store != nullptr) {
            const bool is_told = command.has_intent && is_durable;
            store->log().begin_joint();
            finish_channels(command.id, part, true, true);
            index = store->log().end_joint(is_told ? command.id : 0);
            is_told ? static_cast<void>(applied_.insert(command.id)) : void();
        }
    }
    if (!is_joining) {
        finish_channels(command.id, part, true, false);
        parts_.erase(found);
        host_.send_step(leader_of(command.id), answer);
    }
    if (is_joining || command.has_intent) {
        answer.is_committed = true;
        answer_when_committed(index, leader_of(command.id), std::move(answer));
    }
}

// --- The log of this shard -------------------------------------------------------------------------------------------

void Steps::answer_when_committed(commit::Index index, std::uint32_t leader, StepAnswer answer) {
    if (index == 0 || index <= host_.step_store()->log().committed()) {
        return host_.send_step(leader, std::move(answer));
    }
    waiting_.push_back({index, leader, std::move(answer)});
}

void Steps::on_committed() {
    ShardStore* store = host_.step_store();
    const commit::Index committed = store->log().committed();
    std::vector<Waiting> ready;
    std::erase_if(waiting_, [&](Waiting& waiting) {
        const bool is_ready = waiting.index <= committed;
        is_ready ? ready.push_back(std::move(waiting)) : void();
        return is_ready;
    });
    for (Waiting& waiting : ready) {
        host_.send_step(waiting.leader, std::move(waiting.answer));
    }
    std::vector<StepId> decided;
    for (auto& [id, step] : steps_) {
        if ((step.phase == Phase::deciding || step.phase == Phase::finishing) && step.index <= committed) {
            decided.push_back(id);
        }
    }
    for (const StepId id : decided) {
        const auto entry = steps_.find(id);
        if (entry->second.phase == Phase::deciding) {
            do_parts(entry);
            continue;
        }
        for (const std::uint32_t shard : entry->second.shards) {
            send(entry, shard, StepCommand::Phase::forget);
        }
        steps_.erase(entry);
    }
}

// What was submitted has an unknown outcome, and nothing of it can be given back: it may be on the disk.
void Steps::on_failed() {
    for (Waiting& waiting : std::exchange(waiting_, {})) {
        if (waiting.answer.phase != StepCommand::Phase::do_rest) {
            waiting.answer.reason = channel::Errc::storage_failed;
            host_.send_step(waiting.leader, std::move(waiting.answer));
        }
    }
    for (const auto& [id, step] : steps_) {
        if (step.phase == Phase::deciding) {
            host_.answer_step(step.request->session, step.request->request, channel::Errc::storage_failed, UINT32_MAX);
        }
    }
    std::erase_if(steps_, [](const auto& entry) { return entry.second.phase == Phase::deciding; });
}

}  // namespace baton::runtime
