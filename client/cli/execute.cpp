#include "client/cli/execute.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <system_error>
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

pid_t spawn(const std::string& command, int standard_input, const Delivery& delivery) {
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

}  // namespace

int run_command(const std::string& command, const Delivery& delivery, const std::stop_token& stop) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        throw Failure{exit_failed, "cannot make a pipe: " + std::generic_category().message(errno), "cannot_execute"};
    }
    const auto child = spawn(command, ends[0], delivery);
    ::close(ends[0]);
    {
        const std::stop_callback on_stop{stop, [child] { ::kill(-child, SIGTERM); }};
        write_body(ends[1], delivery.body());
        ::close(ends[1]);
        // Not reaped while the callback may still name it.
        siginfo_t ended{};
        while (::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
        }
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace baton::cli
