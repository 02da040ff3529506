// `baton receive`: prints what is pushed to it. A message is acked only once stdout has taken its bytes.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "client/cli/command.hpp"
#include "client/cli/envelope.hpp"
#include "client/cli/execute.hpp"
#include "client/cli/forward.hpp"
#include "client/cli/interrupt.hpp"
#include "client/cli/progress.hpp"
#include "client/cli/stdout_writer.hpp"
#include "common/base/text_form.hpp"
#include "common/base/units.hpp"

namespace baton::cli {

namespace {

struct ReceiveOptions {
    std::string channel;
    std::uint64_t count = 0;  ///< 0: no end.
    std::optional<std::chrono::nanoseconds> timeout;
    bool until_empty = false;
    bool ack_early = false;
    bool null = false;
    bool jsonl = false;
    std::size_t window = 256;
    bool has_window = false;
    std::string command;
    std::string forward;
    std::string subscription;
    std::optional<StartFrom> from;
    std::string filter;
    std::chrono::milliseconds lease{0};
    bool exclusive = false;
};

/// Bytes that are written at once, with the deliveries that they came from.
constexpr std::size_t batch_bytes_max = 256 * 1024;
/// Between asking whether the channel is empty while others take its messages.
constexpr auto empty_poll = std::chrono::milliseconds{100};
constexpr auto close_timeout = std::chrono::seconds{5};
/// Of closing when there is nothing to lose: a broker that answers does so at once.
constexpr auto quick_close_timeout = std::chrono::milliseconds{200};

Failure cannot_write_stdout(const std::error_code& cause) {
    return Failure{exit_failed, "cannot write to stdout: " + cause.message(), "cannot_write"};
}

class Receiving {
public:
    Receiving(const Program& program, const ReceiveOptions& options)
        : program_{program},
          options_{options},
          client_{client_options(program.global)},
          receiver_{receiver()},
          forwarder_{program, client_, options.forward},
          writer_{*program.interrupt},
          progress_{program.global, "received", options.count, ::isatty(STDOUT_FILENO) == 0} {}

    int run();

private:
    enum class Next : std::uint8_t { message, empty, timeout, interrupted, reader_gone, stdout_failed };
    struct Printed {
        Delivery delivery;
        std::size_t end;  // Of its bytes in text_.
    };

    [[nodiscard]] std::size_t window() const {
        if (!options_.command.empty() && !options_.has_window) {
            return 1;  // A command may take long: what waits behind it could be somebody else's.
        }
        return options_.count == 0 ? options_.window : std::min<std::size_t>(options_.window, options_.count);
    }
    /// What could be refused is asked before anything is taken.
    [[nodiscard]] Receiver receiver() {
        if (!options_.forward.empty()) {
            client_.wait_connected({program_.stop});
            check_target(program_, client_, options_.forward);
        }
        if (!options_.subscription.empty() && options_.from) {
            say_if_from_is_late();
        }
        return client_.receiver(options_.channel, receiver_options());
    }
    void say_if_from_is_late();
    void watch_stdout() {
        if (options_.forward.empty()) {
            program_.interrupt->watch_stdout();
        }
    }
    [[nodiscard]] ReceiverOptions receiver_options() const {
        return {.window_messages = window(),
                .subscription = options_.subscription,
                .from = options_.from,
                .filter = options_.filter,
                .lease = options_.lease,
                .exclusive = options_.exclusive};
    }
    [[nodiscard]] bool wants_more() const { return options_.count == 0 || received_ < options_.count; }
    /// Whether a command would have somebody to write to.
    [[nodiscard]] Next look_at_stdout() const;
    Next take(std::optional<Delivery>& delivery);
    [[nodiscard]] bool is_empty(const WaitLimit& limit);
    StdoutWriter::Outcome print(Delivery first);
    Next handle(Delivery delivery);
    Next execute(Delivery delivery);
    Next forward(Delivery first);
    Next commit();
    [[nodiscard]] bool has_unconfirmed_acks() const;
    void close();
    [[nodiscard]] int exit_code_at(Next end) const;
    void say_what_is_missing(Next end) const;

    const Program& program_;
    const ReceiveOptions& options_;
    Client client_;
    Receiver receiver_;
    Forwarder forwarder_;
    StdoutWriter writer_;
    Progress progress_;
    std::vector<Printed> batch_;
    std::string text_;
    std::uint64_t received_ = 0;
    std::optional<std::chrono::steady_clock::time_point> settled_at_;  // The last one.
};

/// A subscription that is there stays where it is. What stands against the question shows when we attach.
void Receiving::say_if_from_is_late() {
    client_.wait_connected({program_.stop});
    const nlohmann::json question{{"subscription", name_text(as_bytes(options_.subscription))}};
    const auto reply =
        client_.admin("subscription.list", options_.channel, question.dump(), {program_.stop}, std::nothrow);
    if (reply && !nlohmann::json::parse(*reply).at("subscriptions").empty()) {
        say(program_.global, from_is_late_text(options_.subscription));
    }
}

// What a command writes goes to our stdout without us: it would die of SIGPIPE, message after message, and each of them would
// seem to be at fault.
Receiving::Next Receiving::look_at_stdout() const {
    if (options_.command.empty() || !options_.forward.empty()) {
        return Next::message;
    }
    const auto trouble = stdout_trouble();
    if (!trouble) {
        return Next::message;
    }
    return trouble == std::errc::broken_pipe ? Next::reader_gone : Next::stdout_failed;
}

Receiving::Next Receiving::take(std::optional<Delivery>& delivery) {
    const auto limit = options_.timeout ? WaitLimit{*options_.timeout, program_.stop} : WaitLimit{program_.stop};
    while (!program_.interrupt->is_requested()) {
        delivery = receiver_.try_receive();
        if (!delivery && options_.until_empty && is_empty(limit)) {
            return Next::empty;
        }
        if (!delivery) {
            const auto look_again = WaitLimit{empty_poll, program_.stop};
            delivery =
                receiver_.receive(options_.until_empty && look_again.until() < limit.until() ? look_again : limit);
        }
        if (delivery) {
            return Next::message;
        }
        if (std::chrono::steady_clock::now() >= limit.until()) {
            return Next::timeout;
        }
    }
    return Next::interrupted;
}

/// False also when the time is up, which the caller sees for itself.
bool Receiving::is_empty(const WaitLimit& limit) {
    const auto answer = receiver_.is_empty(limit, std::nothrow);
    if (!answer && answer.error().code() != ClientErrc::interrupted && answer.error().code() != ClientErrc::timed_out) {
        throw answer.error();
    }
    return answer.value_or(false);
}

/// Prints what is here, up to a batch. Nothing is held back while we wait for more.
StdoutWriter::Outcome Receiving::print(Delivery first) {
    batch_.clear();
    text_.clear();
    std::optional<Delivery> next{std::move(first)};
    while (next) {
        if (options_.ack_early) {
            next->ack();
        }
        append_output(text_, *next, options_.jsonl, options_.null);
        batch_.push_back({std::move(*next), text_.size()});
        ++received_;
        const bool takes_more = wants_more() && !writer_.is_one_by_one() && text_.size() < batch_bytes_max;
        next = takes_more ? receiver_.try_receive() : std::nullopt;
    }
    const auto written = writer_.write(text_);
    for (auto& printed : batch_) {
        if (printed.end <= written.size) {
            printed.delivery.ack();
        } else {
            --received_;
        }
    }
    batch_.clear();  // The rest goes back, at once: it is not the fault of these messages.
    if (written.outcome == StdoutWriter::Outcome::failed) {
        throw cannot_write_stdout(written.reason);
    }
    return written.outcome;
}

Receiving::Next Receiving::execute(Delivery delivery) {
    constexpr int exit_retry = 75;
    constexpr int exit_reject = 65;
    if (const Next end = look_at_stdout(); end != Next::message) {
        delivery.give_back();
        return end;
    }
    ++received_;
    std::string output;
    const bool is_forwarding = !options_.forward.empty();
    const auto ended = run_command(options_.command, delivery, program_.stop, is_forwarding ? &output : nullptr,
                                   Forwarder::output_bytes_max);
    if (ended.status == 0 && is_forwarding) {
        forwarder_.add_output(std::move(delivery), output);
        return commit();
    }
    if (ended.status == 0) {
        delivery.ack();
        return Next::message;
    }
    const Next end = ended.was_stopped ? Next::message : look_at_stdout();
    if (ended.was_stopped || end != Next::message) {
        delivery.give_back();  // By us, or it could not write: that is not the fault of the message.
        --received_;
        return end;
    }
    const auto note =
        ended.last_words.empty() ? "the command exited with " + std::to_string(ended.status) : ended.last_words;
    if (ended.status == exit_reject) {
        delivery.reject(note);
        return Next::message;
    }
    // Both wait for the back-off of the channel: a command that always fails must not spin.
    delivery.retry(std::nullopt,
                   ended.status == exit_retry ? std::string_view{ended.last_words} : std::string_view{note});
    return Next::message;
}

Receiving::Next Receiving::commit() {
    const auto end = forwarder_.commit();
    received_ -= end == Forwarder::End::done ? 0 : forwarder_.left();
    return end == Forwarder::End::interrupted ? Next::interrupted : Next::message;
}

/// What is here goes over in one step.
Receiving::Next Receiving::forward(Delivery first) {
    std::optional<Delivery> next{std::move(first)};
    while (next) {
        if (!forwarder_.add(std::move(*next))) {
            if (const Next end = commit(); end != Next::message) {
                return end;
            }
            continue;
        }
        ++received_;
        next = wants_more() && forwarder_.takes_more() ? receiver_.try_receive() : std::nullopt;
    }
    return commit();
}

Receiving::Next Receiving::handle(Delivery delivery) {
    if (!options_.command.empty()) {
        program_.interrupt->ignore_stdout();  // A command is not ended because its reader leaves: it may not even write.
        const Next end = execute(std::move(delivery));
        watch_stdout();
        return end;
    }
    if (!options_.forward.empty()) {
        return forward(std::move(delivery));
    }
    switch (print(std::move(delivery))) {
        case StdoutWriter::Outcome::written:
            return Next::message;
        case StdoutWriter::Outcome::reader_gone:
            return Next::reader_gone;
        case StdoutWriter::Outcome::stopped:
        case StdoutWriter::Outcome::failed:  // print() has thrown.
            return Next::interrupted;
    }
    return Next::message;
}

int Receiving::exit_code_at(Next end) const {
    const bool is_short = options_.count != 0 && received_ < options_.count;
    switch (end) {
        case Next::interrupted:
            return program_.interrupt->has_signal() ? exit_interrupted : exit_done;
        case Next::timeout:
            return is_short || received_ == 0 ? exit_empty : exit_done;
        case Next::empty:
            return is_short ? exit_empty : exit_done;
        case Next::message:
        case Next::reader_gone:
            return exit_done;
        case Next::stdout_failed:
            return exit_failed;
    }
    return exit_failed;
}

void Receiving::say_what_is_missing(Next end) const {
    const auto came = options_.count == 0 ? "no message came" : std::to_string(received_) + " of " +
                                                                    counted(options_.count, "message") + " came";
    const auto name = name_text(as_bytes(options_.channel));
    const auto waited = std::chrono::duration_cast<Duration>(options_.timeout.value_or(std::chrono::nanoseconds{0}));
    say(program_.global, came + (end == Next::empty ? ": \"" + name + "\" is empty" : ", and none for " + format_duration(waited)));
}

// Acks are not answered. But a connection is given up when nothing was heard of the broker for two heartbeats: it has those
// that are older than three.
bool Receiving::has_unconfirmed_acks() const {
    constexpr Milliseconds heartbeat_default{10'000};
    const auto broker = client_.broker_info();
    const auto heartbeat = broker ? broker->heartbeat : heartbeat_default;
    return settled_at_ && std::chrono::steady_clock::now() - *settled_at_ < 3 * heartbeat;
}

void Receiving::close() {
    const bool may_lose = has_unconfirmed_acks();
    const bool is_answered = receiver_.close(may_lose ? WaitLimit{close_timeout} : WaitLimit{quick_close_timeout});
    if (may_lose && !is_answered) {
        say(program_.global, "the broker did not confirm the last acks: these messages may come again");
    }
    is_answered ? client_.close() : client_.close(quick_close_timeout);
}

int Receiving::run() {
    client_.wait_connected({program_.stop});
    watch_stdout();
    Next end = Next::message;
    while (end == Next::message && wants_more()) {
        std::optional<Delivery> delivery;
        end = look_at_stdout();
        end = end == Next::message ? take(delivery) : end;
        if (end == Next::message) {
            end = handle(std::move(*delivery));
            settled_at_ = std::chrono::steady_clock::now();
            progress_.tick(received_);
        }
    }
    progress_.clear();
    close();
    if (end == Next::stdout_failed) {
        throw cannot_write_stdout(stdout_trouble());
    }
    const int exit_code = exit_code_at(end);
    if (exit_code == exit_empty) {
        say_what_is_missing(end);
    }
    return exit_code;
}

void add_modes(CLI::App& verb, ReceiveOptions& options) {
    add_duration(verb, "--timeout",
                 "Stop after so long without a message; exit 6 if fewer than N came, without -n if none came.",
                 [&options](std::chrono::nanoseconds timeout) { options.timeout = timeout; });
    verb.add_flag("--until-empty", options.until_empty,
                  "Stop when the channel has nothing ready and nothing delayed for us.");
    verb.add_option_function<std::string>(
            "--ack", [&options](const std::string& mode) { options.ack_early = mode == "none"; },
            "after-write: acked once stdout took it (default); none: acked when it arrives.")
        ->check(one_of({"after-write", "none"}))
        ->type_name("WHEN");
    verb.add_flag("--null", options.null, "NUL instead of a newline behind each body.");
    verb.add_flag("--jsonl", options.jsonl, "An envelope per line: offset, attempt, key, headers, time, body.");
    add_number(verb, "--window", "Unsettled messages at once, 1 to 65536 (default 256; 1 with --exec).", 1, 65'536,
               [&options](std::uint64_t window) {
                   options.window = window;
                   options.has_window = true;
               });
    verb.add_option(
            "--exec", options.command,
            "Run this for each message, body on stdin: exit 0 acks, 65 rejects (quarantine, with the last line of its "
            "stderr as the note), 75 and anything else retries after the back-off of the channel. In its environment: "
            "BATON_CHANNEL, BATON_OFFSET, BATON_ATTEMPT, BATON_KEY. Our own exit code says nothing about its exit codes.")
        ->check(CLI::Validator{[](const std::string& command) -> std::string {
                                   return command.find_first_not_of(" \t\n") == std::string::npos
                                              ? "\"" + command + "\" is no command: it would ack everything"
                                              : "";
                               },
                               ""})
        ->type_name("COMMAND");
    add_channel_option(
        verb, "--forward", options.forward,
        "Send what comes on to this channel instead of printing it, each message in one step with its ack: "
        "whatever dies, it is in one of the two and never in both. With --exec: what the command wrote to its "
        "stdout (nothing: only the ack; more than 200 KiB: the message is quarantined). A topic keeps what goes on for the "
        "subscriptions that it has at that moment: one without any is refused at the start, but when they are all deleted later, "
        "or none has a filter that the key fits, a message that goes on is nowhere.");
}

void add_subscribing(CLI::App& verb, ReceiveOptions& options) {
    add_subscription_name(
        verb, options.subscription,
        "Topic or stream: share the subscription of this name; it is made if it does not exist, and stays.");
    add_start(
        verb, "--from",
        "Where a new subscription begins: first (default for a stream), last, new, an offset, a time (2026-01-31T12:00:00Z) or "
        "5m for that long ago. Of a topic: new only.",
        [&options](const StartFrom& from) { options.from = from; });
    add_filter(verb, [&options](const std::string& pattern) { options.filter = pattern; });
    verb.add_flag("--exclusive", options.exclusive, "Share with nobody: others wait until we end.");
    add_duration(verb, "--lease", "100ms to 24h: how soon others get our messages if this process hangs.",
                 [&options](std::chrono::nanoseconds lease) {
                     constexpr auto lease_min = std::chrono::milliseconds{100};
                     constexpr auto lease_max = std::chrono::hours{24};
                     if (lease < lease_min || lease > lease_max) {
                         throw CLI::ValidationError{
                             "--lease", "\"" + format_duration(lease) + "\" is not a duration from 100ms to 24h"};
                     }
                     options.lease = std::chrono::duration_cast<std::chrono::milliseconds>(lease);
                 });
}

/// `has_jsonl`: it was given, and does not follow from --output.
void check(const ReceiveOptions& options, bool has_jsonl) {
    if (options.null && options.jsonl) {
        throw usage("--null and --jsonl exclude each other");
    }
    for (const auto& [flag, value] : {std::pair{"--forward", &options.forward}, std::pair{"--exec", &options.command}}) {
        if (!value->empty() && (options.null || options.ack_early || has_jsonl)) {
            throw usage(std::string{flag} +
                        " decides what is printed and acked: --null, --jsonl and --ack none are not for it");
        }
    }
    if (options.forward == options.channel && options.command.empty()) {
        throw usage("--forward \"" + name_text(as_bytes(options.forward)) +
                    "\": a channel is not forwarded to itself; name another one");
    }
}

}  // namespace

void add_receive(Program& program) {
    auto* verb = program.app.add_subcommand("receive", "Print messages as they are pushed; blocks for more.");
    verb->footer(
        "Example: baton receive greetings\n         baton receive jobs -n 10 --timeout 5s\n"
        "         baton receive orders --subscription billing --from first --exec ./bill\n"
        "         baton receive raw --exec ./parse --forward parsed");
    const auto options = std::make_shared<ReceiveOptions>();
    add_channel_name(*verb, "CHANNEL", options->channel, "Channel; created if it does not exist.");
    add_number(*verb, "-n,--count", "Stop after so many messages, 1 to 1000000000000000.", 1, 1'000'000'000'000'000,
               [options](std::uint64_t count) { options->count = count; });
    add_modes(*verb, *options);
    add_subscribing(*verb, *options);
    verb->final_callback([&program, options] {
        const bool has_jsonl = options->jsonl;
        if (program.global.output != OutputFormat::text) {
            options->jsonl = true;
        }
        program.run = [&program, options, has_jsonl] {
            check(*options, has_jsonl);
            try {
                return Receiving{program, *options}.run();
            } catch (const ClientError& error) {
                throw failure_of(error, "cannot receive from \"" + name_text(as_bytes(options->channel)) + "\" at " +
                                            program.global.url);
            }
        };
    });
}

}  // namespace baton::cli
