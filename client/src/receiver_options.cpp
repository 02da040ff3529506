// See receiver_options.hpp.
#include "client/src/receiver_options.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "common/base/bytes.hpp"
#include "common/base/text_form.hpp"
#include "common/base/utf8.hpp"

namespace baton {

bool is_filter(std::string_view pattern) noexcept {
    constexpr std::size_t pattern_size_max = 1'024;
    if (pattern.size() > pattern_size_max || !is_valid_utf8(as_bytes(pattern))) {
        return false;
    }
    for (;;) {
        const std::size_t dot = pattern.find('.');
        const std::string_view word = pattern.substr(0, dot);
        if (word.empty() || (word == ">" && dot != std::string_view::npos)) {
            return false;
        }
        if (dot == std::string_view::npos) {
            return true;
        }
        pattern.remove_prefix(dot + 1);
    }
}

std::string StartFrom::json() const {
    switch (kind_) {
        case Kind::first:
            return R"("first")";
        case Kind::last:
            return R"("last")";
        case Kind::now:
            return R"("new")";
        case Kind::offset:
            return nlohmann::json{{"offset", offset_}}.dump();
        case Kind::time:
            return nlohmann::json{{"time_us", time_.time_since_epoch().count()}}.dump();
    }
    return {};
}

}  // namespace baton

namespace baton::client {

namespace {

using Json = nlohmann::json;

constexpr Milliseconds lease_min{100};
constexpr Milliseconds lease_max{86'400'000};

}  // namespace

std::optional<ClientError> check_subscription(std::string_view name, std::string_view filter) {
    constexpr std::size_t name_size_max = 255;
    if (name.size() > name_size_max) {
        return ClientError{ClientErrc::bad_argument, "the subscription's name has " + std::to_string(name.size()) +
                                                         " bytes, at most 255 are possible"};
    }
    if (!filter.empty() && !is_filter(filter)) {
        return ClientError{ClientErrc::bad_argument, "\"" + std::string{filter} +
                                                         "\" is not a filter: words separated by '.', "
                                                         "'*' for one, '>' at the end for one or more"};
    }
    return std::nullopt;
}

Expected<std::string> attach_options(const ReceiverOptions& options) {
    if (options.lease != Milliseconds::zero() && (options.lease < lease_min || options.lease > lease_max)) {
        return std::unexpected{ClientError{
            ClientErrc::bad_argument, "a lease is 100ms to 24h, not " + std::to_string(options.lease.count()) + "ms"}};
    }
    if (auto error = check_subscription(options.subscription, options.filter)) {
        return std::unexpected{std::move(*error)};
    }
    Json json = Json::object();
    if (!options.subscription.empty()) {
        json["subscription"] = name_text(as_bytes(options.subscription));
    }
    if (options.from) {
        json["from"] = Json::parse(options.from->json());
    }
    if (!options.filter.empty()) {
        json["filter"] = options.filter;
    }
    if (options.lease != Milliseconds::zero()) {
        json["lease_ms"] = options.lease.count();
    }
    if (options.exclusive) {
        json["exclusive"] = true;
    }
    return json.empty() ? std::string{} : json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace baton::client
