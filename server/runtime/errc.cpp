#include "server/runtime/errc.hpp"

#include <string>

#include "common/base/assert.hpp"

namespace baton::runtime {

namespace {

class RuntimeCategory final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "baton.runtime"; }
    [[nodiscard]] std::string message(int value) const override {
        switch (static_cast<Errc>(value)) {
            case Errc::not_found: return "no such channel";
            case Errc::too_many_channels: return "the broker has as many channels as limits.channels_max allows";
            case Errc::no_storage: return "this broker has no data directory for durable channels (batond --data-dir)";
            case Errc::draining: return "the broker is going down and takes no new senders";
        }
        return "unknown runtime error";
    }
};

}  // namespace

const std::error_category& runtime_category() noexcept {
    static const RuntimeCategory category;
    return category;
}

}  // namespace baton::runtime
