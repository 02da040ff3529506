// Expected failures of the runtime: what a shard answers to an attach or an administrative request.
#pragma once

#include <system_error>

namespace baton::runtime {

enum class Errc {
    not_found = 1,      ///< No such channel, and it was not to be created.
    too_many_channels,  ///< The broker's limit.
    draining,           ///< The broker takes no new senders.
    no_storage,         ///< A durable channel, and the broker has no data directory.
};

[[nodiscard]] const std::error_category& runtime_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(Errc code) noexcept {
    return {static_cast<int>(code), runtime_category()};
}

}  // namespace baton::runtime

template <>
struct std::is_error_code_enum<baton::runtime::Errc> : std::true_type {};
