#include "tests/sim/crash_steps.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/base/batch.hpp"
#include "common/base/batch_builder.hpp"

namespace baton::sim {

namespace {

constexpr std::uint64_t memory_max = 640 * 1024;
constexpr channel::ProducerId producer{{std::byte{7}, std::byte{1}}};

runtime::Limits step_limits() {
    runtime::Limits limits;
    limits.memory_max = memory_max;
    limits.durable_defaults.sender_window = {100'000, memory_max / 8};
    return limits;
}

}  // namespace

std::string step_body(std::uint64_t number, std::size_t size) {
    std::string text = std::to_string(number) + ":";
    text.resize(std::max(size, text.size()), static_cast<char>('a' + number % 26));
    return text;
}

StepLife::StepLife(SimDisk& disk, std::uint32_t shards, StepFacts& facts)
    : disk_{disk},
      facts_{facts},
      state_{step_limits(), shards, clock_},
      pool_{32 * 1024, 4, &state_.memory},
      sync_queue_{disk},
      bulk_queue_{disk},
      mail_(shards) {
    clock_.advance(std::chrono::hours{1});
    runtime::MailboxPort& mailboxes = *this;
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
        brokers_.push_back(std::make_unique<runtime::ShardBroker>(shard, state_, mailboxes));
    }
    session_ = brokers_.front()->open_session(*this);
}

StepLife::~StepLife() {
    sync_queue_.drop();
    bulk_queue_.drop();
    mail_.clear();
    brokers_.front()->close_session(session_);
    brokers_.clear();
}

Result<void> StepLife::start() {
    runtime::StorageStart start{disk_};
    if (auto done = start.recover(pool_); !done) {
        return done;
    }
    recovery_.damage = start.recovery().damage;
    for (const auto& image : start.recovery().channels) {
        if (!image.settings().damage.empty()) {
            recovery_.damage.push_back(image.settings().name + ": " + image.settings().damage);
        }
    }
    if (auto done = start.begin_generation(state_.shard_count); !done) {
        return done;
    }
    std::vector<runtime::ShardBroker*> brokers;
    for (auto& broker : brokers_) {
        broker->open_store({.files = &disk_,
                            .sync_queue = &sync_queue_,
                            .bulk_queue = &bulk_queue_,
                            .clock = &clock_,
                            .pool = &pool_,
                            .memory = &state_.memory},
                           {.generation = start.generation(),
                            .shard = broker->shard(),
                            .shard_count = state_.shard_count,
                            .wal_file_size = 64 * 1024,
                            .segment_size = 64 * 1024,
                            .disk_free_min = 0,
                            .read_ahead = 16 * 1024,
                            .entries_per_slice = 3});
        brokers.push_back(broker.get());
    }
    const auto pump = [this] {
        const std::size_t ran = bulk_queue_.run_all() + sync_queue_.run_all();
        return ran > 0;
    };
    if (auto done = start.install(brokers, pump); !done) {
        return done;
    }
    return start.finish();
}

// Turns, mail and the disk, until nothing happens any more.
void StepLife::run() {
    for (bool worked = true; worked && !is_off();) {
        worked = false;
        for (std::size_t shard = 0; shard < brokers_.size(); ++shard) {
            while (!mail_[shard].empty()) {
                auto batch = std::move(mail_[shard].front());
                mail_[shard].pop_front();
                brokers_[shard]->receive(std::move(batch));
            }
            worked = brokers_[shard]->end_turn() || worked;
        }
        for (SimQueue* queue : {&sync_queue_, &bulk_queue_}) {
            while (!is_off() && queue->run_next() && !is_off()) {
                worked = queue->finish_next();
            }
        }
    }
}

void StepLife::tick(int count) {
    for (; count > 0 && !is_off(); --count) {
        clock_.advance(std::chrono::milliseconds{50});
        for (auto& broker : brokers_) {
            broker->tick();
        }
        run();
    }
}

void StepLife::send(std::uint32_t shard, runtime::EnvelopeBatch batch) {
    mail_[shard].push_back(std::move(batch));
}

// --- Administration -------------------------------------------------------------------------------------------------

std::string StepLife::ask(const std::string& channel, const std::string& json) {
    reply_.clear();
    if (!is_off()) {
        brokers_.front()->admin(session_, 1, channel, json);
        run();
    }
    return reply_;
}

void StepLife::create(const std::string& channel) {
    StepChannel& facts = facts_[channel];
    if (facts.is_deleted) {
        facts = {};
        facts.is_deletion_asked = true;  // Until the answer comes either may be true.
    }
    facts.name = channel;
    if (ask(channel, R"({"op":"channel.create","storage":"durable"})").find("\"ok\":true") != std::string::npos) {
        facts.is_made = true;
        facts.is_deletion_asked = false;
    }
}

void StepLife::remove(const std::string& channel) {
    StepChannel& facts = facts_[channel];
    facts.is_deletion_asked = true;
    if (ask(channel, R"({"op":"channel.delete","force":true})").find("\"ok\":true") != std::string::npos) {
        facts.is_deleted = true;
    }
}

void StepLife::purge(const std::string& channel) {
    StepChannel& facts = facts_[channel];
    std::set<std::uint64_t> ready;
    for (std::uint64_t number = 1; number <= facts.sent; ++number) {
        ready.insert(number);
    }
    for (const Link& link : links_) {
        for (const auto& held : link.held) {
            ready.erase(held.number);
        }
    }
    facts.gone_asked.insert(ready.begin(), ready.end());
    if (ask(channel, R"({"op":"channel.purge"})").find("\"ok\":true") != std::string::npos) {
        for (const std::uint64_t number : ready) {
            if (facts.stored.contains(number)) {  // The others may be stored later.
                facts.gone.insert(number);
            }
        }
    }
}

void StepLife::checkpoint() {
    if (!is_off()) {
        for (auto& broker : brokers_) {
            broker->store()->checkpoint([] {});
        }
        run();
    }
}

// --- Links ----------------------------------------------------------------------------------------------------------

StepLife::Link* StepLife::link_of(const std::string& channel, bool is_sender) {
    const auto found = std::ranges::find_if(links_, [&](const Link& link) {
        return link.is_attached && link.channel == channel && link.is_sender == is_sender;
    });
    if (found != links_.end()) {
        return &*found;
    }
    if (is_off()) {
        return nullptr;
    }
    links_.emplace_back();
    links_.back().channel = channel;
    links_.back().is_sender = is_sender;
    brokers_.front()->attach({session_, number_of(links_.back())},
                             {channel, is_sender, false, is_sender ? producer : channel::ProducerId{}});
    const std::size_t index = links_.size() - 1;
    run();
    return links_[index].is_attached ? &links_[index] : nullptr;
}

std::uint16_t StepLife::number_of(const Link& link) const {
    return static_cast<std::uint16_t>(&link - links_.data() + 1);
}

void StepLife::publish(const std::string& channel, std::uint32_t count, std::size_t size) {
    Link* link = link_of(channel, true);
    if (link == nullptr || is_off()) {
        return;
    }
    StepChannel& facts = facts_[channel];
    const channel::Credit wanted{link->used.messages + count,
                                 link->used.bytes + count * (size + 4) + batch_header_size};
    if (wanted.messages > link->credit.messages || wanted.bytes > link->credit.bytes) {
        return;
    }
    link->used = wanted;
    BatchBuilder builder;
    const std::uint64_t first = facts.sent + 1;
    for (std::uint32_t i = 0; i < count; ++i) {
        builder.append(as_bytes(step_body(++facts.sent, size)));
    }
    brokers_.front()->publish({session_, number_of(*link)}, link->attachment.channel, first, builder.take(pool_),
                              false);
    run();
}

void StepLife::take(const std::string& channel, std::uint64_t count) {
    Link* link = link_of(channel, false);
    if (link != nullptr && !is_off()) {
        link->limit += count;
        brokers_.front()->set_credit({session_, number_of(*link)}, link->attachment.channel,
                                     {link->limit, UINT64_MAX / 2});
        run();
    }
}

void StepLife::settle(const std::string& channel, std::size_t count, channel::Outcome outcome, bool is_answer_wanted) {
    Link* link = link_of(channel, false);
    if (link == nullptr || is_off()) {
        return;
    }
    StepChannel& facts = facts_[channel];
    const std::uint64_t receipt = is_answer_wanted ? ++link->receipts : 0;
    std::vector<channel::SettleRange> ranges;
    std::vector<Link::Held> settled;
    for (std::size_t i = 0; i < std::min(count, link->held.size()); ++i) {
        const auto& held = link->held[i];
        ranges.push_back({held.offset, 1, held.attempt, outcome});
        settled.push_back(held);
        if (outcome == channel::Outcome::done) {
            facts.gone_asked.insert(held.number);
        } else if (outcome == channel::Outcome::started) {
            auto& most = facts.attempt_most[held.number];
            most = std::max(most, held.attempt + 1);
        }
    }
    if (outcome != channel::Outcome::started) {
        link->held.erase(link->held.begin(), link->held.begin() + static_cast<std::ptrdiff_t>(settled.size()));
    }
    if (is_answer_wanted && outcome == channel::Outcome::done) {
        link->answered_gone[receipt] = std::move(settled);
    } else if (is_answer_wanted && outcome == channel::Outcome::started) {
        link->answered_started[receipt] = std::move(settled);
    }
    brokers_.front()->settle({session_, number_of(*link)}, link->attachment.channel, ranges, receipt);
    run();
}

void StepLife::stop_receiving(const std::string& channel) {
    Link* link = link_of(channel, false);
    if (link != nullptr && !is_off()) {
        link->held.clear();
        link->is_attached = false;
        brokers_.front()->detach({session_, number_of(*link)}, link->attachment.channel);
        run();
    }
}

// --- Questions ------------------------------------------------------------------------------------------------------

std::vector<StepLife::Found> StepLife::contents(const std::string& channel, bool& is_there) {
    const std::string shown = ask(channel, R"({"op":"channel.show"})");
    is_there = shown.find("\"ok\":true") != std::string::npos;
    std::vector<Found> found;
    if (!is_there) {
        return found;
    }
    if (shown.find("\"damage\"") != std::string::npos) {
        complaints.push_back("damaged: " + shown);
    }
    take(channel, 1'000'000);
    tick(3);
    if (const Link* link = link_of(channel, false)) {
        for (const auto& held : link->held) {
            found.push_back({held.number, held.attempt});
        }
    }
    stop_receiving(channel);
    return found;
}

std::uint64_t StepLife::shown(const std::string& channel, const std::string& key) {
    const std::string text = ask(channel, R"({"op":"channel.show"})");
    const std::string named = "\"" + key + "\":";
    const std::size_t at = text.find(named);
    std::uint64_t number = 0;
    if (at != std::string::npos) {
        std::from_chars(text.data() + at + named.size(), text.data() + text.size(), number);
    }
    return number;
}

std::uint64_t StepLife::segment_bytes_written() const {
    std::uint64_t bytes = 0;
    for (const auto& broker : brokers_) {
        bytes += broker->store()->segment_bytes_written();
    }
    return bytes;
}

std::uint64_t StepLife::known_of_producer(const std::string& channel) {
    const Link* link = link_of(channel, true);
    return link != nullptr ? link->attachment.last_sequence : UINT64_MAX;
}

void StepLife::check() {
    for (const auto& text : recovery_.damage) {
        complaints.push_back("damage: " + text);
    }
    for (auto& [name, facts] : facts_) {
        check(facts);
    }
}

void StepLife::check(StepChannel& facts) {
    bool is_there = false;
    const auto found = contents(facts.name, is_there);
    if (is_off()) {
        return;
    }
    if (is_there ? facts.is_deleted : facts.is_made && !facts.is_deletion_asked) {
        complaints.push_back(facts.name + (is_there ? " is there again" : " is lost"));
    }
    facts.is_made = is_there;
    facts.is_deleted = facts.is_deletion_asked = facts.is_deletion_asked && !is_there;
    if (!is_there) {
        const std::string name = facts.name;
        const bool is_deleted = facts.is_deleted;
        facts = {};
        facts.name = name;
        facts.is_deleted = facts.is_deletion_asked = is_deleted;
        return;
    }
    std::map<std::uint64_t, const Found*> by_number;
    std::uint64_t last = 0;
    for (const Found& message : found) {
        if (message.number == 0 || message.number > facts.sent || !by_number.emplace(message.number, &message).second) {
            complaints.push_back(facts.name + " has " + std::to_string(message.number) + " twice, or out of nothing");
        }
        if (message.number < last && message.attempt == 1) {
            // What was given before comes first, in order; so does the rest.
            complaints.push_back(facts.name + ": " + std::to_string(message.number) + " comes after " +
                                 std::to_string(last));
        }
        last = message.number;
    }
    const std::uint64_t known = known_of_producer(facts.name);
    if (facts.sent > 0 && !facts.stored.empty() && known < *facts.stored.rbegin()) {
        complaints.push_back(facts.name + " knows its producer up to " + std::to_string(known) + " only");
    }
    for (std::uint64_t number = 1; number <= facts.sent; ++number) {
        const auto at = by_number.find(number);
        check_message(facts, number, at != by_number.end() ? at->second : nullptr);
    }
    facts.confirmed = facts.sent;
}

void StepLife::check_message(StepChannel& facts, std::uint64_t number, const Found* found) {
    const std::string name = facts.name + " message " + std::to_string(number);
    if (found == nullptr) {
        if (facts.stored.contains(number) && !facts.gone_asked.contains(number)) {
            complaints.push_back(name + " was confirmed and is lost");
        }
        facts.stored.erase(number);
        facts.gone.insert(number);
        facts.gone_asked.insert(number);
        return;
    }
    if (facts.gone.contains(number) || facts.refused.contains(number)) {
        complaints.push_back(name + " was settled, purged or refused, that was answered, and it is there");
    }
    const auto least = facts.attempt_least.try_emplace(number, 1U).first;
    const auto most = facts.attempt_most.try_emplace(number, 1U).first;
    if (found->attempt < least->second || found->attempt > most->second) {
        complaints.push_back(name + " comes as attempt " + std::to_string(found->attempt));
    }
    least->second = most->second = found->attempt;
    facts.stored.insert(number);
    facts.gone_asked.erase(number);
}

// --- SessionEvents --------------------------------------------------------------------------------------------------

void StepLife::on_attached(std::uint16_t number, const runtime::Attachment& attachment) {
    Link& link = links_[number - 1U];
    link.is_attached = true;
    link.attachment = attachment;
}

void StepLife::on_confirmed(std::uint16_t number, std::uint64_t sequence, channel::ConfirmLevel level) noexcept {
    StepChannel& facts = facts_[links_[number - 1U].channel];
    if (level != channel::ConfirmLevel::durable || sequence > facts.sent) {
        complaints.push_back("a confirm of " + std::to_string(sequence) + " that is not durable or of nothing");
    }
    for (; facts.confirmed < sequence; ++facts.confirmed) {
        if (!facts.refused.contains(facts.confirmed + 1)) {
            facts.stored.insert(facts.confirmed + 1);
        }
    }
}

void StepLife::on_refused(std::uint16_t number, std::uint64_t first, std::uint32_t count, std::error_code) noexcept {
    for (std::uint64_t at = first; at < first + count; ++at) {
        facts_[links_[number - 1U].channel].refused.insert(at);
    }
}

void StepLife::on_deliver(std::uint16_t number, const channel::Slice& slice) noexcept {
    Link& link = links_[number - 1U];
    MessageCursor cursor{slice.messages.bytes(), (slice.batch_flags & batch_has_properties) != 0};
    MessageView view;
    for (std::uint64_t offset = slice.first; cursor.next(view); ++offset) {
        const auto text = as_text(view.payload);
        std::uint64_t message = 0;
        std::from_chars(text.data(), text.data() + text.size(), message);
        if (text != step_body(message, text.size())) {
            complaints.push_back("another body at offset " + std::to_string(offset));
        }
        link.held.push_back({offset, message, slice.attempt});
    }
}

void StepLife::on_settle_refused(std::uint16_t, const channel::SettleRange& range, std::error_code reason) noexcept {
    complaints.push_back("offset " + std::to_string(range.first) + " is not ours: " + reason.message());
}

void StepLife::on_settled(std::uint16_t number, std::uint64_t receipt) noexcept {
    Link& link = links_[number - 1U];
    StepChannel& facts = facts_[link.channel];
    for (const auto& held : link.answered_gone[receipt]) {
        facts.gone.insert(held.number);
    }
    for (const auto& held : link.answered_started[receipt]) {
        auto& least = facts.attempt_least[held.number];
        least = std::max(least, held.attempt + 1);
    }
}

void StepLife::on_closed(std::uint16_t number, std::error_code) noexcept {
    links_[number - 1U].is_attached = false;
    links_[number - 1U].held.clear();
}

}  // namespace baton::sim
