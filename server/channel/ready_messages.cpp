#include "server/channel/ready_messages.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/message_rules.hpp"
#include "server/channel/subscription.hpp"

namespace baton::channel {

void ReadyMessages::set_mode(bool is_absorbing, std::string fair_by, TenantWeights weights) {
    is_absorbing_ = is_absorbing;
    if (fair_by == (fairness_ ? fairness_->by : std::string{})) {
        if (fairness_) {
            fairness_->weights = std::move(weights);
        }
        return;
    }
    const auto all = take_all();
    fairness_ = fair_by.empty() ? nullptr : std::make_unique<Fairness>(std::move(fair_by), std::move(weights));
    for (const Run& run : all) {
        put(run);
    }
}

// Plain messages and fresh ones share a priority: the lower offset goes first.
bool ReadyMessages::is_plain_before_fresh() const noexcept {
    return !plain_.empty() &&
           (is_absorbing_ || plain_.head().first < cursor_.offset() || log_.readable(cursor_) == 0);
}

std::uint64_t ReadyMessages::count_before_awaited() const noexcept {
    const std::uint64_t here = this->here();
    if (!fair_.empty() || !high_.empty()) {
        return here;
    }
    const Offset barrier = awaited_->in_place.empty() ? UINT64_MAX : awaited_->in_place.head().first;
    const bool is_plain_next = here > 0 && plain_.head().first < barrier;
    const bool is_fresh_next = !is_absorbing_ && cursor_.offset() < barrier;
    return (is_plain_next ? here : 0) + (is_fresh_next ? log_.readable(cursor_) : 0);
}

Run ReadyMessages::head() const noexcept {
    if (!fair_.empty()) {
        return fair_.begin()->second.head();
    }
    if (!high_.empty()) {
        return high_.begin()->second.head();
    }
    return is_plain_before_fresh() ? plain_.head() : log_.fresh_head(cursor_);
}

Run ReadyMessages::take(Cut cut) noexcept {
    if (!fair_.empty()) {
        taken_ -= cut.count;
        const auto lane = fair_.begin();
        const Run run = lane->second.take(cut);
        if (lane->second.empty()) {
            fair_.erase(lane);
        }
        return run;
    }
    if (!high_.empty()) {
        taken_ -= cut.count;
        const auto lane = high_.begin();
        const Run run = lane->second.take(cut);
        if (lane->second.empty()) {
            high_.erase(lane);
        }
        return run;
    }
    if (is_plain_before_fresh()) {
        taken_ -= cut.count;
        return plain_.take(cut);
    }
    return log_.take_fresh(cursor_, cut);
}

void ReadyMessages::put(const Run& run) {
    if (run.is_unseen) {
        return put_unseen(run);
    }
    if (!run.batch->is_resident) {
        return run.is_kept ? put_awaited(run) : put_late(run);
    }
    if (!fairness_ && (!run.batch->has_rules || (run.batch->flags & batch_has_properties) == 0)) {
        taken_ += run.count;
        return plain_.put(run);
    }
    Run rest = run;
    while (rest.count > 0) {
        put_one(rest.take_one());
    }
}

// The run is counted, and is to be put into one of the sets: one by one, because each may be in another batch of the block.
ReadyMessages::Awaited& ReadyMessages::await(const Run& run) {
    taken_ += run.count;
    log_.await(run.count);
    return awaited_.edit();
}

void ReadyMessages::put_awaited(Run run) {
    for (Awaited& awaited = await(run); run.count > 0;) {
        awaited.in_place.put_alone(run.take_one());
    }
}

void ReadyMessages::put_late(Run run) {
    Awaited& awaited = await(run);
    awaited.is_late_here = awaited.is_late_here || run.batch->is_resident;
    MessageLog::rest(*run.batch, run.count);
    while (run.count > 0) {
        awaited.late.put_alone(run.take_one());
    }
}

void ReadyMessages::put_unseen(Run message) {
    BATON_ASSERT(message.count == 1);
    message.is_unseen = true;
    MessageLog::rest(*message.batch, 1);
    await(message).unseen.put_alone(message);
}

Run ReadyMessages::take_unseen() {
    ReadySet& unseen = awaited_.edit().unseen;
    Run message = unseen.take({1, unseen.head().bytes});
    MessageLog::end_rest(*message.batch, 1);
    message.is_unseen = false;
    --taken_;
    awaited_taken(1);
    return message;
}

// They were taken out of the sets.
void ReadyMessages::awaited_taken(std::uint64_t count) noexcept {
    log_.await(-static_cast<std::int64_t>(count));
    if (awaited_->empty()) {
        awaited_.reset();
    }
}

void ReadyMessages::put_one(const Run& message) {
    taken_ += message.count;
    const Bytes properties = properties_of(message);
    const std::uint8_t priority = message.batch->has_rules ? rules_of(properties).priority : 0;
    if (fairness_) {
        const std::uint64_t tenant = number_of(tenant_of(properties, fairness_->by));
        fair_.try_emplace(priority, fairness_->weights).first->second.put(message, tenant);
    } else if (priority > 0) {
        high_[priority].put(message);
    } else {
        plain_.put(message);
    }
}

template <class Take>
std::optional<Run> ReadyMessages::take_from_sets(Take take) {
    std::optional<Run> taken = take(plain_);
    const auto try_lanes = [&](auto& lanes) {
        for (auto lane = lanes.begin(); !taken && lane != lanes.end(); ++lane) {
            taken = take(lane->second);
            if (taken && lane->second.empty()) {
                lanes.erase(lane);
                break;
            }
        }
    };
    try_lanes(high_);
    try_lanes(fair_);
    if (!taken && awaited_.is_made()) {
        taken = take(awaited_.edit().in_place);
        for (ReadySet* resting : {&awaited_.edit().late, &awaited_.edit().unseen}) {
            if (!taken && (taken = take(*resting))) {
                MessageLog::end_rest(*taken->batch, taken->count);
            }
        }
        awaited_taken(taken ? taken->count : 0);
    }
    taken_ -= taken ? taken->count : 0;
    return taken;
}

std::optional<Run> ReadyMessages::take_at(Offset offset) {
    return take_from_sets([offset](auto& set) { return set.take_at(offset); });
}

// Those of a fair channel apart.
template <class Visit>
void ReadyMessages::visit_sets(Visit visit) const {
    for (const ReadySet* set : {&plain_, &awaited_->in_place, &awaited_->late, &awaited_->unseen}) {
        visit(*set);
    }
    for (const auto& lane : high_) {
        visit(lane.second);
    }
}

std::optional<Run> ReadyMessages::oldest() const {
    std::optional<Run> oldest;
    const auto offer = [&](const Run& run) {
        oldest = !oldest || run.first < oldest->first ? std::optional{run} : oldest;
    };
    visit_sets([&](const ReadySet& set) { set.empty() ? void() : offer(set.head()); });
    for (const Run& run : fair_.empty() ? std::vector<Run>{} : runs(0, 1)) {
        offer(run);
    }
    log_.fresh(cursor_) > 0 ? offer(log_.fresh_head(cursor_)) : void();
    return oldest;
}

Offset ReadyMessages::newest_taken() const {
    Offset newest = 0;
    visit_sets([&](const ReadySet& set) {
        newest = set.empty() ? newest : std::max(newest, std::prev(set.runs().end())->second.end() - 1);
    });
    for (const auto& lane : fair_) {
        newest = std::max(newest, lane.second.newest());
    }
    return newest;
}

std::optional<Run> ReadyMessages::take_before(Offset end) {
    return take_from_sets([end](auto& set) { return set.take_before(end); });
}

std::vector<Run> ReadyMessages::runs(Offset from, std::size_t limit) const {
    RunMerge merge{from};
    visit_sets([&](const ReadySet& set) { merge.add(set.runs()); });
    for (const auto& lane : fair_) {
        lane.second.add_runs(merge);
    }
    return merge.take(limit);
}

void ReadyMessages::visit(const StoredBatch& batch, const std::function<void(const Run&)>& visitor) const {
    plain_.visit(batch.base, batch.end(), visitor);
    awaited_->late.visit(batch.base, batch.end(), visitor);
    awaited_->unseen.visit(batch.base, batch.end(), visitor);
    for (const auto& lane : high_) {
        lane.second.visit(batch.base, batch.end(), visitor);
    }
    if (!fair_.empty()) {
        visit_fair(batch, visitor);
    }
}

// There may be very many tenants: each message is looked for where it would be.
void ReadyMessages::visit_fair(const StoredBatch& batch, const std::function<void(const Run&)>& visitor) const {
    const bool has_properties = (batch.flags & batch_has_properties) != 0;
    auto* owner = const_cast<StoredBatch*>(&batch);  // As in every run.
    for (auto part = batch.part_from({}); !part.messages.empty(); part = batch.part_from(part.before)) {
        MessageCursor cursor{part.messages, has_properties};
        MessageView view;
        const std::uint32_t begin = part.before.bytes;
        while (cursor.next(view)) {
            const std::uint32_t end = begin + static_cast<std::uint32_t>(cursor.position());
            const Run one{.batch = owner,
                          .first = batch.base + part.before.count,
                          .count = 1,
                          .position = part.before.bytes,
                          .bytes = end - part.before.bytes};
            const auto lane = fair_.find(batch.has_rules ? rules_of(view.properties).priority : std::uint8_t{0});
            if (lane != fair_.end() && lane->second.has(number_of(tenant_of(view.properties, fairness_->by)), one.first)) {
                visitor(one);
            }
            part.before = {part.before.count + 1, end};
        }
    }
}

std::vector<Run> ReadyMessages::take_all() {
    std::vector<Run> all = runs();
    plain_ = {};
    high_.clear();
    fair_.clear();
    for (const ReadySet* resting : {&awaited_->late, &awaited_->unseen}) {
        for (const auto& entry : resting->runs()) {
            MessageLog::end_rest(*entry.second.batch, entry.second.count);
        }
    }
    log_.await(-static_cast<std::int64_t>(awaited_->messages()));
    awaited_.reset();
    taken_ = 0;
    return all;
}

void ReadyMessages::add_awaited(Offset first, Offset end, std::vector<Run*>& runs) {
    if (awaited_.is_made()) {
        awaited_.edit().in_place.add(first, end, runs);
        awaited_.edit().late.add(first, end, runs);
        awaited_.edit().unseen.add(first, end, runs);
    }
}

std::vector<Run> ReadyMessages::take_arrived(Offset first, Offset end) {
    std::vector<Run*> runs;
    add_awaited(first, end, runs);
    std::vector<Run> arrived;
    for (const Run* run : runs) {
        if (run->batch->is_resident && !run->is_unseen) {
            arrived.push_back(*run);
        }
    }
    take_awaited(arrived);
    return arrived;
}

void ReadyMessages::take_awaited(const std::vector<Run>& runs) noexcept {
    for (const Run& run : runs) {
        if (awaited_.edit().late.take_at(run.first)) {
            MessageLog::end_rest(*run.batch, 1);
        } else {
            static_cast<void>(awaited_.edit().in_place.take_at(run.first));
        }
    }
    taken_ -= runs.size();
    if (!runs.empty()) {
        awaited_taken(runs.size());
    }
}

std::vector<Run> ReadyMessages::take_late_here(std::uint64_t limit) {
    std::vector<Run> here;
    Awaited& awaited = awaited_.edit();
    awaited.is_late_here = false;
    const std::map<Offset, Run>& late = awaited.late.runs();
    for (auto at = late.begin(); at != late.end();) {
        const StoredBatch& batch = *at->second.batch;
        if (!batch.is_resident) {
            at = late.lower_bound(batch.block->ref.end);
        } else if (here.size() == limit) {
            awaited.is_late_here = true;
            break;
        } else {
            here.push_back(at++->second);
        }
    }
    take_awaited(here);
    return here;
}

void ReadyMessages::count_resting(Offset first, Offset end) const noexcept {
    for (const ReadySet* resting : {&awaited_->late, &awaited_->unseen}) {
        resting->visit(first, end, [](const Run& run) { MessageLog::rest(*run.batch, run.count); });
    }
}

}  // namespace baton::channel
