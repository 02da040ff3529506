#include "tests/sim/step_worker.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/base/base64.hpp"
#include "common/base/batch.hpp"
#include "server/channel/errc.hpp"
#include "server/runtime/placement.hpp"

namespace baton::sim {

namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;

constexpr channel::ProducerId stepper{{std::byte{11}, std::byte{2}}};

std::uint64_t token_of(std::string_view body) {
    std::uint64_t token = 0;
    std::from_chars(body.data(), body.data() + body.size(), token);
    return token;
}

}  // namespace

const std::array<std::string, 3> StepWorker::names{"step in", "step out 1", "step out 2"};

/// What the shard tells, for one life of the broker; nobody listens when that is over.
class StepWorker::Session final : public runtime::SessionEvents {
public:
    Session(StepWorker& owner, SimShard& shard) : worker{&owner}, id{shard.broker().open_session(*this)} {}

    void on_attached(std::uint16_t link, const runtime::Attachment& attachment) override {
        channels[link] = attachment.channel;
        ++attached;
    }
    void on_attach_failed(std::uint16_t, std::error_code reason) override { fail(reason); }
    void on_confirmed(std::uint16_t, std::uint64_t sequence, channel::ConfirmLevel) noexcept override {
        for (; worker != nullptr && confirmed < sequence; ++confirmed) {
            if (!refused.contains(confirmed + 1)) {
                worker->tokens_[worker->published_[confirmed] - 1].is_confirmed = true;
            }
        }
    }
    void on_refused(std::uint16_t, std::uint64_t first, std::uint32_t count, std::error_code) noexcept override {
        for (std::uint64_t sequence = first; worker != nullptr && sequence < first + count; ++sequence) {
            if (refused.insert(sequence).second) {
                worker->unsent_.push_back(worker->published_[sequence - 1]);
            }
        }
    }
    void on_sender_credit(std::uint16_t, channel::Credit limit) noexcept override { credit = limit.messages; }
    void on_state(std::uint16_t, const runtime::LinkStateReport&) noexcept override {}
    void on_deliver(std::uint16_t, const channel::Slice& slice) noexcept override {
        MessageCursor cursor{slice.messages.bytes(), (slice.batch_flags & batch_has_properties) != 0};
        MessageView message;
        for (channel::Offset offset = slice.first; worker != nullptr && cursor.next(message); ++offset) {
            worker->held_.push_back({token_of(as_text(message.payload)), offset, slice.attempt});
        }
    }
    void on_settle_refused(std::uint16_t, const channel::SettleRange&, std::error_code) noexcept override {}
    void on_settled(std::uint16_t, std::uint64_t) noexcept override {}
    void on_closed(std::uint16_t, std::error_code reason) noexcept override {
        reason ? fail(reason) : void();
    }
    void on_memory_granted(std::uint16_t) override {}
    void on_admin_reply(std::uint64_t request, const std::string& json) override {
        worker != nullptr ? worker->on_reply(request, json) : void();
    }
    void on_step(std::uint64_t, std::error_code reason, std::uint32_t) override {
        worker != nullptr ? worker->on_step(reason) : void();
    }
    void fail(std::error_code reason) noexcept {
        if (worker != nullptr) {
            worker->report_.note("step worker: " + reason.message());
            worker->phase_ = Phase::stuck;
        }
    }

    StepWorker* worker;
    const channel::SessionId id;
    std::array<runtime::ChannelRef, 3> channels{};
    int attached = 0;
    std::uint64_t credit = 0, confirmed = 0;
    std::set<std::uint64_t> refused;
};

StepWorker::StepWorker(Scheduler& scheduler, const SimOptions& options, Report& report, Machine& machine, ChunkPool& pool)
    : scheduler_{scheduler},
      options_{options},
      report_{report},
      machine_{machine},
      pool_{pool},
      prng_{options.seed * 11 + 5},
      tokens_(tokens_max) {}

StepWorker::~StepWorker() { broker_died(); }

SimShard& StepWorker::shard() { return machine_.broker()->first_shard(); }

void StepWorker::broker_died() {
    phase_ = Phase::idle;
    held_.clear();
    is_waiting_ = false;
    if (session_) {
        session_->worker = nullptr;
        // The broker that refers to it goes a little later.
        scheduler_.after(milliseconds{1}, [session = std::move(session_)] {});
        session_.reset();
    }
}

void StepWorker::act_later() {
    scheduler_.after(std::max<Duration>(options_.work_pause.take(prng_), milliseconds{1}), [this, life = std::weak_ptr{life_}] {
        if (!life.expired() && !is_stopped_ && !is_abandoned_) {
            act();
            act_later();
        }
    });
}

void StepWorker::act() {
    if (!machine_.is_listening()) {
        return;
    }
    switch (phase_) {
        case Phase::idle:
            begin_life();
            break;
        case Phase::attaching:
            if (session_->attached == 2 && pending_) {
                phase_ = Phase::asking_again;
                send_step();
            } else if (session_->attached == 2) {
                phase_ = Phase::working;
            }
            break;
        case Phase::working:
            shard().broker().set_credit({session_->id, receiver_link}, session_->channels[receiver_link],
                                        {1'000'000, 1'000'000'000});
            publish();
            if (!is_waiting_ && !held_.empty()) {
                begin_step();
            }
            break;
        default:
            break;
    }
    if (machine_.broker() != nullptr) {
        shard().end_turn();
    }
}

// --- A new life of the broker -------------------------------------------------------------------------------------------

void StepWorker::begin_life() {
    if (session_) {  // There was no room for the channels.
        shard().broker().close_session(session_->id);
    }
    session_ = std::make_shared<Session>(*this, shard());
    phase_ = Phase::creating;
    answers_ = 0;
    for (std::size_t channel = 0; channel < names.size(); ++channel) {
        ask(channel, R"({"op":"channel.create","storage":"durable","messages_max":1000,"bytes_max":100000000})");
    }
}

void StepWorker::ask(std::size_t channel, const std::string& operation) {
    shard().broker().admin(session_->id, channel, names[channel], operation);
}

void StepWorker::on_reply(std::uint64_t request, const std::string& json) {
    const Json reply = Json::parse(json);
    if (!reply.at("ok").get<bool>()) {
        const auto code = reply.at("error").at("code").get<std::string>();
        report_.note("step worker: " + json);
        if (code == "channel_damaged") {
            return give_up(json);
        }
        const bool is_creating = phase_ == Phase::creating || phase_ == Phase::idle;  // One refusal may not be the last.
        phase_ = is_creating && code == "disk_full" ? Phase::idle : Phase::stuck;
        return;
    }
    if (phase_ == Phase::looking && !look_at(request, json)) {
        return;
    }
    if (++answers_ < names.size() || (phase_ != Phase::creating && phase_ != Phase::looking)) {
        return;
    }
    answers_ = 0;
    if (phase_ == Phase::creating) {
        phase_ = Phase::looking;
        // Not from inside the answer.
        scheduler_.after(Duration::zero(), [this, life = std::weak_ptr{life_}, session = session_.get()] {
            if (life.expired() || session != session_.get() || machine_.broker() == nullptr) {
                return;
            }
            for (std::size_t channel = 0; channel < names.size() && session == session_.get(); ++channel) {
                seen_[channel].clear();
                peek(channel, 0);
            }
            session == session_.get() ? shard().end_turn() : void();
        });
        return;
    }
    check();
    if (is_abandoned_) {
        return;
    }
    scheduler_.after(Duration::zero(), [this, life = std::weak_ptr{life_}, session = session_.get()] {
        if (!life.expired() && session == session_.get() && machine_.broker() != nullptr) {
            attach();
        }
    });
}

void StepWorker::peek(std::size_t channel, std::uint64_t from) {
    ask(channel, Json{{"op", "channel.peek"}, {"count", 1'000}, {"from", from}}.dump());
}

/// One answer reads some blocks of the disk only. True: that was all of the channel.
bool StepWorker::look_at(std::size_t channel, const std::string& json) {
    const Json reply = Json::parse(json);
    for (const Json& message : reply.at("messages")) {
        const auto body = base64_decode(message.at("body_base64").get_ref<const std::string&>());
        ++seen_[channel][token_of(as_text(*body))];
    }
    if (!reply.at("more").get<bool>()) {
        return true;
    }
    // Not from inside the answer.
    const auto next = reply.at("next").get<std::uint64_t>();
    scheduler_.after(Duration::zero(), [this, channel, next, life = std::weak_ptr{life_}, session = session_.get()] {
        if (!life.expired() && session == session_.get() && machine_.broker() != nullptr) {
            peek(channel, next);
            shard().end_turn();
        }
    });
    return false;
}

/// Nothing is under way: recovery has finished what was decided, and what was not decided is as if it had never been.
void StepWorker::check() {
    ++looks_;
    for (std::size_t channel = 0; channel < names.size(); ++channel) {
        for (const auto& [token, times] : seen_[channel]) {
            if (token == 0 || token > tokens_max || times != 1) {
                report_.violation("token " + std::to_string(token) + " is " + std::to_string(times) + " times in \"" +
                                  names[channel] + "\"");
            }
        }
    }
    unsent_.clear();
    published_.clear();
    for (std::uint64_t number = 1; number <= tokens_max; ++number) {
        check_token(number, tokens_[number - 1]);
        if (!seen_[0].contains(number) && !seen_[1].contains(number)) {
            unsent_.push_back(number);
        }
    }
}

void StepWorker::check_token(std::uint64_t number, const Token& token) {
    const auto is_in = [&](std::size_t channel) { return seen_[channel].contains(number); };
    const std::string name = "token " + std::to_string(number);
    if (is_in(1) != is_in(2)) {
        give_up(name + " is in one of the two channels of its step: a part of the step was done");
    } else if (is_in(0) && is_in(1)) {
        report_.violation(name + " was sent on and is not settled: a part of the step was done");
    } else if (is_in(1) && !token.was_asked) {
        report_.violation(name + " was sent on, and nobody has asked for it");
    } else if (token.is_stepped && !is_in(1)) {
        give_up(name + " was in a step that was done, and is not where it was sent");
    } else if (token.is_confirmed && !is_in(0) && !is_in(1)) {
        give_up(name + " is lost");
    }
}

void StepWorker::attach() {
    phase_ = Phase::attaching;
    const runtime::AttachRequest sender{.name = names[0], .is_sender = true, .producer{}};
    runtime::AttachRequest receiver{.name = names[0], .producer{}};
    receiver.receiver.name = "step worker";
    auto& broker = shard().broker();
    broker.attach({session_->id, sender_link}, sender);
    broker.attach({session_->id, receiver_link}, receiver);
    shard().end_turn();
}

// --- Work ---------------------------------------------------------------------------------------------------------------

void StepWorker::publish() {
    const std::uint64_t first = published_.size() + 1;
    const std::uint64_t credit = session_->credit - std::min(session_->credit, first - 1);
    const std::uint64_t count = std::min({unsent_.size(), credit, prng_.range(0, 5)});
    if (count == 0) {
        return;
    }
    for (std::uint64_t i = 0; i < count; ++i) {
        builder_.append(as_bytes(std::to_string(unsent_[i])));
        published_.push_back(unsent_[i]);
    }
    unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<std::ptrdiff_t>(count));
    shard().broker().publish({session_->id, sender_link}, session_->channels[sender_link], first, builder_.take(pool_), false);
}

void StepWorker::begin_step() {
    pending_.emplace();
    pending_->number = ++numbers_;
    for (std::uint64_t count = prng_.range(1, 3); count > 0 && !held_.empty(); --count) {
        const auto chosen = held_.begin() + static_cast<std::ptrdiff_t>(prng_.below(held_.size()));
        tokens_[chosen->token - 1].was_asked = true;
        pending_->held.push_back(*chosen);
        held_.erase(chosen);
    }
    send_step();
}

void StepWorker::send_step() {
    auto request = std::make_shared<runtime::StepRequest>();
    request->session = session_->id;
    request->request = pending_->number;
    request->producer = stepper;
    request->number = pending_->number;
    runtime::StepSection settling;
    settling.link = {session_->id, receiver_link};
    settling.channel = session_->channels[receiver_link];
    for (const Held& held : pending_->held) {
        settling.ranges.push_back({held.offset, 1, held.attempt});
    }
    request->sections.push_back(std::move(settling));
    for (std::size_t channel = 1; channel < names.size(); ++channel) {
        for (const Held& held : pending_->held) {
            builder_.append(as_bytes(std::to_string(held.token)));
        }
        runtime::StepSection sending;
        sending.name = names[channel];
        sending.batch = builder_.take(pool_);
        request->sections.push_back(std::move(sending));
    }
    is_waiting_ = true;
    report_.note("step worker: step " + std::to_string(pending_->number) + (phase_ == Phase::asking_again ? ", again" : ""));
    shard().broker().step(std::move(request));
}

void StepWorker::on_step(std::error_code reason) {
    is_waiting_ = false;
    const bool is_again = phase_ == Phase::asking_again;
    report_.note("step worker: step " + std::to_string(pending_->number) + ": " + (reason ? reason.message() : "done"));
    if (reason == channel::Errc::storage_failed) {
        phase_ = Phase::stuck;
        return;  // It may be found done at the next start.
    }
    const bool was_seen = is_again && seen_[1].contains(pending_->held.front().token);
    if (was_seen != (is_again && !reason)) {
        report_.violation("a step that is asked for again was " + std::string{was_seen ? "done" : "not done"} +
                          ", and the answer is " + (reason ? reason.message() : "that it is done"));
    }
    for (const Held& held : pending_->held) {
        Token& token = tokens_[held.token - 1];
        stepped_ += !reason && !token.is_stepped ? 1 : 0;
        token.is_stepped = token.is_stepped || !reason;
        if (reason && !is_again && reason != channel::Errc::lost_lease) {
            held_.push_back(held);  // There was no room; it is still ours.
        }
    }
    known_again_ += is_again && !reason ? 1 : 0;
    not_done_ += is_again && reason ? 1 : 0;
    pending_.reset();
    phase_ = Phase::working;
}

void StepWorker::give_up(const std::string& why) {
    if (!machine_.has_lost_segment()) {
        report_.violation("step worker: " + why);
    }
    is_abandoned_ = true;
}

void StepWorker::stop() {
    is_stopped_ = true;
    if (session_ && machine_.broker() != nullptr) {
        session_->worker = nullptr;
        for (const std::uint16_t link : {sender_link, receiver_link}) {
            session_->attached == 2 ? shard().broker().detach({session_->id, link}, session_->channels[link]) : void();
        }
        shard().end_turn();
    }
}

void StepWorker::clean_up() {
    for (const std::string& name : names) {
        machine_.broker()->inspector().ask(name, R"({"op":"channel.delete","force":true})", [](const std::string&) {});
    }
}

std::string StepWorker::summary() const {
    return "steps " + std::to_string(numbers_) + ", tokens sent on " + std::to_string(stepped_) + ", looks " +
           std::to_string(looks_) + ", known again " + std::to_string(known_again_) + ", not done " + std::to_string(not_done_);
}

}  // namespace baton::sim
