// A table by number of key that grows in small steps: a hash table that doubles with a million keys in it holds everything up
// for tens of milliseconds. So many keys are dealt out over small tables, each of which doubles at its own time.
// Not thread-safe. Next file: key_order.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

namespace baton::channel {

/// Keys are hashes already: each of their bits is as good as the others.
template <class Value>
class KeyTable {
public:
    static constexpr std::size_t few_max = 16'384;
    /// Keys of the first table that go to the small ones with each new key.
    static constexpr std::size_t dealt_at_once = 4;

    /// Null: not there. Valid until the next change.
    [[nodiscard]] Value* find(std::uint64_t key) noexcept {
        Value* const found = many_ && !few_.empty() ? find_in(few_, key) : nullptr;
        return found != nullptr ? found : find_in(table_of(key), key);
    }
    /// The value of the key, and whether it was made by this call.
    std::pair<Value*, bool> try_emplace(std::uint64_t key) {
        if (many_ ? !few_.empty() : few_.size() == few_max) {
            if (Value* const found = find_in(few_, key)) {
                return {found, false};
            }
            deal_out_some();
        }
        const auto [at, is_new] = table_of(key).try_emplace(key);
        size_ += is_new ? 1 : 0;
        return {&at->second, is_new};
    }
    void erase(std::uint64_t key) noexcept {
        const std::size_t of_few = few_.erase(key);
        size_ -= of_few > 0 || !many_ ? of_few : table_of(key).erase(key);
        if (size_ == 0) {
            many_.reset();
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Of those, in the first table: all, or what has not been dealt out yet.
    [[nodiscard]] std::size_t few() const noexcept { return few_.size(); }
    template <class Visit>
    void visit(Visit visit) {
        for (auto& entry : few_) {
            visit(entry.second);
        }
        if (many_) {
            for (Table& table : *many_) {
                for (auto& entry : table) {
                    visit(entry.second);
                }
            }
        }
    }

private:
    using Table = std::unordered_map<std::uint64_t, Value>;
    // All grow at about the same number of keys; the smaller they are, the more this is spread.
    static constexpr int table_bits = 12;

    [[nodiscard]] static Value* find_in(Table& table, std::uint64_t key) noexcept {
        const auto found = table.find(key);
        return found != table.end() ? &found->second : nullptr;
    }
    [[nodiscard]] Table& table_of(std::uint64_t key) noexcept { return many_ ? (*many_)[key >> (64 - table_bits)] : few_; }
    // All at once would be 7 ms: each of the small tables is made by its first key.
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
};

}  // namespace baton::channel
