#include "common/base/error.hpp"

#include <cerrno>
#include <utility>

namespace baton {

std::string Error::message() const {
    if (context.empty()) {
        return code.message();
    }
    return code ? context + ": " + code.message() : context;
}

Error with_context(Error error, const std::string& context) {
    error.context = error.context.empty() ? context : context + ": " + error.context;
    return error;
}

Error errno_error(std::string context) {
    return Error{std::error_code{errno, std::system_category()}, std::move(context)};
}

}  // namespace baton
