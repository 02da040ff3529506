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

// Plain messages and fresh ones share a priority: the lower offset goes first, wherever it is.
bool ReadyMessages::is_plain_before_fresh() const noexcept {
    return !plain_.empty() && (plain_.head().first < cursor_.offset() || log_.fresh(cursor_) == 0);
}

// Nothing if what comes next is not in memory.
std::uint64_t ReadyMessages::count_in_order() const noexcept {
    const std::uint64_t here = this->here();
    if (!fair_.empty()) {
        return fair_.begin()->second.head().is_placed ? 0 : here;
    }
    if (!high_.empty()) {
        return is_placed_before(high_.begin()->first, high_.begin()->second.head().first) ? 0 : here;
    }
    const std::uint64_t readable = is_absorbing_ ? 0 : log_.readable(cursor_);
    if (is_plain_before_fresh()) {
        return is_placed_before(0, plain_.head().first) ? 0 : here + readable;
    }
    return readable == 0 || is_placed_before(0, cursor_.offset()) ? 0 : here + readable;
}

// One that rests comes before the next one here, which has this priority and offset.
bool ReadyMessages::is_placed_before(std::uint8_t priority, Offset offset) const noexcept {
    if (awaited_->in_place.empty()) {
        return false;
    }
    const auto& [highest, lane] = *awaited_->in_place.begin();
    return highest > priority || (highest == priority && lane.head().first < offset);
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
    if (run.is_placed) {
        return is_fair() && !run.batch->is_resident ? put_unseen(run) : place(run);
    }
    if (!run.batch->is_resident) {
        return run.is_kept ? put_awaited(run) : put_late(run);
    }
    if (!is_fair() && (!run.batch->has_rules || (run.batch->flags & batch_has_properties) == 0)) {
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
    MessageLog::rest(*run.batch, run.count);
    for (ReadySet& lane = await(run).in_place[std::uint8_t{0}]; run.count > 0;) {
        lane.put_alone(run.take_one());
    }
}

void ReadyMessages::place(Run message) {
    BATON_ASSERT(message.count == 1);
    message.is_placed = true;
    if (is_fair()) {
        ++taken_;
        log_.await(1);
        return put_of_tenant(message, properties_of(message), message.priority);
    }
    MessageLog::rest(*message.batch, 1);
    await(message).in_place[message.priority].put_alone(message);
}

std::uint64_t ReadyMessages::count_of(const StoredBatch& batch) const {
    std::uint64_t count = 0;
    const auto add = [&](const Run& run) { count += run.count; };
    plain_.visit(batch.base, batch.end(), add);
    for (const auto& lane : high_) {
        lane.second.visit(batch.base, batch.end(), add);
    }
    visit_tenants([&](const FairLane& lane) {
        lane.visit(batch.base, batch.end(), [&](const Run& run) { count += run.is_placed ? 0 : 1; });
    });
    return count;
}

void ReadyMessages::place_of(const StoredBatch& batch, const std::function<void(Run&)>& prepare) {
    for (auto& lane : fair_) {
        log_.await(static_cast<std::int64_t>(lane.second.place(batch.base, batch.end(), prepare)));
    }
}

std::uint64_t ReadyMessages::end_places(std::uint64_t messages, std::uint64_t bytes) {
    const std::uint64_t count = fair_.begin()->second.end_places(messages, bytes);
    log_.await(-static_cast<std::int64_t>(count));
    return count;
}

std::vector<Run> ReadyMessages::take_of(const StoredBatch& batch) {
    std::vector<Run> taken;
    plain_.take_from(batch.base, batch.end(), taken);
    for (auto lane = high_.begin(); lane != high_.end();) {
        lane->second.take_from(batch.base, batch.end(), taken);
        lane = lane->second.empty() ? high_.erase(lane) : std::next(lane);
    }
    for (const Run& run : taken) {
        taken_ -= run.count;
    }
    return taken;
}

bool ReadyMessages::has_placed_here() const noexcept {
    if (!fair_.empty()) {
        const Run next = fair_.begin()->second.head();
        return next.is_placed && next.batch->is_resident;
    }
    if (awaited_->in_place.empty()) {
        return false;
    }
    const auto& [priority, lane] = *awaited_->in_place.begin();
    const Run& next = lane.head();
    const bool is_behind_fresh =  // Which has to be looked at, and perhaps to be read for that.
        is_absorbing_ && priority == 0 && log_.fresh(cursor_) > 0 && cursor_.offset() < next.first;
    return next.is_placed && next.batch->is_resident && !is_behind_fresh;
}

std::vector<Run> ReadyMessages::take_placed_here(std::uint64_t messages, std::uint64_t bytes) {
    std::vector<Run> here;
    const auto lane = awaited_.edit().in_place.begin();
    ReadySet& set = lane->second;
    while (!set.empty() && set.head().is_placed && set.head().batch->is_resident && here.size() < messages && bytes > 0) {
        Run& run = here.emplace_back(set.take({1, set.head().bytes}));
        bytes -= std::min<std::uint64_t>(bytes, run.bytes);
        MessageLog::end_rest(*run.batch, 1);
        run.end_placed();
    }
    end_lane(lane);
    taken_ -= here.size();
    awaited_taken(here.size());
    return here;
}

void ReadyMessages::end_lane(ByPriority<ReadySet>::iterator lane) {
    if (lane->second.empty()) {
        awaited_.edit().in_place.erase(lane);
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
    message.is_placed ? message.end_placed() : void();
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
    if (is_fair()) {
        put_of_tenant(message, properties, priority);
    } else if (priority > 0) {
        high_[priority].put(message);
    } else {
        plain_.put(message);
    }
}

void ReadyMessages::put_of_tenant(const Run& message, Bytes properties, std::uint8_t priority) {
    const std::uint64_t tenant = number_of(tenant_of(properties, fairness_->by));
    fair_.try_emplace(priority, fairness_->weights).first->second.put(message, tenant);
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
    if (taken && taken->is_placed) {
        log_.await(-1);
    }
    if (!taken && awaited_.is_made()) {
        try_lanes(awaited_.edit().in_place);
        for (ReadySet* resting : {&awaited_.edit().late, &awaited_.edit().unseen}) {
            taken = taken ? taken : take(*resting);
        }
        if (taken) {
            MessageLog::end_rest(*taken->batch, taken->count);
            awaited_taken(taken->count);
        }
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
    visit(plain_);
    awaited_->visit_sets(visit);
    for (const auto& lane : high_) {
        visit(lane.second);
    }
}

bool ReadyMessages::has(Offset offset) const noexcept {
    bool is_here = false;
    visit_sets([&](const ReadySet& set) { is_here = is_here || set.has(offset); });
    visit_tenants([&](const FairLane& lane) { is_here = is_here || lane.has(offset); });
    return is_here;
}

bool ReadyMessages::is_resting(Offset offset) const noexcept {
    bool rests = awaited_->has(offset);
    visit_tenants([&](const FairLane& lane) {
        lane.visit(offset, offset + 1, [&](const Run& run) { rests = rests || run.is_placed; });
    });
    return rests;
}

std::optional<Run> ReadyMessages::oldest() const {
    std::optional<Run> oldest;
    const auto offer = [&](const Run& run) {
        oldest = !oldest || run.first < oldest->first ? std::optional{run} : oldest;
    };
    visit_sets([&](const ReadySet& set) { set.empty() ? void() : offer(set.head()); });
    visit_tenants([&](const FairLane& lane) { offer(lane.oldest()); });
    log_.fresh(cursor_) > 0 ? offer(log_.fresh_head(cursor_)) : void();
    return oldest;
}

Offset ReadyMessages::newest_taken() const {
    Offset newest = 0;
    visit_sets([&](const ReadySet& set) {
        newest = set.empty() ? newest : std::max(newest, std::prev(set.runs().end())->second.end() - 1);
    });
    visit_tenants([&](const FairLane& lane) { newest = std::max(newest, lane.newest()); });
    return newest;
}

std::optional<Run> ReadyMessages::take_before(Offset end) {
    return take_from_sets([end](auto& set) { return set.take_before(end); });
}

std::vector<Run> ReadyMessages::runs(Offset from, std::size_t limit) const {
    RunMerge merge{from};
    visit_sets([&](const ReadySet& set) { merge.add(set.runs()); });
    visit_tenants([&](const FairLane& lane) { lane.add_runs(merge); });
    return merge.take(limit);
}

void ReadyMessages::visit(const StoredBatch& batch, const std::function<void(const Run&)>& visitor) const {
    visit_sets([&](const ReadySet& set) { set.visit(batch.base, batch.end(), visitor); });
    visit_tenants([&](const FairLane& lane) { lane.visit(batch.base, batch.end(), visitor); });
}

std::vector<Run> ReadyMessages::take_all() {
    std::vector<Run> all = runs();
    visit_tenants([&](const FairLane& lane) {
        log_.await(-static_cast<std::int64_t>(lane.placed()));
        lane.visit(0, UINT64_MAX, [](const Run& run) { run.is_placed ? MessageLog::end_rest(*run.batch, 1) : void(); });
    });
    plain_ = {};
    high_.clear();
    fair_.clear();
    awaited_->visit_sets([](const ReadySet& resting) {
        for (const auto& entry : resting.runs()) {
            MessageLog::end_rest(*entry.second.batch, entry.second.count);
        }
    });
    log_.await(-static_cast<std::int64_t>(awaited_->messages()));
    awaited_.reset();
    taken_ = 0;
    return all;
}

void ReadyMessages::add_resting(Offset first, Offset end, std::vector<Run*>& runs) {
    for (auto& lane : fair_) {
        lane.second.add_placed(first, end, runs);
    }
    if (awaited_.is_made()) {
        for (auto& lane : awaited_.edit().in_place) {
            lane.second.add(first, end, runs);
        }
        awaited_.edit().late.add(first, end, runs);
        awaited_.edit().unseen.add(first, end, runs);
    }
}

std::vector<Run> ReadyMessages::take_arrived(Offset first, Offset end) {
    std::vector<Run*> runs;
    add_resting(first, end, runs);
    std::vector<Run> arrived;
    for (const Run* run : runs) {
        if (run->batch->is_resident && !run->is_unseen && !run->is_placed) {
            arrived.push_back(*run);
        }
    }
    take_awaited(arrived);
    return arrived;
}

void ReadyMessages::take_awaited(const std::vector<Run>& runs) noexcept {
    for (const Run& run : runs) {
        MessageLog::end_rest(*run.batch, 1);
        if (!awaited_.edit().late.take_at(run.first)) {
            const auto retried = awaited_.edit().in_place.find(std::uint8_t{0});
            static_cast<void>(retried->second.take_at(run.first));
            end_lane(retried);
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
    visit_tenants([&](const FairLane& lane) {
        lane.visit(first, end, [](const Run& run) { run.is_placed ? MessageLog::rest(*run.batch, 1) : void(); });
    });
    awaited_->visit_sets([&](const ReadySet& resting) {
        resting.visit(first, end, [](const Run& run) { MessageLog::rest(*run.batch, run.count); });
    });
}

}  // namespace baton::channel
