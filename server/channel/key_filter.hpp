// A pattern for keys: words separated by '.'; '*' stands for one word, '>' at the end for one or more.
// Matching allocates nothing. Next file: subscription.hpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace baton::channel {

class KeyFilter {
public:
    /// Matches everything, also messages without a key.
    KeyFilter() = default;
    /// Nothing if it is not a pattern: an empty word, or a '>' that is not the last word.
    [[nodiscard]] static std::optional<KeyFilter> parse(std::string_view pattern);

    [[nodiscard]] bool matches(std::string_view key) const noexcept;
    [[nodiscard]] bool matches_all() const noexcept { return pattern_.empty() || pattern_ == ">"; }
    [[nodiscard]] const std::string& pattern() const noexcept { return pattern_; }

private:
    std::string pattern_;
};

}  // namespace baton::channel
