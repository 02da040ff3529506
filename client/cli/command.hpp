// What every verb of `baton` shares: exit codes, global options, how a verb is described to the parser and run.
// Main thread. Next files: main.cpp, then one file per verb.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "common/base/counted.hpp"
#include "common/base/one_line.hpp"
#include <baton/client.hpp>

namespace baton::cli {

/// A contract: scripts rely on the numbers.
enum ExitCode : int {
    exit_done = 0,
    exit_failed = 1,
    exit_usage = 2,
    exit_cannot_connect = 3,
    exit_not_authorised = 4,
    exit_not_found = 5,
    exit_empty = 6,
    exit_refused = 7,
    exit_nobody_answered = 8,
    exit_partly = 9,
    exit_unhealthy = 10,
    exit_interrupted = 130,
};

enum class OutputFormat : std::uint8_t { text, json, jsonl };

struct GlobalOptions {
    std::string url = "baton://localhost";
    bool quiet = false;
    OutputFormat output = OutputFormat::text;
    std::chrono::nanoseconds connect_timeout = std::chrono::seconds{30};
    bool has_connect_timeout = false;
};

/// Ends a verb: one line for stderr and the exit code.
class Failure : public std::runtime_error {
public:
    Failure(int exit_code, const std::string& text, std::string code = {}, bool is_retryable = false)
        : std::runtime_error{text}, exit_code_{exit_code}, code_{std::move(code)}, is_retryable_{is_retryable} {}
    [[nodiscard]] int exit_code() const noexcept { return exit_code_; }
    [[nodiscard]] const std::string& code() const noexcept { return code_; }
    [[nodiscard]] bool is_retryable() const noexcept { return is_retryable_; }
    /// More for programs: the text of a JSON object, or empty.
    [[nodiscard]] const std::string& details() const noexcept { return details_; }
    void set_details(std::string json) { details_ = std::move(json); }

private:
    int exit_code_;
    std::string code_;
    bool is_retryable_;
    std::string details_;
};

[[nodiscard]] Failure usage(const std::string& text);
/// What a client error means to a script. `what` says what was tried.
[[nodiscard]] Failure failure_of(const ClientError& error, const std::string& what);
[[nodiscard]] int exit_code_of(ClientErrc code) noexcept;
/// "; try again": what to do about it, for behind its text; may be empty.
[[nodiscard]] const char* next_step(const ClientError& error) noexcept;

/// One line on stderr, an object where --output is not text; nothing with --quiet. Any thread.
void say(const GlobalOptions& global, const std::string& text);

/// Of connections to one broker: that they wait for it is said once, by the first that notices, until all of them are back.
/// Any thread.
class OutageNotice {
public:
    /// Of a connection, which keeps `is_away` (false at first) and says each as often as it likes.
    void on_away(bool& is_away);
    void on_back(bool& is_away);
    /// True: nobody has said it, so the caller does.
    [[nodiscard]] bool is_news();

private:
    std::mutex mutex_;
    std::size_t away_ = 0;  // Connections.
    bool has_said_ = false;
};

/// A connection for a verb: says once that it waits for the broker. Several share a notice.
[[nodiscard]] ClientOptions client_options(const GlobalOptions& global, std::shared_ptr<OutageNotice> notice = {});
/// For a verb that asks one question: it waits a few seconds for a broker that is out of reach, and says nothing.
[[nodiscard]] ClientOptions question_options(const GlobalOptions& global);

/// The last line in the help of each verb.
inline constexpr const char* global_options_line = "Global options (--url, --output, ...): see `baton --help`.";

class Interrupt;

/// Verbs register themselves with the parser and leave what to run in `run`.
struct Program {
    CLI::App app{"The client of Baton: send, receive and look after messages in named channels."};
    GlobalOptions global;
    std::function<int()> run;
    std::stop_token stop;            ///< SIGINT, SIGTERM or SIGHUP; see interrupt.hpp.
    Interrupt* interrupt = nullptr;  ///< Set while `run` runs.
};
void add_send(Program& program);
void add_receive(Program& program);
void add_peek(Program& program);
void add_channel(Program& program);
void add_policy(Program& program);
void add_subscription(Program& program);
void add_retry(Program& program);
void add_move(Program& program);
void add_drop(Program& program);
void add_explain(Program& program);
void add_ping(Program& program);
void add_backup(Program& program);
void add_restore(Program& program);
void add_bench(Program& program);
void add_completion(Program& program);
void add_manual(Program& program);

/// A validator for an option with a list of words; completion gives them.
[[nodiscard]] CLI::Validator one_of(const std::vector<std::string>& choices);
/// Of an option with such a validator; otherwise nothing.
[[nodiscard]] std::vector<std::string> choices_of(const CLI::Option& option);
/// A required channel name, typed in its text form: "%XX" stands for a byte, any other '%' for itself.
void add_channel_name(CLI::App& verb, const std::string& placeholder, std::string& name, const std::string& help);
void add_channel_option(CLI::App& verb, const std::string& flag, std::string& name, const std::string& help);
/// The option --subscription; a name typed in its text form, too.
void add_subscription_name(CLI::App& verb, std::string& name, const std::string& help);
/// A validator for files and directories: an empty path is none.
[[nodiscard]] CLI::Validator some_path();
/// An option whose value is a whole number from `low` to `high`.
CLI::Option* add_number(CLI::App& verb, const std::string& flag, const std::string& help, std::uint64_t low,
                        std::uint64_t high, const std::function<void(std::uint64_t)>& take);
/// An option whose value is a duration: 250ms, 5s, 2m, 1h.
void add_duration(CLI::App& verb, const std::string& flag, const std::string& help,
                  const std::function<void(std::chrono::nanoseconds)>& take);

/// The option --filter.
void add_filter(CLI::App& verb, const std::function<void(const std::string&)>& take);
/// What to say to who wants --from for a subscription that is there.
[[nodiscard]] std::string from_is_late_text(const std::string& subscription);
/// An option that says where a subscription begins: first, last, new, an offset, a time or "that long ago".
void add_start(CLI::App& verb, const std::string& flag, const std::string& help,
               const std::function<void(const StartFrom&)>& take);

}  // namespace baton::cli
