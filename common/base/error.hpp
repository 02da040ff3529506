// One expected failure: a code to decide by and a context for people. Bugs are assertions (assert.hpp); outcomes such
// as "need more bytes" are enumerations in the return type and never an Error. Any thread. Next file: result.hpp.
#pragma once

#include <string>
#include <system_error>

namespace baton {

struct Error {
    std::error_code code;
    std::string context;  // What was being done, to which thing; may be empty.

    // "context: text of the code".
    [[nodiscard]] std::string message() const;
};

// Context may be added when an error crosses a folder: "open data directory: read segment 7: No such file".
[[nodiscard]] Error with_context(Error error, const std::string& context);

// The calling thread's errno as an Error.
[[nodiscard]] Error errno_error(std::string context);

}  // namespace baton
