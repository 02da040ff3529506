#include "client/cli/times.hpp"

#include <array>
#include <charconv>
#include <limits>

#include "common/base/units.hpp"

namespace baton::cli {

namespace {

constexpr std::int64_t us_per_second = 1'000'000;

bool is_digit(char letter) noexcept {
    return letter >= '0' && letter <= '9';
}

/// Takes exactly `width` digits from the front.
std::optional<int> take_number(std::string_view& text, std::size_t width) noexcept {
    if (text.size() < width) {
        return std::nullopt;
    }
    int number = 0;
    for (const char letter : text.substr(0, width)) {
        if (!is_digit(letter)) {
            return std::nullopt;
        }
        number = number * 10 + (letter - '0');
    }
    text.remove_prefix(width);
    return number;
}

bool take(std::string_view& text, std::string_view either) noexcept {
    if (text.empty() || !either.contains(text.front())) {
        return false;
    }
    text.remove_prefix(1);
    return true;
}

/// ".5" in front: 500,000. Nothing there: 0.
std::optional<std::int64_t> take_fraction(std::string_view& text) noexcept {
    std::int64_t us = 0;
    if (!take(text, ".")) {
        return us;
    }
    if (text.empty() || !is_digit(text.front())) {
        return std::nullopt;
    }
    for (std::int64_t digit = us_per_second / 10; !text.empty() && is_digit(text.front()); digit /= 10) {
        us += (text.front() - '0') * digit;
        text.remove_prefix(1);
    }
    return us;
}

/// "Z", "+01:00": what has to be taken off to get UTC.
std::optional<std::chrono::minutes> take_zone(std::string_view& text) noexcept {
    if (take(text, "Zz")) {
        return std::chrono::minutes{0};
    }
    const bool is_behind = text.starts_with('-');
    if (!take(text, "+-")) {
        return std::nullopt;
    }
    const auto hours = take_number(text, 2);
    if (!hours || !take(text, ":")) {
        return std::nullopt;
    }
    const auto minutes = take_number(text, 2);
    if (!minutes || *hours > 23 || *minutes > 59) {
        return std::nullopt;
    }
    const auto offset = std::chrono::hours{*hours} + std::chrono::minutes{*minutes};
    return is_behind ? -offset : offset;
}

std::optional<WallMicroseconds> parse_seconds(std::string_view text) noexcept {
    std::int64_t seconds = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (parsed.ec != std::errc{} || seconds < 0 ||
        seconds > std::numeric_limits<std::int64_t>::max() / us_per_second - 1) {
        return std::nullopt;
    }
    text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
    const auto us = take_fraction(text);
    if (!us || !text.empty()) {
        return std::nullopt;
    }
    return WallMicroseconds{std::chrono::microseconds{seconds * us_per_second + *us}};
}

}  // namespace

std::optional<WallMicroseconds> parse_rfc3339(std::string_view text) {
    struct Field {
        std::size_t width;
        std::string_view behind;  ///< One of these, unless it is empty.
    };
    constexpr std::array<Field, 6> fields{{{4, "-"}, {2, "-"}, {2, "Tt "}, {2, ":"}, {2, ":"}, {2, ""}}};
    std::array<int, 6> numbers{};
    for (std::size_t i = 0; i < fields.size(); ++i) {
        const auto number = take_number(text, fields[i].width);
        if (!number || !(fields[i].behind.empty() || take(text, fields[i].behind))) {
            return std::nullopt;
        }
        numbers[i] = *number;
    }
    const auto [year, month, day, hour, minute, second] = numbers;
    const std::chrono::year_month_day date{std::chrono::year{year}, std::chrono::month{static_cast<unsigned>(month)},
                                           std::chrono::day{static_cast<unsigned>(day)}};
    if (!date.ok() || hour > 23 || minute > 59 || second > 60) {
        return std::nullopt;
    }
    const auto fraction = take_fraction(text);
    const auto zone = fraction ? take_zone(text) : std::nullopt;
    if (!zone || !text.empty()) {
        return std::nullopt;
    }
    return WallMicroseconds{std::chrono::sys_days{date}} + std::chrono::hours{hour} + std::chrono::minutes{minute} +
           std::chrono::seconds{second} + std::chrono::microseconds{*fraction} - *zone;
}

std::optional<WallMicroseconds> parse_time(std::string_view text) {
    const auto time = parse_rfc3339(text);
    return time ? time : parse_seconds(text);
}

std::string duration_problem(std::string_view text) {
    const auto duration = parse_duration(text);
    if (!duration && duration.error().code == std::errc::result_out_of_range) {
        const auto days = std::chrono::floor<std::chrono::days>(Duration::max());
        return "\"" + std::string{text} + "\" is too long: the limit is " + format_duration(days);
    }
    return "\"" + std::string{text} + "\" is not a duration such as 250ms, 5s, 2m or 1h";
}

std::optional<StartFrom> parse_start(std::string_view text, std::chrono::system_clock::time_point now) {
    if (text == "first") {
        return StartFrom::first();
    }
    if (text == "last") {
        return StartFrom::last();
    }
    if (text == "new") {
        return StartFrom::now();
    }
    std::uint64_t offset = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), offset);
    if (!text.empty() && parsed.ec == std::errc{} && parsed.ptr == text.data() + text.size()) {
        return StartFrom::at_offset(offset);
    }
    if (const auto time = parse_rfc3339(text)) {
        return StartFrom::at_time(*time);
    }
    if (const auto ago = parse_duration(text)) {
        return StartFrom::at_time(now - std::chrono::duration_cast<std::chrono::system_clock::duration>(*ago));
    }
    return std::nullopt;
}

}  // namespace baton::cli
