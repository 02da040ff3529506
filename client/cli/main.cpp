// The program `baton`. Next file: command_line.cpp.
#include <span>

#include "client/cli/command_line.hpp"

int main(int argc, char** argv) {
    return baton::cli::run(std::span<const char* const>{argv, static_cast<std::size_t>(argc)}.subspan(1));
}
