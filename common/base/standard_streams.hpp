// Standard input, output and error as a program may find them: closed. Whatever it opens first would then be taken for
// them, so that a socket or a file of the data directory got what is meant for people.
// Before anything else is opened, in the only thread.
#pragma once

namespace baton {

/// Those that are closed lead nowhere: reading standard input and writing to standard output then fail (EBADF) as they
/// would have done; what is written to standard error is lost.
void hold_standard_streams() noexcept;

}  // namespace baton
