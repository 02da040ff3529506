#include "server/runtime/channel_settings.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string>

#include "server/runtime/channel_admin.hpp"

namespace baton::runtime {

namespace {

using channel::ChannelOptions;
using channel::Kind;
using channel::Overflow;

constexpr std::uint64_t huge = 1ULL << 62U;
constexpr std::uint64_t week_ms = 604'800'000;
constexpr std::uint64_t day_ms = 86'400'000;
constexpr std::uint64_t age_ms_max = 100ULL * 365 * 24 * 3'600'000;
constexpr std::size_t fair_weights_max = 1'000;

constexpr std::array<std::string_view, 3> kinds{"queue", "topic", "stream"};
constexpr std::array<std::string_view, 5> overflows{"block", "reject", "drop-oldest", "drop-newest", "disconnect"};
constexpr std::array<std::string_view, 23> keys{
    "kind",          "messages_max",         "bytes_max",            "message_size_max",     "age_max_ms",
    "overflow",      "lease_ms",             "lease_max_ms",         "attempts_max",         "retry_first_ms",
    "retry_max_ms",  "retry_factor_percent", "retry_jitter_percent", "expired",              "late",
    "ordered_by_key", "exclusive",           "fair_by",              "fair_weights",         "dedupe_window_ms",
    "compact",       "tombstone_age_ms",     "producers_max"};

void set_duration(Duration& place, const Json& request, const char* key, std::uint64_t low, std::uint64_t high) {
    place = std::chrono::milliseconds{number_of(request, key, low, high, milliseconds(place))};
}

void set_small(std::uint32_t& place, const Json& request, const char* key, std::uint32_t low, std::uint32_t high) {
    place = static_cast<std::uint32_t>(number_of(request, key, low, high, place));
}

void set_flag(bool& place, const Json& request, const char* key) {
    const auto found = request.find(key);
    if (found == request.end()) {
        return;
    }
    if (!found->is_boolean()) {
        throw Refusal{"bad_request", std::string{key} + " is " + dump(*found) + ", allowed are true and false", {}};
    }
    place = found->get<bool>();
}

template <std::size_t count>
std::size_t index_of(const Json& request, const char* key, const std::array<std::string_view, count>& allowed,
                     std::size_t fallback, std::size_t allowed_count = count) {
    const auto text = text_of(request, key, std::string{allowed.at(fallback)});
    const auto end = allowed.begin() + static_cast<std::ptrdiff_t>(allowed_count);
    const auto found = std::find(allowed.begin(), end, text);
    if (found != end) {
        return static_cast<std::size_t>(found - allowed.begin());
    }
    std::string list;
    for (std::size_t i = 0; i < allowed_count; ++i) {
        list.append(i == 0 ? "" : ", ").append(allowed.at(i));
    }
    throw Refusal{"bad_request", std::string{key} + " is \"" + text + "\", allowed are " + list, {}};
}

void set_fairness(ChannelOptions& options, const Json& request) {
    const auto fair_by = text_of(request, "fair_by", options.fair_by);
    constexpr std::string_view header = "header:";
    if (!fair_by.empty() && fair_by != "key" && (!fair_by.starts_with(header) || fair_by.size() == header.size())) {
        throw Refusal{"bad_request", "fair_by is \"" + fair_by + "\", allowed are \"\", \"key\" and \"header:NAME\"", {}};
    }
    options.fair_by = fair_by;
    const auto found = request.find("fair_weights");
    if (found == request.end()) {
        return;
    }
    constexpr const char* allowed = "allowed is an object of up to 1,000 tenants, each with a whole number from 1 to 1,000";
    if (!found->is_object() || found->size() > fair_weights_max) {
        throw Refusal{"bad_request", std::string{"fair_weights is not right, "} + allowed, {}};
    }
    options.fair_weights.clear();
    for (const auto& [tenant, weight] : found->items()) {
        if (!weight.is_number_unsigned() || weight.get<std::uint64_t>() < 1 || weight.get<std::uint64_t>() > 1'000) {
            throw Refusal{"bad_request", "fair_weights of \"" + tenant + "\" is " + dump(weight) + ", " + allowed, {}};
        }
        options.fair_weights[tenant] = weight.get<std::uint32_t>();
    }
}

void check_together(const ChannelOptions& options) {
    const bool is_stream = options.kind == Kind::stream;
    if (is_stream && options.overflow != Overflow::block && options.overflow != Overflow::drop_oldest) {
        throw Refusal{"bad_request", "a stream drops its oldest messages, always: overflow must not be \"" +
                                         std::string{overflow_name(options.overflow)} + "\"", {}};
    }
    if (options.is_compacted && !is_stream) {
        throw Refusal{"bad_request", "only a stream is compacted: compact must be false, or kind \"stream\"", {}};
    }
}

}  // namespace

bool is_channel_setting(std::string_view key) noexcept { return std::ranges::find(keys, key) != keys.end(); }

std::string channel_setting_list() {
    std::string list;
    for (const auto key : keys) {
        list.append(list.empty() ? "" : ", ").append(key);
    }
    return list;
}

const char* kind_name(Kind kind) noexcept { return kinds.at(static_cast<std::size_t>(kind)).data(); }

const char* overflow_name(Overflow overflow) noexcept { return overflows.at(static_cast<std::size_t>(overflow)).data(); }

Overflow overflow_of(const Json& request, Overflow fallback, bool is_subscription) {
    return static_cast<Overflow>(
        index_of(request, "overflow", overflows, static_cast<std::size_t>(fallback), is_subscription ? 5 : 4));
}

void apply_settings(ChannelOptions& options, const Json& request, std::uint64_t message_size_limit) {
    options.kind = static_cast<Kind>(index_of(request, "kind", kinds, static_cast<std::size_t>(options.kind)));
    options.messages_max = number_of(request, "messages_max", 1, huge, options.messages_max);
    options.bytes_max = number_of(request, "bytes_max", 1, huge, options.bytes_max);
    options.message_size_max = number_of(request, "message_size_max", 1, message_size_limit, options.message_size_max);
    set_duration(options.age_max, request, "age_max_ms", 0, age_ms_max);
    options.overflow = overflow_of(request, options.overflow, false);
    set_duration(options.lease, request, "lease_ms", 100, day_ms);
    if (!request.contains("lease_max_ms")) {
        options.lease_max = std::max(options.lease_max, options.lease);
    }
    set_duration(options.lease_max, request, "lease_max_ms", milliseconds(options.lease), week_ms);
    set_small(options.attempts_max, request, "attempts_max", 0, 1'000'000);
    set_duration(options.retry_first, request, "retry_first_ms", 0, week_ms);
    if (request.contains("retry_first_ms") && !request.contains("retry_max_ms")) {
        options.retry_max = std::max(options.retry_max, options.retry_first);
    }
    set_duration(options.retry_max, request, "retry_max_ms", 0, week_ms);
    if (request.contains("retry_first_ms") && request.contains("retry_max_ms") && options.retry_first > options.retry_max) {
        throw Refusal{"bad_request", "retry_first_ms is " + std::to_string(milliseconds(options.retry_first)) +
                                         ", allowed is at most retry_max_ms (" +
                                         std::to_string(milliseconds(options.retry_max)) + ")", {}};
    }
    set_small(options.retry_factor_percent, request, "retry_factor_percent", 100, 10'000);
    set_small(options.retry_jitter_percent, request, "retry_jitter_percent", 0, 100);
    constexpr std::array<std::string_view, 2> expired{"drop", "quarantine"};
    options.quarantines_expired = index_of(request, "expired", expired, options.quarantines_expired ? 1 : 0) == 1;
    constexpr std::array<std::string_view, 2> late{"fire", "drop"};
    options.drops_late = index_of(request, "late", late, options.drops_late ? 1 : 0) == 1;
    set_flag(options.is_ordered_by_key, request, "ordered_by_key");
    set_flag(options.is_exclusive, request, "exclusive");
    set_flag(options.is_compacted, request, "compact");
    set_duration(options.tombstone_age, request, "tombstone_age_ms", 0, age_ms_max);
    set_fairness(options, request);
    set_duration(options.dedupe_window, request, "dedupe_window_ms", 0, week_ms);
    set_small(options.producers_max, request, "producers_max", 1, 10'000'000);
    check_together(options);
}

Json channel_settings_json(const ChannelOptions& options) {
    Json weights = Json::object();
    for (const auto& [tenant, weight] : options.fair_weights) {
        weights[tenant] = weight;
    }
    return {{"kind", kind_name(options.kind)},
            {"messages_max", options.messages_max},
            {"bytes_max", options.bytes_max},
            {"message_size_max", options.message_size_max},
            {"age_max_ms", milliseconds(options.age_max)},
            {"overflow", overflow_name(options.overflow)},
            {"lease_ms", milliseconds(options.lease)},
            {"lease_max_ms", milliseconds(options.lease_max)},
            {"attempts_max", options.attempts_max},
            {"retry_first_ms", milliseconds(options.retry_first)},
            {"retry_max_ms", milliseconds(options.retry_max)},
            {"retry_factor_percent", options.retry_factor_percent},
            {"retry_jitter_percent", options.retry_jitter_percent},
            {"expired", options.quarantines_expired ? "quarantine" : "drop"},
            {"late", options.drops_late ? "drop" : "fire"},
            {"ordered_by_key", options.is_ordered_by_key},
            {"exclusive", options.is_exclusive},
            {"fair_by", options.fair_by},
            {"fair_weights", std::move(weights)},
            {"dedupe_window_ms", milliseconds(options.dedupe_window)},
            {"compact", options.is_compacted},
            {"tombstone_age_ms", milliseconds(options.tombstone_age)}};
}

}  // namespace baton::runtime
