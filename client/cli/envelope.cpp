#include "client/cli/envelope.hpp"

#include <algorithm>
#include <chrono>

#include <nlohmann/json.hpp>

#include "client/cli/times.hpp"
#include "common/base/base64.hpp"
#include "common/base/properties_json.hpp"
#include "common/base/text_form.hpp"
#include "common/base/units.hpp"
#include "common/base/utf8.hpp"

namespace baton::cli {

namespace {

std::string time_text(std::chrono::system_clock::time_point time) {
    return utc_text(std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count());
}

/// Who sends with another program can ask for more than a Duration holds: 292 years.
std::string duration_text(std::chrono::microseconds duration) {
    return format_duration(std::min(duration, std::chrono::floor<std::chrono::microseconds>(Duration::max())));
}

nlohmann::ordered_json envelope_of(const Delivery& delivery) {
    nlohmann::ordered_json json{{"channel", name_text(as_bytes(delivery.channel()))},
                                {"offset", delivery.offset()},
                                {"attempt", delivery.attempt()},
                                {"redelivered", delivery.redelivered()},
                                {"time", time_text(delivery.time())}};
    if (delivery.has_properties()) {
        const auto properties = delivery.properties();
        add_texts(json, properties);
        if (properties.priority) {
            json["priority"] = *properties.priority;
        }
        if (properties.ttl) {
            json["ttl"] = duration_text(*properties.ttl);
        }
        if (properties.delay) {
            json["delay"] = duration_text(*properties.delay);
        }
        if (properties.not_before) {
            json["at"] = utc_text(properties.not_before->time_since_epoch().count());
        }
        add_headers(json, properties);
    }
    if (is_valid_utf8(delivery.body())) {
        json["body"] = delivery.text();
    } else {
        json["body_base64"] = base64_encode(delivery.body());
    }
    return json;
}

}  // namespace

void append_output(std::string& out, const Delivery& delivery, bool as_envelope, bool null_separated) {
    if (as_envelope) {
        out += envelope_of(delivery).dump();
    } else {
        out += delivery.text();
    }
    out += null_separated ? '\0' : '\n';
}

}  // namespace baton::cli
