// A checkpoint of so many channels that it takes several turns, while they go on: whenever the power goes, recovery
// finds each channel as it is.
#include "server/runtime/checkpointer.hpp"

#include <algorithm>
#include <map>
#include <string>

#include "common/base/batch_builder.hpp"
#include "server/runtime/recovery.hpp"
#include "tests/unit/runtime/durable_world.hpp"

namespace baton::runtime {
namespace {

constexpr int channels = 3'000;  // Three turns for each phase.

class CheckpointerTest : public ::testing::Test, protected DurableWorld {
protected:
    static std::string name(int number) { return "c" + std::to_string(number); }

    void make(int number) {
        ask(name(number), {{"op", "channel.create"}, {"storage", "durable"}});
        expected[name(number)] = 0;
    }
    void remove(int number) {
        ask(name(number), {{"op", "channel.delete"}});
        expected.erase(name(number));
    }
    /// A sender and a receiver, which gets credit for half of what is sent.
    void open(int number) {
        const auto link = static_cast<std::uint16_t>(2 * open_.size() + 1);
        broker.attach({session, link}, {.name = name(number), .is_sender = true, .producer{}});
        broker.attach({session, static_cast<std::uint16_t>(link + 1)},
                      {.name = name(number), .is_sender = false, .producer{}});
        open_.push_back({number, 0});
    }
    void send_and_settle() {
        for (std::size_t i = 0; i < open_.size(); ++i) {
            auto& [number, sent] = open_[i];
            const auto link = static_cast<std::uint16_t>(2 * i + 1);
            BatchBuilder builder;
            for (int j = 0; j < 4; ++j) {
                const std::string body(400, static_cast<char>('a' + j));
                builder.append(as_bytes(body));
            }
            broker.publish({session, link}, listener.channels[link], sent + 1, builder.take(pool), false);
            sent += 4;
            expected[name(number)] += 4;
            const auto receiver = static_cast<std::uint16_t>(link + 1);
            broker.set_credit({session, receiver}, listener.channels[receiver], {sent / 2, 1ULL << 40U});
        }
        run();
        for (const auto& [link, range] : std::exchange(listener.delivered, {})) {
            broker.settle({session, link}, listener.channels[link], {&range, 1}, 1);
            expected[name(open_[(link - 2U) / 2].first)] -= static_cast<std::int64_t>(range.count);
        }
        run();
    }
    void tick() {
        clock.advance(std::chrono::milliseconds{250});
        broker.tick();
    }
    void expect_recovery() {
        sim::SimDisk copy;
        copy.restore(disk.snapshot());
        copy.crash_losing_everything();
        const auto recovery = recover(copy, pool);
        ASSERT_TRUE(recovery) << recovery.error().message();
        EXPECT_TRUE(recovery->damage.empty()) << recovery->damage.front();
        std::map<std::string, std::int64_t> found;
        for (const auto& image : recovery->channels) {
            EXPECT_EQ(image.settings().damage, "") << image.settings().name;
            found[image.settings().name] = static_cast<std::int64_t>(image.live_messages());
            for (const auto& [first, block] : image.blocks()) {
                std::vector<std::byte> body(block.size);
                EXPECT_TRUE(storage::read_block(copy, image.stream(), block, body)) << image.settings().name;
            }
        }
        ASSERT_EQ(found, expected);
    }
    [[nodiscard]] static std::size_t segments_on(const sim::SimDisk& where) {
        return static_cast<std::size_t>(std::ranges::count_if(where.all_files(), [](const std::string& path) {
            return path.starts_with("channels/") && path.find("/segment-") != std::string::npos;
        }));
    }
    [[nodiscard]] std::string newest_checkpoint() const {
        std::string newest;
        for (const auto& path : disk.all_files()) {
            if (path.find("/checkpoint-") != std::string::npos) {
                newest = std::max(newest, path);
            }
        }
        return newest;
    }

    std::map<std::string, std::int64_t> expected;  ///< Living messages.
    std::vector<std::pair<int, std::uint64_t>> open_;
};

TEST_F(CheckpointerTest, OfManyChannelsWhileTheyGoOn) {
    for (int number = 0; number < channels; ++number) {
        make(number);
    }
    run();
    for (const int number : {0, 700, 1'023, 1'024, 1'500, 2'047, 2'048, 2'999}) {
        open(number);
    }
    run();
    const auto first = newest_checkpoint();
    int made = channels;
    for (int step = 0; step < 60; ++step) {
        tick();
        send_and_settle();
        remove(1 + step * 11);
        remove(1'600 + step * 11);
        make(made++);
        run();
        expect_recovery();
        if (HasFatalFailure()) {
            FAIL() << "in step " << step;
        }
    }
    EXPECT_GT(newest_checkpoint(), first);
    EXPECT_LT(broker.store()->local_log().wal().files().size(), 20U) << "log files are let go of";
}

TEST_F(CheckpointerTest, OneThatWasInterruptedLeavesNoCopies) {
    make(1);
    open(1);
    run();
    const auto before = newest_checkpoint();
    while (broker.store()->local_log().wal().files().size() < 6) {
        send_and_settle();
    }
    tick();
    while (bulk.run_one(disk) && segments_on(disk) == 0) {
        broker.end_turn();
    }
    ASSERT_GT(segments_on(disk), 0U);
    ASSERT_EQ(newest_checkpoint(), before);

    sim::SimDisk killed;
    killed.restore(disk.snapshot());
    StorageStart start{killed};
    ASSERT_TRUE(start.recover(pool));
    EXPECT_EQ(segments_on(killed), 0U) << "the room is needed for what is written once more";
    ASSERT_EQ(start.recovery().channels.size(), 1U);
    EXPECT_EQ(start.recovery().channels.front().live_messages(), expected[name(1)]);
    run();
    expect_recovery();
}

}  // namespace
}  // namespace baton::runtime
