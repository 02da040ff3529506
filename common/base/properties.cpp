#include "common/base/properties.hpp"

#include <algorithm>
#include <limits>
#include <string_view>

namespace baton {

namespace {

constexpr std::size_t property_header_size = 3;
constexpr std::size_t name_size_size = 2;

struct Property {
    std::uint8_t id;
    Bytes value;
};

// The next property and what follows it, or nothing if it is not whole.
std::optional<Property> take_property(Bytes& block) noexcept {
    if (block.size() < property_header_size) {
        return std::nullopt;
    }
    const auto id = std::to_integer<std::uint8_t>(block[0]);
    const std::size_t size = load_u16(block.data() + 1);
    if (block.size() - property_header_size < size) {
        return std::nullopt;
    }
    const Property property{id, block.subspan(property_header_size, size)};
    block = block.subspan(property_header_size + size);
    return property;
}

bool has_possible_size(const Property& property) noexcept {
    switch (static_cast<PropertyId>(property.id)) {
        case PropertyId::priority:
            return property.value.size() == 1;
        case PropertyId::ttl_us:
        case PropertyId::delay_us:
        case PropertyId::not_before_us:
            return property.value.size() == 8;
        case PropertyId::user_header:
            return property.value.size() >= name_size_size &&
                   property.value.size() - name_size_size >= load_u16(property.value.data());
        case PropertyId::key:
        case PropertyId::content_type:
        case PropertyId::reply_to:
        case PropertyId::correlation_id:
        case PropertyId::trace_context:
        case PropertyId::message_id:
            return true;
    }
    return true;  // A property of a later version.
}

std::chrono::microseconds microseconds_of(Bytes value) noexcept {
    constexpr auto us_max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return std::chrono::microseconds{static_cast<std::int64_t>(std::min(load_u64(value.data()), us_max))};
}

std::chrono::sys_time<std::chrono::microseconds> time_of(Bytes value) noexcept {
    return std::chrono::sys_time<std::chrono::microseconds>{
        std::chrono::microseconds{static_cast<std::int64_t>(load_u64(value.data()))}};
}

// Writes properties one after the other; remembers if one of them is too large for its 16-bit size.
class BlockWriter {
public:
    void text(PropertyId id, std::string_view value) {
        if (!value.empty()) {
            header(id, value.size());
            writer_.bytes(as_bytes(value));
        }
    }

    void microseconds(PropertyId id, std::optional<std::chrono::microseconds> value) {
        if (value) {
            BATON_ASSERT(value->count() >= 0);
            header(id, 8);
            writer_.u64(static_cast<std::uint64_t>(value->count()));
        }
    }

    void time(PropertyId id, std::optional<std::chrono::sys_time<std::chrono::microseconds>> value) {
        if (value) {
            header(id, 8);
            writer_.u64(static_cast<std::uint64_t>(value->time_since_epoch().count()));
        }
    }

    void priority(std::optional<std::uint8_t> value) {
        if (value) {
            header(PropertyId::priority, 1);
            writer_.u8(*value);
        }
    }

    void user_header(std::string_view name, std::string_view value) {
        header(PropertyId::user_header, name_size_size + name.size() + value.size());
        writer_.u16(static_cast<std::uint16_t>(name.size()));
        writer_.bytes(as_bytes(name));
        writer_.bytes(as_bytes(value));
    }

    [[nodiscard]] Result<std::vector<std::byte>> finish() && {
        if (is_too_large_ || block_.size() > properties_size_max) {
            return fail(std::make_error_code(std::errc::message_size),
                        "the properties of a message have more than " + std::to_string(properties_size_max) +
                            " bytes in all");
        }
        return std::move(block_);
    }

private:
    void header(PropertyId id, std::size_t size) {
        is_too_large_ = is_too_large_ || size > properties_size_max;
        writer_.u8(static_cast<std::uint8_t>(id));
        writer_.u16(static_cast<std::uint16_t>(size));
    }

    std::vector<std::byte> block_;
    ByteWriter writer_{block_};
    bool is_too_large_ = false;
};

void read_user_header(Bytes value, MessageProperties& properties) {
    const std::size_t name_size = load_u16(value.data());
    properties.headers.emplace_back(as_text(value.subspan(name_size_size, name_size)),
                                    as_text(value.subspan(name_size_size + name_size)));
}

void read_text(Bytes value, std::string& text) {
    if (text.empty()) {
        text = as_text(value);
    }
}

// The property has a possible size.
void read_property(const Property& property, MessageProperties& properties) {
    switch (static_cast<PropertyId>(property.id)) {
        case PropertyId::key:
            return read_text(property.value, properties.key);
        case PropertyId::priority:
            properties.priority = properties.priority.value_or(std::to_integer<std::uint8_t>(property.value[0]));
            return;
        case PropertyId::ttl_us:
            properties.ttl = properties.ttl.value_or(microseconds_of(property.value));
            return;
        case PropertyId::delay_us:
            properties.delay = properties.delay.value_or(microseconds_of(property.value));
            return;
        case PropertyId::content_type:
            return read_text(property.value, properties.content_type);
        case PropertyId::reply_to:
            return read_text(property.value, properties.reply_to);
        case PropertyId::correlation_id:
            return read_text(property.value, properties.correlation_id);
        case PropertyId::trace_context:
            return read_text(property.value, properties.trace_context);
        case PropertyId::user_header:
            return read_user_header(property.value, properties);
        case PropertyId::message_id:
            return read_text(property.value, properties.message_id);
        case PropertyId::not_before_us:
            properties.not_before = properties.not_before.value_or(time_of(property.value));
            return;
    }
}

}  // namespace

bool MessageProperties::empty() const noexcept {
    return key.empty() && !priority && !ttl && !delay && !not_before && content_type.empty() && reply_to.empty() &&
           correlation_id.empty() && trace_context.empty() && message_id.empty() && headers.empty();
}

Result<std::vector<std::byte>> encode_properties(const MessageProperties& properties) {
    BlockWriter block;
    block.text(PropertyId::key, properties.key);
    block.priority(properties.priority);
    block.microseconds(PropertyId::ttl_us, properties.ttl);
    block.microseconds(PropertyId::delay_us, properties.delay);
    block.text(PropertyId::content_type, properties.content_type);
    block.text(PropertyId::reply_to, properties.reply_to);
    block.text(PropertyId::correlation_id, properties.correlation_id);
    block.text(PropertyId::trace_context, properties.trace_context);
    for (const auto& [name, value] : properties.headers) {
        block.user_header(name, value);
    }
    block.text(PropertyId::message_id, properties.message_id);
    block.time(PropertyId::not_before_us, properties.not_before);
    return std::move(block).finish();
}

std::expected<MessageProperties, BatchErrc> decode_properties(Bytes block) {
    MessageProperties properties;
    while (!block.empty()) {
        const std::optional<Property> property = take_property(block);
        if (!property || !has_possible_size(*property)) {
            return std::unexpected{BatchErrc::property_malformed};
        }
        read_property(*property, properties);
    }
    return properties;
}

bool is_well_formed_block(Bytes block) noexcept {
    while (!block.empty()) {
        const std::optional<Property> property = take_property(block);
        if (!property || !has_possible_size(*property)) {
            return false;
        }
    }
    return true;
}

std::optional<Bytes> find_property(Bytes block, PropertyId id) noexcept {
    while (const std::optional<Property> property = take_property(block)) {
        if (property->id == static_cast<std::uint8_t>(id)) {
            return property->value;
        }
    }
    return std::nullopt;
}

}  // namespace baton
