#include "tests/sim/report.hpp"

#include <cstdio>

namespace baton::sim {

void Report::note(std::string line) {
    if (is_violated()) {
        return;
    }
    char time[32];
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(clock_.now().time_since_epoch()).count();
    std::snprintf(time, sizeof time, "%12.6f  ", static_cast<double>(us) / 1e6);
    lines_.push_back(time + std::move(line));
    if (is_echo_) {
        std::fprintf(stderr, "%s\n", lines_.back().c_str());
    }
    if (lines_.size() > lines_max) {
        lines_.pop_front();
    }
}

void Report::violation(std::string text) {
    if (!is_violated()) {
        note("VIOLATION: " + text);
        violation_ = std::move(text);
    }
}

std::string Report::trace() const {
    std::string all;
    for (const std::string& line : lines_) {
        all += line + "\n";
    }
    return all;
}

}  // namespace baton::sim
