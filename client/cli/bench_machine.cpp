#include "client/cli/bench_machine.hpp"

#include <sys/utsname.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

namespace baton::cli {

std::string cpu_model(std::string_view cpuinfo) {
    for (const std::string_view key : {"model name", "Model", "Hardware", "cpu model"}) {
        std::size_t line = 0;
        while (line < cpuinfo.size()) {
            const auto end = std::min(cpuinfo.find('\n', line), cpuinfo.size());
            const auto text = cpuinfo.substr(line, end - line);
            const auto colon = text.find(": ");
            if (text.starts_with(key) && colon != std::string_view::npos) {
                return std::string{text.substr(colon + 2)};
            }
            line = end + 1;
        }
    }
    return "unknown";
}

Machine this_machine() {
    std::ostringstream cpuinfo;
    cpuinfo << std::ifstream{"/proc/cpuinfo"}.rdbuf();
    utsname name{};
    ::uname(&name);
    return {.cores = std::thread::hardware_concurrency(),
            .cpu = cpu_model(cpuinfo.str()),
            .kernel = std::string{name.sysname} + " " + name.release + " " + name.machine};
}

std::array<double, 3> load_average() noexcept {
    std::array<double, 3> averages{};
    ::getloadavg(averages.data(), static_cast<int>(averages.size()));
    return averages;
}

}  // namespace baton::cli
