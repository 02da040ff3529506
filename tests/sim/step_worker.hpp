// A worker of a simulation that does everything in atomic steps: it receives tokens from one channel, and in one step settles
// them and sends each to two other channels. It lives as long as the simulation; the broker dies around it, and in each life it
// first looks whether every token is where it may be: in the first channel, or in both of the others, and nowhere twice. Then it
// asks again for the step that was under way, as the client library does.
// It talks to a shard without a connection, as the Inspector. Not responsible for frames (client.hpp).
// One thread. Next file: simulation.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/batch_builder.hpp"
#include "common/base/prng.hpp"
#include "tests/sim/machine.hpp"
#include "tests/sim/options.hpp"
#include "tests/sim/report.hpp"
#include "tests/sim/scheduler.hpp"

namespace baton::sim {

class StepWorker {
public:
    /// The pool outlives the machine.
    StepWorker(Scheduler& scheduler, const SimOptions& options, Report& report, Machine& machine, ChunkPool& pool);
    ~StepWorker();

    void start() { act_later(); }
    /// The broker has died: what was under way is unknown.
    void broker_died();
    /// Every token is in both channels; or it has given up, because the disk lost something.
    [[nodiscard]] bool is_done() const noexcept { return is_abandoned_ || (stepped_ == tokens_max && !pending_); }
    /// Nothing more is asked; what it holds goes back.
    void stop();
    /// Its channels are deleted.
    void clean_up();
    [[nodiscard]] std::string summary() const;

private:
    class Session;
    friend class Session;
    enum class Phase : std::uint8_t { idle, creating, looking, attaching, asking_again, working, stuck };
    struct Token {
        bool is_confirmed = false;
        bool is_stepped = false;  // A step was answered with success.
        bool was_asked = false;   // It was in a step.
    };
    struct Held {
        std::uint64_t token = 0;
        channel::Offset offset = 0;
        std::uint32_t attempt = 0;
    };
    struct Pending {
        std::uint64_t number = 0;
        std::vector<Held> held;
    };
    using Seen = std::map<std::uint64_t, std::uint64_t>;  // Token: how often.

    void act_later();
    void act();
    void begin_life();
    void ask(std::size_t channel, const std::string& operation);
    void peek(std::size_t channel, std::uint64_t from);
    void on_reply(std::uint64_t request, const std::string& json);
    [[nodiscard]] bool look_at(std::size_t channel, const std::string& json);
    void check();
    void check_token(std::uint64_t number, const Token& token);
    void attach();
    void publish();
    void begin_step();
    void send_step();
    void on_step(std::error_code reason);
    /// Something cannot be read: a breach of the rules, unless a file was lost.
    void give_up(const std::string& why);
    [[nodiscard]] SimShard& shard();

    static constexpr std::uint64_t tokens_max = 60;
    static constexpr std::uint16_t sender_link = 1, receiver_link = 2;
    static const std::array<std::string, 3> names;  // The first is received from.

    Scheduler& scheduler_;
    const SimOptions& options_;
    Report& report_;
    Machine& machine_;
    ChunkPool& pool_;
    Prng prng_;
    std::shared_ptr<bool> life_ = std::make_shared<bool>(true);  // For what is scheduled: gone when we are.

    std::vector<Token> tokens_;  // Number n is at n - 1.
    std::optional<Pending> pending_;
    std::uint64_t numbers_ = 0, stepped_ = 0, looks_ = 0, known_again_ = 0, not_done_ = 0;
    bool is_abandoned_ = false, is_stopped_ = false;

    // Of this life of the broker.
    std::shared_ptr<Session> session_;
    Phase phase_ = Phase::idle;
    std::size_t answers_ = 0;
    std::array<Seen, 3> seen_;
    bool is_waiting_ = false;  // For the answer to a step.
    std::vector<std::uint64_t> unsent_;     // Tokens that are nowhere.
    std::vector<std::uint64_t> published_;  // By sequence number, from 1.
    std::vector<Held> held_;
    BatchBuilder builder_;
};

}  // namespace baton::sim
