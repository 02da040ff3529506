// Random operations against the real channel and the reference model; after each step everything visible is compared.
// A failure prints its seed and the operations before it: BATON_MODEL_SEED=n repeats it.
#include <iterator>
#include <optional>

#include <gtest/gtest.h>

#include "common/base/prng.hpp"
#include "common/base/properties.hpp"
#include "tests/unit/channel/model_checks.hpp"

namespace baton::channel::test {
namespace {

constexpr int producers = 4;
constexpr std::uint64_t keep_forever_years = 10;

ChannelOptions random_options(Prng& prng) {
    ChannelOptions options;
    options.messages_max = prng.chance(1, 3) ? prng.range(1, 12) : 1'000;
    options.bytes_max = prng.chance(1, 3) ? prng.range(20, 400) : 1'000'000;
    options.message_size_max = prng.chance(1, 4) ? prng.range(5, 40) : 1'000'000;
    options.producer_retention = std::chrono::hours{24 * 365 * keep_forever_years};
    options.sender_window = {prng.range(1, 200), prng.range(1, 20'000)};
    options.attempts_max = prng.chance(1, 3) ? 0 : static_cast<std::uint32_t>(prng.range(1, 5));
    options.quarantines_expired = prng.chance(1, 2);
    options.overflow = prng.chance(1, 3) ? Overflow::drop_oldest : Overflow::block;
    return options;
}

class ModelRun : public ModelChecks {
public:
    explicit ModelRun(Prng prng)
        : ModelChecks{random_options(prng), prng.chance(1, 4) ? prng.range(1, 30'000) : 1ULL << 40}, prng_{prng} {}

    void run(int steps) {
        for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
            i == steps * 9 / 10 ? begin_drain() : step();
            pack();
            check();
        }
        if (testing::Test::HasFailure()) {
            std::string all;
            for (const std::string& line : trace_) {
                all += line + "\n";
            }
            ADD_FAILURE() << "operations:\n" << all;
        }
    }

    std::uint64_t bytes_packed() const { return bytes_packed_; }

private:
    // --- Operations --------------------------------------------------------------------------------------------------

    void step() {
        const std::uint64_t dice = prng_.below(100);
        if (dice < 25) {
            publish();
        } else if (dice < 50) {
            settle();
        } else if (dice < 64) {
            set_credit();
        } else if (dice < 67) {
            set_slow();
        } else if (dice < 72) {
            attach_sender();
        } else if (dice < 78) {
            attach_receiver();
        } else if (dice < 81) {
            detach();
        } else if (dice < 83) {
            if (prng_.chance(1, 10)) {
                trace("purge");
                EXPECT_EQ(test::purge(world_.channel), model_.purge());
            }
        } else if (dice < 86) {
            reconfigure();
        } else if (dice < 88) {
            trace("tick");
            world_.clock.advance(std::chrono::milliseconds{50});
            model_.now += 50;
            world_.channel.tick();
            model_.tick();
        } else if (dice < 89) {
            administrate();
        } else {
            trace("dispatch");
            world_.channel.dispatch();
            has_dispatched_ = true;
        }
    }

    void administrate() {
        Subscription& reader = *world_.channel.find_subscription("");
        const std::uint64_t dice = prng_.below(8);
        trace("administrate " + std::to_string(dice));
        if (dice < 5) {
            EXPECT_EQ(retry_all(reader), model_.retry_all());
        } else {
            const bool is_quarantined = dice < 7;
            EXPECT_EQ(drop_all(reader, is_quarantined ? MessageState::quarantined : MessageState::delayed),
                      model_.drop(is_quarantined));
        }
        world_.channel.subscription_changed();
    }

    // Whatever is left of a batch is copied, however much that is.
    void pack() {
        if (prng_.chance(1, 3)) {
            const std::uint64_t before = world_.channel.stats().resident_bytes;
            world_.channel.pack_remnants({.factor = 0, .slack = 0});
            bytes_packed_ += before - world_.channel.stats().resident_bytes;
        }
    }

    // The last tenth of the steps: nothing more is let in or given out, settlements go on.
    void begin_drain() {
        trace("drain");
        model_.is_draining = true;
        model_.apply();
        world_.channel.begin_drain();
    }

    void attach_sender() {
        if (senders_.size() >= 5) {
            return;
        }
        const std::uint16_t link = ++last_link_;
        const auto producer = static_cast<std::uint8_t>(prng_.below(producers + 1));
        trace("attach_sender " + std::to_string(link) + " producer " + std::to_string(producer));
        for (const auto& entry : model_.senders) {
            if (producer != 0 && entry.second.producer == producer) {
                expected_closed_ = {static_cast<std::uint16_t>(entry.first), Errc::superseded};
            }
        }
        const std::uint64_t decided = model_.attach(link, producer);
        EXPECT_EQ(world_.attach_sender(link, producer), decided);
        senders_[link] = {.granted = {}, .used = {}, .confirmed = decided};
    }

    void attach_receiver() {
        if (receivers_.size() >= 4) {
            return;
        }
        const std::uint16_t link = ++last_link_;
        trace("attach_receiver " + std::to_string(link));
        receivers_[link] = {};
        EXPECT_FALSE(world_.channel.attach_receiver(link_of(link), {}));
    }

    void detach() {
        if (prng_.chance(1, 2) && !senders_.empty()) {
            const std::uint16_t link = random_of(senders_);
            trace("detach sender " + std::to_string(link));
            expected_closed_ = {link, {}};
            model_.detach_sender(link);
            world_.channel.detach(link_of(link));
        } else if (!receivers_.empty()) {
            const std::uint16_t link = random_of(receivers_);
            trace("detach receiver " + std::to_string(link));
            expected_closed_ = {link, {}};
            model_.detach_receiver(link);
            world_.channel.detach(link_of(link));
        }
    }

    void publish() {
        if (senders_.empty()) {
            return;
        }
        const std::uint16_t link = random_of(senders_);
        SenderState& state = senders_[link];
        const QueueModel::Sender& sender = model_.senders[link];
        const std::uint64_t count = prng_.chance(1, 3) ? 1 : prng_.range(1, 9);
        std::uint64_t first = sender.received + 1;
        if (sender.any_start) {
            first = prng_.chance(1, 2) ? 1 : prng_.range(1, 1000);
        } else if (prng_.chance(1, 4)) {
            first = prng_.range(sender.received > 10 ? sender.received - 10 : 1, sender.received + 1);
        } else if (prng_.chance(1, 60)) {
            ++first;
        }
        std::vector<QueueModel::Message> messages;
        const Payload batch = make_batch(sender.producer == 0 ? 1000 + link : sender.producer, first, count, messages);
        const bool is_assembled = count == 1 && prng_.chance(1, 4);
        const Credit cost = is_assembled ? Credit{1, 0} : Credit{count, batch.size()};
        if (state.used.messages + cost.messages > state.granted.messages ||
            state.used.bytes + cost.bytes > state.granted.bytes) {
            return;
        }
        trace("publish " + std::to_string(link) + " " + std::to_string(first) + " count " + std::to_string(count));
        state.used.messages += cost.messages;
        state.used.bytes += cost.bytes;
        if (!model_.publish(link, first, messages)) {
            expected_closed_ = {link, Errc::sequence_gap};
            model_.detach_sender(link);
        }
        world_.channel.publish(link_of(link), first, batch, is_assembled);
    }

    // The text of a message follows from its producer and number, so that a resend is the same.
    Payload make_batch(int producer, std::uint64_t first, std::uint64_t count,
                       std::vector<QueueModel::Message>& messages) {
        const bool has_properties = prng_.chance(1, 4);
        for (std::uint64_t i = 0; i < count; ++i) {
            QueueModel::Message message;
            const std::vector<std::byte> properties = has_properties ? random_rules(message) : std::vector<std::byte>{};
            message.text = std::to_string(producer) + ":" + std::to_string(first + i) + ":";
            message.text.append(
                (static_cast<std::uint64_t>(producer) + first + i) % 37 * ((first + i) % 11 == 0 ? 5 : 1), 'x');
            message.size = message.text.size() + (has_properties ? properties.size() : 0);
            message.bytes = 4 + message.size + (has_properties ? 2 : 0);
            builder_.append(as_bytes(message.text), has_properties ? Bytes{properties} : Bytes{});
            messages.push_back(message);
        }
        return builder_.take(pool_);
    }

    std::vector<std::byte> random_rules(QueueModel::Message& message) {
        MessageProperties properties;
        properties.key = "k";
        if (prng_.chance(1, 3)) {
            message.priority = static_cast<int>(prng_.below(10));
            properties.priority = static_cast<std::uint8_t>(message.priority);
        }
        if (prng_.chance(1, 3)) {
            message.delay = prng_.below(200);
            properties.delay = std::chrono::milliseconds{message.delay};
        }
        if (prng_.chance(1, 3)) {
            message.ttl = prng_.range(1, 400);
            properties.ttl = std::chrono::milliseconds{message.ttl};
        }
        return encode_properties(properties).value();
    }

    void settle() {
        if (receivers_.empty()) {
            return;
        }
        const std::uint16_t link = random_of(receivers_);
        const Outcome outcomes[] = {Outcome::done,    Outcome::done,  Outcome::give_back, Outcome::started,
                                    Outcome::started, Outcome::retry, Outcome::reject,    Outcome::extend};
        std::vector<SettleRange> ranges(prng_.range(1, 3));
        for (SettleRange& range : ranges) {
            range.outcome = outcomes[prng_.below(8)];
            range.argument = range.outcome == Outcome::extend ? 0 : static_cast<std::uint32_t>(prng_.below(200));
            range.count = static_cast<std::uint32_t>(prng_.range(1, prng_.chance(1, 2) ? 4 : 30));
            range.first = prng_.range(1, model_.next_offset);
            if (const auto held = random_held(link); held && !prng_.chance(1, 8)) {
                range.first = *held;
                range.attempt = model_.stored[*held].attempt;
            }
            trace("settle " + std::to_string(link) + " " + std::to_string(range.first) + "+" +
                  std::to_string(range.count) + " attempt " + std::to_string(range.attempt) + " outcome " +
                  std::to_string(static_cast<int>(range.outcome)));
            expected_lost_.merge(model_.settle(link, range));
        }
        model_.apply();
        world_.channel.settle(link_of(link), ranges, 99);
    }

    void set_credit() {
        if (receivers_.empty()) {
            return;
        }
        const std::uint16_t link = random_of(receivers_);
        ReceiverState& state = receivers_[link];
        const bool is_wide = prng_.chance(1, 3);
        state.limit = {state.delivered.messages + prng_.below(is_wide ? 200 : 8),
                       state.delivered.bytes + prng_.below(is_wide ? 10'000 : 300)};
        trace("credit " + std::to_string(link) + " " + std::to_string(state.limit.messages) + " " +
              std::to_string(state.limit.bytes));
        world_.channel.set_credit(link_of(link), state.limit);
    }

    void set_slow() {
        if (!receivers_.empty()) {
            const std::uint16_t link = random_of(receivers_);
            receivers_[link].is_slow = prng_.chance(1, 2);
            trace("slow " + std::to_string(link) + (receivers_[link].is_slow ? " on" : " off"));
            world_.channel.set_slow(link_of(link), receivers_[link].is_slow);
        }
    }

    void reconfigure() {
        trace("reconfigure");
        ChannelOptions options = random_options(prng_);
        options.attempts_max = world_.channel.options().attempts_max;
        options.quarantines_expired = world_.channel.options().quarantines_expired;
        options.overflow = world_.channel.options().overflow;
        model_.messages_max = options.messages_max;
        model_.bytes_max = options.bytes_max;
        model_.message_size_max = options.message_size_max;
        model_.apply();
        world_.channel.reconfigure(options);
    }

    // --- Small things ------------------------------------------------------------------------------------------------

    template <class Map>
    std::uint16_t random_of(const Map& map) {
        return std::next(map.begin(), static_cast<std::ptrdiff_t>(prng_.below(map.size())))->first;
    }

    std::optional<Offset> random_held(int link) {
        std::vector<Offset> held;
        for (const auto& [offset, message] : model_.stored) {
            if (message.holder == link) {
                held.push_back(offset);
            }
        }
        return held.empty() ? std::nullopt : std::optional{held[prng_.below(held.size())]};
    }

    Prng prng_;
    ChunkPool pool_;
    BatchBuilder builder_;
    std::uint16_t last_link_ = 0;
    std::uint64_t bytes_packed_ = 0;
};

TEST(ChannelModel, RandomOperationsEqualTheModel) {
    run_seeds(1, [](std::uint64_t seed, Reached& reached) {
        ModelRun run{Prng{seed}};
        run.run(1000);
        run.add_to(reached);
        reached["bytes packed"] += run.bytes_packed();
    });
}

}  // namespace
}  // namespace baton::channel::test
