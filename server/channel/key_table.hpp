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
    /// Null: not there. Valid until the next change.
    [[nodiscard]] Value* find(std::uint64_t key) noexcept {
        Table& table = table_of(key);
        const auto found = table.find(key);
        return found != table.end() ? &found->second : nullptr;
    }
    /// The value of the key, and whether it was made by this call.
    std::pair<Value*, bool> try_emplace(std::uint64_t key) {
        if (!many_ && few_.size() == few_max) {
            deal_out();
        }
        const auto [at, is_new] = table_of(key).try_emplace(key);
        size_ += is_new ? 1 : 0;
        return {&at->second, is_new};
    }
    void erase(std::uint64_t key) noexcept {
        size_ -= table_of(key).erase(key);
        if (size_ == 0) {
            many_.reset();
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
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
    static constexpr std::size_t few_max = 16'384;
    // All grow at about the same number of keys; the smaller they are, the more this is spread.
    static constexpr int table_bits = 12;

    [[nodiscard]] Table& table_of(std::uint64_t key) noexcept { return many_ ? (*many_)[key >> (64 - table_bits)] : few_; }
    void deal_out() {
        many_ = std::make_unique<std::array<Table, 1U << table_bits>>();
        while (!few_.empty()) {
            auto node = few_.extract(few_.begin());
            table_of(node.key()).insert(std::move(node));
        }
        few_ = Table{};
    }

    Table few_;  // Until there are too many.
    std::unique_ptr<std::array<Table, 1U << table_bits>> many_;
    std::size_t size_ = 0;
};

}  // namespace baton::channel
