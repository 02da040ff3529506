#include "client/cli/bench_report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "client/cli/bench_machine.hpp"
#include "client/cli/columns.hpp"
#include "common/base/units.hpp"

namespace baton::cli {

namespace {

constexpr int bar_width = 50;

struct NamedQuantile {
    const char* name;
    double part;
};
constexpr std::array<NamedQuantile, 5> quantiles{
    {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}}};

double microseconds(std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::micro>{time}.count();
}

Json settings_json(const BenchSettings& settings) {
    Json json{{"sizes", settings.sizes},
              {"channels", settings.channels},
              {"senders", settings.senders},
              {"receivers", settings.receivers},
              {"kind", settings.kind},
              {"storage", settings.storage},
              {"confirm", settings.storage == "memory" ? "received" : settings.confirm},
              {"window", settings.window},
              {"receive_window", settings.receive_window},
              {"batch", nullptr},
              {"rate", nullptr},
              {"duration_s", std::chrono::duration<double>{settings.duration}.count()},
              {"warm_up_s", std::chrono::duration<double>{settings.warm_up}.count()}};
    if (settings.batch != 0) {
        json["batch"] = settings.batch;
    }
    if (settings.rate != 0) {
        json["rate"] = settings.rate;
    }
    return json;
}

/// "1,234,567".
std::string grouped(double number) {
    auto text = std::to_string(static_cast<std::uint64_t>(std::llround(std::max(number, 0.0))));
    for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
        text.insert(static_cast<std::size_t>(at), ",");
    }
    return text;
}

std::string fixed(double number, int digits) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%.*f", digits, number);
    return text.data();
}

/// "81.3us", "4.56ms", "1.20s".
std::string time_text(double us) {
    if (us < 1'000) {
        return fixed(us, 1) + "us";
    }
    return us < 1'000'000 ? fixed(us / 1'000, 2) + "ms" : fixed(us / 1'000'000, 2) + "s";
}

std::string load_text(const Json& loads) {
    return fixed(loads.at(0), 2) + " " + fixed(loads.at(1), 2) + " " + fixed(loads.at(2), 2);
}

std::string count_of(const Json& settings, const char* key, const char* one) {
    const auto count = settings.at(key).get<std::uint64_t>();
    return std::to_string(count) + " " + one + (count == 1 ? "" : "s");
}

std::string durability_text(const Json& durability) {
    const auto confirmed = durability.at("confirmed").get<std::string>();
    return durability.at("storage").get<std::string>() + ", " +
           (confirmed == "durable"    ? "confirmed when on the disk"
            : confirmed == "received" ? "confirmed when received"
                                      : "nothing confirmed");
}

std::string head_text(const Json& report) {
    const auto& settings = report.at("settings");
    const auto& machine = report.at("machine");
    const auto& broker = report.at("broker");
    std::string text = "baton " + report.at("version").get<std::string>() + ", broker " +
                       broker.at("agent").get<std::string>() + " at " + broker.at("address").get<std::string>() + "\n";
    text += report.at("bench").get<std::string>() + ": " + settings.at("kind").get<std::string>() + ", " +
            settings.at("storage").get<std::string>() + ", " + count_of(settings, "channels", "channel") + ", " +
            count_of(settings, "senders", "sender") + ", " + count_of(settings, "receivers", "receiver") + ", window " +
            std::to_string(settings.at("window").get<std::uint64_t>()) + ", receive window " +
            std::to_string(settings.at("receive_window").get<std::uint64_t>()) + ", " +
            (settings.at("batch").is_null() ? ""
                                            : "frames of " + std::to_string(settings.at("batch").get<std::uint64_t>()) + ", ") +
            (settings.at("rate").is_null() ? "no rate"
                                           : grouped(settings.at("rate").get<double>()) + " messages a second") +
            ", " + fixed(settings.at("duration_s"), 1) + " s";
    if (report.at("bench") != "soak") {
        text += " after " + fixed(settings.at("warm_up_s"), 1) + " s";
    }
    text += "\nmachine: " + count_of(machine, "cores", "core") + ", " + machine.at("cpu").get<std::string>() + ", " +
            machine.at("kernel").get<std::string>() + "; load average " + load_text(report.at("load_before")) +
            " before, " + load_text(report.at("load_after")) + " after\n";
    return text;
}

std::string blocked_text(const Json& result) {
    std::string text;
    for (const auto& reason : result.at("blocked")) {
        text += (text.empty() ? "" : ", ") + reason.get<std::string>();
    }
    return text.empty() ? text : "  (senders were made to wait: " + text + ")\n";
}

std::string throughput_text(const Json& report) {
    std::string text = "    SIZE        SENT/s  SENT MB/s    RECEIVED/s  RECEIVED MB/s  DURABILITY\n";
    for (const auto& result : report.at("results")) {
        const auto& sent = result.at("sent");
        const auto& received = result.at("received");
        text += right(format_size(result.at("size")), 8) + right(grouped(sent.at("per_second")), 14) +
                right(fixed(sent.at("mb_per_second"), 1), 11) + right(grouped(received.at("per_second")), 14) +
                right(fixed(received.at("mb_per_second"), 1), 15) + "  " + durability_text(result.at("durability")) +
                "\n" + blocked_text(result);
    }
    return text;
}

std::string rows_text(const Json& latency) {
    std::uint64_t highest = 1;
    for (const auto& row : latency.at("histogram")) {
        highest = std::max(highest, row.at("count").get<std::uint64_t>());
    }
    const auto total = std::max(latency.at("count").get<double>(), 1.0);
    std::string text;
    for (const auto& row : latency.at("histogram")) {
        const auto count = row.at("count").get<std::uint64_t>();
        const auto length = static_cast<double>(count) / static_cast<double>(highest) * bar_width;
        text += "  up to " +
                right(format_duration(std::chrono::nanoseconds{std::llround(row.at("up_to_us").get<double>() * 1'000)}),
                      6) +
                right(std::to_string(count), 12) + right(fixed(100 * static_cast<double>(count) / total, 2), 8) +
                "%  " + std::string(static_cast<std::size_t>(std::ceil(length)), '#') + "\n";
    }
    return text;
}

std::string quantiles_text(const Json& latency) {
    std::string text;
    for (const auto& [name, part] : quantiles) {
        text += std::string{name} + " " + time_text(latency.at(std::string{name} + "_us")) + "  ";
    }
    return text + "max " + time_text(latency.at("max_us"));
}

std::string latency_text(const Json& report) {
    std::string text;
    for (const auto& result : report.at("results")) {
        const auto& latency = result.at("latency");
        text += format_size(result.at("size")) + " bytes, " + grouped(result.at("offered_per_second")) +
                " a second offered, " + grouped(result.at("received_per_second")) + " received, " +
                durability_text(result.at("durability")) + "\n  " + quantiles_text(latency) + "\n" +
                rows_text(latency) +
                "  of this, messages left the bench late by: " + quantiles_text(result.at("send_delay")) + "\n" +
                blocked_text(result);
        if (const auto missing = result.at("missing").get<std::uint64_t>(); missing != 0) {
            text += "  NOT RECEIVED in time, and not counted above: " + counted(missing, "message") + "\n";
        }
    }
    return text;
}

std::string soak_text(const Json& report) {
    std::string text;
    for (const auto& result : report.at("results")) {
        const auto count = [&](const char* key) { return grouped(result.at(key).get<double>()); };
        text += count("confirmed") + " messages confirmed (" + count("refused") + " refused), " + count("received") +
                " received in " + fixed(result.at("seconds"), 1) + " s; " + durability_text(result.at("durability")) +
                "\n" + blocked_text(result) + "  lost " + count("lost") + ", duplicates " + count("duplicates") +
                ", out of order " + count("out_of_order") + ", damaged " + count("damaged") + "; broken connections " +
                count("disconnects") + ", given again " + count("repeated") + "\n";
        const std::string mark = is_loss_permitted(result) ? "  LOST: " : "  WRONG: ";
        for (const auto& problem : result.at("problems")) {
            text += mark + problem.get<std::string>() + "\n";
        }
    }
    return text;
}

}  // namespace

BenchReport::BenchReport(const Program& program, const char* bench, const BenchSettings& settings) : program_{program} {
    const auto machine = this_machine();
    report_ = {{"bench", bench},
               {"version", BATON_VERSION},
               {"broker", {{"agent", ""}, {"address", program.global.url}}},
               {"settings", settings_json(settings)},
               {"machine", {{"cores", machine.cores}, {"cpu", machine.cpu}, {"kernel", machine.kernel}}},
               {"load_before", load_average()},
               {"results", Json::array()}};
}

void BenchReport::set_broker(const std::optional<BrokerInfo>& broker) {
    if (broker) {
        report_["broker"] = {{"agent", broker->agent}, {"address", broker->address}};
    }
}

void BenchReport::print(bool is_interrupted) {
    report_["load_after"] = load_average();
    report_["interrupted"] = is_interrupted;
    if (program_.global.output != OutputFormat::text) {
        return print_json(report_);
    }
    const auto text = bench_text(report_);
    std::fwrite(text.data(), 1, text.size(), stdout);
}

Json durability_of(const BenchSettings& settings, ConfirmLevel level) {
    return {{"storage", settings.storage}, {"confirmed", std::string{name_of(level)}}};
}

bool is_loss_permitted(const Json& result) {
    const auto has = [&](const char* key) { return result.at(key).get<std::uint64_t>() != 0; };
    const Json at_risk{{"storage", "durable"}, {"confirmed", "received"}};
    return result.at("durability") == at_risk && has("disconnects") && has("lost") && !has("duplicates") &&
           !has("out_of_order") && !has("damaged");
}

Json latency_json(const LatencyHistogram& histogram) {
    Json json{{"count", histogram.count()},
              {"min_us", microseconds(histogram.min())},
              {"mean_us", microseconds(histogram.mean())},
              {"max_us", microseconds(histogram.max())},
              {"histogram", Json::array()}};
    for (const auto& [name, part] : quantiles) {
        json[std::string{name} + "_us"] = microseconds(histogram.quantile(part));
    }
    for (const auto& row : histogram.rows()) {
        json["histogram"].push_back({{"up_to_us", microseconds(row.up_to)}, {"count", row.count}});
    }
    return json;
}

std::string bench_text(const Json& report) {
    const auto& bench = report.at("bench");
    return head_text(report) +
           (bench == "throughput" ? throughput_text(report)
            : bench == "latency"  ? latency_text(report)
                                  : soak_text(report)) +
           (report.at("interrupted").get<bool>() ? "interrupted: this is what there was until then\n" : "");
}

}  // namespace baton::cli
