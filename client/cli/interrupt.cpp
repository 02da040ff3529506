#include "client/cli/interrupt.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include "client/cli/command.hpp"

namespace baton::cli {

namespace {

void raise_event(int descriptor) noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(descriptor, &one, sizeof one);
}

void lower_event(int descriptor) noexcept {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto size = ::read(descriptor, &count, sizeof count);
}

int checked(int descriptor) {
    if (descriptor < 0) {
        throw std::system_error{errno, std::generic_category(), "cannot watch for signals"};
    }
    return descriptor;
}

bool is_ignored(int signal) noexcept {
    struct sigaction action{};
    return ::sigaction(signal, nullptr, &action) == 0 && (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

Interrupt::Interrupt() {
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (!is_ignored(SIGHUP)) {  // Of nohup: blocked it would arrive all the same.
        sigaddset(&signals, SIGHUP);
    }
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signals_ = checked(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    wake_ = checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    stopped_ = checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    thread_ = std::thread{[this] { watch(); }};
}

Interrupt::~Interrupt() {
    is_ending_ = true;
    raise_event(wake_);
    thread_.join();
    for (const int descriptor : {signals_, wake_, stopped_}) {
        ::close(descriptor);
    }
}

void Interrupt::watch_stdout() noexcept {
    is_watching_stdout_ = true;
    raise_event(wake_);
}

void Interrupt::request_stop() noexcept {
    source_.request_stop();
    raise_event(stopped_);
}

void Interrupt::watch() noexcept {
    while (!is_ending_) {
        // Without events poll reports only that the other end is gone.
        const int out = is_watching_stdout_ ? STDOUT_FILENO : -1;
        std::array<pollfd, 3> waits{{{signals_, POLLIN, 0}, {wake_, POLLIN, 0}, {out, 0, 0}}};
        if (::poll(waits.data(), waits.size(), -1) < 0) {
            continue;
        }
        if (waits[1].revents != 0) {
            lower_event(wake_);
        }
        // It may have been said meanwhile that it does not count.
        if (waits[2].revents != 0 && is_watching_stdout_.exchange(false) && (waits[2].revents & POLLNVAL) == 0) {
            request_stop();
        }
        signalfd_siginfo signal{};
        if (waits[0].revents != 0 && ::read(signals_, &signal, sizeof signal) == sizeof signal) {
            // A terminal that is closed says so, and then the shell in it does.
            if (has_signal_.exchange(true) && signal.ssi_signo != SIGHUP) {
                ::_exit(exit_interrupted);  // The second one: do not wait for anything.
            }
            request_stop();
        }
    }
}

bool Interrupt::wait_ready(int descriptor, short events) const noexcept {
    std::array<pollfd, 2> waits{{{descriptor, events, 0}, {stopped_, POLLIN, 0}}};
    while (::poll(waits.data(), waits.size(), -1) < 0 && errno == EINTR) {
    }
    return waits[1].revents == 0;
}

void Interrupt::pause(std::chrono::milliseconds duration) const noexcept {
    pollfd wait{stopped_, POLLIN, 0};
    ::poll(&wait, 1, static_cast<int>(duration.count()));
}

}  // namespace baton::cli
