// Durable channels of every kind with every rule (retry, reject, attempts, delay, TTL, priority, order by key, fairness, ids,
// named subscriptions, retention, compaction) under random operations, with blocks that move to segments and out of memory. At
// moments when everything is noted the whole of the channel is written down; a crash then leaves an older saved state and the log
// up to one of these moments, and what a restart makes of that must be what was written down. Whatever is left at the end is given.
// A failure prints its seed and the operations before it: BATON_MODEL_SEED=n repeats it.
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"
#include "common/base/properties.hpp"
#include "server/channel/block_copy.hpp"
#include "server/channel/key_filter.hpp"
#include "server/channel/message_rules.hpp"
#include "tests/unit/channel/channel_world.hpp"
#include "tests/unit/channel/fake_commit_log.hpp"
#include "tests/unit/channel/seeds.hpp"
#include "tests/unit/channel/stepwise_restore.hpp"

namespace baton::channel::test {
namespace {

using std::chrono::milliseconds;

constexpr commit::StreamId stream{5};
constexpr WallTime never{INT64_MAX};

/// One message of one reader.
struct Seen {
    std::string text;
    MessageState state{};
    std::uint32_t attempt = 0;
    WallTime due{};
    std::string note;
    bool is_started = false;
    bool is_wanted = true;         // By the filter. It is asked as late as possible.
    WallTime expires = never;      // By its time to live, or the age that its channel allows.
    bool operator==(const Seen& other) const {
        return text == other.text && state == other.state && attempt == other.attempt && due == other.due && note == other.note;
    }
};

std::string to_text(const Seen& seen) {
    const char* states[] = {"ready", "delayed", "in flight", "quarantined"};
    return seen.text + " " + states[static_cast<int>(seen.state)] + " attempt " + std::to_string(seen.attempt) + " due " +
           std::to_string(seen.due.us % 1'000'000'000) + " " + seen.note;
}

/// All that must survive.
struct Snapshot {
    std::map<std::string, std::map<Offset, Seen>> readers;
    std::map<std::string, std::string> settings;
    std::map<std::string, std::uint64_t> limits;  // Of their backlogs; 0: none.
    std::map<Offset, WallTime> kept;  // Of a stream: what retention has left, and when each came.
    Offset next_offset = 1;
    std::vector<ChannelState::KnownId> ids;
    WallTime at{};
};

class RecoveryRun {
public:
    RecoveryRun(Prng prng, Reached& reached)
        : prng_{prng}, reached_{reached}, is_plain_{prng_.chance(1, 3)}, options_{random_options()} {
        make();
        channel_->submit_settings();
        attach_sender();
    }

    void run() {
        for (int life = 0; life < 4 && !failed(); ++life) {
            for (std::uint64_t i = prng_.range(1, 200); i > 0 && !failed(); --i) {
                step();
                check_order();
                pack();
                if (prng_.chance(1, 6)) {
                    end_turn();
                }
            }
            if (!failed()) {
                crash();
            }
        }
        if (!failed()) {
            drain();
        }
        if (failed()) {
            std::string all;
            for (const std::string& line : trace_) {
                all += line + "\n";
            }
            ADD_FAILURE() << "operations:\n" << all;
        }
    }

private:
    static bool failed() { return testing::Test::HasFailure(); }
    void trace(std::string line) { trace_.push_back(std::move(line)); }

    ChannelOptions random_options() {
        ChannelOptions options;
        options.is_durable = true;
        options.kind = static_cast<Kind>(prng_.below(3));
        options.messages_max = prng_.chance(1, 3) ? prng_.range(5, 30) : 1'000;
        options.overflow = prng_.chance(1, 2) ? Overflow::drop_oldest : Overflow::block;
        options.attempts_max = static_cast<std::uint32_t>(prng_.below(4));
        options.quarantines_expired = prng_.chance(1, 2);
        options.is_ordered_by_key = prng_.chance(1, 3);
        options.fair_by = prng_.chance(1, 4) ? "key" : "";
        options.dedupe_window = prng_.chance(1, 2) ? Duration{std::chrono::seconds{10}} : Duration{};
        options.lease = prng_.chance(1, 3) ? milliseconds{500} : milliseconds{30'000};
        options.age_max = prng_.chance(1, 4) ? milliseconds{prng_.range(1'000, 9'000)} : milliseconds{0};
        has_keys_ = !is_plain_ || options.is_ordered_by_key || (options.kind == Kind::stream && prng_.chance(2, 3));
        options.is_compacted = options.kind == Kind::stream && prng_.chance(2, 3);
        options.tombstone_age = milliseconds{prng_.range(0, 5'000)};
        if (options.is_compacted && prng_.chance(2, 3)) {
            options.dedupe_window = {};
        }
        return options;
    }

    // --- Operations ------------------------------------------------------------------------------------------------------

    void step() {
        const std::uint64_t dice = prng_.below(100);
        if (dice < 25) {
            publish();
        } else if (dice < 50) {
            settle();
        } else if (dice < 58) {
            attach_receiver();
        } else if (dice < 61) {
            detach_receiver();
        } else if (dice < 66) {
            administrate();
        } else if (dice < 70) {
            subscribe();
        } else if (dice < 80) {
            const milliseconds by{prng_.chance(1, 5) ? prng_.range(1'000, 5'000) : prng_.range(1, 400)};
            trace("time " + std::to_string(by.count()));
            clock_.advance(by);
            channel_->tick();
        } else if (dice < 95) {
            move_blocks();
        } else if (dice < 96) {
            switch_compaction();
        } else if (!saving_ || prng_.chance(1, 10)) {
            begin_checkpoint();
        }
        if (saving_ && prng_.chance(1, 2)) {
            take_slice();
        }
    }

    void attach_sender() {
        static_cast<void>(channel_->attach_sender(link_of(1), {}));
        channel_->announce_credit(link_of(1));
        sequence_ = 0;
    }

    void publish() {
        BatchBuilder builder;
        const std::uint64_t count = prng_.chance(1, 5) ? prng_.range(5, 12) : prng_.range(1, 4);
        std::string line = "publish";
        const bool has_rules = !is_plain_ && prng_.chance(1, 2);
        for (std::uint64_t i = 0; i < count; ++i) {
            MessageProperties properties;
            if (has_keys_ && prng_.chance(2, 3)) {
                properties.key = std::string{"ab"}.substr(prng_.below(2), 1) + "." + std::to_string(prng_.below(3));
            }
            if (has_rules && prng_.chance(1, 3)) {
                properties.priority = static_cast<std::uint8_t>(prng_.below(3));
            }
            if (has_rules && prng_.chance(1, 3)) {
                properties.delay = milliseconds{prng_.below(prng_.chance(1, 2) ? 2'000 : 9'000)};
            } else if (has_rules && prng_.chance(1, 6)) {
                const WallTime then = after(clock_.wall_now(), milliseconds{prng_.below(9'000)});
                properties.not_before.emplace(std::chrono::microseconds{then.us});
            }
            if (has_rules && prng_.chance(1, 3)) {
                properties.ttl = milliseconds{prng_.below(4'000)};
            }
            if (!is_plain_ && prng_.chance(1, 4)) {
                properties.message_id = "id" + std::to_string(prng_.below(40));
            }
            std::string text = std::to_string(++published_);
            if (!properties.key.empty() && options_.kind == Kind::stream && prng_.chance(1, 8)) {
                text.clear();
            }
            if (options_.dedupe_window == Duration{}) {
                newest_[properties.key] = {channel_->stats().next_offset + i, text.empty()};
            }
            line += " " + text + (properties.key.empty() ? "" : "/" + properties.key) + (properties.delay ? " delay" : "") +
                    (properties.ttl ? " ttl" : "");
            if (properties.empty()) {
                builder.append(as_bytes(text));
            } else {
                builder.append(as_bytes(text), encode_properties(properties).value());
            }
        }
        trace(line);
        channel_->publish(link_of(1), sequence_ + 1, builder.take(pool_));
        sequence_ += count;
        ++reached_["published"];
    }

    void settle() {
        if (held_.empty()) {
            return;
        }
        const auto& held = held_[prng_.below(held_.size())];
        constexpr Outcome outcomes[] = {Outcome::done,   Outcome::done,  Outcome::give_back, Outcome::retry,
                                        Outcome::reject, Outcome::retry, Outcome::started,   Outcome::started};
        SettleRange range{held.first, held.count, held.attempt, outcomes[prng_.below(8)]};
        if (prng_.chance(1, 2)) {
            range.first += prng_.below(range.count);
            range.count = 1;
        }
        range.argument = range.outcome == Outcome::retry && prng_.chance(1, 3)
                             ? retry_by_back_off
                             : static_cast<std::uint32_t>(prng_.below(prng_.chance(1, 2) ? 1'500 : 9'000));
        trace("settle link " + std::to_string(held.link) + " " + std::to_string(range.first) + "+" + std::to_string(range.count) +
              " outcome " + std::to_string(static_cast<int>(range.outcome)));
        // Perhaps the rest of it later, and everything behind it.
        const std::uint64_t work = prng_.chance(1, 3) ? prng_.below(3) : Channel::settled_at_once;
        channel_->settle(link_of(held.link), {&range, 1}, 0, prng_.chance(1, 2) ? "because" : "", work);
        reached_["settled later"] += work < range.count ? 1 : 0;
        ++reached_[range.outcome == Outcome::retry ? "retries" : range.outcome == Outcome::reject ? "rejects" : "settled"];
    }

    std::string random_name() { return options_.kind == Kind::queue ? "" : "s" + std::to_string(prng_.below(4)); }
    // That of a subscription does not change.
    std::string filter_of(const std::string& name) { return name == "s1" ? "a.*" : name == "s2" ? "a.0" : ""; }

    StartPosition random_start() {
        if (options_.kind != Kind::stream || prng_.chance(1, 2)) {
            return {};
        }
        return {.kind = StartPosition::Kind::offset, .offset = prng_.range(1, channel_->stats().next_offset)};
    }

    void attach_receiver() {
        if (receivers_.size() > (is_plain_ ? 1 : 4)) {
            return;
        }
        ReceiverRequest request;
        request.subscription = options_.kind != Kind::queue && prng_.chance(1, 5) ? "" : random_name();
        request.filter = filter_of(request.subscription);
        request.from = random_start();
        request.name = "somebody";
        const std::uint16_t link = ++last_link_;
        trace("attach " + std::to_string(link) + " " + request.subscription);
        ASSERT_FALSE(channel_->attach_receiver(link_of(link), request));
        channel_->set_credit(link_of(link), {prng_.chance(1, 2) ? prng_.range(1, 5) : 1'000, 1'000'000});
        receivers_.push_back(link);
    }

    void detach_receiver() {
        if (!receivers_.empty()) {
            const auto at = receivers_.begin() + static_cast<std::ptrdiff_t>(prng_.below(receivers_.size()));
            trace("detach " + std::to_string(*at));
            channel_->detach(link_of(*at));
            receivers_.erase(at);
        }
    }

    void subscribe() {
        SubscriptionSettings settings;
        settings.name = random_name();
        if (settings.name.empty()) {
            return;
        }
        if (Subscription* reader = channel_->find_subscription(settings.name); reader != nullptr && prng_.chance(1, 3)) {
            trace("unsubscribe " + settings.name);
            for (const Receiver* receiver : reader->receivers()) {
                std::erase(receivers_, receiver->address.link);
            }
            static_cast<void>(channel_->unsubscribe(*reader));
            ++reached_["unsubscribed"];
            return;
        }
        settings.filter = filter_of(settings.name);
        settings.backlog_max = prng_.chance(1, 3) ? prng_.range(1, 10) : 0;
        settings.overflow = prng_.chance(1, 2) ? Overflow::drop_oldest : Overflow::drop_newest;
        trace("subscribe " + settings.name);
        ASSERT_FALSE(channel_->subscribe(settings, random_start()));
        ++reached_["subscribed"];
    }

    void administrate() {
        Subscription* reader = channel_->find_subscription(random_name());
        const std::uint64_t dice = prng_.below(8);
        if (dice == 0) {
            trace("purge");
            static_cast<void>(test::purge(*channel_));
        } else if (reader == nullptr) {
            return;
        } else if (dice < 4) {
            for (const auto& entry : reader->entries(MessageState::quarantined, 0, SIZE_MAX - 1)) {
                retried_.emplace(reader->settings().name, entry.run.first);
            }
            const std::uint64_t count = retry_all(*reader);
            trace("retry all: " + std::to_string(count));
            reached_["retried by an administrator"] += count;
            is_administered_ = is_administered_ || count > 0;
        } else {
            constexpr MessageState states[] = {MessageState::ready, MessageState::delayed, MessageState::quarantined};
            const MessageState state = states[prng_.below(3)];
            std::vector<Offset> offsets;
            const auto choose = [&](const PeekedMessage& peeked) {
                prng_.chance(1, 3) ? offsets.push_back(peeked.offset) : void();
                return offsets.size() < 3;
            };
            channel_->peek(reader, state, 0, choose, store_.reader());
            Sweep sweep;
            const std::uint64_t count = channel_->drop(*reader, state, offsets, sweep, store_.reader());
            EXPECT_EQ(sweep.next, offsets.size());
            trace("drop " + std::to_string(static_cast<int>(state)) + ": " + std::to_string(count));
            reached_["dropped by an administrator"] += count;
        }
        channel_->subscription_changed();
    }

    void switch_compaction() {
        if (options_.kind != Kind::stream) {
            return;
        }
        options_.is_compacted = !options_.is_compacted;
        was_compacted_ = true;
        trace(options_.is_compacted ? "compact" : "do not compact");
        channel_->reconfigure(options_);
    }

    // Of each key whose messages retention has left the newest is there; when everything was looked at, only that.
    void check_keys() {
        if (options_.kind != Kind::stream) {
            return;
        }
        std::map<Offset, std::string> kept;
        channel_->peek(
            nullptr, std::nullopt, 0,
            [&](const PeekedMessage& peeked) {
                kept[peeked.offset] = std::string{as_text(key_of(peeked.message.properties))};
                return true;
            },
            store_.reader());
        const ChannelStats stats = channel_->stats();
        EXPECT_EQ(std::ranges::count_if(kept, [&](const auto& entry) { return entry.first < channel_->visible_end(); }) +
                      static_cast<std::ptrdiff_t>(stats.committing),
                  static_cast<std::ptrdiff_t>(stats.stored));
        for (const auto& [key, message] : newest_) {
            const auto& [offset, is_tombstone] = message;
            const bool may_be_gone = kept.empty() || offset < kept.begin()->first || (is_tombstone && !key.empty());
            const bool is_there = kept.contains(offset) || offset >= channel_->visible_end();
            EXPECT_TRUE(is_there || may_be_gone) << "the newest of key \"" << key << "\", " << offset << ", is lost";
        }
        reached_["compacted"] += channel_->stats().compacted;
        if (!options_.is_compacted || channel_->stats().keys == 0 || channel_->wants_blocks(1'000'000'000) ||
            channel_->needs_dispatch()) {
            return;
        }
        std::map<std::string, Offset> seen;
        for (const auto& [offset, key] : kept) {
            if (!key.empty() && offset < channel_->visible_end()) {
                const auto [first, is_new] = seen.emplace(key, offset);
                EXPECT_TRUE(is_new) << "two messages of key " << key << " are left: " << first->second << " and " << offset;
            }
        }
        ++reached_["keys checked"];
    }

    // What was sent, by offset.
    void read_log() {
        while (heard_ < log_->submitted()) {
            const auto record = decode_record(log_->record(++heard_).body);
            ASSERT_TRUE(record);
            const auto* publish = std::get_if<PublishRecord>(&*record);
            if (publish == nullptr) {
                continue;
            }
            MessageCursor cursor{publish->messages, publish->header.has_properties()};
            MessageView view;
            for (Offset offset = publish->header.base_offset; cursor.next(view); ++offset) {
                const MessageRules rules = rules_of(view.properties);
                sent_[offset] = {std::string{as_text(key_of(view.properties))}, rules.delay || rules.not_before};
            }
        }
    }

    std::vector<std::string> reader_names() {
        std::vector<std::string> names;
        for (const ReaderState& reader : channel_->state().subscriptions) {
            names.push_back(reader.settings.name);
        }
        if (options_.kind == Kind::queue) {
            names.emplace_back();
        }
        return names;
    }

    // Of each key one message is with a receiver at most, and none that could be given is older, unless one of the two waited for
    // a time of its own, or came back from quarantine.
    void check_order() {
        if (!options_.is_ordered_by_key) {
            return;
        }
        read_log();
        for (const std::string& name : reader_names()) {
            std::map<std::string, Offset> held;
            std::map<std::string, Offset> oldest;
            for (const auto& entry : channel_->find_subscription(name)->entries(std::nullopt, 0, SIZE_MAX - 1)) {
                for (Offset offset = entry.run.first; offset < entry.run.end(); ++offset) {
                    const Sent& sent = sent_[offset];
                    if (sent.key.empty()) {
                        continue;
                    }
                    if (entry.state == MessageState::in_flight) {
                        const auto [other, is_only] = held.emplace(sent.key, offset);
                        EXPECT_TRUE(is_only) << other->second << " and " << offset << " of key " << sent.key << " are both given";
                    }
                    const bool has_order = !sent.is_delayed && !retried_.contains({name, offset});
                    if (has_order && (entry.state == MessageState::in_flight || entry.state == MessageState::ready)) {
                        oldest.emplace(sent.key, offset);
                    }
                }
            }
            for (const auto& [key, offset] : held) {
                const auto before = oldest.find(key);
                const bool has_order = !sent_[offset].is_delayed && !retried_.contains({name, offset});
                EXPECT_TRUE(!has_order || before->second == offset)
                    << offset << " was given before " << before->second << " of key " << key;
                ++reached_["order checked"];
            }
        }
    }

    // Nothing is left to wait for what does not come.
    void drain() {
        trace("drain");
        for (const std::string& name : reader_names()) {
            ReceiverRequest request;
            request.subscription = name;
            request.filter = filter_of(name);
            const std::uint16_t link = ++last_link_;
            ASSERT_FALSE(channel_->attach_receiver(link_of(link), request));
            receivers_.push_back(link);
        }
        for (const std::uint16_t link : receivers_) {
            channel_->set_credit(link_of(link), plenty);
        }
        std::uint64_t left = 1;
        for (int round = 0; round < 2'000 && left > 0 && !failed(); ++round) {
            clock_.advance(milliseconds{100});
            channel_->tick();
            prng_.chance(1, 4) ? static_cast<void>(channel_->evict(prng_.range(1, 1'000), {})) : void();
            prng_.chance(1, 4) ? move_blocks() : void();
            for (const auto& ref : channel_->take_wanted_blocks(prng_.range(1, 2'000))) {
                channel_->on_block_read(ref, store_.read(ref));
            }
            end_turn();
            check_order();
            left = settle_all();
        }
        EXPECT_EQ(left, 0U) << "it is never given";
        ++reached_["drained"];
    }

    // What receivers hold is done. How many messages are left.
    std::uint64_t settle_all() {
        std::uint64_t left = 0;
        for (const std::string& name : reader_names()) {
            Subscription* reader = channel_->find_subscription(name);
            for (const auto& entry : reader->entries(MessageState::in_flight, 0, SIZE_MAX - 1)) {
                const SettleRange range{entry.run.first, entry.run.count, entry.run.attempt, Outcome::done};
                entry.receiver != nullptr ? channel_->settle(entry.receiver->address, {&range, 1}, 0) : void();
            }
            left += reader->ready() + reader->delayed() + reader->in_flight();
        }
        return left;
    }

    // What server/runtime/segment_compactor.cpp does.
    void copy_block() {
        std::vector<std::pair<storage::BlockRef, std::uint64_t>> blocks;
        channel_->visit_blocks([&](const storage::BlockRef& ref, std::uint64_t dead) { blocks.emplace_back(ref, dead); });
        if (blocks.empty()) {
            return;
        }
        const auto& [ref, dead] = blocks[prng_.below(blocks.size())];
        const OffsetSet removed = channel_->removed_in(ref.first, ref.end);
        if (options_.kind != Kind::stream) {
            EXPECT_TRUE(removed.empty());
            return;
        }
        trace("copy block " + std::to_string(ref.first) + " dead " + std::to_string(dead));
        std::vector<std::byte> body;
        std::uint32_t batches = 0;
        ASSERT_TRUE(copy_without(store_.read(ref).bytes(), removed, body, batches));
        ASSERT_FALSE(body.empty());
        reached_["dead bytes"] += dead;
        const auto copy = store_.write_copy(ref, std::move(body));
        if (prng_.chance(1, 2)) {
            settle();
            publish();
            prng_.chance(1, 4) ? administrate() : void();
        }
        channel_->replace_block(ref, copy, dead);
    }

    void count_on_the_disk() {
        for (const std::string& name : reader_names()) {
            const Subscription* reader = channel_->find_subscription(name);
            for (const auto& entry : reader->entries(std::nullopt, 0, SIZE_MAX - 1)) {
                const bool is_there = entry.run.batch->is_resident;
                reached_["delayed on the disk"] += !is_there && entry.state == MessageState::delayed ? 1 : 0;
                reached_["of ordered channels on the disk"] += !is_there && options_.is_ordered_by_key ? 1 : 0;
                const bool is_placed = !is_there && entry.run.is_placed;
                reached_["placed on the disk"] += is_placed ? 1 : 0;
                reached_["late"] += !is_there && entry.state == MessageState::ready && !entry.run.is_kept && !is_placed ? 1 : 0;
            }
        }
    }

    // --- The disk --------------------------------------------------------------------------------------------------------

    void move_blocks() {
        switch (prng_.below(8)) {
            case 0:
            case 1: {
                const auto keep = prng_.chance(1, 2) ? std::nullopt : std::optional<KeepAhead>{{.bytes = prng_.below(300)}};
                const auto plan = channel_->begin_relocation(UINT64_MAX, keep, prng_.range(1, 800));
                trace("relocate " + std::to_string(plan.blocks.size()));
                if (prng_.chance(1, 2)) {
                    settle();
                    prng_.chance(1, 4) ? administrate() : void();
                }
                channel_->finish_relocation(plan.blocks.empty() ? std::vector<storage::BlockRef>{} : store_.write(plan));
                reached_["blocks"] += plan.blocks.size();
                return;
            }
            case 2:
            case 3: {
                const std::uint64_t bytes = channel_->evict(prng_.range(1, 1'000), {});
                trace("evict " + std::to_string(bytes));
                reached_["evicted"] += bytes;
                reached_["evicted with something in quarantine"] += bytes > 0 && channel_->stats().quarantined > 0 ? 1 : 0;
                reached_["evicted of what is compacted"] += options_.is_compacted ? bytes : 0;
                count_on_the_disk();
                return;
            }
            case 4:
                return copy_block();
            case 5:
                trace("move in log");
                return channel_->move_in_log(prng_.range(1, log_->submitted() + 1));
            default:
                for (const auto& ref : channel_->take_wanted_blocks(2'000)) {
                    trace("read block " + std::to_string(ref.first));
                    reached_["blocks of what was retried read"] += channel_->stats().wait.reason == WaitReason::loading &&
                                                                           ref.first < channel_->state().cursor
                                                                       ? 1
                                                                       : 0;
                    channel_->on_block_read(ref, store_.read(ref));
                    ++reached_["blocks read"];
                    reached_["blocks of what is compacted read"] += options_.is_compacted ? 1 : 0;
                }
        }
    }

    // Whatever is left of a batch is copied, however much that is.
    void pack() {
        if (prng_.chance(1, 3)) {
            const std::uint64_t before = channel_->resident_bytes();
            channel_->pack_remnants({.factor = 0, .slack = 0});
            reached_["bytes packed"] += before - channel_->resident_bytes();
        }
    }

    void end_turn() {
        trace("end of turn");
        if (channel_->needs_dispatch()) {
            channel_->dispatch();
        }
        if (channel_->has_notes()) {
            channel_->write_notes();
        }
        if (prng_.chance(2, 3)) {
            trace("commit");
            log_->commit_to(log_->submitted());
            channel_->on_committed();
            if (channel_->has_notes()) {
                channel_->write_notes();
            }
        }
        hear();
        check_keys();
        if (channel_->stats().committing == 0) {
            snapshots_.insert_or_assign(log_->submitted(), look(*channel_));
        }
    }

    // What server/runtime/checkpointer.cpp does: slice by slice, and whatever else happens in between.
    void begin_checkpoint() {
        if (channel_->has_notes()) {
            channel_->write_notes();
        }
        if (prng_.chance(1, 2)) {
            channel_->move_in_log(log_->submitted() + 1);
        }
        trace("checkpoint begins at " + std::to_string(log_->submitted()));
        auto garbage = channel_->take_dead_blocks();
        if (saving_) {  // It was given up.
            garbage.insert(garbage.end(), saving_->garbage.begin(), saving_->garbage.end());
        }
        saving_ = Saving{.slices = channel_->begin_state(),
                         .first = std::min(log_->submitted() + 1, channel_->oldest_record()),
                         .garbage = std::move(garbage),
                         .count = 0};
    }

    void take_slice() {
        if (channel_->has_notes()) {
            channel_->write_notes();
        }
        std::uint64_t entries = prng_.chance(1, 8) ? UINT64_MAX : prng_.range(1, 5);
        trace("slice of " + std::to_string(entries) + " in stage " + std::to_string(static_cast<int>(saving_->slices.stage)) +
              " from " + std::to_string(saving_->slices.next));
        channel_->add_to_state(saving_->slices, entries);
        ++saving_->count;
        if (saving_->slices.is_over) {
            finish_checkpoint();
        }
    }

    void checkpoint() {
        begin_checkpoint();
        while (saving_ && !failed()) {
            take_slice();
        }
    }

    void finish_checkpoint() {
        trace("checkpoint ends at " + std::to_string(log_->submitted()));
        const ChannelState& state = saving_->slices.state;
        saved_ = encode(state);
        const auto decoded = decode_state(saved_);
        ASSERT_TRUE(decoded) << "a state that cannot be read";
        EXPECT_EQ(*decoded, state);
        saved_index_ = log_->submitted();
        first_ = saving_->first;
        log_->commit_to(saved_index_);
        channel_->on_committed();
        hear();
        for (const auto& ref : saving_->garbage) {
            EXPECT_EQ(std::ranges::find(state.blocks, ref), state.blocks.end()) << "block " << ref.first << " had been dead";
            store_.remove(ref);
        }
        snapshots_.erase(snapshots_.begin(), snapshots_.lower_bound(saved_index_));
        ++reached_["checkpoints"];
        reached_["checkpoints in many slices"] += saving_->count > 3 ? 1 : 0;
        saving_.reset();
    }

    struct Held {
        std::uint16_t link;
        Offset first;
        std::uint32_t count, attempt;
    };
    void hear() {
        for (const Event& event : events_.take()) {
            if (event.kind == Event::Kind::deliver) {
                trace("    " + to_line(event));
                held_.push_back({event.link.link, event.slice.first, event.slice.count, event.slice.attempt});
                check_time(event.slice);
            } else if (event.kind == Event::Kind::closed) {
                std::erase(receivers_, event.link.link);
                std::erase_if(held_, [&](const Held& held) { return held.link == event.link.link; });
            }
        }
        if (held_.size() > 30) {
            held_.erase(held_.begin(), held_.end() - 30);
        }
    }

    // Nothing is given before its time, unless an administrator wants it.
    void check_time(const Slice& slice) {
        MessageCursor cursor{slice.messages.bytes(), (slice.batch_flags & batch_has_properties) != 0};
        MessageView view;
        for (Offset offset = slice.first; cursor.next(view); ++offset) {
            const MessageRules rules = rules_of(view.properties);
            if (is_administered_ || (!rules.delay && !rules.not_before)) {
                continue;
            }
            EXPECT_LE(rules.delay ? after(slice.time, *rules.delay) : WallTime{}, clock_.wall_now()) << offset << " came early";
            EXPECT_LE(rules.not_before.value_or(WallTime{}), clock_.wall_now()) << offset << " came early";
            ++reached_["came in time"];
        }
    }

    // --- What is there -----------------------------------------------------------------------------------------------------

    Snapshot look(Channel& channel) {
        Snapshot snapshot;
        const ChannelState state = channel.state();
        snapshot.next_offset = state.next_offset;
        snapshot.ids = state.ids;
        snapshot.at = clock_.wall_now();
        std::vector<std::string> names;
        if (options_.kind == Kind::queue) {
            names.emplace_back();
        }
        for (const ReaderState& reader : state.subscriptions) {
            names.push_back(reader.settings.name);
            snapshot.settings[reader.settings.name] = reader.settings.filter + "/" + std::to_string(reader.settings.id) + "/" +
                                                      std::to_string(reader.settings.backlog_max);
            snapshot.limits[reader.settings.name] = reader.settings.backlog_max;
        }
        for (const std::string& name : names) {
            Subscription* reader = channel.find_subscription(name);
            auto& messages = snapshot.readers[name];
            const KeyFilter filter = KeyFilter::parse(filter_of(name)).value_or(KeyFilter{});
            std::uint64_t counts[4] = {};
            const std::uint32_t attempts_max = options_.attempts_max;
            channel.peek(
                reader, std::nullopt, 0,
                [&](const PeekedMessage& peeked) {
                    ++counts[static_cast<int>(peeked.state)];
                    Seen seen{.text = std::string{as_text(peeked.message.payload)},
                              .state = peeked.state,
                              .attempt = peeked.attempt,
                              .due = peeked.due,
                              .note{}};
                    if (peeked.note) {
                        seen.note = std::to_string(static_cast<int>(peeked.note->reason)) + peeked.note->note + "/" +
                                    peeked.note->receiver;
                    }
                    const MessageRules rules = rules_of(peeked.message.properties);
                    seen.is_wanted = filter.matches_all() || filter.matches(as_text(key_of(peeked.message.properties)));
                    if (rules.ttl) {
                        seen.expires = after(peeked.time, *rules.ttl);
                    }
                    if (options_.age_max > Duration{} && options_.kind != Kind::stream) {
                        seen.expires = std::min(seen.expires, after(peeked.time, options_.age_max));
                    }
                    EXPECT_TRUE(messages.emplace(peeked.offset, seen).second) << "offset " << peeked.offset << " is there twice";
                    return true;
                },
                store_.reader());
            EXPECT_EQ(counts[0], reader->ready()) << name;
            EXPECT_EQ(counts[1], reader->delayed()) << name;
            EXPECT_EQ(counts[2], reader->in_flight()) << name;
            EXPECT_EQ(counts[3], reader->quarantined()) << name;
            // What is with receivers is ready after a crash; if it was started, one attempt later.
            for (const auto& entry : reader->entries(MessageState::in_flight, 0, SIZE_MAX - 1)) {
                for (Offset offset = entry.run.first; offset < entry.run.end(); ++offset) {
                    Seen& seen = messages.at(offset);
                    seen.state = MessageState::ready;
                    if (entry.run.is_started && attempts_max > 0 && seen.attempt >= attempts_max) {
                        seen.state = MessageState::quarantined;
                        seen.note = "2the broker ended while it was being worked on/";
                    } else if (entry.run.is_started) {
                        ++seen.attempt;
                    }
                    seen.is_started = true;
                }
            }
        }
        channel.peek(
            nullptr, std::nullopt, 0,
            [&](const PeekedMessage& peeked) {
                options_.kind == Kind::stream ? static_cast<void>(snapshot.kept.emplace(peeked.offset, peeked.time)) : void();
                return true;
            },
            store_.reader());
        return snapshot;
    }

    static WallTime after(WallTime time, Duration duration) {
        return {time.us + std::chrono::duration_cast<std::chrono::microseconds>(duration).count()};
    }

    // For the retention of a stream, now.
    bool is_too_old(WallTime accepted) const {
        return options_.age_max > Duration{} && after(accepted, options_.age_max) <= clock_.wall_now();
    }

    // What a limit of a backlog counts: ready, or due by now. With order by key and fairness also what is delayed, until somebody
    // has looked at it after the restart.
    [[nodiscard]] std::uint64_t waiting_in(const std::map<Offset, Seen>& messages, WallTime now) const {
        const bool may_be_unseen = options_.is_ordered_by_key || !options_.fair_by.empty();
        return static_cast<std::uint64_t>(std::ranges::count_if(messages, [&](const auto& entry) {
            const Seen& seen = entry.second;
            return seen.state == MessageState::ready ||
                   (seen.state == MessageState::delayed && (may_be_unseen || seen.due <= now));
        }));
    }

    void compare(const Snapshot& before, const Snapshot& now) {
        const WallTime wall = clock_.wall_now();
        EXPECT_EQ(before.settings, now.settings);
        for (const auto& [offset, time] : before.kept) {
            EXPECT_TRUE(now.kept.contains(offset) || is_too_old(time)) << offset << " was given up by the restart";
        }
        for (const auto& [offset, time] : now.kept) {
            const auto found = before.kept.find(offset);
            EXPECT_TRUE(found != before.kept.end()) << offset << " was given up before";
            EXPECT_TRUE(found == before.kept.end() || found->second == time) << offset << " came at another time";
        }
        EXPECT_GE(now.next_offset, before.readers.empty() ? 1 : before.next_offset);
        for (const auto& [name, messages] : before.readers) {
            if (!now.readers.contains(name)) {
                continue;
            }
            const auto& left = now.readers.at(name);
            // What comes due, and what receivers had, may be more than it may have waiting: so many are dropped, and counted.
            const auto limit = now.limits.find(name);
            const std::uint64_t limit_max = limit != now.limits.end() && limit->second > 0 ? limit->second : UINT64_MAX;
            const std::uint64_t waiting = waiting_in(messages, wall);
            std::uint64_t droppable = std::min(channel_->find_subscription(name)->counters().dropped,
                                               waiting - std::min(waiting, limit_max));
            for (const auto& [offset, seen] : messages) {
                // From quarantine only what compaction has removed: then its block may be gone.
                const bool stays = seen.state == MessageState::quarantined && !seen.is_started && !was_compacted_;
                const bool is_given_up = options_.kind == Kind::stream && !stays &&
                                         (!before.kept.contains(offset) || is_too_old(before.kept.at(offset)));
                const bool is_expired = seen.expires <= wall && seen.state != MessageState::quarantined;
                const auto found = left.find(offset);
                if (found == left.end()) {
                    // What its filter does not want goes when it is looked at.
                    const bool is_gone = is_given_up || !seen.is_wanted || (is_expired && !options_.quarantines_expired);
                    const bool is_dropped = !is_gone && droppable > 0;
                    droppable -= is_dropped ? 1 : 0;
                    EXPECT_TRUE(is_gone || is_dropped) << name << ": " << offset << " is lost: " << to_text(seen) << ", limit "
                                                       << limit_max << ", " << waiting << " were waiting";

                    reached_["expired by a restart"] += is_expired ? 1 : 0;
                    reached_["given up"] += is_given_up ? 1 : 0;
                    reached_["over a limit after a restart"] += is_dropped ? 1 : 0;
                    continue;
                }
                if (is_expired) {
                    continue;
                }
                if (seen.state == MessageState::delayed && seen.due <= wall) {
                    EXPECT_NE(found->second.state, MessageState::quarantined) << name << ": " << offset;
                    continue;  // Its time has come meanwhile, or will be looked at with the next tick.
                }
                if ((options_.kind == Kind::stream || options_.is_ordered_by_key || !options_.fair_by.empty()) &&
                    seen.state == MessageState::ready && found->second.state == MessageState::delayed) {
                    ++reached_["delayed and not looked at before"];
                    continue;  // For a new subscription, of what is on the disk only; or just as it has become visible.
                }
                if ((options_.is_ordered_by_key || !options_.fair_by.empty()) && seen.state == MessageState::delayed &&
                    found->second.state == MessageState::ready && channel_->needs_dispatch()) {
                    ++reached_["delayed, and about to be looked at"];
                    continue;
                }
                EXPECT_TRUE(seen == found->second)
                    << name << ": " << offset << "\n  was " << to_text(seen) << "\n  is  " << to_text(found->second);
            }
            for (const auto& [offset, seen] : left) {
                EXPECT_TRUE(messages.contains(offset)) << name << ": " << offset << " comes from nowhere: " << to_text(seen);
            }
        }
        std::vector<ChannelState::KnownId> young;
        for (const auto& known : before.ids) {
            if (wall.us - known.time.us < std::chrono::duration_cast<std::chrono::microseconds>(options_.dedupe_window).count()) {
                young.push_back(known);
            }
        }
        EXPECT_EQ(young, now.ids);
    }

    // --- The crash ---------------------------------------------------------------------------------------------------------

    void crash() {
        end_turn();
        log_->commit_to(log_->submitted());
        channel_->on_committed();
        channel_->has_notes() ? channel_->write_notes() : void();
        hear();
        snapshots_.insert_or_assign(log_->submitted(), look(*channel_));
        if (failed()) {
            return;
        }
        auto chosen = std::prev(snapshots_.end());
        for (std::uint64_t back = prng_.chance(1, 2) ? prng_.below(snapshots_.size()) : 0; back > 0; --back) {
            --chosen;
        }
        const commit::Index last = chosen->first;
        const Snapshot before = chosen->second;
        const commit::Index first = saved_.empty() ? 1 : prng_.range(1, std::min(first_, last + 1));
        trace("crash: records " + std::to_string(first) + " to " + std::to_string(last) + ", state of " +
              std::to_string(saved_index_));
        std::optional<ChannelImage> image;
        if (saved_.empty()) {
            image.emplace(stream);
        } else {
            image.emplace(stream, decode_state(saved_).value());
        }
        for (commit::Index index = first; index <= last; ++index) {
            ASSERT_TRUE(image->apply(log_->record(index).body, pool_));
        }
        ASSERT_EQ(image->settle_contents(), "");
        const auto again = decode_state(encode(image->state()));
        ASSERT_TRUE(again && *again == image->state());
        channel_.reset();
        const bool is_down = prng_.chance(1, 3);
        if (is_down) {
            clock_.advance(milliseconds{prng_.range(1, 3'000)});
        }
        make();
        ASSERT_TRUE(restore_in_steps(*channel_, *image, store_.reader(), 1 + image->next_offset() % 40));
        static_cast<void>(events_.take());
        channel_->tick();
        compare(before, look(*channel_));
        std::erase_if(newest_, [&](const auto& entry) { return entry.second.first >= channel_->stats().next_offset; });
        ++reached_["crashes"];
        attach_sender();
        checkpoint();
        snapshots_.clear();
        snapshots_.emplace(saved_index_, look(*channel_));
    }

    void make() {
        log_ = std::make_unique<FakeCommitLog>();
        channel_ = std::make_unique<Channel>("test", options_, events_, clock_, budget_, Durability{log_.get(), stream});
        receivers_.clear();
        held_.clear();
        saved_.clear();
        saving_.reset();
        heard_ = 0;
        saved_index_ = 0;
        first_ = 1;
        snapshots_.clear();
        static_cast<void>(events_.take());
    }

    Prng prng_;
    Reached& reached_;
    const bool is_plain_;  // Much of it waits in blocks.
    bool has_keys_ = false;
    bool is_administered_ = false;  // Somebody has retried what was in quarantine.
    ChannelOptions options_;
    bool was_compacted_ = options_.is_compacted;
    ManualClock clock_;
    ChunkPool pool_;
    MemoryBudget budget_{1ULL << 40};
    RecordingEvents events_;
    FakeBlockStore store_;
    std::unique_ptr<FakeCommitLog> log_;
    std::unique_ptr<Channel> channel_;
    std::vector<std::uint16_t> receivers_;
    std::vector<Held> held_;
    std::uint16_t last_link_ = 10;
    std::uint64_t sequence_ = 0, published_ = 0;
    std::map<std::string, std::pair<Offset, bool>> newest_;  // By key: its offset, and whether it is a tombstone.
    struct Sent {
        std::string key;
        bool is_delayed = false;
    };
    std::map<Offset, Sent> sent_;
    commit::Index heard_ = 0;
    std::set<std::pair<std::string, Offset>> retried_;  // Out of quarantine: names of readers and offsets.
    std::vector<std::byte> saved_;
    commit::Index saved_index_ = 0, first_ = 1;
    struct Saving {
        StateSlices slices;
        commit::Index first = 0;  // The oldest record that it needs.
        std::vector<storage::BlockRef> garbage;
        int count = 0;
    };
    std::optional<Saving> saving_;
    std::map<commit::Index, Snapshot> snapshots_;
    std::vector<std::string> trace_;
};

TEST(RecoveryModel, ARestartMakesOfTheLogWhatWasThere) {
    run_seeds(201, [](std::uint64_t seed, Reached& reached) { RecoveryRun{Prng{seed}, reached}.run(); });
}

}  // namespace
}  // namespace baton::channel::test
