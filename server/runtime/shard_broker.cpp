#include "server/runtime/shard_broker.hpp"

#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/runtime/admin_json.hpp"
#include "server/runtime/errc.hpp"
#include "server/runtime/placement.hpp"
#include "server/runtime/policy_admin.hpp"
#include "server/storage/errc.hpp"

namespace baton::runtime {

using channel::LinkAddress;
using channel::SessionId;

namespace {

/// Channels that one clock pulse visits: a few tenths of a microsecond each, and no turn is to take milliseconds.
constexpr std::size_t channels_per_tick = 4096;
constexpr std::size_t others_per_tick_min = 512;
/// Who has links and nothing to do soon is visited once in so many pulses, if they are not very many.
constexpr std::size_t ticks_per_round = 64;
constexpr std::size_t linked_per_tick_min = 16;
/// Longer than a round takes, also if many were added in it.
constexpr Duration pulse_ahead_min = std::chrono::seconds{3};

}  // namespace

ShardBroker::ShardBroker(std::uint32_t shard, BrokerState& state, MailboxPort& mailboxes)
    : shard_{shard},
      state_{state},
      clock_{state.clock},
      mailboxes_{mailboxes},
      outgoing_(state.shard_count),
      backups_{shard, state.shard_count, *this, *this},
      restores_{shard, state.shard_count, *this},
      moves_{*this, *this, *this},
      steps_{shard, state.shard_count, *this},
      sweeps_{*this, *this},
      surveys_{*this, *this},
      looks_{*this, *this} {
    constexpr std::size_t channels_expected_max = 131'072;  // A table that grows to so many at once takes 17 ms for it.
    slots_.reserve(std::min<std::size_t>(state.limits.channels_max, channels_expected_max) / state.shard_count);
}

ShardBroker::~ShardBroker() = default;

// --- Sessions --------------------------------------------------------------------------------------------------------

SessionId ShardBroker::open_session(SessionEvents& events) {
    const auto session = make_session_id(shard_, next_session_++);
    sessions_.emplace(session, &events);
    return session;
}

void ShardBroker::close_session(SessionId session) {
    sessions_.erase(session);
    std::erase_if(memory_requests_, [&](const MemoryRequest& request) { return request.link.session == session; });
    std::erase_if(gatherings_, [&](const Gathering& gathering) { return gathering.session == session; });
    backups_.close_session(store_.get(), session);
    restores_.close_session(store_.get(), session);
}

SessionEvents* ShardBroker::session_of(SessionId session) noexcept {
    const auto found = sessions_.find(session);
    return found == sessions_.end() ? nullptr : found->second;
}

// --- Commands: straight on if the channel lives here, else by mailbox ---------------------------------------------------

void ShardBroker::post(std::uint32_t shard, Envelope envelope) {
    BATON_ASSERT(shard < outgoing_.size() && shard != shard_);
    outgoing_[shard].push_back(std::move(envelope));
}

void ShardBroker::attach(LinkAddress link, AttachRequest request) {
    const auto owner = shard_of_channel(request.name, state_.shard_count);
    AttachCommand command{link, std::move(request)};
    if (owner == shard_) {
        handle(command);
    } else {
        post(owner, std::move(command));
    }
}

void ShardBroker::detach(LinkAddress link, ChannelRef channel) {
    DetachCommand command{link, channel.id};
    if (channel.shard == shard_) {
        handle(command);
    } else {
        post(channel.shard, command);
    }
}

void ShardBroker::publish(LinkAddress link, ChannelRef channel, std::uint64_t sequence, Payload batch,
                          bool is_assembled) {
    PublishCommand command{link, channel.id, sequence, is_assembled, std::move(batch)};
    if (channel.shard == shard_) {
        handle(command);
    } else {
        post(channel.shard, std::move(command));
    }
}

void ShardBroker::settle(LinkAddress link, ChannelRef channel, std::span<const channel::SettleRange> ranges,
                         std::uint64_t receipt, std::string_view note) {
    if (channel.shard != shard_) {
        post(channel.shard,
             SettleCommand{link, channel.id, receipt, {ranges.begin(), ranges.end()}, std::string{note}});
    } else if (auto* slot = slot_of(channel.id)) {
        slot->channel->settle(link, ranges, receipt, note);
        touch(*slot);
    }
}

void ShardBroker::set_credit(LinkAddress link, ChannelRef channel, channel::Credit limit) {
    CreditCommand command{link, channel.id, limit};
    if (channel.shard == shard_) {
        handle(command);
    } else {
        post(channel.shard, command);
    }
}

void ShardBroker::set_slow(LinkAddress link, ChannelRef channel, bool is_slow) {
    SlowCommand command{link, channel.id, is_slow};
    if (channel.shard == shard_) {
        handle(command);
    } else {
        post(channel.shard, command);
    }
}

void ShardBroker::query(LinkAddress link, ChannelRef channel) {
    QueryCommand command{link, channel.id};
    if (channel.shard == shard_) {
        handle(command);
    } else {
        post(channel.shard, command);
    }
}

void ShardBroker::handle(AttachCommand& command) {
    const auto& request = command.request;
    auto refuse = [&](std::error_code reason) { answer(AttachFailedEvent{command.link, reason}); };
    if (is_draining_ && request.is_sender) {
        return refuse(Errc::draining);
    }
    if (waits_for_restore(request.name, command)) {
        return;
    }
    auto named = by_name_.find(request.name);
    const bool created = named == by_name_.end();
    if (created) {
        if (!request.create) {
            return refuse(Errc::not_found);
        }
        if (const auto made = create(request.name, default_options(state_, request.name)); !made) {
            return refuse(made.error().code);
        }
        named = by_name_.find(request.name);
    }
    Slot& slot = *slot_of(named->second);
    const bool is_durable = slot.channel->is_durable();
    if (is_durable && !slot.channel->damage().empty()) {
        return refuse(channel::Errc::damaged);
    }
    if (is_durable && request.is_sender && store_->condition() == commit::Condition::failed) {
        return refuse(channel::Errc::storage_failed);
    }
    if (!std::exchange(slot.is_linked, true)) {
        linked_.push_back(slot.id);
    }
    const channel::ChannelOptions& options = slot.channel->options();
    Attachment attachment{.channel = {shard_, slot.id},
                          .message_size_max = options.message_size_max,
                          .created = created,
                          .is_durable = is_durable,
                          .kind = options.kind};
    if (request.is_sender) {
        attachment.last_sequence = slot.channel->attach_sender(command.link, request.producer, request.confirm, request.must_store);
    } else if (const auto refused = slot.channel->attach_receiver(command.link, request.receiver)) {
        if (created) {
            erase(request.name);  // It was made for a receiver that it does not suit.
        }
        return refuse(refused);
    } else {
        attachment.subscription = request.receiver.subscription;
        attachment.lease = slot.channel->lease_of(request.receiver);
        attachment.lease_max = options.lease_max;
        attachment.attempts_max = options.attempts_max;
        touch(slot);
    }
    answer(AttachedEvent{command.link, attachment});
    if (request.is_sender) {
        slot.channel->announce_credit(command.link);
    }
}

// A session may end with tens of thousands of links: the others wait for the next turns.
void ShardBroker::handle(DetachCommand& command) {
    if (detached_ >= detached_per_turn) {
        detaches_.push_back(command);
        return;
    }
    ++detached_;
    detach_now(command);
}

void ShardBroker::detach_some() {
    for (; detached_ < detached_per_turn && !detaches_.empty(); ++detached_) {
        detach_now(detaches_.front());
        detaches_.pop_front();
    }
    detached_ = 0;
}

void ShardBroker::detach_now(const DetachCommand& command) {
    if (auto* slot = slot_of(command.channel)) {
        slot->channel->detach(command.link);
        touch(*slot);
    }  // Else it was deleted meanwhile, and has reported `closed` then.
}

void ShardBroker::handle(PublishCommand& command) {
    if (auto* slot = slot_of(command.channel)) {
        slot->channel->publish(command.link, command.sequence, std::move(command.batch), command.is_assembled);
        touch(*slot);
    }
}

void ShardBroker::handle(SettleCommand& command) {
    if (auto* slot = slot_of(command.channel)) {
        slot->channel->settle(command.link, command.ranges, command.receipt, command.note);
        touch(*slot);
    }
}

void ShardBroker::handle(CreditCommand& command) {
    if (auto* slot = slot_of(command.channel)) {
        slot->channel->set_credit(command.link, command.limit);
        touch(*slot);
    }
}

void ShardBroker::handle(RoomCommand& command) {
    if (auto* slot = slot_of(command.channel)) {
        slot->channel->set_waits_for_room(command.link, command.waits);
        touch(*slot);
    }
}

void ShardBroker::handle(SlowCommand& command) {
    if (auto* slot = slot_of(command.channel)) {
        slot->channel->set_slow(command.link, command.is_slow);
        touch(*slot);
    }
}

void ShardBroker::handle(QueryCommand& command) {
    if (auto* slot = slot_of(command.channel)) {
        slot->channel->query(command.link);
        touch(*slot);
    }
}

void ShardBroker::handle(DrainCommand&) { begin_drain(); }

// --- Events: to the session, here or by mailbox --------------------------------------------------------------------------

template <class Event>
void ShardBroker::answer(Event event) noexcept {
    const auto owner = shard_of_session(event.link.session);
    if (owner == shard_) {
        handle(event);
    } else {
        post(owner, std::move(event));
    }
}

void ShardBroker::confirmed(const LinkAddress& sender, std::uint64_t sequence, channel::ConfirmLevel level) noexcept {
    answer(ConfirmedEvent{sender, sequence, level});
}
void ShardBroker::refused(const LinkAddress& sender, std::uint64_t first, std::uint32_t count,
                          std::error_code reason) noexcept {
    answer(RefusedEvent{sender, first, count, reason});
}
void ShardBroker::sender_credit(const LinkAddress& sender, channel::Credit limit) noexcept {
    answer(SenderCreditEvent{sender, limit});
}
void ShardBroker::state(const LinkAddress& link, const channel::LinkState& state) noexcept {
    LinkStateReport report{state.wait.reason, {}, state.ready, state.in_flight, state.delayed};
    if (state.wait.reason != channel::WaitReason::none) {
        report.waiting = state_.clock.now() - state.wait.since;
    }
    answer(StateEvent{link, report});
}
void ShardBroker::deliver(const LinkAddress& receiver, const channel::Slice& slice) noexcept {
    if (shard_of_session(receiver.session) != shard_) {
        post(shard_of_session(receiver.session), DeliverEvent{receiver, slice});
    } else if (auto* session = session_of(receiver.session)) {
        session->on_deliver(receiver.link, slice);
    }
}
void ShardBroker::settle_refused(const LinkAddress& receiver, const channel::SettleRange& range,
                                 std::error_code reason) noexcept {
    answer(SettleRefusedEvent{receiver, range, reason});
}
void ShardBroker::settled(const LinkAddress& receiver, std::uint64_t receipt) noexcept {
    answer(SettledEvent{receiver, receipt});
}
void ShardBroker::closed(const LinkAddress& link, std::error_code reason) noexcept { answer(ClosedEvent{link, reason}); }

void ShardBroker::handle(AttachedEvent& event) {
    if (auto* session = session_of(event.link.session)) {
        session->on_attached(event.link.link, event.attachment);
    } else {
        // The session ended before it knew the channel, so it could not detach.
        detach(event.link, event.attachment.channel);
    }
}
void ShardBroker::handle(AttachFailedEvent& event) {
    if (auto* session = session_of(event.link.session)) {
        session->on_attach_failed(event.link.link, event.reason);
    }
}
void ShardBroker::handle(ConfirmedEvent& event) {
    if (auto* session = session_of(event.link.session)) {
        session->on_confirmed(event.link.link, event.sequence, event.level);
    }
}
void ShardBroker::handle(RefusedEvent& event) {
    if (auto* session = session_of(event.link.session)) {
        session->on_refused(event.link.link, event.first, event.count, event.reason);
    }
}
void ShardBroker::handle(SenderCreditEvent& event) {
    if (auto* session = session_of(event.link.session)) {
        session->on_sender_credit(event.link.link, event.limit);
    }
}
void ShardBroker::handle(StateEvent& event) {
    if (auto* session = session_of(event.link.session)) {
        session->on_state(event.link.link, event.state);
    }
}
void ShardBroker::handle(DeliverEvent& event) {
    if (auto* session = session_of(event.link.session)) {
        session->on_deliver(event.link.link, event.slice);
    }
}
void ShardBroker::handle(SettleRefusedEvent& event) {
    if (auto* session = session_of(event.link.session)) {
        session->on_settle_refused(event.link.link, event.range, event.reason);
    }
}
void ShardBroker::handle(SettledEvent& event) {
    if (auto* session = session_of(event.link.session)) {
        session->on_settled(event.link.link, event.receipt);
    }
}
void ShardBroker::handle(ClosedEvent& event) {
    if (auto* session = session_of(event.link.session)) {
        session->on_closed(event.link.link, event.reason);
    }
}
void ShardBroker::handle(AdminPartEvent& event) { collect(event.gathering, std::move(event.json)); }

// --- Turns ---------------------------------------------------------------------------------------------------------------

void ShardBroker::receive(EnvelopeBatch batch) {
    for (auto& envelope : batch) {
        std::visit([this](auto& message) { handle(message); }, envelope);
    }
}

void ShardBroker::touch(Slot& slot) {
    channel::Channel& channel = *slot.channel;
    const bool is_durable = channel.is_durable();
    if (!slot.is_dirty && (channel.needs_dispatch() ||
                           (is_durable && (channel.has_notes() || store_->wants_blocks(channel))))) {
        slot.is_dirty = true;
        dirty_.push_back(slot.id);
    }
    if (is_durable && !slot.is_committing && channel.is_committing()) {
        slot.is_committing = true;
        committing_.push_back(slot.id);
    }
    if (slot.is_linked && !slot.is_pulsed && channel.next_pulse() <= pulse_horizon_) {
        slot.is_pulsed = true;
        pulsed_.push_back(slot.id);
    }
}

void ShardBroker::end_turn_of(Slot& slot, channel::StepBudget& budget) {
    channel::Channel& channel = *slot.channel;
    channel.dispatch(budget);
    if (!channel.is_durable()) {
        return touch(slot);  // There may be more than one turn shall take.
    }
    if (channel.has_notes()) {
        channel.write_notes();
    }
    if (store_->wants_blocks(channel)) {
        store_->request_blocks(slot.id, channel);
    }
    touch(slot);
}

// Channels whose turn does not come in this step are the first ones in the next.
void ShardBroker::dispatch_dirty(std::uint32_t slices_max) {
    channel::StepBudget budget{.slices = slices_max};
    std::swap(dirty_, dispatching_);
    std::size_t done = 0;
    for (; done < dispatching_.size() && !budget.is_spent(); ++done) {
        if (auto* slot = slot_of(dispatching_[done])) {
            slot->is_dirty = false;
            end_turn_of(*slot, budget);
        }
    }
    dirty_.insert(dirty_.begin(), dispatching_.begin() + static_cast<std::ptrdiff_t>(done), dispatching_.end());
    dispatching_.clear();
    is_step_spent_ = is_step_spent_ || budget.is_spent();
}

bool ShardBroker::end_turn(std::uint32_t slices_max) {
    grant_memory();
    const bool has_moved = moves_.go_on();
    const bool has_surveyed = surveys_.go_on();
    const bool has_swept = sweeps_.go_on() || has_surveyed;
    bool worked = has_moved || has_swept || !dirty_.empty() || !dying_.empty() || !detaches_.empty();
    detach_some();
    dismantle_some();
    is_step_spent_ = has_moved || has_swept || !dying_.empty() || !detaches_.empty();
    dispatch_dirty(slices_max);
    if (store_) {
        store_->end_turn();
    }
    for (std::uint32_t target = 0; target < outgoing_.size(); ++target) {
        if (!outgoing_[target].empty()) {
            worked = true;
            mailboxes_.send(target, std::exchange(outgoing_[target], {}));
        }
    }
    clock_.end_turn();
    return worked;
}

void ShardBroker::tick() {
    clock_.end_turn();
    if (store_) {
        store_->tick();
    }
    tick_pulsed();
    tick_linked();
    tick_others();
    moves_.tick();
    steps_.tick();
}

/// With each pulse, as far as a turn allows.
void ShardBroker::tick_pulsed() {
    for (std::size_t left = std::min(pulsed_.size(), channels_per_tick); left > 0; --left) {
        next_pulsed_ = next_pulsed_ < pulsed_.size() ? next_pulsed_ : 0;
        auto* slot = slot_of(pulsed_[next_pulsed_]);
        if (slot != nullptr) {
            slot->channel->tick();
            slot->is_pulsed = slot->is_linked && slot->channel->next_pulse() <= pulse_horizon_;
        }
        if (slot == nullptr || !slot->is_pulsed) {
            pulsed_[next_pulsed_] = pulsed_.back();
            pulsed_.pop_back();
        } else {
            ++next_pulsed_;
        }
        if (slot != nullptr) {
            touch(*slot);
        }
    }
}

/// The others that have links take turns: what time brings them is far away, or can wait.
void ShardBroker::tick_linked() {
    const MonotonicTime now = state_.clock.now();
    const std::size_t visits = std::clamp(linked_.size() / ticks_per_round, linked_per_tick_min, channels_per_tick);
    for (std::size_t left = std::min(linked_.size(), visits); left > 0; --left) {
        if (next_linked_ >= linked_.size()) {
            next_linked_ = 0;
            pulse_horizon_ = now + std::max(pulse_ahead_min, 2 * (now - round_began_));
            round_began_ = now;
        }
        auto* slot = slot_of(linked_[next_linked_]);
        if (slot != nullptr && !slot->is_pulsed) {
            slot->channel->tick();
            touch(*slot);
        }
        if (slot == nullptr || !slot->channel->has_links()) {
            if (slot != nullptr) {
                slot->is_linked = false;
            }
            linked_[next_linked_] = linked_.back();
            linked_.pop_back();
        } else {
            ++next_linked_;
        }
    }
}

/// Channels without links have nothing that is urgent. There may be very many: they take turns.
void ShardBroker::tick_others() {
    const std::size_t buckets = slots_.bucket_count();
    const std::size_t visits = std::min(std::clamp(buckets / 64, others_per_tick_min, channels_per_tick), buckets);
    for (std::size_t i = 0; i < visits; ++i) {
        next_bucket_ = next_bucket_ < buckets ? next_bucket_ : 0;
        for (auto slot = slots_.begin(next_bucket_); slot != slots_.end(next_bucket_); ++slot) {
            if (!slot->second->is_linked) {
                slot->second->channel->tick();
                touch(*slot->second);
            }
        }
        ++next_bucket_;
    }
}

void ShardBroker::begin_drain() {
    is_draining_ = true;
    for (auto& [id, slot] : slots_) {
        slot->channel->begin_drain();
    }
}

std::uint64_t ShardBroker::in_flight() const {
    std::uint64_t total = 0;
    for (const auto id : linked_) {
        if (const auto slot = slots_.find(id); slot != slots_.end()) {
            total += slot->second->channel->in_flight();
        }
    }
    return total;
}

// --- Memory for large messages --------------------------------------------------------------------------------------------

bool ShardBroker::request_memory(LinkAddress link, std::uint64_t size, std::optional<ChannelRef> channel) {
    if (size > state_.memory.limit() / 2) {
        return false;  // Half: what is promised to others must not starve it for ever.
    }
    memory_requests_.push_back({.link = link, .size = size, .channel = channel});
    return true;
}

void ShardBroker::grant_memory() {
    while (!memory_requests_.empty()) {
        const auto request = memory_requests_.front();
        if (!state_.memory.try_reserve(request.size) && !state_.memory.try_overdraw(request.size)) {
            return show_memory_waits();  // In order: the next smaller one does not overtake, or a large one would wait for ever.
        }
        memory_requests_.pop_front();
        request.is_shown ? show_memory_wait(request, false) : void();
        if (auto* session = session_of(request.link.session)) {
            session->on_memory_granted(request.link.link);
        } else {
            state_.memory.release(request.size);
        }
    }
}

void ShardBroker::memory_taken(std::uint64_t size) { state_.memory.release(size); }

// The link is about to be detached.
void ShardBroker::cancel_memory(LinkAddress link) {
    std::erase_if(memory_requests_, [&](const MemoryRequest& request) { return request.link == link; });
}

// Those that were shown before stand in front.
void ShardBroker::show_memory_waits() {
    for (auto request = memory_requests_.rbegin(); request != memory_requests_.rend() && !request->is_shown; ++request) {
        request->is_shown = true;
        show_memory_wait(*request, true);
    }
}

void ShardBroker::show_memory_wait(const MemoryRequest& request, bool waits) {
    if (!request.channel) {
        return;
    }
    RoomCommand command{request.link, request.channel->id, waits};
    if (request.channel->shard == shard_) {
        handle(command);
    } else {
        post(request.channel->shard, command);
    }
}

// --- Channels ------------------------------------------------------------------------------------------------------------

ShardBroker::Slot* ShardBroker::slot_of(ChannelId id) noexcept {
    const auto found = slots_.find(id);
    return found == slots_.end() ? nullptr : found->second.get();
}

channel::Channel* ShardBroker::find(std::string_view name) {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : slot_of(found->second)->channel.get();
}

std::unique_ptr<ShardBroker::Slot> ShardBroker::make_slot(const std::string& name, const channel::ChannelOptions& options,
                                                          const channel::Durability& durability) {
    auto slot = std::make_unique<Slot>();
    slot->id = ChannelId{next_channel_++};
    slot->channel =
        std::make_unique<channel::Channel>(name, options_.share(options), *this, clock_, state_.memory, durability);
    return slot;
}

ShardBroker::Slot& ShardBroker::add_slot(std::unique_ptr<Slot> slot) {
    if (is_draining_) {
        slot->channel->begin_drain();
    }
    if (slot->channel->is_durable()) {
        durable_.push_back(slot->id);
    }
    return *slots_.emplace(slot->id, std::move(slot)).first->second;
}

Result<channel::Channel*> ShardBroker::create(std::string_view name, const channel::ChannelOptions& options) {
    if (options.is_durable && !store_) {
        return fail(Errc::no_storage);
    }
    if (options.is_durable && store_->condition() != commit::Condition::open) {
        return fail(store_->condition() == commit::Condition::full ? channel::Errc::disk_full
                                                                    : channel::Errc::storage_failed);
    }
    if (state_.channels.fetch_add(1, std::memory_order_relaxed) >= state_.limits.channels_max) {
        state_.channels.fetch_sub(1, std::memory_order_relaxed);
        return fail(Errc::too_many_channels);
    }
    channel::Durability durability;
    if (options.is_durable) {
        durability = {&store_->log(), store_->new_stream()};
    }
    Slot& slot = add_slot(make_slot(std::string{name}, options, durability));
    by_name_.emplace(name, slot.id);
    if (options.is_durable) {
        store_->adopt(*slot.channel);
        slot.channel->submit_settings();
        slot.last_change = store_->log().submitted();
    }
    return slot.channel.get();
}

// --- Durable channels ------------------------------------------------------------------------------------------------------

void ShardBroker::open_store(const StorePorts& ports, const ShardStoreSettings& settings) {
    BATON_ASSERT(!store_ && slots_.empty());
    DurableChannels& channels = *this;  // A private base: only here is it known.
    store_ = std::make_unique<ShardStore>(channels, ports, settings);
}

bool ShardBroker::install_channel(const channel::ChannelImage& image) {
    state_.channels.fetch_add(1, std::memory_order_relaxed);
    const auto stream = image.stream();
    Slot& slot = add_slot(make_slot(image.settings().name, image.settings().options, {&store_->log(), stream}));
    by_name_.emplace(image.settings().name, slot.id);
    const bool is_sound = slot.channel->install(
        image, [&](const storage::BlockRef& ref) { return store_->read_block_now(stream, ref); });
    store_->adopt(*slot.channel);
    touch(slot);
    return is_sound;
}

// --- Channels that are being restored
// -------------------------------------------------------------------------------

std::vector<commit::StreamId> ShardBroker::hidden_streams() {
    std::vector<commit::StreamId> streams;
    for (const auto& [name, hidden] : hidden_) {
        if (const auto* slot = slot_of(hidden.id); slot != nullptr) {
            streams.push_back(slot->channel->stream());
        }  // Else it is being made, and there is nothing of it in the log.
    }
    return streams;
}

bool ShardBroker::has_channel(const std::string& name) const {
    return by_name_.contains(name) || hidden_.contains(name);
}

Result<ChannelId> ShardBroker::begin_hidden(const RestoredChannel& restored) {
    if (state_.channels.fetch_add(1, std::memory_order_relaxed) >= state_.limits.channels_max) {
        state_.channels.fetch_sub(1, std::memory_order_relaxed);
        return fail(Errc::too_many_channels);
    }
    const auto& image = restored.image;
    auto slot = make_slot(image.settings().name, image.settings().options, {&store_->log(), image.stream()});
    const ChannelId id = slot->id;
    hidden_[image.settings().name].id = id;
    making_.try_emplace(id, std::move(slot), image, [this, &restored](const storage::BlockRef& ref) {
        const auto body = restored.bodies.find(ref.first);
        return body == restored.bodies.end() ? store_->read_block_now(restored.image.stream(), ref)
                                             : Payload::copy_of(store_->pool(), body->second);
    });
    return id;
}

Result<bool> ShardBroker::make_hidden(ChannelId id, std::uint64_t& units) {
    Making& making = making_.at(id);
    if (!making.restore.go_on(units)) {
        return false;
    }
    const bool is_sound = making.restore.is_sound();
    Slot& slot = add_slot(std::move(making.slot));
    making_.erase(id);
    store_->adopt(*slot.channel);
    if (!is_sound) {
        drop_hidden(id);
        return fail(channel::Errc::damaged);
    }
    touch(slot);
    return true;
}

void ShardBroker::reveal(ChannelId id) {
    Slot& slot = *slot_of(id);
    auto hidden = hidden_.extract(slot.channel->name());
    by_name_.emplace(slot.channel->name(), id);
    touch(slot);
    go_on(std::move(hidden.mapped().waiting));
}

void ShardBroker::drop_hidden(ChannelId id) {
    const auto making = making_.find(id);
    const bool is_made = making == making_.end();
    Slot& slot = is_made ? *slot_of(id) : *making->second.slot;
    auto hidden = hidden_.extract(slot.channel->name());
    if (is_made) {
        erase_slot(slot);
    } else {
        dying_.push_back(std::move(slot.channel));
        making_.erase(making);
        state_.channels.fetch_sub(1, std::memory_order_relaxed);
    }
    go_on(std::move(hidden.mapped().waiting));
}

template <class Command>
bool ShardBroker::waits_for_restore(const std::string& name, Command& command) {
    const auto hidden = hidden_.find(name);
    if (hidden == hidden_.end()) {
        return false;
    }
    hidden->second.waiting.emplace_back(std::move(command));
    return true;
}

void ShardBroker::go_on(std::vector<Envelope> waiting) {
    for (auto& envelope : waiting) {
        std::visit([this](auto& message) { handle(message); }, envelope);
    }
}

std::vector<ChannelId> ShardBroker::durable_channels(ChannelId after, std::size_t count) const {
    std::vector<ChannelId> ids;
    for (auto at = std::ranges::upper_bound(durable_, after); at != durable_.end() && ids.size() < count; ++at) {
        if (slots_.contains(*at)) {
            ids.push_back(*at);
        }
    }
    return ids;
}

channel::Channel* ShardBroker::find_channel(ChannelId id) {
    auto* slot = slot_of(id);
    return slot != nullptr ? slot->channel.get() : nullptr;
}

void ShardBroker::touch_channel(ChannelId id) {
    if (auto* slot = slot_of(id)) {
        touch(*slot);
    }
}

void ShardBroker::on_committed() {
    for (const auto id : std::exchange(committing_, {})) {
        if (auto* slot = slot_of(id)) {
            slot->is_committing = false;
            slot->channel->on_committed();
            touch(*slot);
        }
    }
    while (!waiting_parts_.empty() && waiting_parts_.front().index <= store_->log().committed()) {
        auto waiting = std::move(waiting_parts_.front());
        waiting_parts_.pop_front();
        send_part(waiting.session, std::move(waiting.part));
    }
    restores_.on_committed(*store_);
    steps_.on_committed();
}

void ShardBroker::on_condition(commit::Condition condition, const Error&) {
    for (const auto id : linked_) {  // It is for senders.
        if (auto* slot = slot_of(id); slot != nullptr && slot->channel->is_durable()) {
            slot->channel->on_condition();
            touch(*slot);
        }
    }
    if (condition == commit::Condition::failed) {
        for (auto& waiting : std::exchange(waiting_parts_, {})) {
            waiting.part.json = admin_error("storage_failed", "the disk failed: whether this has happened is unknown");
            send_part(waiting.session, std::move(waiting.part));
        }
        steps_.on_failed();
    }
    restores_.on_condition(*store_);
}

Payload ShardBroker::read_block(channel::Channel& channel, const storage::BlockRef& ref) {
    return looks_.is_looking() ? looks_.block(ref) : store_->read_block_now(channel.stream(), ref);
}

void ShardBroker::erase(std::string_view name) {
    const auto found = by_name_.find(name);
    BATON_ASSERT(found != by_name_.end());
    erase_slot(*slot_of(found->second));
    by_name_.erase(found);
}

void ShardBroker::erase_slot(Slot& slot) {
    const auto id = slot.id;
    channel::Channel& channel = *slot.channel;
    channel.close(channel::Errc::channel_deleted);
    if (channel.is_durable()) {
        channel.submit_deleted();
        store_->forget(channel.stream());
        ++durable_gone_;
    }
    dying_.push_back(std::move(slot.channel));
    slots_.erase(id);
    if (durable_gone_ > durable_.size() / 2) {
        std::erase_if(durable_, [this](ChannelId gone) { return !slots_.contains(gone); });
        durable_gone_ = 0;
    }
    state_.channels.fetch_sub(1, std::memory_order_relaxed);
}

// What is in deleted channels: a part of it in each turn.
void ShardBroker::dismantle_some() {
    std::uint64_t items = channel::StepBudget::messages_max / 4;  // Subscriptions among them cost a microsecond each.
    while (!dying_.empty() && dying_.front()->dismantle(items)) {
        dying_.pop_front();
    }
}

void ShardBroker::reconfigure(channel::Channel& channel, const channel::ChannelOptions& options) {
    channel.reconfigure(options_.share(options));
    touch(channel);
}

void ShardBroker::touch(channel::Channel& channel) { touch(*slot_of(by_name_.at(channel.name()))); }

void ShardBroker::visit(std::string_view after, const Visit& visit) {
    for (auto named = by_name_.upper_bound(after); named != by_name_.end(); ++named) {
        if (!visit(named->first, *slot_of(named->second)->channel)) {
            return;
        }
    }
}

// --- Administration --------------------------------------------------------------------------------------------------------

void ShardBroker::admin(SessionId session, std::uint64_t request, std::string_view name, std::string_view json,
                        std::size_t reply_size_max) {
    const auto parsed = parse_object(json);
    const auto op = operation_in(parsed);
    if (Backups::is_request(op)) {
        return backups_.ask(store_.get(), session, request, *parsed, std::min(reply_size_max, admin_reply_size_max));
    }
    if (Restores::is_request(op)) {
        return restores_.ask(store_.get(), session, request, *parsed);
    }
    const auto id = next_gathering_++;
    const AdminCommand command{session, id, std::string{name}, std::string{json},
                               std::min(reply_size_max, admin_reply_size_max)};
    const auto scope = admin_scope(op);
    const bool everywhere = scope == AdminScope::every_shard;
    const auto owner = scope == AdminScope::channel       ? shard_of_channel(name, state_.shard_count)
                       : scope == AdminScope::first_shard ? 0
                                                          : shard_;
    gatherings_.push_back({id, session, request, command.reply_size_max, everywhere ? command.json : std::string{},
                           everywhere ? state_.shard_count : 1, {}});
    for (std::uint32_t target = 0; target < state_.shard_count; ++target) {
        const bool is_owner = target == owner;
        if (!everywhere && !is_owner) {
            continue;
        }
        if (target == shard_) {
            auto copy = command;
            handle(copy);
        } else {
            post(target, command);
        }
    }
}

void ShardBroker::handle(AdminCommand& command) {
    const auto op = operation_of(command.json);
    if (!hidden_.empty() && admin_scope(op) == AdminScope::channel && waits_for_restore(command.name, command)) {
        return;
    }
    if (store_ && store_->condition() == commit::Condition::failed && admin_changes(op)) {
        const auto* channel = find(command.name);
        if (channel != nullptr && channel->is_durable()) {
            return send_part(command.session,
                             {command.gathering,
                              admin_error("storage_failed", "the disk failed: nothing can be changed until the broker is "
                                                            "started again")});
        }
    }
    if (const auto named = by_name_.find(command.name); named != by_name_.end()) {
        Slot& slot = *slot_of(named->second);
        slot.channel->tick();  // What is asked for is as of now: nobody looks often at a channel without links.
        touch(slot);
    }
    if (op == "channel.move") {
        return moves_.start(command);
    }
    if (Sweeps::is_request(op, command.json)) {
        return sweeps_.start(command);
    }
    if (Surveys::is_request(op)) {
        return surveys_.start(command);
    }
    if (Looks::is_request(op)) {
        return looks_.start(command);
    }
    if (is_policy_change(op)) {
        return change_policies(command);
    }
    const auto before = store_ ? store_->log().submitted() : 0;
    AdminPartEvent part{command.gathering, run_admin(*this, command.name, command.json, command.reply_size_max)};
    if (const auto index = store_ && admin_changes(op) ? change_to_wait_for(command.name, before) : 0;
        index > 0) {
        return answer_when_committed(index, command.session, std::move(part));
    }
    send_part(command.session, std::move(part));
}

/// One after the other, in the order in which they came: each counts, and is answered, when it is in the data directory.
void ShardBroker::change_policies(const AdminCommand& command) {
    PolicyChange change;
    try {
        change = runtime::change_policies(Json::parse(command.json), policies_ ? *policies_ : state_.policies.view()->set, state_,
                                          store_ != nullptr);
    } catch (const Refusal& refusal) {
        return send_part(command.session, {command.gathering, refusal_json(refusal)});
    }
    if (!store_) {
        state_.policies.set(std::move(change.set));
        return send_part(command.session, {command.gathering, dump(change.reply)});
    }
    policies_ = change.set;
    ++policy_writes_;
    const auto written = std::make_shared<Result<void>>();
    const auto set = std::make_shared<PolicyBook::Policies>(std::move(change.set));
    store_->submit_bulk({[written, set](storage::FileSystem& files) { *written = store_policies(files, *set); },
                         [this, written, set, session = command.session, id = command.gathering, reply = dump(change.reply)] {
                             if (--policy_writes_ == 0 || !*written) {
                                 policies_.reset();
                             }
                             if (*written) {
                                 state_.policies.set(*set);
                                 return send_part(session, {id, reply});
                             }
                             const bool is_full = written->error().code == storage::Errc::no_space;
                             send_part(session, {id, admin_error(is_full ? "disk_full" : "storage_failed",
                                                                 "the policies were not written: " + written->error().message(),
                                                                 is_full)});
                         }});
}

void ShardBroker::answer_when_committed(commit::Index index, SessionId session, AdminPartEvent part) {
    if (index <= store_->log().committed()) {
        return send_part(session, std::move(part));
    }
    waiting_parts_.push_back({index, session, std::move(part)});
    store_->flush();
}

// --- Steps -----------------------------------------------------------------------------------------------------------------

void ShardBroker::step(std::shared_ptr<const StepRequest> request) {
    steps_.ask(std::move(request));
}

Result<StepHost::Place> ShardBroker::place_of(const std::string& name, bool must_exist) {
    auto named = by_name_.find(name);
    if (named == by_name_.end()) {
        if (is_draining_ || must_exist) {
            return fail(is_draining_ ? Errc::draining : Errc::not_found);
        }
        if (const auto made = create(name, default_options(state_, name)); !made) {
            return fail(made.error());
        }
        named = by_name_.find(name);
    }
    const Slot& slot = *slot_of(named->second);
    const bool is_new = store_ && slot.channel->is_durable() && slot.last_change > store_->log().committed();
    return Place{slot.id, is_new ? slot.last_change : 0};
}

bool ShardBroker::waits(const StepCommand& command, const std::string& name) {
    auto copy = command;
    return waits_for_restore(name, copy);
}

void ShardBroker::answer_step(SessionId session, std::uint64_t request, std::error_code reason, std::uint32_t section) {
    if (auto* asking = session_of(session)) {
        asking->on_step(request, reason, section);
    }
}

ChannelId ShardBroker::id_of(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found != by_name_.end() ? found->second : ChannelId{0};
}

/// What was forgotten is on the disk before it is said.
void ShardBroker::answer_command(SessionId session, std::uint64_t gathering, const std::string& name, std::string json) {
    AdminPartEvent part{gathering, std::move(json)};
    if (const auto index = store_ ? change_to_wait_for(name, 0) : 0; index > 0) {
        return answer_when_committed(index, session, std::move(part));
    }
    send_part(session, std::move(part));
}

void ShardBroker::answer_at_once(SessionId session, std::uint64_t gathering, std::string json) {
    send_part(session, {gathering, std::move(json)});
}

void ShardBroker::fetch_block(ChannelId id, const storage::BlockRef& ref, std::function<void(Result<Payload>)> done) {
    store_->fetch_block(slot_of(id)->channel->stream(), ref, std::move(done));
}

/// What a command changed is on the disk before it is answered; a channel notes some of it until the end of the turn. What it
/// found as it wants it may have been made a moment ago, by an attach or somebody else, and is not on the disk either.
commit::Index ShardBroker::change_to_wait_for(const std::string& name, commit::Index before) {
    if (store_->condition() == commit::Condition::failed) {
        return 0;
    }
    const bool has_changed = store_->log().submitted() != before || !dirty_.empty();
    write_notes();
    const auto found = by_name_.find(name);
    auto* slot = found != by_name_.end() ? slot_of(found->second) : nullptr;
    if (has_changed && slot != nullptr) {
        slot->last_change = store_->log().submitted();
    }
    return has_changed ? store_->log().submitted() : slot != nullptr ? slot->last_change : 0;
}

void ShardBroker::write_notes() {
    for (const auto id : dirty_) {
        if (auto* slot = slot_of(id); slot != nullptr && slot->channel->has_notes()) {
            slot->channel->write_notes();
        }
    }
}

void ShardBroker::send(std::uint32_t shard, Envelope envelope) {
    if (shard == shard_) {
        std::visit([this](auto& message) { handle(message); }, envelope);
    } else {
        post(shard, std::move(envelope));
    }
}

void ShardBroker::reply(SessionId session, std::uint64_t request, const std::string& json) {
    if (auto* asking = session_of(session)) {
        asking->on_admin_reply(request, json);
    }
}

void ShardBroker::send_part(SessionId session, AdminPartEvent part) {
    const auto owner = shard_of_session(session);
    if (owner == shard_) {
        handle(part);
    } else {
        post(owner, std::move(part));
    }
}

void ShardBroker::collect(std::uint64_t id, std::string part) {
    const auto gathering = std::ranges::find(gatherings_, id, &Gathering::id);
    if (gathering == gatherings_.end()) {
        return;  // The session is gone.
    }
    gathering->parts.push_back(std::move(part));
    if (--gathering->missing > 0) {
        return;
    }
    const auto finished = std::move(*gathering);
    gatherings_.erase(gathering);
    if (auto* session = session_of(finished.session)) {
        session->on_admin_reply(finished.request, finished.json.empty()
                                                      ? finished.parts.front()
                                                      : merge_admin_parts(finished.json, finished.parts, state_,
                                                                          finished.reply_size_max));
    }
}

}  // namespace baton::runtime
