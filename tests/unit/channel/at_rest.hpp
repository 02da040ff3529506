// A durable channel whose messages leave memory and come back, in the words of the tests about that.
#pragma once

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "common/base/properties.hpp"
#include "tests/unit/channel/durable_world.hpp"
#include "tests/unit/channel/stepwise_restore.hpp"

namespace baton::channel::test {

struct AtRest : testing::Test {
    void begin(const ChannelOptions& options = {}) {
        durable = std::make_unique<DurableWorld>(options);
        durable->world->attach_sender(1);
        sequence = 0;
    }
    void publish(const Lines& words, const MessageProperties& properties = {}) {
        for (const std::string& word : words) {
            properties.empty() ? builder.append(as_bytes(word))
                               : builder.append(as_bytes(word), encode_properties(properties).value());
        }
        durable->channel().publish(link_of(1), sequence + 1, builder.take(pool));
        durable->channel().announce_credit(link_of(1));
        sequence += words.size();
        static_cast<void>(durable->commit());
    }
    void settle(Offset first, std::uint32_t count, Outcome outcome, std::uint32_t attempt = 1) {
        const SettleRange range{first, count, attempt, outcome};
        durable->channel().settle(link_of(9), {&range, 1}, 0, outcome == Outcome::reject ? "no" : "");
        static_cast<void>(durable->turn());
        static_cast<void>(durable->commit());
    }
    /// A receiver gets everything, and is gone when this has been settled.
    void reject(Offset first, std::uint32_t count) {
        durable->world->attach_receiver(9);
        static_cast<void>(durable->turn());
        settle(first, count, Outcome::reject);
        durable->channel().detach(link_of(9));
        static_cast<void>(durable->turn());
        static_cast<void>(durable->commit());
    }
    /// What can leave memory does. How many blocks were written for it.
    std::size_t put_away() {
        const std::size_t blocks = durable->relocate(KeepAhead{}).size();
        durable->channel().evict(UINT64_MAX, {});
        return blocks;
    }
    void restart() {
        durable->save();
        ASSERT_TRUE(durable->restart()) << durable->damage;
        durable->world->attach_sender(1);
        sequence = 0;
    }
    /// What a restart at another time makes of what was saved: the clock of a new world begins anew.
    void restart_after(Duration downtime) {
        durable->save();
        restart_from_saved_after(downtime);
    }
    void restart_from_saved_after(Duration downtime) {
        const ChannelImage image = durable->image(durable->log->committed());
        const auto old_log = std::move(durable->log);
        const auto old_world = std::move(durable->world);
        durable->log = std::make_unique<FakeCommitLog>();
        durable->world = std::make_unique<ChannelWorld>(durable->options, 1ULL << 40, Durability{durable->log.get(), test_stream});
        durable->world->clock.advance(old_world->clock.now() - durable->world->clock.now() + downtime);
        ASSERT_TRUE(restore_in_steps(durable->channel(), image, durable->store.reader(), 10));
        static_cast<void>(durable->commit());
    }
    /// Blocks that are wanted within so many bytes are read. How many.
    std::size_t read(std::uint64_t bytes = UINT64_MAX) {
        const auto wanted = durable->channel().take_wanted_blocks(bytes);
        for (const auto& ref : wanted) {
            durable->channel().on_block_read(ref, durable->store.read(ref));
        }
        return wanted.size();
    }
    [[nodiscard]] Lines delivered() {
        Lines lines;
        for (const Event& event : (durable->channel().dispatch(), durable->world->events.take())) {
            if (event.kind == Event::Kind::deliver) {
                const bool has_properties = (event.slice.batch_flags & batch_has_properties) != 0;
                for (const std::string& word : words_of(event.slice.messages.bytes(), has_properties)) {
                    lines.push_back(word + " attempt " + std::to_string(event.slice.attempt));
                }
            }
        }
        return lines;
    }
    /// `line_of(message, body)` of each in this state.
    template <class LineOf>
    [[nodiscard]] Lines peeked(MessageState state, const std::string& name, LineOf line_of) {
        Lines lines;
        const auto visit = [&](const PeekedMessage& message) {
            lines.push_back(line_of(message, std::string{as_text(message.message.payload)}));
            return true;
        };
        durable->channel().peek(durable->channel().find_subscription(name), state, 0, visit, durable->store.reader());
        return lines;
    }
    /// Offset, attempt and body.
    [[nodiscard]] Lines peeked(MessageState state, const std::string& name = "") {
        return peeked(state, name, [](const PeekedMessage& message, const std::string& body) {
            return std::to_string(message.offset) + "/" + std::to_string(message.attempt) + " " + body +
                   (message.note ? " " + message.note->note : "");
        });
    }
    void subscribe(const Lines& names) {
        for (const std::string& name : names) {
            ASSERT_FALSE(durable->channel().subscribe({.name = name, .filter{}}, {}));
        }
    }
    void receive_from(const std::string& subscription) {
        ReceiverRequest request;
        request.subscription = subscription;
        durable->world->attach_reader(9, request);
        static_cast<void>(durable->turn());
    }
    void pass(Duration time) {
        durable->world->clock.advance(time);
        durable->channel().tick();
    }
    [[nodiscard]] Subscription& queue() { return *durable->channel().find_subscription(""); }
    [[nodiscard]] std::uint64_t resident() { return durable->channel().resident_bytes(); }

    std::unique_ptr<DurableWorld> durable;
    ChunkPool pool;
    BatchBuilder builder;
    std::uint64_t sequence = 0;
};

}  // namespace baton::channel::test
