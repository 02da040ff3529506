// The links of a client: numbers, commands, and whose turn it is to write.
#include <algorithm>
#include <utility>

#include "client/src/client_protocol.hpp"
#include "common/base/assert.hpp"

namespace baton::client {

std::optional<std::uint16_t> ClientProtocol::take_number() {
    if (!free_numbers_.empty()) {
        const std::uint16_t number = free_numbers_.top();
        free_numbers_.pop();
        return number;
    }
    if (by_number_.size() > UINT16_MAX) {
        return std::nullopt;
    }
    by_number_.push_back(nullptr);
    return static_cast<std::uint16_t>(by_number_.size() - 1);
}

LinkId ClientProtocol::add(std::unique_ptr<Link> link, std::uint16_t number) {
    const LinkId id = link->id();
    link->set_number(number);
    by_number_[number] = link.get();
    Link& added = *links_.emplace(id, std::move(link)).first->second;
    added.attach();
    drop_if_ended(added);
    return id;
}

LinkId ClientProtocol::open_sender(std::string channel, bool may_create, ConfirmLevel confirm) {
    const LinkId id{++last_id_};
    const auto number = take_number();
    if (!number) {
        context_.events.on_link_failed(id, {.status = wire::Status::too_many_links, .is_retryable = false, .text = {}});
        return id;
    }
    return add(std::make_unique<SenderLink>(context_, id, std::move(channel), may_create, confirm), *number);
}

LinkId ClientProtocol::open_receiver(std::string channel, bool may_create, const ReceiverWindow& window,
                                     std::string options) {
    const LinkId id{++last_id_};
    const auto number = take_number();
    if (!number) {
        context_.events.on_link_failed(id, {.status = wire::Status::too_many_links, .is_retryable = false, .text = {}});
        return id;
    }
    return add(std::make_unique<ReceiverLink>(context_, id, std::move(channel), may_create, window, std::move(options)),
               *number);
}

Link* ClientProtocol::find(LinkId id) noexcept {
    const auto found = links_.find(id);
    return found != links_.end() ? found->second.get() : nullptr;
}

SenderLink* ClientProtocol::find_sender(LinkId id) noexcept {
    Link* link = find(id);
    BATON_ASSERT(link == nullptr || link->role() == wire::Role::sender);
    return static_cast<SenderLink*>(link);
}

ReceiverLink* ClientProtocol::find_receiver(LinkId id) noexcept {
    Link* link = find(id);
    BATON_ASSERT(link == nullptr || link->role() == wire::Role::receiver);
    return static_cast<ReceiverLink*>(link);
}

void ClientProtocol::close(LinkId id) {
    if (Link* link = find(id)) {
        if (link->role() == wire::Role::sender) {
            await_confirms(id);
        }
        link->close();
        drop_if_ended(*link);
    }
}

void ClientProtocol::drop_if_ended(Link& link) {
    if (link.phase() != Link::Phase::ended) {
        return;
    }
    const LinkId id = link.id();
    by_number_[link.number()] = nullptr;
    free_numbers_.push(link.number());
    std::erase(sending_, &link);
    std::erase(receiving_, &link);
    std::erase(takers_, id);
    links_.erase(id);
}

std::vector<LinkId> ClientProtocol::all_links() const {
    std::vector<LinkId> ids;
    ids.reserve(links_.size());
    for (const auto& [id, link] : links_) {
        ids.push_back(id);
    }
    std::ranges::sort(ids);  // Not the order of a hash: the same run for the same seed.
    return ids;
}

void ClientProtocol::attach_due(MonotonicTime now) {
    if (!std::exchange(context_.has_retries, false)) {
        return;
    }
    for (const LinkId id : all_links()) {
        Link& link = *links_.at(id);
        if (link.retry_at().has_value() && *link.retry_at() <= now) {
            link.attach();
            drop_if_ended(link);
        } else {
            context_.has_retries |= link.retry_at().has_value();
        }
    }
}

void ClientProtocol::schedule(Link& link) {
    if (link.role() == wire::Role::sender) {
        auto& sender = static_cast<SenderLink&>(link);
        if (!sender.is_scheduled) {
            sender.is_scheduled = true;
            sending_.push_back(&sender);
        }
    } else {
        auto& receiver = static_cast<ReceiverLink&>(link);
        if (!receiver.is_scheduled) {
            receiver.is_scheduled = true;
            receiving_.push_back(&receiver);
        }
    }
}

// One frame each, in turns: a large message in fragments does not hold up the small ones of other links.
void ClientProtocol::pump_senders() {
    while (!sending_.empty() && context_.has_room()) {
        SenderLink* sender = sending_.front();
        sending_.pop_front();
        if (sender->send_one()) {
            sending_.push_back(sender);
        } else {
            sender->is_scheduled = false;
        }
    }
}

void ClientProtocol::announce_takers() {
    for (std::size_t i = 0; i < takers_.size();) {
        SenderLink* sender = find_sender(takers_[i]);
        if (sender != nullptr && !sender->takes_messages()) {
            ++i;
            continue;
        }
        const LinkId id = takers_[i];
        takers_.erase(takers_.begin() + static_cast<std::ptrdiff_t>(i));
        context_.events.on_takes_messages(id);
    }
}

bool ClientProtocol::takes_messages(LinkId id) {
    SenderLink* sender = find_sender(id);
    if (sender == nullptr) {
        return false;
    }
    if (sender->takes_messages()) {
        return true;
    }
    if (std::ranges::find(takers_, id) == takers_.end()) {
        takers_.push_back(id);
    }
    return false;
}

std::uint64_t ClientProtocol::publish(LinkId id, const Payload& batch, ConfirmWhen when) {
    SenderLink* sender = find_sender(id);
    if (sender == nullptr) {
        return 0;
    }
    const std::uint64_t first = sender->publish(batch, when);
    if (context_.is_ready) {
        schedule(*sender);
    }
    return first;
}

void ClientProtocol::await_confirms(LinkId id) {
    if (SenderLink* sender = find_sender(id)) {
        sender->await_confirms();
    }
}

std::uint64_t ClientProtocol::withdraw(LinkId id) {
    SenderLink* sender = find_sender(id);
    return sender != nullptr ? sender->withdraw() : 0;
}

void ClientProtocol::ask(LinkId id, std::uint64_t messages) {
    if (ReceiverLink* receiver = find_receiver(id)) {
        receiver->ask(messages);
        schedule(*receiver);
    }
}

bool ClientProtocol::settle(LinkId id, std::uint64_t epoch, const wire::Settlement& range, std::uint64_t region_bytes,
                            std::string_view note) {
    ReceiverLink* receiver = find_receiver(id);
    if (receiver == nullptr || !receiver->settle(epoch, range, region_bytes, note)) {
        return false;
    }
    schedule(*receiver);
    return true;
}

bool ClientProtocol::settle_with_receipt(LinkId id, std::uint64_t epoch, const wire::Settlement& range,
                                         std::uint64_t region_bytes, std::uint64_t receipt, std::string_view note) {
    ReceiverLink* receiver = find_receiver(id);
    if (receiver == nullptr || !receiver->settle_with_receipt(epoch, range, region_bytes, receipt, note)) {
        return false;
    }
    schedule(*receiver);
    return true;
}

bool ClientProtocol::give_room(LinkId id, std::uint64_t epoch, std::uint64_t messages, std::uint64_t region_bytes) {
    ReceiverLink* receiver = find_receiver(id);
    if (receiver == nullptr || !receiver->give_room(epoch, messages, region_bytes)) {
        return false;
    }
    schedule(*receiver);
    return true;
}

void ClientProtocol::ask_state(LinkId id) {
    if (ReceiverLink* receiver = find_receiver(id)) {
        receiver->ask_state();
    }
}

void ClientProtocol::admin(RequestId id, std::string channel, std::string json) {
    BATON_ASSERT(id.value() >> 63U == 0);
    requests_.admin(id, std::move(channel), std::move(json));
}

void ClientProtocol::ping(RequestId id) {
    BATON_ASSERT(id.value() >> 63U == 0);
    requests_.ping(id);
}

}  // namespace baton::client
