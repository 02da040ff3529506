#include "common/base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace baton::detail {

void assertion_failed(const char* file, int line, const char* expression, const char* text) noexcept {
    std::fprintf(stderr, "%s:%d: assertion failed: %s%s%s\n", file, line, expression, text != nullptr ? ": " : "",
                 text != nullptr ? text : "");
    std::fflush(stderr);
    std::abort();
}

}  // namespace baton::detail
