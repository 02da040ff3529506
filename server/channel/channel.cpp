// Links and life. Messages are in channel_messages.cpp, questions in channel_report.cpp.
#include "server/channel/channel.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/message_rules.hpp"

namespace baton::channel {

namespace {

/// The same if they are usable as they are, so that channels go on sharing them.
SharedOptions usable(const SharedOptions& wanted, Kind kind, bool is_durable) {
    ChannelOptions options = *wanted;
    options.kind = kind;
    options.is_durable = is_durable;
    options.messages_max = std::max<std::uint64_t>(options.messages_max, 1);
    options.bytes_max = std::max<std::uint64_t>(options.bytes_max, 1);
    options.lease_max = std::max(options.lease_max, options.lease);
    return options == *wanted ? wanted : SharedOptions{options};
}

IntakeLimits intake_limits(const ChannelOptions& options) noexcept {
    return {options.messages_max, options.bytes_max, options.message_size_max, options.overflow,
            options.kind == Kind::stream};
}

std::uint64_t seed_of(const std::string& name, const Clock& clock) noexcept {
    return number_of(as_bytes(name)) ^ static_cast<std::uint64_t>(clock.wall_now().us);
}

}  // namespace

Channel::Channel(std::string name, const SharedOptions& options, ChannelEvents& events, const Clock& clock,
                 MemoryBudget& budget, const Durability& durability)
    : name_{std::move(name)},
      options_{usable(options, options->kind, durability.log != nullptr)},
      events_{events},
      clock_{clock},
      budget_{budget},
      journal_{durability.log != nullptr ? std::make_unique<Journal>(*durability.log, durability.stream) : nullptr},
      log_{options_->kind == Kind::stream ? MessageLog::Keep::until_trimmed : MessageLog::Keep::until_settled},
      intake_{log_, journal_.get(), events, clock, dedupe_, *this, intake_limits(*options_)},
      prng_{seed_of(name_, clock)},
      producers_{options_->producers_max},
      gate_{events, budget, options_->sender_window},
      head_wait_{WaitReason::none, clock.now()} {
    dedupe_.set_window(options_->dedupe_window);
    if (options_->kind == Kind::queue) {
        add_reader({}, {});
    }
    set_compaction();
}

Channel::~Channel() {
    finish_relocation({});
    senders_.for_each([this](Sender& sender) { gate_.remove(sender); });
}

// --- Links -----------------------------------------------------------------------------------------------------------

std::uint64_t Channel::attach_sender(const LinkAddress& link, const ProducerId& producer, ConfirmLevel confirm,
                                     bool must_store) {
    BATON_ASSERT(find_sender(link) == nullptr && find_receiver(link) == nullptr);
    auto owned = std::make_unique<Sender>();
    Sender& sender = *owned;
    sender.address = link;
    sender.wait = {WaitReason::none, clock_.now()};
    sender.confirm = confirm;
    sender.must_store = must_store;
    if (!producer.is_anonymous()) {
        attach_producer(sender, producer);
    }
    senders_.add(std::move(owned));
    room_changed();  // What a superseded link had parked is gone.
    sender.sent = last_confirmable(sender);
    return sender.sent;
}

// What the sender may forget. It is not told of what is decided and not committed.
std::uint64_t Channel::last_confirmable(const Sender& sender) const noexcept {
    Producer* producer = sender.producer;
    if (producer == nullptr) {
        return sender.decided;
    }
    const std::uint64_t told = producer->refused.empty() ? UINT64_MAX : producer->refused.front().first - 1;
    if (journal_ == nullptr || sender.confirm == ConfirmLevel::received) {
        return std::min(sender.decided, told);
    }
    if (producer->last_index <= journal_->log().committed()) {
        producer->last_committed = producer->last_decided;
    }
    return std::min(producer->last_committed, told);
}

void Channel::attach_producer(Sender& sender, const ProducerId& id) {
    Producer* producer = producers_.find(id);
    if (producer != nullptr && producer->is_attached) {
        // The entry is handed over, never free in between. What the older link has parked is not decided and goes
        // first, so that its resend on the new link is not stored twice.
        Sender* older = find_sender(producer->link);
        BATON_ASSERT(older != nullptr && older->producer == producer);
        older->producer = nullptr;
        end_sender(*older, Errc::superseded);
        producer->link = sender.address;
    } else {
        producer = producers_.attach(id, sender.address);
    }
    sender.producer = producer;
    if (producer == nullptr) {
        sender.is_rejected = true;
        return;
    }
    sender.decided = sender.received = producer->last_decided;
    sender.accepts_any_start = producer->last_decided == 0;
    sender.accepts_gap = producer->is_restored;
}

std::error_code Channel::attach_receiver(const LinkAddress& link, const ReceiverRequest& request) {
    BATON_ASSERT(find_sender(link) == nullptr && find_receiver(link) == nullptr);
    if (const auto refused = check_request(request)) {
        return refused;
    }
    Subscription* reader = find_subscription(request.subscription);
    if (reader == nullptr) {
        const bool is_named = !request.subscription.empty();
        reader = &add_reader({.id = is_named ? next_lasting_++ : next_of_link_++,
                              .name = request.subscription,
                              .filter = request.filter},
                             request.from);
    }
    auto receiver = std::make_unique<Receiver>();
    receiver->address = link;
    receiver->name = request.name;
    receiver->lease = lease_of(request);
    receiver->lease_max = options_->lease_max;
    receiver->is_exclusive = request.is_exclusive;
    reader->attach(*receiver);
    receivers_.add(std::move(receiver));
    if (is_draining_) {
        reader->begin_drain();
    }
    state_changed();
    return {};
}

void Channel::announce_credit(const LinkAddress& link) {
    Sender* sender = find_sender(link);
    if (sender == nullptr) {
        return;
    }
    if (sender->is_rejected) {
        end_sender(*sender, Errc::too_many_producers);
        return;
    }
    gate_.examine(*sender, room(), ready_count(), clock_.now());
}

void Channel::set_waits_for_room(const LinkAddress& link, bool waits) {
    if (Sender* sender = find_sender(link)) {
        sender->waits_for_room = waits;
        gate_.examine(*sender, room(), ready_count(), clock_.now());
    }
}

void Channel::detach(const LinkAddress& link) {
    if (Sender* sender = find_sender(link)) {
        end_sender(*sender, {});
    } else if (Receiver* receiver = find_receiver(link)) {
        end_receiver(*receiver, {});
    } else {
        return;
    }
    room_changed();
}

void Channel::end_sender(Sender& sender, std::error_code reason) {
    const LinkAddress link = sender.address;
    intake_.forget(sender);
    gate_.remove(sender);
    if (journal_ != nullptr) {
        journal_->forget(link);
    }
    if (sender.producer != nullptr) {
        producers_.detach(*sender.producer, clock_.now());
    }
    senders_.remove(link);
    events_.closed(link, reason);
}

// What it has decided is not given again: of very many messages the rest is applied in steps, and then it ends.
void Channel::end_receiver(Receiver& receiver, std::error_code reason) {
    if (receiver.ending) {
        return;
    }
    std::uint64_t work = settling_.size() <= 1 ? settled_at_once : 0;
    settle_late(receiver, work);
    if (receiver.late_settlements.empty()) {
        return remove_receiver(receiver, reason);
    }
    receiver.ending = reason;
    receiver.subscription->refresh(receiver);
}

void Channel::remove_receiver(Receiver& receiver, std::error_code reason) {
    const LinkAddress link = receiver.address;
    Subscription& reader = *receiver.subscription;
    reader.detach(receiver);
    if (journal_ != nullptr) {
        journal_->forget(link);
    }
    receivers_.remove(link);
    if (!reader.is_lasting()) {
        remove_reader(reader);
    }
    events_.closed(link, reason);
}

// --- Life ------------------------------------------------------------------------------------------------------------

void Channel::begin_drain() {
    if (is_draining_) {
        return;
    }
    is_draining_ = true;
    intake_.refuse_parked(Errc::draining);
    for (const LinkAddress& link : senders_.addresses()) {
        gate_.examine(*find_sender(link), room(), ready_count(), clock_.now());
    }
    for (const auto& reader : readers_) {
        reader->begin_drain();
    }
    state_changed();
}

void Channel::close(Errc reason) {
    for (const auto& links : {senders_.addresses(), receivers_.addresses()}) {
        std::ranges::for_each(links, [this](const LinkAddress& link) { closing_.push_back(link); });
    }
    close_reason_ = reason;
    for (const auto& reader : readers_) {
        reader->abandon_receivers();
    }
    settling_.clear();
    is_draining_ = true;
}

void Channel::close_one() {
    const LinkAddress link = closing_.front();
    closing_.pop_front();
    if (Sender* sender = find_sender(link)) {
        return end_sender(*sender, close_reason_);
    }
    receivers_.remove(link);
    events_.closed(link, close_reason_);
}

bool Channel::dismantle(std::uint64_t& items) {
    for (; !closing_.empty(); items -= std::min(items, items_per_link)) {
        if (items == 0) {
            return false;
        }
        close_one();
    }
    finish_relocation({});
    bool is_all = true;
    visit_holders([&](Subscription& reader) { is_all = is_all && reader.dismantle(items); });
    if (!is_all || !log_.dismantle(items) || !dedupe_.dismantle(items) || (compaction_ && !compaction_->dismantle(items))) {
        return false;
    }
    for (; !readers_.empty(); items -= std::min(items, items_per_link)) {
        if (items == 0) {
            return false;
        }
        readers_.pop_back();  // `turns_` still names it: nobody asks any more.
    }
    return true;
}

void Channel::close_all(std::error_code reason) {
    for (const LinkAddress& link : senders_.addresses()) {
        end_sender(*find_sender(link), reason);
    }
    for (const LinkAddress& link : receivers_.addresses()) {
        end_receiver(*find_receiver(link), reason);
    }
    state_changed();
}

// --- Administration --------------------------------------------------------------------------------------------------

void Channel::reconfigure(const SharedOptions& options) {
    options_ = usable(options, options_->kind, journal_ != nullptr);
    if (journal_ != nullptr) {
        submit_settings();
    }
    intake_.set_limits(intake_limits(*options_));
    gate_.set_window_max(options_->sender_window);
    producers_.set_max(options_->producers_max);
    dedupe_.set_window(options_->dedupe_window);
    for (const auto& reader : readers_) {
        reader->options_changed();
    }
    set_compaction();
    trim_at_once();
    apply_parked();
    examine_senders();
    state_changed();
}

void Channel::set_compaction() {
    const bool is_on = options_->is_compacted && options_->kind == Kind::stream;
    if (is_on && !compaction_) {
        compaction_ = std::make_unique<Compaction>(log_, clock_, [this](Offset offset) { on_removed(offset); });
    }
    if (compaction_) {
        compaction_->set(is_on, options_->tombstone_age);
    }
}

void Channel::examine_senders() {
    for (const LinkAddress& link : senders_.addresses()) {
        Sender& sender = *find_sender(link);
        if (sender.window != Credit{} || sender.is_short) {  // Its credit has been announced.
            gate_.examine(sender, room(), ready_count(), clock_.now());
        }
    }
}

void Channel::purge_some(Purge& purge, std::uint64_t runs, const BlockReader& read) {
    while (purge.readers > 0 && runs > 0 && damage().empty()) {
        purge.readers = std::min(purge.readers, readers_.size());
        if (purge.readers == 0) {
            break;
        }
        purge.of_reader += drop_some(*readers_[purge.readers - 1], MessageState::ready, purge.sweep, runs, read);
        if (purge.sweep.is_over) {
            const std::uint64_t of_reader = std::exchange(purge.of_reader, 0);
            purge.messages = options_->kind == Kind::stream ? 0 : std::max(purge.messages, of_reader);
            purge.sweep = {.end = purge.sweep.end};
            --purge.readers;
            runs -= std::min<std::uint64_t>(runs, 1);
        }
    }
    purge.is_over = purge.readers == 0;
    if (purge.is_over && options_->kind == Kind::stream) {
        trim_purged(purge, runs);
    }
    room_changed();
}

void Channel::trim_purged(Purge& purge, std::uint64_t runs) {
    const auto next = [&]() -> const StoredBatch* {
        const StoredBatch* oldest = log_.oldest_kept();
        return oldest != nullptr && oldest->end() <= std::min(purge.sweep.end, log_.visible_end()) ? oldest : nullptr;
    };
    for (const StoredBatch* oldest = next(); oldest != nullptr && runs > 0; oldest = next(), --runs) {
        purge.messages += trim_oldest();
    }
    purge.is_over = next() == nullptr;
}

std::uint64_t Channel::drop_some(Subscription& reader, MessageState state, Sweep& sweep, std::uint64_t& runs,
                                 const BlockReader& read) {
    return drop_with(sweep, read, [&] { return reader.drop_some(state, sweep, runs); });
}

std::uint64_t Channel::drop(Subscription& reader, MessageState state, std::span<const Offset> offsets, Sweep& sweep,
                            const BlockReader& read) {
    return drop_with(sweep, read, [&] { return reader.drop(state, offsets, sweep); });
}

template <class Drop>
std::uint64_t Channel::drop_with(const Sweep& sweep, const BlockReader& read, Drop drop) {
    std::uint64_t dropped = drop();
    while (sweep.wanted && damage().empty()) {
        on_block_read(*sweep.wanted, read(*sweep.wanted));
        dropped += drop();
    }
    return dropped;
}

}  // namespace baton::channel
