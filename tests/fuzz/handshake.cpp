// Any bytes as a preamble and as the JSON bodies of HELLO, WELCOME and GOAWAY: what is taken is within its limits and
// comes out the same when it is written and read again. Corpus: corpus/handshake.

#include "common/wire/handshake.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

#include "common/base/assert.hpp"
#include "common/base/utf8.hpp"
#include "common/wire/frame.hpp"

namespace {

using namespace baton;
using namespace baton::wire;

constexpr std::size_t text_size_max = 200;

void check_preambles(Bytes bytes) {
    for (std::size_t count = 0; count <= bytes.size() && count <= preamble_size; ++count) {
        const Bytes beginning = bytes.first(count);
        BATON_ASSERT(!may_be_preamble(beginning) || !looks_like_http(beginning));
        BATON_ASSERT(may_be_preamble(beginning) || !may_be_preamble(bytes));  // Once false, always false.
    }
    if (bytes.size() < preamble_size) {
        return;
    }
    const Bytes first = bytes.first(preamble_size);
    if (const auto client = decode_client_preamble(first)) {
        BATON_ASSERT(may_be_preamble(first) && equal(encode(*client), first));
        const BrokerPreamble broker;
        const std::uint8_t chosen = choose_version(*client, broker);
        BATON_ASSERT(chosen == 0 || (chosen >= client->low && chosen <= client->high && chosen == version_current));
    }
    if (const auto broker = decode_broker_preamble(first)) {
        BATON_ASSERT(may_be_preamble(first) && equal(encode(*broker), first));
    }
}

// A refusal says why, in a text that fits into an ERROR.
void check_refusal(const std::string& text) {
    BATON_ASSERT(!text.empty() && text.size() <= text_size_max && is_valid_utf8(as_bytes(text)));
}

void check_hello(Bytes bytes) {
    const auto hello = decode_hello(bytes);
    if (!hello) {
        return check_refusal(hello.error());
    }
    BATON_ASSERT(hello->agent.size() <= text_size_max && hello->name.size() <= text_size_max);
    BATON_ASSERT(!hello->heartbeat_ms ||
                 (*hello->heartbeat_ms >= heartbeat_ms_min && *hello->heartbeat_ms <= heartbeat_ms_max));
    BATON_ASSERT(!hello->frame_size_max || *hello->frame_size_max >= frame_size_max_minimum);
    const std::string json = encode(*hello);
    const auto again = decode_hello(as_bytes(json));
    BATON_ASSERT(again && encode(*again) == json);
}

void check_welcome(Bytes bytes) {
    const auto welcome = decode_welcome(bytes);
    if (!welcome) {
        return check_refusal(welcome.error());
    }
    BATON_ASSERT(welcome->frame_size_max >= frame_size_max_minimum && welcome->heartbeat_ms > 0);
    BATON_ASSERT(welcome->fragment_size_max > 0 && welcome->fragment_size_max <= fragment_size_max);
    const std::string json = encode(*welcome);
    const auto again = decode_welcome(as_bytes(json));
    BATON_ASSERT(again && encode(*again) == json);
}

void check_goaway(Bytes bytes) {
    const auto goaway = decode_goaway(bytes);
    if (!goaway) {
        return check_refusal(goaway.error());
    }
    const std::string json = encode(*goaway);
    const auto again = decode_goaway(as_bytes(json));
    BATON_ASSERT(again && encode(*again) == json);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
    check_preambles(bytes);
    check_hello(bytes);
    check_welcome(bytes);
    check_goaway(bytes);
    return 0;
}
