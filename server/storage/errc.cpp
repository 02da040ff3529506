// The texts of the errors. Next file: file_system.hpp.
#include "server/storage/errc.hpp"

#include <string>

namespace baton::storage {

namespace {

class Category final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "baton.storage"; }

    [[nodiscard]] std::string message(int value) const override {
        switch (static_cast<Errc>(value)) {
            case Errc::io_error:
                return "the system could not read or write";
            case Errc::no_space:
                return "no space left";
            case Errc::not_found:
                return "not found";
            case Errc::exists:
                return "exists already";
            case Errc::not_permitted:
                return "not permitted";
            case Errc::locked:
                return "locked by another process";
            case Errc::damaged:
                return "damaged";
            case Errc::newer_version:
                return "written by a newer version";
            case Errc::not_a_directory:
                return "not a directory";
        }
        return "unknown error " + std::to_string(value);
    }
};

}  // namespace

const std::error_category& storage_category() noexcept {
    static const Category category;
    return category;
}

}  // namespace baton::storage
