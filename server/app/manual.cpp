#include "server/app/manual.hpp"

#include "common/base/roff.hpp"
#include "server/app/options.hpp"

namespace baton::app {

namespace {

std::string entry(const std::string& head, const std::string& text) {
    return ".TP\n.B " + roff(head) + "\n" + roff(text) + "\n";
}

/// Common flags, and in a section of their own the many limits, as in --help.
std::string settings_part(bool are_limits) {
    std::string text;
    for (const auto& setting : settings_table()) {
        if (setting.key.starts_with("limits.") == are_limits) {
            text += entry(setting.flag() + (setting.is_list ? " URL" : " VALUE"),
                          setting.help + " Allowed: " + setting.allowed + ". Environment: " + setting.environment() + ".");
        }
    }
    return text;
}

}  // namespace

std::string manual_page() {
    return ".TH BATOND 8\n.SH NAME\nbatond \\- " + roff(description) +
           "\n.SH SYNOPSIS\n.B batond\n[OPTIONS]\n.br\n.B batond config check\n[OPTIONS]\n.br\n.B batond config show\n"
           "[\\-\\-origin] [OPTIONS]\n.SH OPTIONS\n" +
           entry("--config FILE", config_help) + settings_part(false) +
           entry("--memory", memory_help) + ".SH LIMITS\n" + settings_part(true) +
           ".SH VERBS\n" +
           entry("config check", "Validate the configuration, with the place of the ready file, and exit with 0 or 2.") +
           entry("config show [--origin]", "Print the effective settings as JSON, with where each value came from.") +
           ".SH SIGNALS\n" + entry("SIGTERM, SIGINT", "Drain and end; a second one does not wait any longer.") +
           entry("SIGHUP", "Read the configuration again.") + ".SH NOTES\n.nf\n" + roff(footer) +
           "\n.fi\n.SH SEE ALSO\nbaton(1), docs/operations.md\n";
}

}  // namespace baton::app
