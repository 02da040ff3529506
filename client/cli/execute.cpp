#include "client/cli/execute.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "client/cli/command.hpp"
#include "common/base/text_form.hpp"

extern char** environ;

namespace baton::cli {

namespace {

/// A variable cannot hold a NUL.
std::string variable_text(const std::string& bytes) {
    return bytes.find('\0') == std::string::npos ? bytes : name_text(as_bytes(bytes));
}

std::vector<std::string> environment_of(const Delivery& delivery) {
    std::vector<std::string> variables;
    const std::array<std::pair<std::string, std::string>, 4> ours{{
        {"BATON_CHANNEL=", name_text(as_bytes(delivery.channel()))},
        {"BATON_OFFSET=", std::to_string(delivery.offset())},
        {"BATON_ATTEMPT=", std::to_string(delivery.attempt())},
        {"BATON_KEY=", delivery.has_properties() ? variable_text(delivery.properties().key) : std::string{}},
    }};
    for (char** variable = environ; *variable != nullptr; ++variable) {
        const std::string_view text{*variable};
        if (std::ranges::none_of(ours, [&](const auto& own) { return text.starts_with(own.first); })) {
            variables.emplace_back(text);
        }
    }
    for (const auto& [name, value] : ours) {
        variables.push_back(name + value);
    }
    return variables;
}

/// `standard_output` < 0: ours.
pid_t spawn(const std::string& command, int standard_input, int standard_output, int standard_error,
            const Delivery& delivery) {
    auto variables = environment_of(delivery);
    std::vector<char*> environment;
    for (auto& variable : variables) {
        environment.push_back(variable.data());
    }
    environment.push_back(nullptr);
    std::string shell = "sh", option = "-c", text = command;
    char* arguments[] = {shell.data(), option.data(), text.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, standard_input, STDIN_FILENO);
    if (standard_output >= 0) {
        posix_spawn_file_actions_adddup2(&actions, standard_output, STDOUT_FILENO);
    }
    posix_spawn_file_actions_adddup2(&actions, standard_error, STDERR_FILENO);
    // The command gets the signals that we block or ignore.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    pid_t child = 0;
    const int error = posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, environment.data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) {
        throw Failure{exit_failed, "cannot run /bin/sh: " + std::generic_category().message(error), "cannot_execute"};
    }
    return child;
}

void write_body(int descriptor, Bytes body) {
    while (!body.empty()) {
        const auto size = ::write(descriptor, body.data(), body.size());
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size <= 0) {
            return;  // The command does not read it all: its right.
        }
        body = body.subspan(static_cast<std::size_t>(size));
    }
}

class Pipe {
public:
    Pipe() {
        if (::pipe2(ends_, O_CLOEXEC) != 0) {
            throw Failure{exit_failed, "cannot make a pipe: " + std::generic_category().message(errno),
                          "cannot_execute"};
        }
    }
    ~Pipe() {
        close_read();
        close_write();
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    [[nodiscard]] int read_end() const noexcept { return ends_[0]; }
    [[nodiscard]] int write_end() const noexcept { return ends_[1]; }
    void close_read() noexcept { close(ends_[0]); }
    void close_write() noexcept { close(ends_[1]); }

private:
    static void close(int& end) noexcept {
        if (end >= 0) {
            ::close(std::exchange(end, -1));
        }
    }
    int ends_[2]{-1, -1};
};

/// Passes on what the command writes until all writers have closed it, or it has ended and nothing is left.
/// (What it leaves running in the background may hold it open for ever.)
template <class Sink>
void pass_on(int from, int ended, Sink sink) {
    std::array<char, 4096> buffer;
    for (;;) {
        std::array<pollfd, 2> sources{
            {{.fd = from, .events = POLLIN, .revents = 0}, {.fd = ended, .events = POLLIN, .revents = 0}}};
        if (::poll(sources.data(), sources.size(), -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            return;
        }
        if (sources[0].revents == 0) {
            return;
        }
        const auto size = ::read(from, buffer.data(), buffer.size());
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size <= 0) {
            return;
        }
        sink(std::string_view{buffer.data(), static_cast<std::size_t>(size)});
    }
}

}  // namespace

void LastLine::feed(std::string_view bytes) {
    constexpr std::size_t line_size_max = 1024;
    for (const char letter : bytes) {
        if (letter != '\n') {
            if (line_.size() < line_size_max) {
                line_ += letter;
            }
        } else if (!line_.empty()) {
            before_ = std::exchange(line_, {});
        }
    }
}

std::string LastLine::text() const {
    return one_line(line_.empty() ? before_ : line_);
}

CommandEnd run_command(const std::string& command, const Delivery& delivery, const std::stop_token& stop,
                       std::string* output, std::size_t output_max) {
    Pipe body;
    Pipe words;
    Pipe result;
    Pipe ended;
    const auto child =
        spawn(command, body.read_end(), output != nullptr ? result.write_end() : -1, words.write_end(), delivery);
    body.close_read();
    result.close_write();
    words.close_write();
    LastLine last;
    CommandEnd end;
    {
        const std::stop_callback on_stop{stop, [child] { ::kill(-child, SIGTERM); }};
        std::jthread listener{[&] {
            pass_on(words.read_end(), ended.read_end(), [&](std::string_view bytes) {
                last.feed(bytes);
                std::fwrite(bytes.data(), 1, bytes.size(), stderr);
            });
        }};
        std::jthread reader{[&] {
            pass_on(result.read_end(), ended.read_end(), [&](std::string_view bytes) {
                output->append(bytes.substr(0, output_max + 1 - std::min(output->size(), output_max + 1)));
            });
        }};
        write_body(body.write_end(), delivery.body());
        body.close_write();
        // Not reaped while the callback may still name it.
        siginfo_t information{};
        while (::waitid(P_PID, static_cast<id_t>(child), &information, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
        }
        end.was_stopped = stop.stop_requested();
        ended.close_write();
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    end.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    end.last_words = last.text();
    return end;
}

}  // namespace baton::cli
