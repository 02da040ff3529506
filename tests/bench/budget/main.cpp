// The program whose instructions are counted: the same turns for each step; callgrind counts only inside the function
// that is named after it (--toggle-collect). Next file: budget.py.
//
// usage: budget_path TURNS      prints the number of messages, or fails if not all of them went all the way
#include <cstdlib>
#include <iostream>

#include "tests/bench/broker_path.hpp"

using baton::bench::BrokerPath;

// Names without mangling, each with one call: callgrind finds them, and the compiler does not take them apart.
extern "C" {
[[gnu::noinline]] void budget_decode(BrokerPath* path) {
    path->decode();
}
[[gnu::noinline]] void budget_publish(BrokerPath* path) {
    path->publish();
}
[[gnu::noinline]] void budget_dispatch(BrokerPath* path) {
    path->dispatch();
}
[[gnu::noinline]] void budget_deliver(BrokerPath* path) {
    path->deliver();
    path->write();
}
[[gnu::noinline]] void budget_settle(BrokerPath* path) {
    path->settle();
}
}

int main(int argc, char** argv) {
    const auto turns = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
    if (turns == 0) {
        std::cerr << "usage: budget_path TURNS\n";
        return 2;
    }
    BrokerPath path;
    for (unsigned long long i = 0; i < turns; ++i) {
        budget_decode(&path);
        budget_publish(&path);
        budget_dispatch(&path);
        budget_deliver(&path);
        budget_settle(&path);
    }
    const auto messages = turns * path.messages_per_turn();
    std::cout << messages << "\n";
    return path.settled() == messages && path.confirmed() == messages && path.bytes_written() > messages ? 0 : 1;
}
