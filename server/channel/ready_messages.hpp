// What a subscription can give now, and in which order: by priority; within one, what is in its place in the log and what
// came back or was picked, by offset; or tenant by tenant where the channel is fair.
//
// In the ordinary case messages stay in the log until they are given. Where each has to be looked at (order by key,
// fairness, a filter) the subscription *absorbs* them first: only what it has put here is given.
// What is put here and is not in memory is *awaited*, one by one. What an administrator has retried keeps its place: until it has
// been read, nothing with a higher offset is given, unless it has a priority. What was due is *late*: the others go on. It rests
// (MessageLog::rest); so what is due when nobody wants anything can be put there, too, and may leave memory. So does one whose key
// has become free. What is to leave memory though it is ready (it has a time to live or a priority, it came back, or it lies
// between such messages) is *placed*: it rests, in its place among those of its priority, and is put with the others when its
// turn comes; in a fair channel, where it is, among those of its tenant. What a restart finds ready in a channel with order by key
// or that is fair is *unseen*: it is looked at with what is fresh, in the order of offsets, because its key or tenant has to be
// known first. It rests as well.
// One owner, the subscription. Next file: dispatcher.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/channel/fair_lane.hpp"
#include "server/channel/on_demand.hpp"
#include "server/channel/ready_set.hpp"

namespace baton::channel {

class ReadyMessages {
public:
    /// `log` outlives it. The cursor is not in the log yet.
    explicit ReadyMessages(MessageLog& log) noexcept : log_{log} {}
    ReadyMessages(const ReadyMessages&) = delete;
    ReadyMessages& operator=(const ReadyMessages&) = delete;

    [[nodiscard]] LogCursor& cursor() noexcept { return cursor_; }
    [[nodiscard]] const LogCursor& cursor() const noexcept { return cursor_; }

    /// Before anything is put. `fair_by` as in ChannelOptions; empty: not fair.
    void set_mode(bool is_absorbing, std::string fair_by, TenantWeights weights);
    [[nodiscard]] bool is_absorbing() const noexcept { return is_absorbing_; }
    [[nodiscard]] bool is_fair() const noexcept { return fairness_ != nullptr; }

    /// In memory; 0 exactly if there is nothing to give, otherwise perhaps more than there are.
    [[nodiscard]] std::uint64_t count() const noexcept {
        return taken_ == 0 ? (is_absorbing_ ? 0 : log_.readable(cursor_)) : count_in_order();
    }
    /// All that nobody holds, also what is on the disk or was not looked at yet.
    [[nodiscard]] std::uint64_t total() const noexcept { return taken_ + log_.fresh(cursor_); }
    /// Of those, the ones that are here and not in their place in the log.
    [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }
    /// Of those, the ones that are in memory and have been looked at.
    [[nodiscard]] std::uint64_t here() const noexcept { return taken_ - awaited_->messages() - placed_of_tenants(); }

    [[nodiscard]] Run head() const noexcept;
    /// The first messages of `head()`.
    [[nodiscard]] Run take(Cut cut) noexcept;
    /// Messages that the subscription holds and that can be given (again).
    void put(const Run& run);
    /// Removes and returns a message that is here, not in its place in the log.
    [[nodiscard]] std::optional<Run> take_at(Offset offset);
    /// Not in its place in the log, and looked at or at rest.
    [[nodiscard]] bool has(Offset offset) const noexcept;
    /// Of all, also those on the disk: the run that begins with the lowest offset; nothing if there are none.
    [[nodiscard]] std::optional<Run> oldest() const;
    /// The highest offset of those that are here and not in their place in the log; 0: there are none.
    [[nodiscard]] Offset newest_taken() const;
    /// Removes and returns some that are here and have offsets below `end`; nothing if there are none.
    [[nodiscard]] std::optional<Run> take_before(Offset end);
    /// Those that are here, in the order of offsets, from `from` on; the first `limit` of them.
    [[nodiscard]] std::vector<Run> runs(Offset from = 0, std::size_t limit = SIZE_MAX) const;
    /// Those of this batch that are here, in no order; of others with these offsets perhaps some that are late or unseen.
    void visit(const StoredBatch& batch, const std::function<void(const Run&)>& visitor) const;
    /// Removes them.
    [[nodiscard]] std::vector<Run> take_all();

    template <class Lane>
    using ByPriority = OnDemandMap<std::map<std::uint8_t, Lane, std::greater<>>>;
    /// Those that rest.
    struct Awaited {
        // Placed ones, perhaps in memory, of a channel that is not fair, and retried ones, which are not. None is empty.
        ByPriority<ReadySet> in_place;
        ReadySet late;
        ReadySet unseen;            // Perhaps in memory.
        bool is_late_here = false;  // Perhaps some of those are in memory.
        /// visit(set) of each.
        template <class Visit>
        void visit_sets(Visit visit) const {
            for (const auto& lane : in_place) {
                visit(lane.second);
            }
            visit(late);
            visit(unseen);
        }
        [[nodiscard]] bool empty() const noexcept { return in_place.empty() && late.empty() && unseen.empty(); }
        [[nodiscard]] std::uint64_t messages() const noexcept {
            std::uint64_t count = 0;
            visit_sets([&](const ReadySet& set) { count += set.messages(); });
            return count;
        }
        [[nodiscard]] bool has(Offset offset) const noexcept {
            bool is_here = false;
            visit_sets([&](const ReadySet& set) { is_here = is_here || set.has(offset); });
            return is_here;
        }
    };
    [[nodiscard]] const Awaited& awaited() const noexcept { return *awaited_; }
    /// Something rests, of those or of the tenants of a fair channel.
    [[nodiscard]] bool has_resting() const noexcept { return !awaited_->empty() || placed_of_tenants() > 0; }
    [[nodiscard]] bool is_resting(Offset offset) const noexcept;
    /// visit(lane) of the tenants of each priority, the highest first.
    template <class Visit>
    void visit_tenants(Visit visit) const {
        for (const auto& lane : fair_) {
            visit(lane.second);
        }
    }
    void add_resting(Offset first, Offset end, std::vector<Run*>& runs);
    /// Messages that can be given, whether they are in memory or not: they are late until take_late_here(), or until their blocks
    /// have been read.
    void put_late(Run run);
    [[nodiscard]] bool has_late_here() const noexcept { return awaited_->is_late_here; }
    /// Removes and returns late ones that are in memory, at most so many: has_late_here() says whether there may be more.
    [[nodiscard]] std::vector<Run> take_late_here(std::uint64_t limit);
    /// What can be given at once of this batch, which is in memory: how many, and removes them. Of a fair channel only the first.
    [[nodiscard]] std::uint64_t count_of(const StoredBatch& batch) const;
    [[nodiscard]] std::vector<Run> take_of(const StoredBatch& batch);
    /// One message that rests until its turn comes, of its priority and with the end of its time to live. In memory where the
    /// channel is fair.
    void place(Run message);
    /// Of a fair channel, all of the batch that can be given at once. prepare(message) says what place() has to know of it.
    void place_of(const StoredBatch& batch, const std::function<void(Run&)>& prepare);
    /// What comes next is placed, and is in memory.
    [[nodiscard]] bool has_placed_here() const noexcept;
    /// Removes and returns the first of those, so many messages and bytes at most, one at least. Not of a fair channel.
    [[nodiscard]] std::vector<Run> take_placed_here(std::uint64_t messages, std::uint64_t bytes);
    /// Of a fair channel: they can be given at once from now on. How many.
    std::uint64_t end_places(std::uint64_t messages, std::uint64_t bytes);
    /// One message that nobody has looked at since the restart.
    void put_unseen(Run message);
    [[nodiscard]] bool has_unseen() const noexcept { return !awaited_->unseen.empty(); }
    /// UINT64_MAX: there are none.
    [[nodiscard]] Offset first_unseen() const noexcept { return has_unseen() ? awaited_->unseen.head().first : UINT64_MAX; }
    /// The first of them is in memory.
    [[nodiscard]] bool has_unseen_here() const noexcept { return has_unseen() && awaited_->unseen.head().batch->is_resident; }
    /// Removes and returns that one.
    [[nodiscard]] Run take_unseen();
    /// Batches with these messages have come into memory: what is late or unseen rests there.
    void count_resting(Offset first, Offset end) const noexcept;
    /// Removes and returns the awaited messages first .. end - 1 that are in memory now, but for those that are unseen or placed.
    [[nodiscard]] std::vector<Run> take_arrived(Offset first, Offset end);

private:
    [[nodiscard]] bool is_plain_before_fresh() const noexcept;
    [[nodiscard]] std::uint64_t count_in_order() const noexcept;
    [[nodiscard]] bool is_placed_before(std::uint8_t priority, Offset offset) const noexcept;
    [[nodiscard]] std::uint64_t placed_of_tenants() const noexcept {
        std::uint64_t placed = 0;
        visit_tenants([&](const FairLane& lane) { placed += lane.placed(); });
        return placed;
    }
    void put_of_tenant(const Run& message, Bytes properties, std::uint8_t priority);
    [[nodiscard]] Awaited& await(const Run& run);
    void put_awaited(Run run);
    void end_lane(ByPriority<ReadySet>::iterator lane);
    void awaited_taken(std::uint64_t count) noexcept;
    void take_awaited(const std::vector<Run>& runs) noexcept;
    void put_one(const Run& message);
    template <class Visit>
    void visit_sets(Visit visit) const;
    /// take(set) returns what it took out of one; the first that has any.
    template <class Take>
    [[nodiscard]] std::optional<Run> take_from_sets(Take take);

    MessageLog& log_;
    LogCursor cursor_;
    bool is_absorbing_ = false;
    struct Fairness {
        std::string by;
        TenantWeights weights;
    };
    std::unique_ptr<Fairness> fairness_;  // Null: not fair.
    std::uint64_t taken_ = 0;
    ReadySet plain_;                                             // Priority 0.
    ByPriority<ReadySet> high_;  // Others; none is empty.
    ByPriority<FairLane> fair_;  // Instead of both where the channel is fair.
    OnDemand<Awaited> awaited_;  // Not made: there are none.
};

}  // namespace baton::channel
