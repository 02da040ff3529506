#include "common/base/units.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <limits>
#include <span>

namespace baton {

namespace {

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};

// Ascending. The first name of a factor is the one that is written.
constexpr std::array<Unit, 7> duration_units{{
    {"ns", 1},
    {"us", 1'000},
    {"ms", 1'000'000},
    {"s", 1'000'000'000},
    {"m", 60'000'000'000},
    {"h", 3'600'000'000'000},
    {"d", 86'400'000'000'000},
}};

constexpr std::uint64_t kibi = 1024;
constexpr std::array<Unit, 5> size_units{{
    {"", 1},
    {"k", kibi},
    {"m", kibi* kibi},
    {"g", kibi* kibi* kibi},
    {"t", kibi* kibi* kibi* kibi},
}};

Result<std::uint64_t> parse(std::string_view text, std::uint64_t number, std::string_view unit_name,
                            std::span<const Unit> units, std::uint64_t value_max) {
    for (const Unit& unit : units) {
        if (unit.name == unit_name) {
            if (number > value_max / unit.factor) {
                return fail(std::make_error_code(std::errc::result_out_of_range), "'" + std::string{text} + "'");
            }
            return number * unit.factor;
        }
    }
    return fail(std::make_error_code(std::errc::invalid_argument), "unknown unit in '" + std::string{text} + "'");
}

struct NumberAndUnit {
    std::uint64_t number;
    std::string_view unit;
};

Result<NumberAndUnit> split(std::string_view text) {
    NumberAndUnit parts{};
    const auto [end, errc] = std::from_chars(text.data(), text.data() + text.size(), parts.number);
    if (errc != std::errc{}) {
        return fail(std::make_error_code(errc), "'" + std::string{text} + "' does not start with a number");
    }
    parts.unit = text.substr(static_cast<std::size_t>(end - text.data()));
    return parts;
}

std::string format(std::uint64_t value, std::span<const Unit> units) {
    std::size_t largest = 0;
    for (std::size_t i = 0; i < units.size(); ++i) {
        if (value % units[i].factor == 0) {
            largest = i;
        }
    }
    return std::to_string(value / units[largest].factor) + std::string{units[largest].name};
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
    const Result<NumberAndUnit> parts = split(text);
    if (!parts) {
        return fail(parts.error());
    }
    if (parts->number == 0 && parts->unit.empty()) {
        return Duration::zero();
    }
    constexpr auto duration_max = static_cast<std::uint64_t>(std::numeric_limits<Duration::rep>::max());
    const Result<std::uint64_t> ns = parse(text, parts->number, parts->unit, duration_units, duration_max);
    if (!ns) {
        return fail(ns.error());
    }
    return Duration{static_cast<Duration::rep>(*ns)};
}

Result<std::uint64_t> parse_size(std::string_view text) {
    const Result<NumberAndUnit> parts = split(text);
    if (!parts) {
        return fail(parts.error());
    }
    std::string unit{parts->unit};
    for (char& letter : unit) {
        letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    }
    // "k", "kb" and "kib" are the same.
    const std::string_view suffix = std::string_view{unit}.substr(unit.empty() ? 0 : 1);
    if (suffix == "b" || suffix == "ib") {
        unit.resize(1);
    }
    return parse(text, parts->number, unit, size_units, std::numeric_limits<std::uint64_t>::max());
}

std::string format_duration(Duration duration) {
    if (duration == Duration::zero()) {
        return "0s";
    }
    // Negating as unsigned is defined for the smallest value, too.
    const auto ns = static_cast<std::uint64_t>(duration.count());
    return duration < Duration::zero() ? "-" + format(0 - ns, duration_units) : format(ns, duration_units);
}

std::string format_size(std::uint64_t bytes) {
    return bytes == 0 ? "0" : format(bytes, size_units);
}

std::string utc_text(std::int64_t us) {
    constexpr std::int64_t second = 1'000'000;
    const std::int64_t fraction = (us % second + second) % second;
    const auto seconds = static_cast<std::time_t>((us - fraction) / second);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                  parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<int>(fraction));
    return text;
}

}  // namespace baton
