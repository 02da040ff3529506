// batond: reads the command line and runs the broker. The wiring is in server/app/application.cpp.
#include <malloc.h>
#include <sys/resource.h>

#include "common/base/standard_streams.hpp"
#include "server/app/application.hpp"
#include "server/app/command_line.hpp"
#include "server/app/logging.hpp"
#include "server/app/manual.hpp"

namespace {

/// The soft limit is low for programs that use select(); connections need as many as the system permits.
void use_all_descriptors() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
    }
}

}  // namespace

int main(int argc, char** argv) {
    using namespace baton::app;
    baton::hold_standard_streams();
    const auto parsed = parse_command_line(argc, argv);
    if (!parsed.command_line) {
        return parsed.exit_code;
    }
    const auto& line = *parsed.command_line;
    const auto& options = line.configuration.options;
    switch (line.command) {
        case Command::config_check:
            return check_configuration(options);
        case Command::config_show:
            return print(show(line.configuration, line.with_origin) + "\n");
        case Command::manual:
            return print(manual_page());
        case Command::serve:
            break;
    }
    // Chunks of messages (256 KiB) go back to the system when they are freed. Without this the C library raises its
    // threshold with the first one, keeps them in its heap, and a long backlog leaves it full of holes.
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    // Small freed pieces are merged one by one. Otherwise they are kept in lists, until a large one is freed: then all of
    // them are merged at once, which takes 9 ms behind half a million settlements.
    mallopt(M_MXFAST, 0);
    use_all_descriptors();
    start_logging(options.log_level, options.log_format);
    const int exit_code = Application{line}.run();
    stop_logging();
    return exit_code;
}
