#include "common/wire/handshake.hpp"

#include <algorithm>
#include <limits>
#include <span>

#include <nlohmann/json.hpp>

#include "common/base/assert.hpp"
#include "common/wire/frame.hpp"
#include "common/wire/text_field.hpp"

namespace baton::wire {

// --- Preamble --------------------------------------------------------------------------------------------------------

namespace {

constexpr std::string_view magic = "BATN";

void put_magic(PreambleBytes& bytes) noexcept {
    copy_bytes(bytes.data(), as_bytes(magic));
}

bool starts_with(std::string_view text, std::string_view beginning) noexcept {
    return text.substr(0, beginning.size()) == beginning.substr(0, text.size());
}

}  // namespace

PreambleBytes encode(const ClientPreamble& preamble) noexcept {
    PreambleBytes bytes{};
    put_magic(bytes);
    bytes[4] = std::byte{preamble.low};
    bytes[5] = std::byte{preamble.high};
    return bytes;
}

PreambleBytes encode(const BrokerPreamble& preamble) noexcept {
    PreambleBytes bytes{};
    put_magic(bytes);
    bytes[4] = std::byte{preamble.chosen};
    bytes[5] = std::byte{preamble.low};
    bytes[6] = std::byte{preamble.high};
    return bytes;
}

std::optional<ClientPreamble> decode_client_preamble(Bytes bytes) noexcept {
    BATON_ASSERT(bytes.size() == preamble_size);
    const ClientPreamble preamble{.low = load_u8(bytes.data() + 4), .high = load_u8(bytes.data() + 5)};
    if (!may_be_preamble(bytes) || load_u16(bytes.data() + 6) != 0 || preamble.low > preamble.high) {
        return std::nullopt;
    }
    return preamble;
}

std::optional<BrokerPreamble> decode_broker_preamble(Bytes bytes) noexcept {
    BATON_ASSERT(bytes.size() == preamble_size);
    const BrokerPreamble preamble{
        .chosen = load_u8(bytes.data() + 4), .low = load_u8(bytes.data() + 5), .high = load_u8(bytes.data() + 6)};
    if (!may_be_preamble(bytes) || load_u8(bytes.data() + 7) != 0 || preamble.low > preamble.high) {
        return std::nullopt;
    }
    if (preamble.chosen != 0 && (preamble.chosen < preamble.low || preamble.chosen > preamble.high)) {
        return std::nullopt;
    }
    return preamble;
}

bool may_be_preamble(Bytes first_bytes) noexcept {
    return starts_with(as_text(first_bytes), magic);
}

bool looks_like_http(Bytes first_bytes) noexcept {
    static constexpr std::array<std::string_view, 10> methods{
        "GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "CONNECT ", "TRACE ", "PATCH ", "PRI * HTTP/2"};
    const std::string_view text = as_text(first_bytes);
    return !text.empty() &&
           std::ranges::any_of(methods, [text](std::string_view method) { return starts_with(text, method); });
}

std::uint8_t choose_version(const ClientPreamble& client, const BrokerPreamble& broker) noexcept {
    const std::uint8_t highest = std::min(client.high, broker.high);
    return highest >= std::max(client.low, broker.low) ? highest : std::uint8_t{0};
}

// --- JSON ------------------------------------------------------------------------------------------------------------

namespace {

using Json = nlohmann::json;

constexpr std::size_t text_size_max = 200;
constexpr std::size_t goaway_text_size_max = 1'000;
constexpr std::size_t shown_value_size_max = 60;
constexpr std::uint64_t u16_max = std::numeric_limits<std::uint16_t>::max();
constexpr std::uint64_t u32_max = std::numeric_limits<std::uint32_t>::max();

std::string dump(const Json& json) {
    return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);  // Features: anybody's text.
}

/// For an error text: ASCII, so that it can be cut anywhere.
std::string shown(const Json& value) {
    auto text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
    if (text.size() > shown_value_size_max) {
        text.resize(shown_value_size_max);
        text += "...";
    }
    return text;
}

std::string text_field(std::string_view text, std::size_t size_max) {
    std::string field(std::min(text.size(), size_max), '\0');
    field.resize(copy_text(text, std::as_writable_bytes(std::span{field})));
    return field;
}

/// Takes the known keys out of an object and remembers the first thing that is wrong. Keys that nobody asks for are
/// ignored: that is how the protocol grows.
class ObjectReader {
public:
    explicit ObjectReader(Bytes text) {
        // What is nested more deeply than any key that we know needs is dropped while parsing: values that are as deep
        // as a frame is long would exhaust the stack when they are copied or printed.
        const auto is_shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= depth_max; };
        const auto view = as_text(text);
        object_ = Json::parse(view.begin(), view.end(), is_shallow, /*allow_exceptions=*/false);
        if (!object_.is_object()) {
            error_ = "the body is not a JSON object in UTF-8";
            object_ = Json::object();
        }
    }

    void text(const char* key, std::string& value, std::size_t size_max) {
        const Json* found = find(key);
        if (found == nullptr) {
            return;
        }
        if (!found->is_string() || found->get_ref<const std::string&>().size() > size_max) {
            return wrong(key, *found, "a text of at most " + std::to_string(size_max) + " bytes");
        }
        value = found->get<std::string>();
    }

    void texts(const char* key, std::vector<std::string>& values) {
        const Json* found = find(key);
        if (found == nullptr) {
            return;
        }
        if (!found->is_array() || !std::ranges::all_of(*found, [](const Json& item) { return item.is_string(); })) {
            return wrong(key, *found, "a list of texts");
        }
        values = found->get<std::vector<std::string>>();
    }

    void boolean(const char* key, bool& value) {
        const Json* found = find(key);
        if (found == nullptr) {
            return;
        }
        if (!found->is_boolean()) {
            return wrong(key, *found, "true or false");
        }
        value = found->get<bool>();
    }

    void integer(const char* key, std::int64_t& value) {
        const Json* found = find(key);
        if (found == nullptr) {
            return;
        }
        if (!found->is_number_integer() || (found->is_number_unsigned() && found->get<std::uint64_t>() > i64_max)) {
            return wrong(key, *found, "a whole number of at most 64 bits");
        }
        value = found->get<std::int64_t>();
    }

    /// A whole number from `low` to `high`; nothing if the key is not there.
    [[nodiscard]] std::optional<std::uint64_t> number(const char* key, std::uint64_t low, std::uint64_t high) {
        const Json* found = find(key);
        if (found == nullptr) {
            return std::nullopt;
        }
        if (!found->is_number_unsigned() || found->get<std::uint64_t>() < low || found->get<std::uint64_t>() > high) {
            wrong(key, *found, "a whole number from " + std::to_string(low) + " to " + std::to_string(high));
            return std::nullopt;
        }
        return found->get<std::uint64_t>();
    }

    template <class Number>
    void required(const char* key, Number& value, std::uint64_t low, std::uint64_t high) {
        BATON_ASSERT(high <= std::numeric_limits<Number>::max());
        if (find(key) == nullptr) {
            fail(std::string{key} + " is missing");
        } else if (const auto found = number(key, low, high)) {
            value = static_cast<Number>(*found);
        }
    }

    template <class Value>
    [[nodiscard]] std::expected<Value, std::string> finish(Value&& value) && {
        if (!error_.empty()) {
            return std::unexpected{std::move(error_)};
        }
        return std::forward<Value>(value);
    }

private:
    static constexpr int depth_max = 2;  // The object, a list in it, the items of the list.
    static constexpr auto i64_max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

    [[nodiscard]] const Json* find(const char* key) const {
        const auto found = object_.find(key);
        return found == object_.end() ? nullptr : &*found;
    }

    void wrong(const char* key, const Json& value, const std::string& expected) {
        fail(std::string{key} + " must be " + expected + ", not " + shown(value));
    }

    void fail(std::string text) {
        if (error_.empty()) {
            error_ = std::move(text);
        }
    }

    Json object_;
    std::string error_;
};

/// "65,552 or more": what does not fit into our variable is as good as the most that does.
std::optional<std::uint32_t> at_most_u32(std::optional<std::uint64_t> value) noexcept {
    if (!value) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(std::min(*value, u32_max));
}

}  // namespace

std::string encode(const Hello& hello) {
    Json json = Json::object();
    if (!hello.agent.empty()) {
        json["agent"] = text_field(hello.agent, text_size_max);
    }
    if (!hello.name.empty()) {
        json["name"] = text_field(hello.name, text_size_max);
    }
    if (hello.heartbeat_ms) {
        json["heartbeat_ms"] = *hello.heartbeat_ms;
    }
    if (hello.frame_size_max) {
        json["frame_size_max"] = *hello.frame_size_max;
    }
    if (!hello.features.empty()) {
        json["features"] = hello.features;
    }
    return dump(json);
}

std::expected<Hello, std::string> decode_hello(Bytes json) {
    ObjectReader reader{json};
    Hello hello;
    reader.text("agent", hello.agent, text_size_max);
    reader.text("name", hello.name, text_size_max);
    hello.heartbeat_ms = at_most_u32(reader.number("heartbeat_ms", heartbeat_ms_min, heartbeat_ms_max));
    hello.frame_size_max =
        at_most_u32(reader.number("frame_size_max", frame_size_max_minimum, std::numeric_limits<std::uint64_t>::max()));
    reader.texts("features", hello.features);
    return std::move(reader).finish(std::move(hello));
}

std::string encode(const Welcome& welcome) {
    const Json json{{"agent", text_field(welcome.agent, text_size_max)},
                    {"session", welcome.session},
                    {"heartbeat_ms", welcome.heartbeat_ms},
                    {"frame_size_max", welcome.frame_size_max},
                    {"fragment_size_max", welcome.fragment_size_max},
                    {"message_size_max", welcome.message_size_max},
                    {"links_max", welcome.links_max},
                    {"channel_name_size_max", welcome.channel_name_size_max},
                    {"features", welcome.features},
                    {"draining", welcome.draining},
                    {"time_us", welcome.time_us}};
    return dump(json);
}

std::expected<Welcome, std::string> decode_welcome(Bytes json) {
    ObjectReader reader{json};
    Welcome welcome;
    reader.text("agent", welcome.agent, text_size_max);
    welcome.session = reader.number("session", 0, std::numeric_limits<std::uint64_t>::max()).value_or(0);
    reader.required("heartbeat_ms", welcome.heartbeat_ms, 1, heartbeat_ms_max);
    reader.required("frame_size_max", welcome.frame_size_max, frame_size_max_minimum, u32_max);
    reader.required("fragment_size_max", welcome.fragment_size_max, 1, fragment_size_max);
    reader.required("message_size_max", welcome.message_size_max, 1, std::numeric_limits<std::uint64_t>::max());
    reader.required("links_max", welcome.links_max, 1, u16_max);
    reader.required("channel_name_size_max", welcome.channel_name_size_max, 1, u16_max);
    reader.texts("features", welcome.features);
    reader.boolean("draining", welcome.draining);
    reader.integer("time_us", welcome.time_us);
    return std::move(reader).finish(std::move(welcome));
}

std::string encode(const Goaway& goaway) {
    return dump(Json{{"code", text_field(goaway.code, text_size_max)},
                     {"text", text_field(goaway.text, goaway_text_size_max)},
                     {"reconnect_after_ms", goaway.reconnect_after_ms}});
}

std::expected<Goaway, std::string> decode_goaway(Bytes json) {
    ObjectReader reader{json};
    Goaway goaway;
    reader.text("code", goaway.code, text_size_max);
    reader.text("text", goaway.text, goaway_text_size_max);
    goaway.reconnect_after_ms = static_cast<std::uint32_t>(reader.number("reconnect_after_ms", 0, u32_max).value_or(0));
    return std::move(reader).finish(std::move(goaway));
}

}  // namespace baton::wire
