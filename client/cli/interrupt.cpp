#include "client/cli/interrupt.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>

#include "client/cli/command.hpp"

namespace baton::cli {

namespace {

sigset_t stop_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    return signals;
}

}  // namespace

Interrupt::Interrupt() {
    std::signal(SIGPIPE, SIG_IGN);
    const auto signals = stop_signals();
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    thread_ = std::jthread{[this, signals](const std::stop_token& ending) {
        // sigtimedwait cannot be woken by a stop token; a tenth of a second is how late the thread may end.
        const timespec pulse{.tv_sec = 0, .tv_nsec = 100'000'000};
        while (!ending.stop_requested()) {
            if (sigtimedwait(&signals, nullptr, &pulse) > 0 && !source_.request_stop()) {
                ::_exit(exit_interrupted);  // The second one: do not wait for anything.
            }
        }
    }};
}

Interrupt::~Interrupt() = default;

bool Interrupt::wait_readable(int descriptor, const std::stop_token& stop) {
    const int wake = ::eventfd(0, EFD_CLOEXEC);
    const std::stop_callback on_stop{stop, [wake] {
                                         const std::uint64_t one = 1;
                                         [[maybe_unused]] const auto written = ::write(wake, &one, sizeof one);
                                     }};
    pollfd waits[2] = {{descriptor, POLLIN, 0}, {wake, POLLIN, 0}};
    while (::poll(waits, 2, -1) < 0 && errno == EINTR) {
    }
    ::close(wake);
    return waits[1].revents == 0;
}

}  // namespace baton::cli
