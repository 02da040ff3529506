// Hash tables that grow, and are emptied, in small steps: one that doubles with a million elements in it holds everything up for
// tens of milliseconds. So many are dealt out over small tables, each of which doubles at its own time.
// Not thread-safe. Next files: key_order.hpp, dedupe_window.hpp, compaction.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace baton::channel {

/// Each bit of a hash is as good as the others. `Hash` is transparent, so that a key can be asked for as a view. An element stays
/// where it is while it is there.
template <class Key, class Value, class Hash>
class SteadyTable {
public:
    using Entry = std::pair<const Key, Value>;
    static constexpr std::size_t few_max = 16'384;
    /// Elements of the first table that go to the small ones with each new one.
    static constexpr std::size_t dealt_at_once = 4;

    /// Null: not there.
    template <class Name>
    [[nodiscard]] Value* find(const Name& key) noexcept {
        return const_cast<Value*>(std::as_const(*this).find(key));
    }
    template <class Name>
    [[nodiscard]] const Value* find(const Name& key) const noexcept {
        const Value* const found = many_ && !few_.empty() ? find_in(few_, key) : nullptr;
        return found != nullptr ? found : find_in(table_of(key), key);
    }
    /// The element of the key, and whether it was made by this call.
    template <class Name>
    std::pair<Entry*, bool> try_emplace(const Name& key) {
        if (many_ ? !few_.empty() : few_.size() == few_max) {
            if (const auto found = few_.find(key); found != few_.end()) {
                return {&*found, false};
            }
            deal_out_some();
        }
        Table& table = table_of(key);
        if (const auto found = table.find(key); found != table.end()) {
            return {&*found, false};
        }
        ++size_;
        return {&*table.emplace(key, Value{}).first, true};
    }
    template <class Name>
    void erase(const Name& key) noexcept {
        if (!erase_in(few_, key) && many_) {
            erase_in(table_of(key), key);
        }
        if (size_ == 0) {
            many_.reset();
        }
    }
    /// Removes elements, one for each of `items`, which it uses up. True: it is empty.
    bool clear_some(std::uint64_t& items) noexcept {
        take_some(few_, items);
        while (size_ > 0 && items > 0) {
            if (take_some((*many_)[clearing_], items)) {
                clearing_ = (clearing_ + 1) % many_->size();
            }
        }
        if (size_ == 0) {
            many_.reset();
        }
        return size_ == 0;
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Of those, in the first table: all, or what has not been dealt out yet.
    [[nodiscard]] std::size_t few() const noexcept { return few_.size(); }
    /// visit(value)
    template <class Visit>
    void visit(Visit visit) {
        visit_all(*this, visit);
    }
    template <class Visit>
    void visit(Visit visit) const {
        visit_all(*this, visit);
    }

private:
    using Table = std::unordered_map<Key, Value, Hash, std::equal_to<>>;
    // All grow at about the same number of elements; the smaller they are, the more this is spread.
    static constexpr int table_bits = 12;

    template <class Name>
    [[nodiscard]] static const Value* find_in(const Table& table, const Name& key) noexcept {
        const auto found = table.find(key);
        return found != table.end() ? &found->second : nullptr;
    }
    template <class Name>
    [[nodiscard]] const Table& table_of(const Name& key) const noexcept {
        return many_ ? (*many_)[Hash{}(key) >> (64 - table_bits)] : few_;
    }
    template <class Name>
    [[nodiscard]] Table& table_of(const Name& key) noexcept {
        return const_cast<Table&>(std::as_const(*this).table_of(key));
    }
    template <class Name>
    bool erase_in(Table& table, const Name& key) noexcept {
        const auto found = table.find(key);
        if (found == table.end()) {
            return false;
        }
        table.erase(found);
        --size_;
        return true;
    }
    // True: it is empty.
    bool take_some(Table& table, std::uint64_t& items) noexcept {
        for (; items > 0 && !table.empty(); --items, --size_) {
            table.erase(table.begin());
        }
        return table.empty();
    }
    template <class Self, class Visit>
    static void visit_all(Self& self, Visit& visit) {
        for (auto& entry : self.few_) {
            visit(entry.second);
        }
        if (self.many_) {
            for (auto& table : *self.many_) {
                for (auto& entry : table) {
                    visit(entry.second);
                }
            }
        }
    }
    // All at once would be 7 ms: each of the small tables is made by its first element.
    void deal_out_some() {
        if (!many_) {
            many_ = std::make_unique<std::array<Table, 1U << table_bits>>();
        }
        for (std::size_t dealt = 0; dealt < dealt_at_once && !few_.empty(); ++dealt) {
            auto node = few_.extract(few_.begin());
            table_of(node.key()).insert(std::move(node));
        }
        if (few_.empty()) {
            few_ = Table{};  // Without its buckets.
        }
    }

    Table few_;  // Until there are too many, and then until they are dealt out.
    std::unique_ptr<std::array<Table, 1U << table_bits>> many_;
    std::size_t size_ = 0;
    std::size_t clearing_ = 0;  // Of `many_`: where clear_some() goes on.
};

/// Of numbers that are hashes already (number_of() in message_rules.hpp).
struct NumberHash {
    using is_transparent = void;
    std::size_t operator()(std::uint64_t number) const noexcept { return number; }
};
struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};
template <class Value>
using KeyTable = SteadyTable<std::uint64_t, Value, NumberHash>;
template <class Value>
using TextTable = SteadyTable<std::string, Value, TextHash>;

}  // namespace baton::channel
