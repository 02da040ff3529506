// baton_sim: runs the simulation with many seeds, one after the other, and stops at the first that breaks a rule.
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/sim/simulation.hpp"

namespace {

constexpr int exit_usage = 2;

baton::sim::Simulation* running = nullptr;
std::uint64_t running_seed = 0;

void print_how_to_repeat() {
    std::fprintf(stderr, "%s\nrepeat with: baton_sim --first %llu --seeds 1 --verbose\n",
                 baton::sim::describe(baton::sim::make_options(running_seed)).c_str(),
                 static_cast<unsigned long long>(running_seed));
}

// An assertion of the code under test: same thread, nothing else runs.
void on_abort(int) {
    std::fprintf(stderr, "seed %llu aborted\n", static_cast<unsigned long long>(running_seed));
    if (running != nullptr) {
        std::fprintf(stderr, "%s", running->report().trace().c_str());
    }
    print_how_to_repeat();
    std::signal(SIGABRT, SIG_DFL);
    std::abort();
}

[[noreturn]] void usage() {
    std::fprintf(stderr, "usage: baton_sim --seeds N [--first SEED] [--verbose]\n");
    std::exit(exit_usage);
}

std::uint64_t number_of(const char* text) {
    std::uint64_t number = 0;
    const std::string_view all{text != nullptr ? text : ""};
    const auto [end, error] = std::from_chars(all.data(), all.data() + all.size(), number);
    if (error != std::errc{} || end != all.data() + all.size()) {
        usage();
    }
    return number;
}

}  // namespace

int main(int argc, char** argv) {
    std::uint64_t seeds = 0;
    std::uint64_t first = 1;
    bool is_verbose = false;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument{argv[i]};
        if (argument == "--verbose") {
            is_verbose = true;
        } else if (argument == "--seeds" && i + 1 < argc) {
            seeds = number_of(argv[++i]);
        } else if (argument == "--first" && i + 1 < argc) {
            first = number_of(argv[++i]);
        } else {
            usage();
        }
    }
    if (seeds == 0) {
        usage();
    }
    std::signal(SIGABRT, on_abort);
    for (running_seed = first; running_seed < first + seeds; ++running_seed) {
        baton::sim::Simulation simulation{baton::sim::make_options(running_seed), is_verbose};
        running = &simulation;
        if (!simulation.run()) {
            std::fprintf(stderr, "seed %llu broke a rule: %s\nthe last events:\n%s",
                         static_cast<unsigned long long>(running_seed), simulation.report().text().c_str(),
                         simulation.report().trace().c_str());
            print_how_to_repeat();
            std::fflush(stderr);
            std::_Exit(EXIT_FAILURE);  // In the middle of everything: nothing here can be taken down in order.
        }
        running = nullptr;
        if (is_verbose) {
            std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(running_seed),
                         simulation.summary().c_str());
        }
    }
    std::printf("%llu seeds from %llu: every rule held\n", static_cast<unsigned long long>(seeds),
                static_cast<unsigned long long>(first));
    return EXIT_SUCCESS;
}
