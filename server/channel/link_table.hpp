// The senders, or the receivers, of a channel by their addresses. Most channels have one or two: those stand one behind the
// other, which costs less memory, and less of the cache for each message, than a hash table.
// Not responsible for what a link is. One owner, the channel. Next file: channel.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/assert.hpp"
#include "server/channel/types.hpp"

namespace baton::channel {

/// `T` has an `address` that does not change.
template <class T>
class LinkTable {
public:
    [[nodiscard]] T* find(const LinkAddress& link) const noexcept {
        if (many_) {
            const auto found = many_->find(link);
            return found != many_->end() ? found->second.get() : nullptr;
        }
        const auto found = std::ranges::find_if(few_, [&](const auto& one) { return one->address == link; });
        return found != few_.end() ? found->get() : nullptr;
    }
    /// There is none with this address.
    T& add(std::unique_ptr<T> link) {
        BATON_ASSERT(find(link->address) == nullptr);
        T& added = *link;
        if (!many_ && few_.size() == few_max) {
            many_ = std::make_unique<Many>();
            for (auto& one : few_) {
                many_->emplace(one->address, std::move(one));
            }
            few_.clear();
            few_.shrink_to_fit();
        }
        if (many_) {
            many_->emplace(added.address, std::move(link));
        } else {
            few_.push_back(std::move(link));
        }
        return added;
    }
    /// Unknown: no-op.
    void remove(const LinkAddress& link) noexcept {
        if (!many_) {
            std::erase_if(few_, [&](const auto& one) { return one->address == link; });
            return;
        }
        many_->erase(link);
        if (many_->empty()) {
            many_.reset();
        }
    }
    void clear() noexcept {
        few_.clear();
        many_.reset();
    }

    [[nodiscard]] std::size_t size() const noexcept { return many_ ? many_->size() : few_.size(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// In no order.
    template <class Visitor>
    void for_each(Visitor visitor) const {
        for (const auto& one : few_) {
            visitor(*one);
        }
        if (many_) {
            for (const auto& entry : *many_) {
                visitor(*entry.second);
            }
        }
    }
    /// In order, so that what is done to many links does not depend on the order inside a hash table.
    [[nodiscard]] std::vector<LinkAddress> addresses() const {
        std::vector<LinkAddress> all;
        all.reserve(size());
        for_each([&](const T& link) { all.push_back(link.address); });
        std::ranges::sort(all);
        return all;
    }

private:
    static constexpr std::size_t few_max = 8;
    using Many = std::unordered_map<LinkAddress, std::unique_ptr<T>>;

    std::vector<std::unique_ptr<T>> few_;
    std::unique_ptr<Many> many_;  // Null: they are few.
};

}  // namespace baton::channel
