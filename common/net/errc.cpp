// The texts of the errors.
#include "common/net/errc.hpp"

#include <string>

namespace baton::net {

namespace {

class Category final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "baton.net"; }

    [[nodiscard]] std::string message(int value) const override {
        switch (static_cast<Errc>(value)) {
            case Errc::invalid_url:
                return "not a valid URL";
            case Errc::unsupported_scheme:
                return "scheme is not supported";
            case Errc::path_too_long:
                return "path is too long for a Unix socket";
            case Errc::already_listening:
                return "another process listens there";
            case Errc::not_a_socket:
                return "the file exists and is not a socket";
            case Errc::host_not_found:
                return "host not found";
            case Errc::connect_timeout:
                return "no answer in time";
        }
        return "unknown error " + std::to_string(value);
    }
};

}  // namespace

const std::error_category& net_category() noexcept {
    static const Category category;
    return category;
}

std::error_code make_error_code(Errc code) noexcept {
    return {static_cast<int>(code), net_category()};
}

}  // namespace baton::net
