// `baton bench soak`: every message is numbered and checked; what was confirmed must arrive, once, whole and in order.
#include <algorithm>
#include <cstring>
#include <map>

#include "client/cli/bench_ledger.hpp"
#include "client/cli/bench_load.hpp"
#include "client/cli/bench_report.hpp"
#include "client/cli/interrupt.hpp"
#include "common/base/crc32c.hpp"

namespace baton::cli {

namespace {

/// After so long without a message nothing is believed to come any more.
constexpr auto patience = std::chrono::seconds{5};
/// For what comes although it should not.
constexpr auto stragglers = std::chrono::milliseconds{200};
constexpr std::size_t problems_max = 20;

// In front of each body: the number of the message, its sender, the checksum of body and both (with itself as 0).
struct SoakStamp {
    std::uint64_t sequence = 0;
    std::uint32_t sender = 0;
    std::uint32_t checksum = 0;
};
static_assert(sizeof(SoakStamp) == 16);

class Checks final : public BenchWork {
public:
    Checks(const BenchSettings& settings, std::uint64_t nonce)
        : settings_{settings}, nonce_{static_cast<std::uint32_t>(nonce)} {
        for (std::uint64_t i = 0; i < settings.senders; ++i) {
            auto& own = bodies_.emplace_back();
            for (const auto size : settings.sizes) {
                own.emplace_back(size, static_cast<char>('a' + i % 26));
            }
        }
        // Receivers of a queue share its messages; of a topic or stream each gets all.
        const auto count = settings.kind == "queue" ? settings.channels : settings.receivers;
        for (std::uint64_t i = 0; i < count; ++i) {
            ledgers_.push_back(std::make_unique<LockedLedger>());
        }
    }
    /// Set once, before the load starts.
    void set_load(const BenchLoad& load) noexcept { load_ = &load; }

    std::string_view body(std::size_t sender, std::uint64_t sequence, BenchClock::time_point) override {
        auto& bytes = bodies_[sender][sequence % settings_.sizes.size()];
        SoakStamp stamp{.sequence = sequence, .sender = static_cast<std::uint32_t>(sender), .checksum = 0};
        std::memcpy(bytes.data(), &stamp, sizeof stamp);
        stamp.checksum = crc32c(as_bytes(bytes), nonce_);
        std::memcpy(bytes.data(), &stamp, sizeof stamp);
        return bytes;
    }

    void on_message(std::size_t receiver, const Delivery& delivery) override {
        auto& [mutex, ledger] = *ledgers_[ledger_of(receiver)];
        const auto bytes = delivery.body();
        SoakStamp stamp;
        bool is_ours = bytes.size() >= sizeof stamp;
        if (is_ours) {
            std::memcpy(&stamp, bytes.data(), sizeof stamp);
            auto cleared = stamp;
            cleared.checksum = 0;
            const auto front = crc32c(Bytes{reinterpret_cast<const std::byte*>(&cleared), sizeof cleared}, nonce_);
            is_ours = crc32c(bytes.subspan(sizeof stamp), front) == stamp.checksum;
        }
        const auto* load = load_.load(std::memory_order_relaxed);
        const bool is_again = delivery.redelivered() || (load != nullptr && load->disconnects() != 0);
        const std::lock_guard lock{mutex};
        if (is_ours) {
            ledger.received(receiver, stamp.sender, stamp.sequence, is_again);
        } else {
            ledger.foreign();
        }
    }

    [[nodiscard]] std::uint64_t distinct() const {
        std::uint64_t sum = 0;
        for (const auto& ledger : ledgers_) {
            const std::lock_guard lock{ledger->mutex};
            sum += ledger->ledger.distinct();
        }
        return sum;
    }
    /// Once the threads have ended. Adds to `result` what is wrong; what is missing only if that `is_whole`, and cannot be on
    /// its way.
    void judge(const BenchLoad& load, const std::vector<SenderEnd>& ends, bool is_whole, Json& result) const;

private:
    struct LockedLedger {
        mutable std::mutex mutex;
        SoakLedger ledger;
    };

    [[nodiscard]] std::size_t ledger_of(std::size_t receiver) const noexcept {
        return settings_.kind == "queue" ? receiver % settings_.channels : receiver;
    }

    const BenchSettings& settings_;
    const std::uint32_t nonce_;
    std::atomic<const BenchLoad*> load_ = nullptr;
    std::vector<std::vector<std::string>> bodies_;  // Of each sender, for each size.
    std::vector<std::unique_ptr<LockedLedger>> ledgers_;
};

void Checks::judge(const BenchLoad& load, const std::vector<SenderEnd>& ends, bool is_whole, Json& result) const {
    std::uint64_t lost = 0;
    std::uint64_t duplicates = 0;
    std::uint64_t repeated = 0;
    std::uint64_t out_of_order = 0;
    std::uint64_t damaged = 0;
    const auto level = result.at("durability").at("confirmed").get<std::string>();
    auto& problems = result["problems"] = Json::array();
    const auto complain = [&](const std::string& text) {
        if (problems.size() < problems_max) {
            problems.push_back(text);
        }
    };
    for (std::size_t i = 0; i < ledgers_.size(); ++i) {
        const auto& ledger = ledgers_[i]->ledger;
        const auto channel = load.channel_of(i);
        for (std::size_t sender = 0; is_whole && sender < ends.size(); ++sender) {
            if (ends[sender].channel != channel) {
                continue;
            }
            std::vector<SequenceSet::Range> refused;
            for (const auto& refusal : ends[sender].refused) {
                refused.push_back({refusal.first, refusal.first + refusal.count});
            }
            for (const auto& hole : ledger.missing(static_cast<std::uint32_t>(sender), ends[sender].posted, refused)) {
                lost += hole.end - hole.first;
                complain("confirmed as " + level + " and never received: messages " + std::to_string(hole.first) + " to " +
                         std::to_string(hole.end - 1) + " of sender " + std::to_string(sender) + " in " +
                         load.channels()[channel]);
            }
        }
        if (ledger.duplicates() != 0) {
            complain(counted(ledger.duplicates(), "message") + " of " + load.channels()[channel] + " came twice");
        }
        if (ledger.out_of_order() != 0) {
            complain(counted(ledger.out_of_order(), "message") + " of " + load.channels()[channel] +
                     " came out of order, first " + ledger.first_disorder());
        }
        if (ledger.foreign_count() != 0) {
            complain(counted(ledger.foreign_count(), "message") + " of " + load.channels()[channel] +
                     ": damaged or not ours");
        }
        duplicates += ledger.duplicates();
        repeated += ledger.repeated();
        out_of_order += ledger.out_of_order();
        damaged += ledger.foreign_count();
    }
    result.update({{"lost", lost},
                   {"duplicates", duplicates},
                   {"repeated", repeated},
                   {"out_of_order", out_of_order},
                   {"damaged", damaged}});
}

/// Waits for what was confirmed. True: it is known what is missing. After an interruption that is not waited for: then only if
/// everything is here, or the broker has no more.
bool wait_until_known(const Program& program, BenchLoad& load, const Checks& work, const std::vector<SenderEnd>& ends) {
    const auto expected = load.deliveries_of(ends);
    load.wait_received([&] { return work.distinct(); }, expected, patience);
    std::this_thread::sleep_for(stragglers);
    load.end_receivers();
    if (!program.interrupt->is_requested()) {
        return true;
    }
    const bool is_decided = std::ranges::all_of(ends, &SenderEnd::is_decided);
    const bool is_known = is_decided && (work.distinct() >= expected || load.has_nothing_left());
    if (!is_known) {
        say(program.global, "interrupted: what was still on its way is not judged");
    }
    return is_known;
}

/// Returns what came of it.
Json soak(const Program& program, const BenchSettings& settings, BenchReport& report) {
    Checks work{settings, static_cast<std::uint64_t>(BenchClock::now().time_since_epoch().count())};
    BenchLoad load{program, settings, work};
    work.set_load(load);
    report.set_broker(load.broker());
    Progress progress{program.global, "messages", 0};
    load.start(BenchClock::now(), settings.duration);
    // An interruption ends the sending; what was sent is checked all the same. A second one ends the process.
    static_cast<void>(load.run_until(load.started() + settings.duration, progress));
    progress.clear();
    const auto seconds = std::chrono::duration<double>{BenchClock::now() - load.started()}.count();
    const auto ends = load.end_senders();
    std::uint64_t posted = 0;
    std::uint64_t refused = 0;
    auto level = ConfirmLevel::none;
    for (const auto& end : ends) {
        posted += end.posted;
        level = std::max(level, end.level);
        for (const auto& refusal : end.refused) {
            refused += refusal.count;
        }
    }
    const bool is_whole = wait_until_known(program, load, work, ends);
    Json result{{"sizes", settings.sizes},
                {"durability", durability_of(settings, level)},
                {"seconds", seconds},
                {"confirmed", posted - refused},
                {"refused", refused},
                {"received", load.received()},
                {"disconnects", load.disconnects()},
                {"blocked", load.blocked_reasons()}};
    work.judge(load, ends, is_whole, result);
    report.add(result);
    return result;
}

/// Of a soak in which something was wrong.
std::string verdict_of(const Program& program, const Json& result) {
    const auto first = result.at("problems").front().get<std::string>();
    if (!is_loss_permitted(result)) {
        return "the broker at " + program.global.url + " did not keep its word: " + first;
    }
    const auto lost = result.at("lost").get<std::uint64_t>();
    return counted(lost, "message") + (lost == 1 ? " is" : " are") + " lost that the broker at " + program.global.url +
           " had confirmed as received, not as durable: if it was killed meanwhile, that is permitted, otherwise it did not "
           "keep its word (docs/guarantees.md; --confirm durable tests what a crash must not lose): " +
           first;
}

}  // namespace

int bench_soak(const Program& program, const BenchSettings& settings) {
    BenchReport report{program, "soak", settings};
    Json result;
    try {
        result = soak(program, settings, report);
    } catch (const ClientError& error) {
        if (program.interrupt->is_requested()) {
            return exit_interrupted;
        }
        throw failure_of(error, "cannot test " + program.global.url);
    }
    const bool is_interrupted = program.interrupt->is_requested();
    report.print(is_interrupted);
    if (!result.at("problems").empty()) {
        throw Failure{exit_failed, verdict_of(program, result), "soak_failed"};
    }
    return is_interrupted ? exit_interrupted : exit_done;
}

}  // namespace baton::cli
