// Operations of the durable model test and what is checked after each: peers that know what they were told, the
// channel, its log and its disk, and the model of what must be true. Next file: durable_model_test.cpp.
#pragma once

#include <deque>
#include <iterator>
#include <memory>
#include <optional>
#include <set>

#include "common/base/prng.hpp"
#include "common/base/properties.hpp"
#include "tests/unit/channel/channel_world.hpp"
#include "tests/unit/channel/durable_model.hpp"
#include "tests/unit/channel/seeds.hpp"

namespace baton::channel::test {

class DurableChecks {
public:
    explicit DurableChecks(Prng prng) : prng_{prng}, is_ordered_{prng_.chance(1, 3)}, options_{random_options()} {
        for (std::uint8_t producer = 0; producer <= 3; ++producer) {
            clients_[producer].producer = producer;
        }
        make_channel();
        channel_->submit_settings();
        check();
        commit(log_->submitted());
    }
    [[nodiscard]] const Reached& reached() const { return reached_; }

protected:
    struct Client {
        std::uint8_t producer = 0;  // 0: anonymous.
        std::uint16_t link = 0;     // 0: detached.
        ConfirmLevel level = ConfirmLevel::durable;
        std::uint64_t next = 1;
        std::deque<std::uint64_t> unconfirmed;
        std::size_t sent = 0;  // Of those, on this link.
        std::uint64_t first_in_life = 0, reach = 0, confirmed = 0;
        Credit granted, used;
    };
    struct ReceiverPeer {
        Credit limit, delivered;
        std::uint64_t receipt = 0, answered = 0;
        std::vector<std::pair<std::uint64_t, Offset>> settled;  // Waiting for this receipt or a later one.
    };
    struct Checkpoint {
        std::vector<std::byte> state;
        commit::Index index = 0;
        commit::Index oldest = 0;
        std::vector<storage::BlockRef> garbage;
        commit::Index begin = 0;  // What comes behind it has to be applied.
    };
    struct Saving {
        StateSlices slices;
        Checkpoint checkpoint;
    };

    // --- Operations: peers -------------------------------------------------------------------------------------------

    void attach_sender() {
        Client& client = clients_[static_cast<std::uint8_t>(prng_.below(clients_.size()))];
        if (log_->condition() == commit::Condition::failed || (client.link != 0 && prng_.chance(2, 3))) {
            return;
        }
        if (client.link != 0 && client.producer == 0) {
            return;
        }
        attach(client);
    }

    void attach(Client& client) {
        const std::uint16_t link = ++last_link_;
        client.level = prng_.chance(1, 4) ? ConfirmLevel::received : ConfirmLevel::durable;
        trace("attach_sender " + std::to_string(link) + " producer " + std::to_string(client.producer) +
              (client.level == ConfirmLevel::durable ? "" : " received"));
        closing_ = client.link;
        if (client.producer == 0) {
            client.next = 1;
            client.unconfirmed.clear();
        }
        const auto id = client.producer == 0 ? ProducerId{} : producer_of(client.producer);
        const std::uint64_t known = channel_->attach_sender(link_of(link), id, client.level);
        if (client.first_in_life == 0 && client.producer != 0) {
            const auto& written = model_.sequences[client.producer];
            EXPECT_EQ(known, written.empty() ? 0 : written.back().second) << "producer " << int{client.producer};
        }
        check();
        client.link = link;
        client.granted = client.used = {};
        client.sent = 0;
        client.reach = client.confirmed = known;
        trace("    known " + std::to_string(known));
        confirm(client, known);
        client.sent = 0;
        channel_->announce_credit(link_of(link));
    }

    void attach_receiver() {
        if (receivers_.size() < 3) {
            const std::uint16_t link = ++last_link_;
            trace("attach_receiver " + std::to_string(link));
            receivers_[link] = {};
            EXPECT_FALSE(channel_->attach_receiver(link_of(link), {}));
        }
    }

    void detach() {
        Client& client = clients_[static_cast<std::uint8_t>(prng_.below(clients_.size()))];
        if (prng_.chance(1, 2) && client.link != 0) {
            trace("detach sender " + std::to_string(client.link));
            closing_ = client.link;
            channel_->detach(link_of(client.link));
        } else if (!receivers_.empty()) {
            const std::uint16_t link = random_receiver();
            trace("detach receiver " + std::to_string(link));
            closing_ = link;
            channel_->detach(link_of(link));
        }
    }

    void publish() {
        Client& client = clients_[static_cast<std::uint8_t>(prng_.below(clients_.size()))];
        if (client.link != 0) {
            publish(client);
        }
    }

    void publish(Client& client) {
        std::vector<std::uint64_t> numbers;
        if (client.sent < client.unconfirmed.size()) {  // Again, what a lost connection has left open.
            const std::uint64_t credit = std::max<std::uint64_t>(client.granted.messages - client.used.messages, 1);
            const auto count = prng_.range(1, std::min(client.unconfirmed.size() - client.sent, credit));
            for (std::size_t i = client.sent; numbers.size() < count; ++i) {
                if (!numbers.empty() && client.unconfirmed[i] != numbers.back() + 1) {
                    break;
                }
                numbers.push_back(client.unconfirmed[i]);
            }
        } else {
            std::uint64_t first = client.next;
            if (client.producer != 0 && client.first_in_life != 0 && client.first_in_life < first &&
                prng_.chance(1, 5)) {
                first = prng_.range(client.first_in_life, first - 1);
                ++reached_["duplicates"];
            }
            const std::uint64_t end = std::max(first + prng_.range(1, 8), prng_.chance(1, 4) ? client.next : 0);
            for (std::uint64_t number = first; number < end && numbers.size() < 12; ++number) {
                numbers.push_back(number);
            }
        }
        send(client, numbers);
    }

    void send(Client& client, const std::vector<std::uint64_t>& numbers) {
        BatchBuilder builder;
        for (const std::uint64_t number : numbers) {
            const std::string text = text_of(client, number);
            is_ordered_ ? builder.append(as_bytes(text), encode_properties({.key = key_of(text)}).value())
                        : builder.append(as_bytes(text));
            note_refusable(text);
        }
        const Payload batch = builder.take(pool_);
        if (client.used.messages + numbers.size() > client.granted.messages ||  // It waits for credit.
            client.used.bytes + batch.size() > client.granted.bytes) {
            return;
        }
        client.used.messages += numbers.size();
        client.used.bytes += batch.size();
        for (const std::uint64_t number : numbers) {
            if (client.sent < client.unconfirmed.size() && client.unconfirmed[client.sent] == number) {
                ++client.sent;
            } else if (number == client.next) {
                ++client.next;
                client.unconfirmed.push_back(number);
                ++client.sent;
            }
        }
        if (client.first_in_life == 0) {
            client.first_in_life = numbers.front();
        }
        client.reach = std::max(client.reach, numbers.back());
        trace("publish " + std::to_string(client.link) + " " + std::to_string(numbers.front()) + "-" +
              std::to_string(numbers.back()));
        channel_->publish(link_of(client.link), numbers.front(), batch);
        ++reached_["published"];
    }

    void set_credit() {
        if (!receivers_.empty()) {
            const std::uint16_t link = random_receiver();
            ReceiverPeer& peer = receivers_[link];
            peer.limit = {peer.delivered.messages + prng_.below(prng_.chance(1, 3) ? 100 : 8),
                          peer.delivered.bytes + prng_.below(10'000)};
            trace("credit " + std::to_string(link) + " " + std::to_string(peer.limit.messages));
            channel_->set_credit(link_of(link), peer.limit);
        }
    }

    void settle() {
        if (receivers_.empty()) {
            return;
        }
        const std::uint16_t link = random_receiver();
        std::vector<SettleRange> ranges(prng_.range(1, 3));
        for (SettleRange& range : ranges) {
            const Outcome outcomes[] = {Outcome::done, Outcome::done, Outcome::give_back, Outcome::started};
            range.outcome = outcomes[prng_.below(4)];
            range.count = static_cast<std::uint32_t>(prng_.range(1, prng_.chance(1, 2) ? 4 : 30));
            range.first = prng_.range(1, model_.next_offset);
            if (const auto held = random_held(link); held && !prng_.chance(1, 8)) {
                range.first = *held;
                range.attempt = model_.messages[*held].attempt;
            }
            apply(link, range);
        }
        ReceiverPeer& peer = receivers_[link];
        const std::uint64_t receipt = prng_.chance(1, 2) ? ++peer.receipt : 0;
        trace("    receipt " + std::to_string(receipt));
        channel_->settle(link_of(link), ranges, receipt);
    }

    void apply(std::uint16_t link, const SettleRange& range) {
        trace("settle " + std::to_string(link) + " " + std::to_string(range.first) + "+" + std::to_string(range.count) +
              " attempt " + std::to_string(range.attempt) + " outcome " +
              std::to_string(static_cast<int>(range.outcome)));
        for (auto at = model_.messages.lower_bound(range.first);
             at != model_.messages.end() && at->first < range.first + range.count; ++at) {
            DurableModel::Message& message = at->second;
            if (message.holder != link || message.attempt != range.attempt) {
                continue;
            }
            if (range.outcome == Outcome::done) {
                message.holder = 0;
                message.is_gone = true;
                receivers_[link].settled.emplace_back(receivers_[link].receipt + 1, at->first);
                settled_.insert(message.text);
            } else if (range.outcome == Outcome::give_back) {
                give_back(message);
            } else {
                message.is_started = true;
            }
        }
    }

    void purge() {
        trace("purge");
        std::uint64_t count = 0;
        for (auto& [offset, message] : model_.messages) {
            if (message.is_visible && message.holder == 0 && !message.is_gone) {
                message.is_gone = true;
                purged_.insert(message.text);
                ++count;
            }
        }
        EXPECT_EQ(test::purge(*channel_), count);
        reached_["purged"] += count;
    }

    void reconfigure() {
        trace("reconfigure");
        options_ = random_options();
        channel_->reconfigure(options_);
        note_parked_refusable();
    }

    // --- Operations: log and disk ------------------------------------------------------------------------------------

    void end_turn() {
        trace("end of turn");
        if (channel_->needs_dispatch()) {
            channel_->dispatch();
        }
        if (channel_->has_notes()) {
            channel_->write_notes();
        }
    }

    void commit(commit::Index index) {
        if (log_->condition() == commit::Condition::failed || index == log_->committed()) {
            return;
        }
        trace("commit to " + std::to_string(index));
        log_->commit_to(index);
        if (std::exchange(is_committing_, false)) {
            channel_->on_committed();
        }
        model_.commit(index);
    }

    void set_condition(commit::Condition condition) {
        if (log_->condition() != commit::Condition::failed) {
            trace("condition " + std::to_string(static_cast<int>(condition)));
            log_->set_condition(condition);
            note_parked_refusable();
            channel_->on_condition();
            ++reached_[condition == commit::Condition::failed ? "failed" : "full or open"];
        }
    }

    KeepAhead keep_within(std::uint64_t bytes_max) {
        return {.bytes = prng_.below(bytes_max), .is_for_wanted_only = prng_.chance(1, 3)};
    }

    void relocate() {
        if (channel_->is_relocating()) {
            return;
        }
        const auto below = prng_.chance(1, 2) ? UINT64_MAX : prng_.range(1, log_->submitted() + 1);
        const auto keep_ahead = prng_.chance(1, 2) ? std::nullopt : std::optional{keep_within(500)};
        plan_ = channel_->begin_relocation(below, keep_ahead, prng_.chance(1, 3) ? UINT64_MAX : prng_.range(1, 800));
        trace("relocate below " + std::to_string(below) + " keep " + std::to_string(keep_ahead.value_or(KeepAhead{}).bytes) + ": " +
              std::to_string(plan_.blocks.size()) + " blocks");
        EXPECT_EQ(channel_->is_relocating(), !plan_.blocks.empty());
    }

    void finish_relocation() {
        if (!channel_->is_relocating()) {
            return;
        }
        if (prng_.chance(1, 5)) {
            trace("relocation failed");
            return channel_->finish_relocation({});
        }
        trace("relocation finished");
        const auto refs = store_.write(plan_);
        for (const auto& ref : refs) {
            blocks_.push_back(ref);
            ++reached_["blocks"];
        }
        channel_->finish_relocation(refs);
    }

    void move_in_log() {
        const auto below = prng_.range(1, log_->submitted() + 1);
        trace("move in log below " + std::to_string(below));
        channel_->move_in_log(below);
        EXPECT_GE(channel_->oldest_record(), below);
    }

    void move_all_in_log() {
        trace("move in log");
        channel_->move_in_log(log_->submitted() + 1);
    }

    // Whatever is left of a batch is copied, however much that is.
    void pack() {
        if (prng_.chance(1, 3)) {
            const std::uint64_t before = channel_->resident_bytes();
            channel_->pack_remnants({.factor = 0, .slack = 0});
            reached_["bytes packed"] += before - channel_->resident_bytes();
        }
    }

    void evict() {
        const KeepAhead keep = prng_.chance(1, 2) ? KeepAhead{} : keep_within(400);
        const std::uint64_t before = channel_->resident_bytes();
        const std::uint64_t evicted = channel_->evict(prng_.range(1, 1000), keep);
        trace("evict: " + std::to_string(evicted));
        EXPECT_EQ(channel_->resident_bytes(), before - evicted);
        reached_["evicted"] += evicted;
    }

    void ask_blocks() {
        const auto wanted = channel_->take_wanted_blocks(prng_.range(1, 2000));
        trace("blocks wanted: " + std::to_string(wanted.size()));
        reads_.insert(reads_.end(), wanted.begin(), wanted.end());
    }

    void finish_read() {
        if (!reads_.empty()) {
            const auto at = reads_.begin() + static_cast<std::ptrdiff_t>(prng_.below(reads_.size()));
            const auto ref = *at;
            reads_.erase(at);
            trace("block " + std::to_string(ref.first) + "-" + std::to_string(ref.end - 1) + " read");
            channel_->on_block_read(ref, store_.read(ref));
            ++reached_["blocks read"];
        }
    }

    void begin_checkpoint() {
        if (channel_->has_notes()) {
            channel_->write_notes();
        }
        if (prng_.chance(1, 2)) {  // As a checkpointer does before it gives log files free.
            move_all_in_log();
        }
        trace("checkpoint begins at " + std::to_string(log_->submitted()));
        auto dead = channel_->take_dead_blocks();
        for (const auto& ref : dead) {
            EXPECT_EQ(std::erase(blocks_, ref), 1U) << "a block died twice";
        }
        for (const auto* before : {checkpoint_ ? &*checkpoint_ : nullptr, saving_ ? &saving_->checkpoint : nullptr}) {
            if (before != nullptr) {  // It was given up.
                dead.insert(dead.end(), before->garbage.begin(), before->garbage.end());
            }
        }
        checkpoint_.reset();
        saving_ = Saving{.slices = channel_->begin_state(),
                         .checkpoint = {{}, log_->submitted(), channel_->oldest_record(), std::move(dead)}};
        saving_->checkpoint.begin = log_->submitted();
    }

    [[nodiscard]] bool is_saving() const { return saving_.has_value(); }
    void take_slice() {
        if (channel_->has_notes()) {
            channel_->write_notes();
        }
        std::uint64_t entries = prng_.chance(1, 8) ? UINT64_MAX : prng_.range(1, 5);
        trace("slice of " + std::to_string(entries));
        channel_->add_to_state(saving_->slices, entries);
        if (!saving_->slices.is_over) {
            ++reached_["slices"];
            return;
        }
        trace("checkpoint at " + std::to_string(log_->submitted()));
        const ChannelState& state = saving_->slices.state;
        for (const auto& ref : state.blocks) {
            EXPECT_NE(std::ranges::find(blocks_, ref), blocks_.end()) << "block " << ref.first << " may be gone";
        }
        checkpoint_ = std::move(saving_->checkpoint);
        checkpoint_->state = encode(state);
        checkpoint_->index = log_->submitted();
        saving_.reset();
    }

    void checkpoint() {
        begin_checkpoint();
        while (saving_ && !testing::Test::HasFailure()) {
            take_slice();
        }
    }

    void write_checkpoint() {
        if (!checkpoint_ || checkpoint_->index > log_->committed()) {
            return;
        }
        trace("checkpoint written");
        for (const auto& ref : checkpoint_->garbage) {
            store_.remove(ref);
        }
        written_ = std::move(*checkpoint_);
        checkpoint_.reset();
        recycled_ = std::max(recycled_, prng_.range(0, first_needed() - 1));
        ++reached_["checkpoints"];
    }

    // --- The crash ---------------------------------------------------------------------------------------------------

    void crash() {
        const auto last = prng_.range(log_->committed(), log_->submitted());
        const auto first = prng_.chance(1, 3) ? first_needed() : prng_.range(recycled_ + 1, first_needed());
        trace("crash: records " + std::to_string(first) + " to " + std::to_string(last) +
              (written_ ? " and a checkpoint" : ""));
        ++reached_["crashes"];
        ++life_;
        std::optional<ChannelImage> image;
        if (written_) {
            const auto state = decode_state(written_->state);
            ASSERT_TRUE(state);
            image.emplace(test_stream_, *state);
        } else {
            image.emplace(test_stream_);
        }
        for (commit::Index index = first; index <= last; ++index) {
            ASSERT_TRUE(image->apply(log_->record(index).body, pool_));
        }
        ASSERT_EQ(image->settle_contents(), "");
        DurableModel next = model_.survivor(last);
        check_promises(next);
        EXPECT_EQ(image->settings().options, next.options.back().second);
        channel_.reset();
        model_ = std::move(next);
        start(*image);
        if (prng_.chance(1, 4) && !testing::Test::HasFailure()) {
            trace("crash while starting");
            channel_.reset();
            model_.seen = 0;
            start(*image);
        }
        if (testing::Test::HasFailure()) {
            return;
        }
        blocks_.clear();
        for (const auto& [offset, ref] : image->blocks()) {
            blocks_.push_back(ref);
        }
        check();
        commit(log_->submitted());
        check();
        checkpoint_.reset();
        saving_.reset();
        checkpoint();
        check();
        commit(log_->submitted());
        write_checkpoint();
        check();
    }

    void start(const ChannelImage& image) {
        options_ = image.settings().options;
        make_channel();
        ASSERT_TRUE(channel_->install(image, store_.reader()));
        check_installed();
    }

    // What peers were told is true of what is left.
    void check_promises(const DurableModel& next) {
        std::set<std::string> left;
        for (const auto& [offset, message] : next.messages) {
            left.insert(message.text);
            EXPECT_FALSE(settled_for_good_.contains(message.text)) << message.text << " comes back";
            reached_["came back"] += settled_.contains(message.text) ? 1 : 0;
        }
        for (const std::string& text : durable_) {
            EXPECT_TRUE(left.contains(text) || settled_.contains(text) || purged_.contains(text))
                << text << " was confirmed and is lost";
        }
    }

    void check_installed() {
        Lines expected;
        for (const auto& [offset, message] : model_.messages) {
            expected.push_back(std::to_string(offset) + "/" + std::to_string(message.attempt) + " " + message.text);
        }
        EXPECT_EQ(stored(), expected);
        EXPECT_EQ(channel_->stats().next_offset, model_.next_offset);
        EXPECT_EQ(channel_->state().cursor, model_.cursor_before);
    }

    // --- The end: everything is sent, given and settled --------------------------------------------------------------

    void drain() {
        trace("drain");
        reconfigure_for_drain();
        for (int round = 0; round < 1000 && !testing::Test::HasFailure(); ++round) {
            bool is_done = true;
            for (auto& [producer, client] : clients_) {
                if (client.link == 0) {
                    attach(client);
                    check();
                }
                if (client.sent < client.unconfirmed.size()) {
                    publish(client);
                    check();
                }
                is_done = is_done && client.unconfirmed.empty();
            }
            if (is_done && channel_->stats().bytes == 0) {
                break;
            }
            drain_round();
        }
        if (testing::Test::HasFailure()) {
            return;
        }
        for (const auto& [producer, client] : clients_) {
            EXPECT_TRUE(client.unconfirmed.empty()) << "producer " << int{producer} << " waits for confirms";
        }
        const ChannelStats stats = channel_->stats();
        EXPECT_EQ(stats.bytes, 0U);
        EXPECT_EQ(stats.resident_bytes, 0U);
        EXPECT_EQ(stats.ready + stats.in_flight + stats.committing + stats.parked, 0U);
        EXPECT_EQ(channel_->oldest_record(), UINT64_MAX);
        checkpoint();
        EXPECT_TRUE(blocks_.empty());
        for (const std::string& text : durable_) {
            EXPECT_TRUE(delivered_.contains(text) || purged_.contains(text)) << text << " was never delivered";
        }
    }

    void reconfigure_for_drain() {
        ChannelOptions options = channel_->options();
        options.message_size_max = 1'000'000;
        options_ = options;
        channel_->reconfigure(options);
        check();
    }

    void drain_round() {
        if (receivers_.empty()) {
            attach_receiver();
        }
        const std::uint16_t link = receivers_.begin()->first;
        channel_->set_credit(link_of(link), plenty);
        receivers_[link].limit = plenty;
        end_turn();
        check();
        ask_blocks();
        while (!reads_.empty()) {
            finish_read();
        }
        check();
        std::vector<SettleRange> ranges;
        for (const auto& [offset, message] : model_.messages) {
            if (message.holder == link) {
                ranges.push_back({offset, 1, message.attempt, Outcome::done});
            }
        }
        for (const SettleRange& range : ranges) {
            apply(link, range);
        }
        channel_->settle(link_of(link), ranges, ++receivers_[link].receipt);
        check();
        end_turn();
        check();
        commit(log_->submitted());
        check();
    }

    // --- What happened -----------------------------------------------------------------------------------------------

    void check() {
        model_.read(*log_);
        for (const Event& event : events_.take()) {
            trace("    " + to_line(event));
            on(event);
        }
        EXPECT_EQ(closing_, 0) << "a close is missing";
        if (log_->committed() == log_->submitted() && !is_committing_) {
            EXPECT_FALSE(channel_->is_committing()) << "somebody waits, and nothing will come";
        }
        if (!channel_->has_notes() && log_->committed() == log_->submitted()) {
            for (const auto& [link, peer] : receivers_) {
                EXPECT_EQ(peer.answered, peer.receipt) << "link " << link << " waits for its receipt";
            }
        }
        is_committing_ = is_committing_ || channel_->is_committing();
        std::uint64_t ready = 0;
        std::uint64_t held = 0;
        std::uint64_t committing = 0;
        for (const auto& [offset, message] : model_.messages) {
            committing += message.is_visible ? 0 : 1;
            held += message.holder != 0 ? 1 : 0;
            ready += message.is_visible && message.holder == 0 && !message.is_gone ? 1 : 0;
        }
        const ChannelStats stats = channel_->stats();
        EXPECT_EQ(stats.ready, ready);
        EXPECT_EQ(stats.in_flight, held);
        EXPECT_EQ(stats.committing, committing);
    }

    void on(const Event& event) {
        switch (event.kind) {
            case Event::Kind::confirmed: {
                Client& client = client_of(event.link.link);
                EXPECT_EQ(event.level, client.level);
                EXPECT_GE(event.number, std::exchange(client.confirmed, event.number));
                EXPECT_LE(event.number, client.reach) << "a confirm of what was not sent on this link";
                return confirm(client, event.number);
            }
            case Event::Kind::refused:
                return on_refused(client_of(event.link.link), event);
            case Event::Kind::credit:
                client_of(event.link.link).granted = event.credit;
                return;
            case Event::Kind::deliver:
                return on_delivery(event);
            case Event::Kind::settled:
                return on_receipt(event.link.link, event.number);
            case Event::Kind::closed:
                return on_closed(event);
            default:
                return;
        }
    }

    void confirm(Client& client, std::uint64_t number) {
        while (!client.unconfirmed.empty() && client.unconfirmed.front() <= number) {
            const std::string text = text_of(client, client.unconfirmed.front());
            client.unconfirmed.pop_front();
            client.sent -= client.sent > 0 ? 1 : 0;
            const auto found = model_.stored.find(text);
            if (found == model_.stored.end()) {
                // Its refusal can be lost in a crash only: the log knows that a later one is stored, not what was
                // refused.
                EXPECT_TRUE(refusable_.contains(text) && refusable_[text] < life_)
                    << text << " was confirmed and is not stored";
                ++reached_["refusals that nobody heard of"];
            } else if (client.level == ConfirmLevel::durable) {
                EXPECT_LE(found->second, log_->committed()) << text << " was confirmed before the commit";
                durable_.insert(text);
            }
        }
    }

    void on_refused(Client& client, const Event& event) {
        for (std::uint64_t number = event.number; number < event.number + event.count; ++number) {
            const std::string text = text_of(client, number);
            EXPECT_FALSE(model_.stored.contains(text)) << text << " is stored and was refused";
            const auto at = std::ranges::find(client.unconfirmed, number);
            if (at == client.unconfirmed.end() && refused_.contains(text)) {
                continue;  // A duplicate of what was refused.
            }
            refused_.insert(text);
            ASSERT_NE(at, client.unconfirmed.end()) << number;
            for (auto before = client.unconfirmed.begin(); before != at && client.level == ConfirmLevel::durable;
                 ++before) {
                EXPECT_LE(model_.stored[text_of(client, *before)], log_->committed()) << "a refusal came too early";
            }
            client.unconfirmed.erase(at);
            client.sent -= client.sent > 0 ? 1 : 0;
            ++reached_["refused"];
        }
    }

    void on_delivery(const Event& event) {
        const Slice& slice = event.slice;
        const Lines words = words_of(slice.messages.bytes(), (slice.batch_flags & batch_has_properties) != 0);
        ASSERT_EQ(words.size(), slice.count);
        for (std::uint32_t i = 0; i < slice.count; ++i) {
            const Offset offset = slice.first + i;
            ASSERT_TRUE(model_.messages.contains(offset));
            DurableModel::Message& message = model_.messages[offset];
            EXPECT_EQ(words[i], message.text) << offset;
            EXPECT_TRUE(message.is_visible && !message.is_gone && message.holder == 0) << "offset " << offset;
            EXPECT_EQ(slice.attempt, message.attempt) << "offset " << offset;
            EXPECT_EQ(slice.redelivered, message.was_delivered) << "offset " << offset;
            if (is_ordered_) {
                check_order(offset, message);
            } else if (!message.was_delivered) {
                EXPECT_GT(offset, newest_fresh_) << "out of order";
                newest_fresh_ = offset;
            }
            message.holder = event.link.link;
            message.was_delivered = true;
            delivered_.insert(message.text);
        }
        ReceiverPeer& peer = receivers_[event.link.link];
        peer.delivered.messages += slice.count;
        peer.delivered.bytes += slice.messages.size();
        EXPECT_LE(peer.delivered.messages, peer.limit.messages);
        reached_["redelivered"] += slice.redelivered ? slice.count : 0;
        reached_["later attempts"] += slice.attempt > 1 ? slice.count : 0;
    }

    // It is the oldest of its key that is left.
    void check_order(Offset offset, const DurableModel::Message& message) {
        for (auto before = model_.messages.begin(); before->first < offset; ++before) {
            EXPECT_TRUE(before->second.is_gone || key_of(before->second.text) != key_of(message.text))
                << "offset " << offset << " came before " << before->first << " of its key";
        }
        const auto found = model_.messages.upper_bound(offset);
        reached_["in the order of keys"] += found != model_.messages.end() ? 1 : 0;
    }

    void on_receipt(std::uint16_t link, std::uint64_t receipt) {
        std::erase_if(receivers_[link].settled, [&](const auto& entry) {
            if (entry.first > receipt) {
                return false;
            }
            const DurableModel::Message& message = model_.messages[entry.second];
            EXPECT_TRUE(message.gone_at != 0 && message.gone_at <= log_->committed()) << "offset " << entry.second;
            settled_for_good_.insert(message.text);
            return true;
        });
        receivers_[link].answered = receipt;
        ++reached_["receipts"];
    }

    void on_closed(const Event& event) {
        const std::uint16_t link = event.link.link;
        if (!receivers_.contains(link)) {
            Client& client = client_of(link);
            client.link = 0;
            client.sent = 0;
        } else {
            for (auto& [offset, message] : model_.messages) {
                if (message.holder == link) {
                    give_back(message);
                }
            }
            receivers_.erase(link);
        }
        if (closing_ == link) {
            closing_ = 0;
        } else {
            EXPECT_EQ(event.reason, make_error_code(Errc::storage_failed)) << event.reason.message();
        }
    }

    void trace(std::string line) { trace_.push_back(std::move(line)); }

    Prng prng_;
    const bool is_ordered_;
    std::vector<std::string> trace_;
    ManualClock clock_;
    std::unique_ptr<FakeCommitLog> log_;
    std::unique_ptr<Channel> channel_;

private:
    ChannelOptions random_options() {
        ChannelOptions options;
        options.is_durable = true;
        options.messages_max = prng_.chance(1, 3) ? prng_.range(1, 12) : 1'000;
        options.bytes_max = prng_.chance(1, 3) ? prng_.range(60, 400) : 1'000'000;
        options.message_size_max = prng_.chance(1, 5) ? prng_.range(10, 40) : 1'000'000;
        options.producer_retention = std::chrono::hours{24 * 365};
        options.sender_window = {prng_.range(1, 200), prng_.range(1, 20'000)};
        options.is_ordered_by_key = is_ordered_;
        return options;
    }

    void make_channel() {
        for (auto& [producer, client] : clients_) {
            client.link = 0;
            client.sent = client.first_in_life = 0;
        }
        receivers_.clear();
        reads_.clear();
        static_cast<void>(events_.take());
        newest_fresh_ = 0;
        recycled_ = 0;
        written_.reset();
        is_committing_ = false;
        closing_ = 0;
        log_ = std::make_unique<FakeCommitLog>();
        channel_ =
            std::make_unique<Channel>("test", options_, events_, clock_, budget_, Durability{log_.get(), test_stream_});
    }

    [[nodiscard]] commit::Index first_needed() const {
        return written_ ? std::min(written_->begin + 1, written_->oldest) : 1;
    }

    [[nodiscard]] Lines stored() {
        Lines lines;
        channel_->peek(
            0,
            [&](const PeekedMessage& peeked) {
                lines.push_back(std::to_string(peeked.offset) + "/" + std::to_string(peeked.attempt) + " " +
                                std::string{as_text(peeked.message.payload)});
                return true;
            },
            store_.reader());
        return lines;
    }

    static void give_back(DurableModel::Message& message) {
        message.holder = 0;
        message.attempt += message.is_started ? 1 : 0;
        message.is_started = false;
    }

    // It follows from producer and number, so that a resend is the same.
    static std::string text_of(const Client& client, std::uint64_t number) {
        std::string text =
            client.producer == 0 ? "link " + std::to_string(client.link) : std::to_string(client.producer);
        text += ":" + std::to_string(number) + ":";
        text.append((client.producer + number) % 37 * (number % 11 == 0 ? 5 : 1), 'x');
        return text;
    }

    // It follows from the text.
    static std::string key_of(const std::string& text) { return std::string(1, static_cast<char>('a' + text.size() % 4)); }

    void note_refusable(const std::string& text) {
        const ChannelOptions& options = channel_->options();
        const std::size_t size = text.size() + (is_ordered_ ? encode_properties({.key = key_of(text)}).value().size() + 2 : 0);
        if (log_->condition() == commit::Condition::full || size > options.message_size_max || size + 4 > options.bytes_max) {
            refusable_[text] = life_;
        }
    }
    void note_parked_refusable() {
        for (const auto& [producer, client] : clients_) {
            for (std::size_t i = 0; i < client.sent; ++i) {
                note_refusable(text_of(client, client.unconfirmed[i]));
            }
        }
    }

    Client& client_of(std::uint16_t link) {
        for (auto& [producer, client] : clients_) {
            if (client.link == link) {
                return client;
            }
        }
        ADD_FAILURE() << "an event for link " << link << ", which is gone";
        return clients_[0];
    }

    std::uint16_t random_receiver() {
        return std::next(receivers_.begin(), static_cast<std::ptrdiff_t>(prng_.below(receivers_.size())))->first;
    }

    std::optional<Offset> random_held(std::uint16_t link) {
        std::vector<Offset> held;
        for (const auto& [offset, message] : model_.messages) {
            if (message.holder == link) {
                held.push_back(offset);
            }
        }
        return held.empty() ? std::nullopt : std::optional{held[prng_.below(held.size())]};
    }

    static constexpr commit::StreamId test_stream_{5};
    ChunkPool pool_;
    MemoryBudget budget_{1ULL << 40};
    RecordingEvents events_;
    ChannelOptions options_;
    FakeBlockStore store_;
    DurableModel model_;
    std::map<std::uint8_t, Client> clients_;
    std::map<std::uint16_t, ReceiverPeer> receivers_;
    RelocationPlan plan_;
    std::vector<storage::BlockRef> reads_, blocks_;
    std::optional<Checkpoint> checkpoint_, written_;
    std::optional<Saving> saving_;
    commit::Index recycled_ = 0;
    bool is_committing_ = false;
    Offset newest_fresh_ = 0;
    std::uint16_t last_link_ = 0, closing_ = 0;
    int life_ = 0;
    std::map<std::string, int> refusable_;  // What may have been refused, in which life.
    std::set<std::string> refused_, durable_, settled_, settled_for_good_, purged_, delivered_;
    Reached reached_;
};

}  // namespace baton::channel::test
