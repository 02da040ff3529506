// The rules of a queue, message by message and as plainly as they can be written: what the real channel must equal.
// It predicts everything except which receiver is chosen; there it checks that the choice was allowed.
#pragma once

#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/channel/types.hpp"

namespace baton::channel::test {

class QueueModel {
public:
    struct Message {
        std::string text;
        std::uint64_t bytes = 0;  // In a messages region.
        std::uint64_t size = 0;   // Properties and payload.
        int holder = 0;           // Receiver; 0: ready.
        std::uint32_t attempt = 1;
        bool was_delivered = false;
        bool is_started = false;
        int priority = 0;
        std::uint64_t delay = 0;  // Milliseconds, all times.
        std::uint64_t ttl = 0;    // 0: none.
        std::uint64_t due = 0;
        std::uint64_t expires = UINT64_MAX;
        bool is_waiting = false;
        bool is_quarantined = false;
        bool is_pardoned = false;  // However old, it is given until somebody has begun with it.

        bool is_ready() const { return holder == 0 && !is_waiting && !is_quarantined; }
    };
    struct Sender {
        std::uint8_t producer = 0;  // 0: anonymous.
        std::uint64_t decided = 0;
        std::uint64_t received = 0;
        bool any_start = false;
        bool has_decision = false;  // On this link.
    };
    struct Parked {
        int sender;
        std::uint64_t sequence;
        Message message;
    };

    std::uint64_t messages_max = 0, bytes_max = 0, message_size_max = 0;
    std::uint32_t attempts_max = 0;
    bool quarantines_expired = false;
    bool drops_oldest = false;
    std::uint64_t now = 0;
    std::uint64_t expired = 0, expired_away = 0, dropped = 0, dropped_for_room = 0;
    bool is_draining = false;
    std::map<Offset, Message> stored;
    std::deque<Parked> parked;
    std::map<int, Sender> senders;
    std::map<std::uint8_t, std::uint64_t> producers;  // Last decided.
    Offset next_offset = 1;
    std::set<std::pair<int, std::uint64_t>> refused;  // Of the last operation.

    std::uint64_t attach(int link, std::uint8_t producer) {
        for (const auto& [other, sender] : std::map{senders}) {
            if (producer != 0 && sender.producer == producer) {
                detach_sender(other);
            }
        }
        const std::uint64_t decided = producer == 0 ? 0 : producers[producer];
        senders[link] = {producer, decided, decided, producer != 0 && decided == 0, false};
        apply();
        return decided;
    }
    void detach_sender(int link) {
        std::erase_if(parked, [link](const Parked& entry) { return entry.sender == link; });
        senders.erase(link);
        apply();
    }
    void detach_receiver(int link) {
        for (auto& entry : stored) {
            if (entry.second.holder == link) {
                give_back(entry.second);
            }
        }
        forget_expired();
    }
    // Time has gone on, and the channel has looked at its clock.
    void tick() {
        for (auto& entry : stored) {
            Message& message = entry.second;
            message.is_waiting = message.is_waiting && message.due > now;
        }
        forget_expired();
    }
    // Whoever holds a message may finish it; nobody looks at quarantined ones.
    void forget_expired() {
        note_expired();
        apply();
    }
    void note_expired() {
        for (auto entry = stored.begin(); entry != stored.end();) {
            Message& message = entry->second;
            const bool is_over = message.holder == 0 && !message.is_quarantined && message.expires <= now &&
                                 !message.is_pardoned;
            expired += is_over ? 1 : 0;
            expired_away += is_over && !quarantines_expired ? 1 : 0;
            message.is_quarantined = message.is_quarantined || is_over;
            message.is_waiting = message.is_waiting && !is_over;
            entry = is_over && !quarantines_expired ? stored.erase(entry) : std::next(entry);
        }
    }
    std::uint64_t retry_all() {
        std::uint64_t count = 0;
        for (auto& entry : stored) {
            if (std::exchange(entry.second.is_quarantined, false)) {
                entry.second.attempt = 1;
                entry.second.was_delivered = true;
                entry.second.is_pardoned = true;
                ++count;
            }
        }
        apply();
        return count;
    }
    std::uint64_t drop(bool is_quarantined) {
        const std::uint64_t count = std::erase_if(stored, [&](const auto& entry) {
            return is_quarantined ? entry.second.is_quarantined : entry.second.is_waiting;
        });
        dropped += count;
        apply();
        return count;
    }
    // False: a gap, the link is closed.
    bool publish(int link, std::uint64_t first, const std::vector<Message>& batch) {
        Sender& sender = senders[link];
        if (sender.any_start) {
            sender.decided = sender.received = first - 1;
            sender.any_start = false;
        }
        if (first > sender.received + 1) {
            return false;
        }
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (first + i > sender.received) {
                sender.received = first + i;
                parked.push_back({link, first + i, batch[i]});
            }
        }
        apply();
        return true;
    }
    void apply() {
        while (!parked.empty()) {
            const Parked& head = parked.front();
            if (is_draining || head.message.bytes > bytes_max || head.message.size > message_size_max) {
                refused.emplace(head.sender, head.sequence);
            } else if (drops_oldest ? make_room(head.message.bytes) : has_room(head.message.bytes)) {
                Message message = head.message;
                message.is_waiting = message.delay > 0;
                message.due = now + message.delay;
                message.expires = message.ttl > 0 ? now + message.ttl : UINT64_MAX;
                stored[next_offset++] = message;
            } else {
                return;
            }
            Sender& sender = senders[head.sender];
            sender.decided = head.sequence;
            sender.has_decision = true;
            if (sender.producer != 0) {
                producers[sender.producer] = head.sequence;
            }
            parked.pop_front();
        }
    }
    bool has_room(std::uint64_t bytes) const { return stored.size() + 1 <= messages_max && stored_bytes() + bytes <= bytes_max; }
    // The oldest that nobody holds go, as many as are in the way.
    bool make_room(std::uint64_t bytes) {
        for (auto entry = stored.begin(); entry != stored.end() && !has_room(bytes);) {
            const bool goes = entry->second.is_ready();
            dropped += goes ? 1 : 0;
            dropped_for_room += goes ? 1 : 0;
            entry = goes ? stored.erase(entry) : std::next(entry);
        }
        return has_room(bytes);
    }
    // The offsets that are refused as lost. Room is looked for behind the last of several ranges: apply().
    std::set<Offset> settle(int link, const SettleRange& range) {
        std::set<Offset> lost;
        for (Offset offset = range.first; offset < range.first + range.count; ++offset) {
            const auto found = stored.find(offset);
            if (found == stored.end() || found->second.holder != link || found->second.attempt != range.attempt) {
                lost.insert(offset);
            } else if (range.outcome == Outcome::done) {
                stored.erase(found);
            } else if (range.outcome == Outcome::give_back) {
                give_back(found->second);
            } else if (range.outcome == Outcome::retry) {
                found->second.is_started = true;
                give_back(found->second);
                found->second.is_waiting = !found->second.is_quarantined;
                found->second.due = now + range.argument;
            } else if (range.outcome == Outcome::reject) {
                found->second.holder = 0;
                found->second.is_started = false;
                found->second.is_quarantined = true;
            } else if (range.outcome == Outcome::started) {
                found->second.is_started = true;
            }
        }
        note_expired();
        return lost;
    }
    std::uint64_t purge() {
        const std::uint64_t count = std::erase_if(stored, [](const auto& entry) { return entry.second.is_ready(); });
        apply();
        return count;
    }
    void give_back(Message& message) {
        message.holder = 0;
        message.is_quarantined = message.is_started && attempts_max > 0 && message.attempt >= attempts_max;
        message.attempt += message.is_started && !message.is_quarantined ? 1 : 0;
        message.is_pardoned = message.is_pardoned && !message.is_started;
        message.is_started = false;
    }
    std::optional<Offset> first_ready() const {
        std::optional<Offset> first;
        int priority = -1;
        for (const auto& [offset, message] : stored) {
            if (message.is_ready() && message.priority > priority) {
                first = offset;
                priority = message.priority;
            }
        }
        return first;
    }
    std::uint64_t stored_bytes() const {
        std::uint64_t sum = 0;
        for (const auto& entry : stored) {
            sum += entry.second.bytes;
        }
        return sum;
    }
    std::uint64_t held_by(int link) const {
        std::uint64_t count = 0;
        for (const auto& entry : stored) {
            count += entry.second.holder == link ? 1 : 0;
        }
        return count;
    }
};

}  // namespace baton::channel::test
