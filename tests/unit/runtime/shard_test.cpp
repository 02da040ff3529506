// A running shard: its turns, timers and ends, with connections that only write down what happens to them. The threads
// are real; tests wait for what is written down, never for time.
#include "server/runtime/shard.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace baton::runtime {
namespace {

class Diary {
public:
    void write(const std::string& line) {
        const std::lock_guard lock{mutex_};
        lines_.push_back(line);
        changed_.notify_all();
    }
    /// Waits until it has been written `count` times.
    void wait_for(const std::string& line, std::ptrdiff_t count = 1) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return std::ranges::count(lines_, line) >= count; });
    }
    [[nodiscard]] std::ptrdiff_t count(const std::string& line) {
        const std::lock_guard lock{mutex_};
        return std::ranges::count(lines_, line);
    }
    /// Of these only.
    [[nodiscard]] std::vector<std::string> lines(std::initializer_list<std::string> which) {
        const std::lock_guard lock{mutex_};
        std::vector<std::string> result;
        std::ranges::copy_if(lines_, std::back_inserter(result),
                             [&](const auto& line) { return std::ranges::find(which, line) != which.end(); });
        return result;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> lines_;
};

class FakeConnection final : public Connection {
public:
    FakeConnection(Shard& shard, Diary& diary) : shard_{shard}, diary_{diary} {}
    ~FakeConnection() override { diary_.write("destroyed"); }

    void start() override {
        diary_.write("started");
        shard_.mark_dirty(*this);
        shard_.mark_dirty(*this);
        shard_.schedule(*this, shard_.state().clock.now() + std::chrono::seconds{5});
    }
    void flush_turn() noexcept override { diary_.write("flushed"); }
    void go_on() noexcept override { diary_.write("went on"); }
    void on_deadline(MonotonicTime) noexcept override {
        diary_.write("deadline");
        shard_.mark_dirty(*this);
    }
    void begin_drain(std::uint32_t) override { diary_.write("draining"); }
    void finish() noexcept override { end("finished"); }
    void abort() noexcept override { end("aborted"); }
    [[nodiscard]] bool is_flushed() const noexcept override { return true; }

private:
    /// Through the event loop, as the contract says.
    void end(const std::string& how) {
        diary_.write(how);
        if (!std::exchange(is_ending_, true)) {
            asio::post(shard_.executor(), [this] { shard_.remove(*this); });
        }
    }

    Shard& shard_;
    Diary& diary_;
    bool is_ending_ = false;
};

class Shards : public ::testing::Test {
protected:
    Shards() {
        const auto make = [this](Shard& shard, net::Descriptor) -> std::unique_ptr<Connection> {
            return std::make_unique<FakeConnection>(shard, diary);
        };
        std::vector<Shard*> all;
        for (std::uint32_t index = 0; index < 2; ++index) {
            shards.push_back(std::make_unique<Shard>(index, state, make));
            all.push_back(shards.back().get());
        }
        for (auto& shard : shards) {
            shard->connect(all);
        }
        for (auto& shard : shards) {
            shard->start();
        }
    }
    ~Shards() override {
        for (auto& shard : shards) {
            shard->stop();
        }
        for (auto& shard : shards) {
            shard->join();
        }
    }
    /// Connections that come while the shard is at work, each of which takes as long to begin as a round of the loop may take.
    void adopt_together(Shard& shard, int count, const std::function<void()>& then) {
        std::mutex gate;
        std::unique_lock closed{gate};
        shard.adopt([&gate](Shard&) {
            const std::lock_guard lock{gate};
            return std::unique_ptr<Connection>{};
        });
        for (int i = 0; i < count; ++i) {
            shard.adopt([this](Shard& at) {
                clock.advance(TurnLine::work_max);
                return std::make_unique<FakeConnection>(at, diary);
            });
        }
        then();
        closed.unlock();
        diary.wait_for("started");
    }
    static net::Descriptor socket() { return net::Descriptor{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}; }

    Diary diary;
    ManualClock clock;
    BrokerState state{Limits{}, 2, clock};
    std::vector<std::unique_ptr<Shard>> shards;
};

TEST_F(Shards, FlushADirtyConnectionOncePerTurn) {
    shards[1]->adopt(socket());
    diary.wait_for("flushed");
    EXPECT_EQ(diary.count("flushed"), 1);
    EXPECT_EQ(shards[1]->connection_count(), 1U);
    EXPECT_EQ(shards[0]->connection_count(), 0U);
}

TEST_F(Shards, TakeConnectionsFromEachOtherUntilTheyHaveMuchMoreThanTheirShare) {
    EXPECT_EQ(shards[0]->better_shard(0), nullptr) << "it is there";
    EXPECT_EQ(shards[0]->better_shard(1), shards[1].get());
    for (std::ptrdiff_t count = 1; count <= 9; ++count) {
        EXPECT_EQ(shards[0]->better_shard(1), shards[1].get());
        shards[1]->adopt([this](Shard& shard) { return std::make_unique<FakeConnection>(shard, diary); });
        diary.wait_for("flushed", count);
    }
    EXPECT_EQ(shards[1]->connection_count(), 9U);
    EXPECT_EQ(shards[0]->better_shard(1), nullptr);
    EXPECT_EQ(shards[1]->better_shard(0), shards[0].get());
}

TEST_F(Shards, KeepDeadlinesByTheirClock) {
    shards[0]->adopt(socket());
    diary.wait_for("started");
    EXPECT_EQ(diary.count("deadline"), 0);
    // The shard may schedule the deadline after the first step, so time goes on until it has fired.
    while (diary.count("deadline") == 0) {
        clock.advance(std::chrono::seconds{5});
        std::this_thread::yield();
    }
    diary.wait_for("flushed", 2);
}

TEST_F(Shards, TellEverybodyOfADrain) {
    shards[0]->adopt(socket());
    diary.wait_for("started");
    shards[0]->begin_drain(500);
    diary.wait_for("draining");
    shards[0]->adopt(socket());  // Who comes late is told as well.
    diary.wait_for("draining", 2);
    while (!shards[0]->is_quiet()) {
        std::this_thread::yield();
    }
    shards[0]->finish_connections();
    diary.wait_for("destroyed", 2);
    while (shards[0]->connection_count() != 0) {
        std::this_thread::yield();
    }
    EXPECT_EQ(diary.count("finished"), 2);
}

TEST_F(Shards, DoOtherThingsBetweenConnectionsThatComeTogether) {
    adopt_together(*shards[0], 3, [this] { shards[0]->begin_drain(500); });
    diary.wait_for("draining", 3);
    EXPECT_EQ(diary.lines({"started", "draining"}),
              (std::vector<std::string>{"started", "draining", "started", "draining", "started", "draining"}));
}

TEST_F(Shards, BeginNothingThatWaitsWhenTheyStop) {
    adopt_together(*shards[0], 3, [this] { shards[0]->stop(); });
    shards[0]->join();
    EXPECT_EQ(diary.lines({"started", "aborted", "destroyed"}), (std::vector<std::string>{"started", "aborted", "destroyed"}));
}

TEST_F(Shards, StopEndsWhatIsLeft) {
    shards[0]->adopt(socket());
    shards[0]->adopt(socket());
    diary.wait_for("started", 2);
    shards[0]->stop();
    shards[0]->join();
    EXPECT_EQ(diary.count("aborted"), 2);
    EXPECT_EQ(diary.count("destroyed"), 2);
}

}  // namespace
}  // namespace baton::runtime
