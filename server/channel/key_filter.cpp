#include "server/channel/key_filter.hpp"

namespace baton::channel {

namespace {

// Cuts the first word off.
std::string_view next_word(std::string_view& rest, bool& has_more) noexcept {
    const std::size_t dot = rest.find('.');
    has_more = dot != std::string_view::npos;
    const std::string_view word = rest.substr(0, dot);
    rest = has_more ? rest.substr(dot + 1) : std::string_view{};
    return word;
}

}  // namespace

std::optional<KeyFilter> KeyFilter::parse(std::string_view pattern) {
    constexpr std::size_t pattern_size_max = 1024;
    KeyFilter filter;
    filter.pattern_ = pattern;
    bool has_more = true;
    for (std::string_view rest = pattern; has_more;) {
        const std::string_view word = next_word(rest, has_more);
        if (word.empty() || (word == ">" && has_more) || pattern.size() > pattern_size_max) {
            return std::nullopt;
        }
    }
    return filter;
}

bool KeyFilter::matches(std::string_view key) const noexcept {
    if (matches_all()) {
        return pattern_.empty() || !key.empty();
    }
    std::string_view pattern = pattern_;
    bool has_pattern = true;
    bool has_key = true;
    while (has_pattern && has_key) {
        const std::string_view wanted = next_word(pattern, has_pattern);
        if (wanted == ">") {
            return !key.empty();
        }
        const std::string_view word = next_word(key, has_key);
        if (wanted != "*" ? wanted != word : word.empty()) {
            return false;
        }
    }
    return has_pattern == has_key;
}

}  // namespace baton::channel
