#include "server/channel/producer_table.hpp"

#include <string_view>

#include "common/base/assert.hpp"
#include "common/base/bytes.hpp"

namespace baton::channel {

std::size_t ProducerTable::Hash::operator()(const ProducerId& id) const noexcept {
    return std::hash<std::string_view>{}(as_text(id.bytes));
}

Producer* ProducerTable::find(const ProducerId& id) noexcept {
    const auto found = producers_.find(id);
    return found != producers_.end() ? &found->second : nullptr;
}

Producer* ProducerTable::attach(const ProducerId& id, const LinkAddress& link) noexcept {
    Producer* producer = find(id);
    if (producer == nullptr) {
        if (producers_.size() >= producers_max_) {
            if (oldest_ == nullptr) {
                return nullptr;
            }
            forget_oldest();
        }
        producer = &producers_[id];
        producer->id = id;
    } else {
        BATON_ASSERT(!producer->is_attached);
        unlink(*producer);
    }
    producer->is_attached = true;
    producer->link = link;
    return producer;
}

void ProducerTable::detach(Producer& producer, MonotonicTime now) noexcept {
    BATON_ASSERT(producer.is_attached);
    producer.is_attached = false;
    producer.detached_at = now;
    producer.older = newest_;
    producer.newer = nullptr;
    (newest_ != nullptr ? newest_->newer : oldest_) = &producer;
    newest_ = &producer;
    set_max(producers_max_);
}

void ProducerTable::restore(const ProducerId& id, std::uint64_t last_sequence, MonotonicTime now) noexcept {
    Producer* producer = attach(id, {});
    if (producer != nullptr) {
        producer->last_decided = producer->last_committed = producer->last_stored = last_sequence;
        producer->is_restored = true;
        detach(*producer, now);
    }
}

void ProducerTable::note_step(const ProducerId& id, std::uint64_t number, std::uint64_t index,
                              MonotonicTime now) noexcept {
    Producer* known = find(id);
    Producer* producer = known != nullptr && known->is_attached ? nullptr : attach(id, {});
    if (producer != nullptr) {
        producer->last_decided = producer->last_stored = number;
        producer->last_index = index;
        detach(*producer, now);
    }
}

void ProducerTable::forget_detached_before(MonotonicTime horizon) noexcept {
    while (oldest_ != nullptr && oldest_->detached_at < horizon) {
        forget_oldest();
    }
}

void ProducerTable::set_max(std::uint32_t producers_max) noexcept {
    producers_max_ = producers_max;
    while (producers_.size() > producers_max_ && oldest_ != nullptr) {
        forget_oldest();
    }
}

void ProducerTable::unlink(Producer& producer) noexcept {
    (producer.older != nullptr ? producer.older->newer : oldest_) = producer.newer;
    (producer.newer != nullptr ? producer.newer->older : newest_) = producer.older;
    producer.older = producer.newer = nullptr;
}

void ProducerTable::forget_oldest() noexcept {
    Producer& producer = *oldest_;
    unlink(producer);
    producers_.erase(ProducerId{producer.id});
}

}  // namespace baton::channel
