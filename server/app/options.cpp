#include "server/app/options.hpp"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/net/endpoint.hpp"

namespace baton::app {

namespace {

using Json = nlohmann::ordered_json;

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
        if (key == "limits" && value.is_object()) {
            if (auto nested = apply_json(configuration, value, "limits.", path); !nested) {
                return nested;
            }
            continue;
        }
        const auto* setting = find_setting(key);
        if (setting == nullptr) {
            return invalid(path + ": the key \"" + key + "\" is unknown; `batond config show` lists all keys");
        }
        const auto texts = texts_of(value, setting->is_list);
        if (!texts) {
            return invalid(path + ": " + key + " is " + value.dump() + ", allowed is " + setting->allowed);
        }
        if (auto applied = apply(configuration, *setting, *texts, Origin::file, path); !applied) {
            return applied;
        }
    }
    return {};
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
    std::string text = "BATON_" + key;
    std::ranges::transform(text, text.begin(), [](unsigned char c) {
        return c == '.' ? '_' : static_cast<char>(std::toupper(c));
    });
    return text;
}

Result<void> apply(Configuration& configuration, const Setting& setting, const std::vector<std::string>& values,
                   Origin origin, const std::string& where) {
    if (values.empty() || !setting.set(configuration.options, values)) {
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
    return {};
}

Result<void> check(const Options& options) {
    for (const auto& url : options.listen) {
        if (const auto endpoint = net::parse_listen_url(url); !endpoint) {
            return invalid("listen: " + endpoint.error().message());
        }
    }
    if (options.limits.outbox_low_water >= options.limits.outbox_high_water) {
        return invalid("limits.outbox_low_water must be below limits.outbox_high_water");
    }
    if (options.limits.outbox_high_water > options.limits.outbox_max) {
        return invalid("limits.outbox_high_water must not exceed limits.outbox_max");
    }
    if (options.limits.message_size_max > options.limits.memory_max / 2) {
        return invalid("limits.message_size_max must not exceed half of limits.memory_max");
    }
    return {};
}

std::string show(const Configuration& configuration, bool with_origin) {
    Json json = Json::object();
    for (const auto& setting : settings_table()) {
        const auto values = setting.show(configuration.options);
        Json value = setting.is_list ? Json(values) : Json(values.front());
        const auto origin = configuration.origins.find(setting.key);
        if (with_origin) {
            const auto from = origin == configuration.origins.end() ? Origin::built_in : origin->second;
            value = Json{{"value", value}, {"origin", to_string(from)}};
        }
        if (setting.key.starts_with("limits.")) {
            json["limits"][setting.key.substr(7)] = value;
        } else {
            json[setting.key] = value;
        }
    }
    return json.dump(2, ' ', false, Json::error_handler_t::replace);  // Paths are any bytes.
}

}  // namespace baton::app
