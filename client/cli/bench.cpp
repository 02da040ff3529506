// `baton bench throughput | latency | soak`: the options. Next file: bench_load.hpp.
#include "client/cli/bench.hpp"

#include <algorithm>

#include "common/base/units.hpp"

namespace baton::cli {

namespace {

constexpr std::uint64_t default_size = 128;
constexpr std::uint64_t size_max = std::uint64_t{1} << 30U;
constexpr std::uint64_t peers_max = 1'000;
constexpr std::uint64_t window_max = 1'000'000;
constexpr std::uint64_t batch_max = 4'096;
constexpr std::uint64_t rate_max = 1'000'000'000;

void add_sizes(CLI::App& verb, BenchSettings& settings, const std::string& help) {
    verb.add_option_function<std::string>(
            "--size",
            [&settings](const std::string& text) {
                settings.sizes.clear();
                for (std::size_t from = 0; from <= text.size();) {
                    const auto comma = std::min(text.find(',', from), text.size());
                    const auto word = text.substr(from, comma - from);
                    const auto size = parse_size(word);
                    if (!size || *size == 0 || *size > size_max) {
                        throw CLI::ValidationError{"--size",
                                                   "\"" + word + "\" is not a size from 1 to 1g such as 128 or 16k"};
                    }
                    settings.sizes.push_back(*size);
                    from = comma + 1;
                }
            },
            help)
        ->type_name("SIZE,...");
}

void add_parties(CLI::App& verb, BenchSettings& settings) {
    add_number(verb, "--channels", "Channels, made for this and deleted at the end (default 1).", 1, peers_max,
               [&settings](std::uint64_t channels) { settings.channels = channels; });
    add_number(verb, "--senders", "Senders in all, dealt out over the channels (default one a channel).", 1, peers_max,
               [&settings](std::uint64_t senders) { settings.senders = senders; });
    add_number(verb, "--receivers",
               "Receivers in all, dealt out over the channels (default one a channel). Those of a queue share its "
               "messages; each one of a topic or stream gets all.",
               0, peers_max, [&settings](std::uint64_t receivers) {
                   settings.receivers = receivers;
                   settings.has_receivers = true;
               });
    verb.add_option("--kind", settings.kind, "queue (default), topic or stream.")
        ->check(one_of({"queue", "topic", "stream"}))
        ->type_name("KIND");
    auto* memory =
        verb.add_flag_callback("--memory", [&settings] { settings.storage = "memory"; }, "Memory channels (default).");
    verb.add_flag_callback(
            "--durable", [&settings] { settings.storage = "durable"; }, "Durable channels.")
        ->excludes(memory);
    verb.add_option(
            "--confirm", settings.confirm,
            "A message of a durable channel counts when it is received in memory, or durable on the disk (default).")
        ->check(one_of({"received", "durable"}))
        ->type_name("LEVEL");
}

void add_pace(CLI::App& verb, BenchSettings& settings, const std::string& rate_help) {
    add_number(verb, "--window", "Unconfirmed messages of a sender at once (default 1000).", 1, window_max,
               [&settings](std::uint64_t window) { settings.window = window; });
    add_number(verb, "--receive-window", "Unsettled messages of a receiver at once (default 8192).", 1, window_max,
               [&settings](std::uint64_t window) { settings.receive_window = window; });
    add_number(verb, "--batch",
               "Messages that the library may put into one frame; 1: each alone (default: what is there, up to 4096).", 1,
               batch_max, [&settings](std::uint64_t batch) { settings.batch = batch; });
    add_number(verb, "--rate", rate_help, 1, rate_max, [&settings](std::uint64_t rate) { settings.rate = rate; });
    add_duration(verb, "--duration", "How long it is measured (default 5s).",
                 [&settings](std::chrono::nanoseconds duration) { settings.duration = duration; });
}

void add_warm_up(CLI::App& verb, BenchSettings& settings) {
    add_duration(verb, "--warm-up", "How long it runs before that (default 1s).",
                 [&settings](std::chrono::nanoseconds warm_up) { settings.warm_up = warm_up; });
}

using BenchRun = int (*)(const Program&, const BenchSettings&);

void run_later(Program& program, CLI::App& verb, BenchVerb which, const std::shared_ptr<BenchSettings>& settings,
               BenchRun run) {
    verb.final_callback([&program, settings, which, run] {
        program.run = [&program, settings, which, run] { return run(program, completed(*settings, which)); };
    });
}

void add_throughput(Program& program, CLI::App& bench) {
    auto* verb = bench.add_subcommand("throughput",
                                      "Messages and bytes a second, confirmed to the senders and received and acked.");
    verb->footer(
        "Example: baton bench throughput --size 128,1k,16k\n"
        "         baton bench throughput --durable --receivers 0 --window 64");
    const auto settings = std::make_shared<BenchSettings>();
    add_sizes(*verb, *settings, "Size of a message, or several: one run each (default 128).");
    add_parties(*verb, *settings);
    add_pace(*verb, *settings, "Messages a second of all senders together (default: as fast as they can).");
    add_warm_up(*verb, *settings);
    run_later(program, *verb, BenchVerb::throughput, settings, bench_throughput);
}

void add_latency(Program& program, CLI::App& bench) {
    auto* verb = bench.add_subcommand(
        "latency",
        "One way from sender to receiver at a fixed rate. It counts from when a message should have been sent, so that "
        "a stall is not hidden by what could not be sent meanwhile.");
    verb->footer(
        "Example: baton bench latency --rate 10000\n"
        "         baton bench latency --rate 1000 --durable --size 1k");
    const auto settings = std::make_shared<BenchSettings>();
    add_sizes(*verb, *settings, "Size of a message, 8 and more, or several: one run each (default 128).");
    add_parties(*verb, *settings);
    add_pace(*verb, *settings, "Messages a second of all senders together; required.");
    add_warm_up(*verb, *settings);
    run_later(program, *verb, BenchVerb::latency, settings, bench_latency);
}

void add_soak(Program& program, CLI::App& bench) {
    auto* verb =
        bench.add_subcommand("soak",
                             "Numbers every message and checks what comes: loss, order for each sender, duplicates, "
                             "content. Exit 1 says what "
                             "was wrong. Competing receivers of a queue are checked for order each by itself.");
    verb->footer(
        "Example: baton bench soak --duration 8h --rate 1000 --durable\n"
        "         baton bench soak --senders 4 --receivers 4 --size 16,1k,64k");
    const auto settings = std::make_shared<BenchSettings>();
    add_sizes(*verb, *settings, "Size of a message, 16 and more, or several: in turn (default 128).");
    add_parties(*verb, *settings);
    add_pace(*verb, *settings, "Messages a second of all senders together (default: as fast as they can).");
    run_later(program, *verb, BenchVerb::soak, settings, bench_soak);
}

/// As many as channels unless said otherwise, and not fewer: a channel without one would not be measured.
std::uint64_t parties(const char* flag, std::uint64_t wanted, bool is_given, const BenchSettings& settings) {
    if (!is_given) {
        return settings.channels;
    }
    if (wanted < settings.channels) {
        throw usage(std::string{flag} + " " + std::to_string(wanted) + " is fewer than --channels " +
                    std::to_string(settings.channels) + ": each channel needs one");
    }
    return wanted;
}

}  // namespace

std::uint64_t bench_size_min(BenchVerb verb) noexcept {
    switch (verb) {
        case BenchVerb::throughput:
            return 1;
        case BenchVerb::latency:
            return 8;
        case BenchVerb::soak:
            return 16;
    }
    return 1;
}

BenchSettings completed(BenchSettings settings, BenchVerb verb) {
    if (settings.sizes.empty()) {
        settings.sizes = {default_size};
    }
    const auto size_min = bench_size_min(verb);
    if (const auto smallest = std::ranges::min(settings.sizes); smallest < size_min) {
        throw usage("--size " + std::to_string(smallest) + " is too small: a message of this bench has at least " +
                    std::to_string(size_min) + " bytes");
    }
    if (verb == BenchVerb::latency && settings.rate == 0) {
        throw usage("a latency belongs to a rate: give --rate, in messages a second");
    }
    if (settings.duration <= std::chrono::nanoseconds::zero()) {
        throw usage("--duration \"" + format_duration(settings.duration) +
                    "\" is no time to measure in; give a longer one, such as 5s");
    }
    if (verb == BenchVerb::soak) {
        settings.warm_up = {};
        settings.names_subscriptions = settings.kind == "topic";
    }
    settings.senders = parties("--senders", settings.senders, settings.senders != 0, settings);
    const bool is_sending_only = settings.has_receivers && settings.receivers == 0;
    if (is_sending_only && verb != BenchVerb::throughput) {
        throw usage("--receivers 0 is for throughput: here somebody must receive");
    }
    if (!is_sending_only) {
        settings.receivers = parties("--receivers", settings.receivers, settings.has_receivers, settings);
    }
    return settings;
}

void add_bench(Program& program) {
    auto* verb = program.app.add_subcommand("bench", "Measure the broker, or test whether it keeps every message.");
    verb->require_subcommand(1);
    verb->footer("Example: baton bench throughput --size 128,1k");
    add_throughput(program, *verb);
    add_latency(program, *verb);
    add_soak(program, *verb);
    for (auto* part : verb->get_subcommands([](const CLI::App*) { return true; })) {
        part->fallthrough();
    }
}

}  // namespace baton::cli
