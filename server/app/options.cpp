#include "server/app/options.hpp"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/base/units.hpp"
#include "common/net/endpoint.hpp"
#include "server/runtime/policy_json.hpp"

namespace baton::app {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view variable_prefix = "BATON_";

std::unexpected<Error> invalid(const std::string& text) {
    return fail(std::make_error_code(std::errc::invalid_argument), text);
}

std::string joined(const std::vector<std::string>& values) {
    std::string text;
    for (const auto& value : values) {
        text += (text.empty() ? "" : ",") + value;
    }
    return text;
}

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> parts;
    std::istringstream stream{std::string{text}};
    for (std::string part; std::getline(stream, part, ',');) {
        parts.push_back(part);
    }
    return parts;
}

const Setting* find_setting(std::string_view key) {
    const auto found = std::ranges::find(settings_table(), key, &Setting::key);
    return found == settings_table().end() ? nullptr : &*found;
}

/// A JSON value as the texts that the table understands; nothing for objects, null and nested lists.
std::optional<std::vector<std::string>> texts_of(const Json& value, bool is_list) {
    if (value.is_string()) {
        return std::vector{value.get<std::string>()};
    }
    if (value.is_number_integer()) {
        return std::vector{value.dump()};
    }
    if (!value.is_array() || !is_list) {
        return std::nullopt;
    }
    std::vector<std::string> texts;
    for (const auto& item : value) {
        if (!item.is_string()) {
            return std::nullopt;
        }
        texts.push_back(item.get<std::string>());
    }
    return texts;
}

Result<void> apply_json(Configuration& configuration, const Json& json, const std::string& prefix,
                        const std::string& path) {
    for (const auto& [name, value] : json.items()) {
        const auto key = prefix + name;
        if (key == "limits") {
            if (!value.is_object()) {
                return invalid(path + ": limits is " + value.dump() + R"(, allowed is an object such as {"memory_max": "2g"})");
            }
            if (auto nested = apply_json(configuration, value, "limits.", path); !nested) {
                return nested;
            }
            continue;
        }
        if (key == "policies") {
            auto policies = runtime::policies_from(value, path);
            if (!policies) {
                return std::unexpected{policies.error()};
            }
            configuration.options.policies = std::move(*policies);
            configuration.origins[key] = Origin::file;
            continue;
        }
        const auto* setting = find_setting(key);
        if (setting == nullptr) {
            return invalid(path + ": the key \"" + key + "\" is unknown; `batond config show` lists all keys");
        }
        const auto texts = texts_of(value, setting->is_list);
        if (!texts || texts->empty()) {
            return invalid(path + ": " + key + " is " + value.dump() + ", allowed is " + setting->allowed);
        }
        if (auto applied = apply(configuration, *setting, *texts, Origin::file, path); !applied) {
            return applied;
        }
    }
    return {};
}

/// --memory has no key of its own: a file says default_storage.
Result<void> apply_memory(Configuration& configuration, const std::function<const char*(const std::string&)>& lookup) {
    const char* value = lookup("BATON_MEMORY");
    const std::string_view text = value == nullptr ? "false" : value;
    if (text == "false" || text == "0") {
        return {};
    }
    const std::string where = "environment BATON_MEMORY";
    if (text != "true" && text != "1") {
        return invalid(where + ": memory is \"" + std::string{text} + "\", allowed is true or 1, false or 0");
    }
    if (lookup("BATON_DEFAULT_STORAGE") != nullptr) {
        return invalid(where + " excludes BATON_DEFAULT_STORAGE: leave one of them out");
    }
    return apply(configuration, *find_setting("default_storage"), {"memory"}, Origin::environment, where);
}

}  // namespace

std::string_view to_string(Origin origin) noexcept {
    switch (origin) {
        case Origin::built_in: return "default";
        case Origin::file: return "file";
        case Origin::environment: return "environment";
        case Origin::flag: return "flag";
    }
    return "unknown";
}

std::string Setting::flag() const {
    std::string text = "--" + key;
    std::ranges::replace_if(text, [](char c) { return c == '.' || c == '_'; }, '-');
    return text;
}

std::string Setting::environment() const {
    std::string text = std::string{variable_prefix} + key;
    std::ranges::transform(text, text.begin(), [](unsigned char c) {
        return c == '.' ? '_' : static_cast<char>(std::toupper(c));
    });
    return text;
}

Result<void> apply(Configuration& configuration, const Setting& setting, const std::vector<std::string>& values,
                   Origin origin, const std::string& where) {
    const bool may_be_empty = setting.takes_empty || origin == Origin::file;
    const bool has_mistake = !may_be_empty && std::ranges::any_of(values, &std::string::empty);
    if (values.empty() || has_mistake || !setting.set(configuration.options, values)) {
        return invalid(where + ": " + setting.key + " is \"" + joined(values) + "\", allowed is " + setting.allowed);
    }
    configuration.origins[setting.key] = origin;
    return {};
}

Result<void> apply_file(Configuration& configuration, const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    std::ostringstream content;
    // A folder can be opened but not read. Nothing is written for an empty file, which is not JSON either.
    if (!file || (file.peek() != std::ifstream::traits_type::eof() && !(content << file.rdbuf())) || file.bad()) {
        return invalid("cannot read the configuration file " + path + ": " + std::generic_category().message(errno));
    }
    const auto text = std::move(content).str();
    Json json;
    try {
        json = Json::parse(text, nullptr, /*allow_exceptions=*/true, /*ignore_comments=*/true);
    } catch (const Json::parse_error& error) {
        return invalid("the configuration file " + path + " is not JSON: " + error.what());
    }
    if (!json.is_object()) {
        return invalid("the configuration file " + path + " is not a JSON object");
    }
    return apply_json(configuration, json, "", path);
}

Result<void> apply_environment(Configuration& configuration,
                               const std::function<const char*(const std::string&)>& lookup) {
    for (const auto& setting : settings_table()) {
        const auto name = setting.environment();
        const char* value = lookup(name);
        if (value == nullptr) {
            continue;
        }
        const auto values = setting.is_list ? split(value) : std::vector<std::string>{value};
        if (auto applied = apply(configuration, setting, values, Origin::environment, "environment " + name); !applied) {
            return applied;
        }
    }
    return apply_memory(configuration, lookup);
}

std::vector<std::string> unknown_variables(const char* const* environment) {
    std::set<std::string, std::less<>> known{"BATON_CONFIG", "BATON_MEMORY", "BATON_URL"};
    for (const auto& setting : settings_table()) {
        known.insert(setting.environment());
    }
    std::vector<std::string> unknown;
    for (; *environment != nullptr; ++environment) {
        const std::string_view variable{*environment};
        const auto name = variable.substr(0, variable.find('='));
        const auto rest = name.substr(std::min(name.size(), variable_prefix.size()));
        const bool is_of_service = rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_");
        if (name.starts_with(variable_prefix) && !is_of_service && !known.contains(name)) {
            unknown.emplace_back(name);
        }
    }
    return unknown;
}

std::string unknown_variable_text(const std::string& name) {
    return name + " in the environment is no setting of batond and changes nothing; docs/operations.md lists them";
}

bool is_durable_by_default(const Options& options) noexcept {
    return options.default_storage == "durable" ||
           (options.default_storage == "auto" && options.is_data_dir_configured && !options.data_dir.empty());
}

std::string default_data_dir(const std::function<const char*(const std::string&)>& lookup) {
    for (const auto& [name, below] :
         {std::pair{"XDG_STATE_HOME", "/baton"}, std::pair{"HOME", "/.local/state/baton"}}) {
        if (const char* value = lookup(name); value != nullptr && value[0] == '/') {
            return std::string{value} + below;
        }
    }
    return {};
}

void complete(Options& options) {
    auto& limits = options.limits;
    limits.channel_defaults.message_size_max = limits.message_size_max;
    auto durable = limits.channel_defaults;
    durable.is_durable = true;
    durable.messages_max = limits.durable_defaults.messages_max;
    durable.bytes_max = limits.durable_defaults.bytes_max;
    limits.durable_defaults = durable;
}

namespace {

/// A multiple of the pages that the log is made of (docs/storage.md, section 3).
constexpr std::uint64_t wal_page_size = 4096;

Result<void> check_storage(const Options& options) {
    if (options.data_dir.find('\0') != std::string::npos) {
        return invalid("data_dir contains a NUL");
    }
    if (options.data_dir.empty() && options.default_storage == "durable") {
        return invalid("default_storage is \"durable\", which needs a data_dir, but data_dir is \"\"");
    }
    if (options.storage.wal_file_size % wal_page_size != 0) {
        return invalid("wal_file_size is \"" + format_size(options.storage.wal_file_size) +
                       "\", allowed is a multiple of 4k");
    }
    for (std::size_t index = 0; index < options.policies.size(); ++index) {
        const auto& policy = options.policies[index];
        const auto place = "policies[" + std::to_string(index) + "].";
        if (options.data_dir.empty() && policy.is_durable.value_or(false)) {
            return invalid(place + "storage is \"durable\", which needs a data_dir, but data_dir is \"\"");
        }
        if (policy.message_size_max.value_or(0) > options.limits.message_size_max) {
            return invalid(place + "message_size_max is \"" + format_size(*policy.message_size_max) +
                           "\", allowed is at most limits.message_size_max (" +
                           format_size(options.limits.message_size_max) + ")");
        }
    }
    return {};
}

/// Whoever has one twice would find "another process" there, which is this one. Of port 0 each gets a port of its own.
Result<void> check_listen(const std::vector<std::string>& urls) {
    std::vector<net::Endpoint> endpoints;
    for (const auto& url : urls) {
        const auto endpoint = net::parse_listen_url(url);
        if (!endpoint) {
            return invalid("listen: " + endpoint.error().message());
        }
        const bool is_any_port = endpoint->transport == net::Transport::tcp && endpoint->port == 0;
        if (!is_any_port && std::ranges::find(endpoints, *endpoint) != endpoints.end()) {
            return invalid("listen: '" + url + "' is given twice; leave one of them out");
        }
        endpoints.push_back(*endpoint);
    }
    return {};
}

}  // namespace

Result<void> check(const Options& options) {
    if (auto checked = check_listen(options.listen); !checked) {
        return checked;
    }
    const auto& limits = options.limits;
    const auto sizes = [](std::uint64_t value, const std::string& allowed, std::uint64_t other) {
        return " is \"" + format_size(value) + "\", allowed is " + allowed + " (" + format_size(other) + ")";
    };
    if (limits.outbox_low_water >= limits.outbox_high_water) {
        return invalid("limits.outbox_low_water" +
                       sizes(limits.outbox_low_water, "less than limits.outbox_high_water", limits.outbox_high_water));
    }
    if (limits.outbox_high_water > limits.outbox_max) {
        return invalid("limits.outbox_high_water" +
                       sizes(limits.outbox_high_water, "at most limits.outbox_max", limits.outbox_max));
    }
    if (limits.message_size_max > limits.memory_max / 2) {
        return invalid("limits.message_size_max" + sizes(limits.message_size_max, "at most half of limits.memory_max",
                                                         limits.memory_max) + ": lower the one or raise the other");
    }
    return check_storage(options);
}

std::string show(const Configuration& configuration, bool with_origin) {
    Json json = Json::object();
    const auto told = [&](const std::string& key, Json value) {
        if (!with_origin) {
            return value;
        }
        const auto origin = configuration.origins.find(key);
        const auto from = origin == configuration.origins.end() ? Origin::built_in : origin->second;
        return Json{{"value", std::move(value)}, {"origin", to_string(from)}};
    };
    for (const auto& setting : settings_table()) {
        const auto values = setting.show(configuration.options);
        const auto value = told(setting.key, setting.is_list ? Json(values) : Json(values.front()));
        if (setting.key.starts_with("limits.")) {
            json["limits"][setting.key.substr(7)] = value;
        } else {
            json[setting.key] = value;
        }
    }
    json["policies"] = told("policies", runtime::policies_json(configuration.options.policies));
    return json.dump(2, ' ', false, Json::error_handler_t::replace);  // Paths are any bytes.
}

}  // namespace baton::app
