// The broker's settings: one table of keys, each with a configuration key, an environment name and a flag of the same
// words ("limits.memory_max", BATON_LIMITS_MEMORY_MAX, --limits-memory-max). Precedence: flag, environment, file, default.
// Everything is checked before anything is touched. Not responsible for acting on them (application.hpp).
// Start-up only. Next files: settings_table.cpp, command_line.hpp.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "server/runtime/channel_policy.hpp"
#include "server/runtime/limits.hpp"
#include "server/runtime/storage_settings.hpp"

namespace baton::app {

struct Options {
    std::vector<std::string> listen{"tcp://127.0.0.1:22866"};
    std::uint32_t shards = 0;  ///< 0: one per core.
    std::string ready_file;    ///< Empty: none.
    std::string log_level = "info";
    std::string log_format = "text";
    Duration drain_timeout = std::chrono::seconds{30};
    std::string data_dir;                 ///< Empty: none, so there are only memory channels.
    bool is_data_dir_configured = false;  ///< By file, environment or flag; the default is in the user's home.
    std::string default_storage = "auto";
    runtime::StorageSettings storage;
    runtime::Limits limits;
    std::vector<runtime::ChannelPolicy> policies;  ///< The first that matches counts.
};

/// Whether a channel is durable of which nobody said anything: `default_storage`, and what `auto` comes to.
[[nodiscard]] bool is_durable_by_default(const Options& options) noexcept;

enum class Origin : std::uint8_t { built_in, file, environment, flag };
[[nodiscard]] std::string_view to_string(Origin origin) noexcept;

/// One key: how to set it from text, and how to show it.
struct Setting {
    std::string key;
    std::string allowed;  ///< For errors and --help: "a size such as 64k, 10m, 1g".
    std::string help;
    bool is_list = false;
    bool is_live = false;  ///< SIGHUP can change it.
    std::function<bool(Options&, const std::vector<std::string>&)> set;  ///< False: not allowed.
    std::function<std::vector<std::string>(const Options&)> show;
    bool takes_empty = false;  ///< "" as a flag or in the environment means something.

    [[nodiscard]] std::string flag() const;         ///< "--limits-memory-max"
    [[nodiscard]] std::string environment() const;  ///< "BATON_LIMITS_MEMORY_MAX"
};
[[nodiscard]] const std::vector<Setting>& settings_table();

/// Options with the origin of each key that is not at its default.
struct Configuration {
    Options options;
    std::map<std::string, Origin> origins;  ///< By key.
};

/// Sets one key; the error names the key, the value and what is allowed. "" is a mistake in a flag or in the environment
/// (a variable of a script that is not set) where it has no meaning; a file has it for what is not set, as show() does.
[[nodiscard]] Result<void> apply(Configuration& configuration, const Setting& setting,
                                 const std::vector<std::string>& values, Origin origin, const std::string& where);
/// Reads a JSON file (comments allowed). Errors name the file and the key.
[[nodiscard]] Result<void> apply_file(Configuration& configuration, const std::string& path);
/// `lookup` answers null for a name that is not set. Lists are separated by commas. BATON_MEMORY is what --memory is.
[[nodiscard]] Result<void> apply_environment(Configuration& configuration,
                                             const std::function<const char*(const std::string&)>& lookup);
/// Names of those variables ("NAME=value", null behind the last) that begin like batond's and mean nothing here, so that a
/// misspelt one is not a setting that nobody gets. Those that the client reads are no mistake, nor are those with which Kubernetes
/// tells every container of a service called "baton".
[[nodiscard]] std::vector<std::string> unknown_variables(const char* const* environment);
/// What to say about one of them.
[[nodiscard]] std::string unknown_variable_text(const std::string& name);
/// "$XDG_STATE_HOME/baton", or "$HOME/.local/state/baton"; empty if neither is an absolute path.
[[nodiscard]] std::string default_data_dir(const std::function<const char*(const std::string&)>& lookup);
/// When all keys are set: what the defaults of memory channels and durable ones have in common.
void complete(Options& options);
/// What fits together only as a whole: listen URLs, frame sizes, storage and data directory.
[[nodiscard]] Result<void> check(const Options& options);

/// `batond config show`: JSON with every key; with origins, each value with where it came from.
[[nodiscard]] std::string show(const Configuration& configuration, bool with_origin);

}  // namespace baton::app
