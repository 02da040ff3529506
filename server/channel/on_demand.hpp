// Parts of channels that most channels do not have: they cost a pointer until they are needed, so that a hundred thousand
// idle channels are small, and what a busy one works with lies close together.
// Not thread-safe, as what is in them. Next file: offset_set.hpp.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace baton::channel {

/// A T that is made when it is changed for the first time. T is default constructible.
template <class T>
class OnDemand {
public:
    /// What is there, or a T that is like new.
    [[nodiscard]] const T& operator*() const noexcept { return made_ ? *made_ : none_; }
    [[nodiscard]] const T* operator->() const noexcept { return &**this; }
    /// To be changed.
    [[nodiscard]] T& edit() {
        if (!made_) {
            made_ = std::make_unique<T>();
        }
        return *made_;
    }
    [[nodiscard]] bool is_made() const noexcept { return made_ != nullptr; }
    /// Like new again.
    void reset() noexcept { made_.reset(); }

private:
    inline static const T none_{};
    std::unique_ptr<T> made_;
};

/// A std::map or std::unordered_map that is made with its first element. Used as the map itself; only an end() that was taken
/// before the first element came is none afterwards.
template <class Map>
class OnDemandMap {
public:
    using value_type = typename Map::value_type;
    using iterator = typename Map::iterator;
    using const_iterator = typename Map::const_iterator;
    using node_type = typename Map::node_type;

    OnDemandMap() = default;
    OnDemandMap(OnDemandMap&&) noexcept = default;
    OnDemandMap& operator=(OnDemandMap&&) noexcept = default;
    OnDemandMap(const OnDemandMap& other) : made_{other.made_ ? std::make_unique<Map>(*other.made_) : nullptr} {}
    OnDemandMap& operator=(const OnDemandMap& other) { return *this = OnDemandMap{other}; }
    ~OnDemandMap() = default;

    /// As it is.
    [[nodiscard]] const Map& map() const noexcept { return there(); }

    [[nodiscard]] bool empty() const noexcept { return !made_ || made_->empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return made_ ? made_->size() : 0; }
    [[nodiscard]] iterator begin() noexcept { return there().begin(); }
    [[nodiscard]] iterator end() noexcept { return there().end(); }
    [[nodiscard]] const_iterator begin() const noexcept { return map().begin(); }
    [[nodiscard]] const_iterator end() const noexcept { return map().end(); }
    [[nodiscard]] auto rbegin() const noexcept { return map().rbegin(); }
    [[nodiscard]] auto rend() const noexcept { return map().rend(); }

    template <class Key>
    [[nodiscard]] iterator find(const Key& key) {
        return there().find(key);
    }
    template <class Key>
    [[nodiscard]] const_iterator find(const Key& key) const {
        return map().find(key);
    }
    template <class Key>
    [[nodiscard]] bool contains(const Key& key) const {
        return made_ && made_->contains(key);
    }
    template <class Key>
    [[nodiscard]] iterator lower_bound(const Key& key) {
        return there().lower_bound(key);
    }
    template <class Key>
    [[nodiscard]] const_iterator lower_bound(const Key& key) const {
        return map().lower_bound(key);
    }
    template <class Key>
    [[nodiscard]] iterator upper_bound(const Key& key) {
        return there().upper_bound(key);
    }
    template <class Key>
    [[nodiscard]] const_iterator upper_bound(const Key& key) const {
        return map().upper_bound(key);
    }

    template <class Key>
    auto& operator[](Key&& key) {
        return make()[std::forward<Key>(key)];
    }
    template <class... Args>
    auto emplace(Args&&... args) {
        return make().emplace(std::forward<Args>(args)...);
    }
    template <class Key, class... Args>
    auto try_emplace(Key&& key, Args&&... args) {
        return make().try_emplace(std::forward<Key>(key), std::forward<Args>(args)...);
    }
    template <class... Args>
    iterator emplace_hint(const_iterator hint, Args&&... args) {
        return made_ ? made_->emplace_hint(hint, std::forward<Args>(args)...)
                     : make().emplace(std::forward<Args>(args)...).first;
    }
    template <class Key, class Value>
    auto insert_or_assign(Key&& key, Value&& value) {
        return make().insert_or_assign(std::forward<Key>(key), std::forward<Value>(value));
    }
    auto insert(node_type&& node) { return make().insert(std::move(node)); }
    iterator insert(const_iterator hint, node_type&& node) {
        return made_ ? made_->insert(hint, std::move(node)) : make().insert(std::move(node)).position;
    }

    /// By key, by place, or a range.
    template <class... Args>
    auto erase(Args&&... args) {
        using Erased = decltype(made_->erase(std::forward<Args>(args)...));
        return made_ ? made_->erase(std::forward<Args>(args)...) : Erased{};
    }
    /// By key or place.
    template <class Place>
    [[nodiscard]] node_type extract(Place&& place) {
        return made_ ? made_->extract(std::forward<Place>(place)) : node_type{};
    }
    /// Gives the memory back, too.
    void clear() noexcept { made_.reset(); }

private:
    [[nodiscard]] Map& there() const noexcept { return made_ ? *made_ : none_; }
    [[nodiscard]] Map& make() {
        if (!made_) {
            made_ = std::make_unique<Map>();
        }
        return *made_;
    }

    inline static Map none_{};  // Never changed: threads share it.
    std::unique_ptr<Map> made_;
};

}  // namespace baton::channel
