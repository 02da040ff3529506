// What a measured number belongs to: the machine, and how busy it is.
// Any thread. Next file: bench_report.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace baton::cli {

struct Machine {
    unsigned cores = 0;  ///< That we may use.
    std::string cpu;
    std::string kernel;
};

[[nodiscard]] Machine this_machine();
/// The model named by the text of /proc/cpuinfo; "unknown" if it names none.
[[nodiscard]] std::string cpu_model(std::string_view cpuinfo);
/// Of the last 1, 5 and 15 minutes.
[[nodiscard]] std::array<double, 3> load_average() noexcept;

}  // namespace baton::cli
