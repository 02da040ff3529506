#include "server/runtime/channel_policy.hpp"

#include <algorithm>

#include "common/base/text_form.hpp"
#include "server/runtime/channel_settings.hpp"

namespace baton::runtime {

namespace {

/// What a pattern wants of one byte.
struct Element {
    bool is_any = false;
    char byte = 0;
    std::size_t size = 1;  ///< In the pattern.
    [[nodiscard]] bool matches(char other) const noexcept { return is_any || byte == other; }
};

Element element_at(std::string_view pattern, std::size_t at) noexcept {
    if (pattern[at] == '%') {
        if (const auto byte = name_from_text(pattern.substr(at, 3))) {
            return {.byte = (*byte)[0], .size = 3};
        }
    }
    return {.is_any = pattern[at] == '?', .byte = pattern[at]};
}

}  // namespace

/// Greedy: only the last `*` is ever taken back, so the time is at most pattern times name.
bool matches(std::string_view pattern, std::string_view name) noexcept {
    std::size_t at_pattern = 0;
    std::size_t at_name = 0;
    auto star = std::string_view::npos;  // Position behind the last `*`.
    std::size_t star_name = 0;           // Where what follows it is tried.
    while (at_name < name.size()) {
        const Element wanted = at_pattern < pattern.size() ? element_at(pattern, at_pattern) : Element{.size = 0};
        if (wanted.size == 1 && wanted.byte == '*') {
            star = ++at_pattern;
            star_name = at_name;
        } else if (wanted.size > 0 && wanted.matches(name[at_name])) {
            at_pattern += wanted.size;
            ++at_name;
        } else if (star != std::string_view::npos) {
            at_pattern = star;
            at_name = ++star_name;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', at_pattern) == std::string_view::npos;
}

const ChannelPolicy* policy_for(std::string_view name, std::span<const ChannelPolicy> policies) noexcept {
    const auto found =
        std::ranges::find_if(policies, [name](const ChannelPolicy& policy) { return matches(policy.match, name); });
    return found == policies.end() ? nullptr : &*found;
}

channel::ChannelOptions with_policy(channel::ChannelOptions options, const ChannelPolicy& policy, const Limits& limits) {
    options.messages_max = policy.messages_max.value_or(options.messages_max);
    options.bytes_max = policy.bytes_max.value_or(options.bytes_max);
    options.message_size_max = policy.message_size_max.value_or(options.message_size_max);
    if (!policy.settings.empty()) {
        apply_settings(options, Json::parse(policy.settings), limits.message_size_max);
    }
    return options;
}

namespace {

channel::ChannelOptions with_policy(const Limits& limits, bool is_durable, const ChannelPolicy* policy) {
    auto options = is_durable ? limits.durable_defaults : limits.channel_defaults;
    options.is_durable = is_durable;
    return policy != nullptr ? runtime::with_policy(options, *policy, limits) : options;
}

}  // namespace

channel::ChannelOptions options_for(std::string_view name, const Limits& limits, bool default_is_durable,
                                    std::span<const ChannelPolicy> policies) {
    const auto* policy = policy_for(name, policies);
    const bool is_durable = policy != nullptr ? policy->is_durable.value_or(default_is_durable) : default_is_durable;
    return with_policy(limits, is_durable, policy);
}

channel::ChannelOptions options_with_storage(std::string_view name, const Limits& limits, bool is_durable,
                                             std::span<const ChannelPolicy> policies) {
    return with_policy(limits, is_durable, policy_for(name, policies));
}

}  // namespace baton::runtime
