// Readers of topics and streams: made, found, forgotten. What one reader does is in subscription.cpp.
#include <algorithm>
#include <utility>

#include "common/base/assert.hpp"
#include "server/channel/channel.hpp"

namespace baton::channel {

SubscriptionContext Channel::subscription_context() noexcept {
    const bool leaves_memory = journal_ != nullptr && options_->kind != Kind::stream;
    return {.log = log_,
            .events = events_,
            .clock = clock_,
            .options = options_,
            .prng = prng_,
            .turns = turns_,
            .memory = leaves_memory ? &budget_ : nullptr};
}

// The settings, but for the id, have passed check_request.
Subscription& Channel::add_reader(SubscriptionSettings settings, const StartPosition& from) {
    auto owned = std::make_unique<Subscription>(subscription_context(), std::move(settings));
    Subscription& reader = *owned;
    if (options_->kind == Kind::stream) {
        log_.add_cursor_at(reader.cursor(), offset_of(from));
    } else {
        log_.add_cursor(reader.cursor());
    }
    readers_.push_back(std::move(owned));
    if (!reader.settings().name.empty()) {
        by_name_[reader.settings().name] = &reader;
    }
    if (journal_ != nullptr && reader.is_lasting()) {
        if (reader.id() != queue_reader) {
            journal_->subscribed(reader.settings(), reader.cursor().offset());
        }
        reader.begin_notes();
    }
    if (options_->kind == Kind::stream) {
        reader.add_ruled(log_.ruled_ahead(reader.cursor()));
        std::uint64_t at_once = StepBudget::messages_at_once;
        static_cast<void>(reader.look_ahead(at_once));
    }
    return reader;
}

void Channel::remove_reader(Subscription& reader) {
    BATON_ASSERT(reader.receivers().empty());
    ended_.edit().add(reader.counters());
    if (journal_ != nullptr && reader.is_lasting()) {
        journal_->unsubscribed(reader.id());
    }
    turns_.remove(reader);
    by_name_.erase(reader.settings().name);
    const auto place = std::ranges::find(readers_, &reader, [](const auto& other) { return other.get(); });
    leaving_.push_back(std::move(*place));
    readers_.erase(place);
    if (fan_out_left_ > 0) {
        fan_out_left_ = readers_.size();  // Some have moved: all are told once more.
    }
    std::uint64_t at_once = leaving_.size() == 1 ? StepBudget::messages_at_once : 0;
    if (leaving_.back()->forget_some(at_once)) {
        leaving_.erase(leaving_.size() - 1, 1);
    }
}

// What readers that are gone have held and wanted, of so many messages and batches. Nothing is told of it, so nobody waits for it
// but those who need the room.
void Channel::forget_leaving(std::uint64_t& items) {
    while (!leaving_.empty() && items > 0 && leaving_.front()->forget_some(items)) {
        leaving_.pop_front();
    }
}

Offset Channel::offset_of(const StartPosition& from) const noexcept {
    switch (from.kind) {
        case StartPosition::Kind::standard:
        case StartPosition::Kind::first:
            return 1;
        case StartPosition::Kind::last:
            return options_->kind == Kind::stream && log_.last_kept() > 0 ? log_.last_kept() : log_.visible_end();
        case StartPosition::Kind::next:
            return log_.next_offset();
        case StartPosition::Kind::offset:
            return from.offset;
        case StartPosition::Kind::time:
            break;
    }
    const StoredBatch* batch = log_.first_since(from.time);
    return batch != nullptr ? batch->base : log_.next_offset();
}

std::error_code Channel::check_request(const ReceiverRequest& request) const {
    const bool is_queue = options_->kind == Kind::queue;
    const bool is_topic = options_->kind == Kind::topic;
    const auto position = request.from.kind;
    if (is_queue && (!request.subscription.empty() || !request.filter.empty() ||
                     position != StartPosition::Kind::standard)) {
        return Errc::not_supported;
    }
    if (is_topic && position != StartPosition::Kind::standard && position != StartPosition::Kind::next) {
        return Errc::not_supported;
    }
    if (!request.filter.empty() && !KeyFilter::parse(request.filter)) {
        return Errc::bad_filter;
    }
    const auto found = by_name_.find(request.subscription);
    if (!request.subscription.empty() && found != by_name_.end()) {
        const bool fits = request.filter.empty() || found->second->settings().filter == request.filter;
        return fits ? std::error_code{} : Errc::incompatible_options;
    }
    return !is_queue && readers_.size() >= subscriptions_max ? make_error_code(Errc::too_many_subscriptions)
                                                             : std::error_code{};
}

Subscription* Channel::find_subscription(std::string_view name) noexcept {
    if (options_->kind == Kind::queue) {
        return name.empty() ? readers_.front().get() : nullptr;
    }
    const auto found = name.empty() ? by_name_.end() : by_name_.find(std::string{name});
    return found != by_name_.end() ? found->second : nullptr;
}

std::error_code Channel::subscribe(const SubscriptionSettings& settings, const StartPosition& from) {
    if (settings.name.empty()) {
        return Errc::not_supported;
    }
    ReceiverRequest request;
    request.subscription = settings.name;
    request.filter = settings.filter;
    request.from = from;
    if (const auto refused = check_request(request)) {
        return refused;
    }
    SubscriptionSettings wanted = settings;
    has_backlog_limits_ = has_backlog_limits_ || settings.backlog_max > 0;
    Subscription* reader = find_subscription(settings.name);
    if (reader == nullptr) {
        wanted.id = next_lasting_++;
        add_reader(std::move(wanted), from);
    } else {
        wanted.id = reader->id();
        reader->set_settings(wanted);
        if (journal_ != nullptr) {
            journal_->subscribed(wanted, reader->cursor().offset());
        }
        std::uint64_t at_once = StepBudget::messages_at_once;
        static_cast<void>(reader->look_at_backlog(at_once));
        reader->keep_backlog_limit();
    }
    room_changed();
    return {};
}

std::uint64_t Channel::unsubscribe(Subscription& subscription) {
    const std::uint64_t count =
        subscription.ready() + subscription.delayed() + subscription.in_flight() + subscription.quarantined();
    const std::vector<Receiver*> receivers = subscription.receivers();
    for (Receiver* receiver : receivers) {
        drop_late(*receiver);
        remove_receiver(*receiver, receiver->ending.value_or(Errc::not_found));
    }
    remove_reader(subscription);
    room_changed();
    return count;
}

void Channel::subscription_changed() {
    room_changed();
}

}  // namespace baton::channel
