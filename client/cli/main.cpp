// The program `baton`. Next file: command_line.cpp.
#include <span>

#include "client/cli/command_line.hpp"
#include "common/base/standard_streams.hpp"

int main(int argc, char** argv) {
    baton::hold_standard_streams();
    return baton::cli::run(std::span<const char* const>{argv, static_cast<std::size_t>(argc)}.subspan(1));
}
