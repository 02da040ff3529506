// What a simulated run says: a short trace of the last events, and the first rule that was broken.
// One thread. Next file: simulation.hpp.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <utility>

#include "common/base/clock.hpp"

namespace baton::sim {

class Report {
public:
    // Echo: every line goes to standard error at once.
    Report(const Clock& clock, bool is_echo) noexcept : clock_{clock}, is_echo_{is_echo} {}

    void note(std::string line);
    // The first violation counts: what follows may be its consequence.
    void violation(std::string text);

    [[nodiscard]] bool is_violated() const noexcept { return !violation_.empty(); }
    [[nodiscard]] const std::string& text() const noexcept { return violation_; }
    // The last lines before the violation.
    [[nodiscard]] std::string trace() const;

private:
    static constexpr std::size_t lines_max = 60;

    const Clock& clock_;
    const bool is_echo_;
    std::deque<std::string> lines_;
    std::string violation_;
};

}  // namespace baton::sim
