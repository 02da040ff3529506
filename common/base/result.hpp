// A value or an Error. The data plane does not build Errors (they hold a string); it returns small enumerations.
// Any thread. Next file: bytes.hpp.
#pragma once

#include <expected>
#include <string>
#include <system_error>
#include <utility>

#include "common/base/error.hpp"

namespace baton {

template <class T>
using Result = std::expected<T, Error>;

// `return fail(Errc::no_such_channel, name);`
[[nodiscard]] inline std::unexpected<Error> fail(std::error_code code, std::string context = {}) {
    return std::unexpected<Error>{Error{code, std::move(context)}};
}

[[nodiscard]] inline std::unexpected<Error> fail(Error error) {
    return std::unexpected<Error>{std::move(error)};
}

}  // namespace baton
