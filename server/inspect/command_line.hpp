// The command line of baton-inspect. Next file: verbs.hpp.
#pragma once

namespace baton::inspect {

/// Does what the arguments say and returns the exit code.
[[nodiscard]] int run(int argc, const char* const* argv);

}  // namespace baton::inspect
