#include "server/runtime/start_position.hpp"

namespace baton::runtime {

std::optional<channel::StartPosition> start_position_of(const nlohmann::json& json) {
    using Kind = channel::StartPosition::Kind;
    if (json == "first") {
        return channel::StartPosition{.kind = Kind::first};
    }
    if (json == "last") {
        return channel::StartPosition{.kind = Kind::last};
    }
    if (json == "new") {
        return channel::StartPosition{.kind = Kind::next};
    }
    if (!json.is_object() || json.size() != 1 || !json.front().is_number_integer()) {
        return std::nullopt;
    }
    if (json.contains("offset") && json.front().is_number_unsigned()) {
        return channel::StartPosition{.kind = Kind::offset, .offset = json.front().get<std::uint64_t>()};
    }
    if (json.contains("time_us")) {
        return channel::StartPosition{.kind = Kind::time, .offset = 0, .time = {json.front().get<std::int64_t>()}};
    }
    return std::nullopt;
}

}  // namespace baton::runtime
