// Expected failures of files. One enumeration for the folder; what a channel tells its peers is another one
// (server/channel/errc.hpp). Next file: file_system.hpp.
#pragma once

#include <system_error>

namespace baton::storage {

enum class Errc {
    io_error = 1,     ///< The system could not read or write; what is on the disk is unknown.
    no_space,         ///< Of the file system, a quota, or the process's descriptors. Nothing was lost; later it may work.
    not_found,        ///< No such file or directory.
    exists,           ///< It is there already.
    not_permitted,    ///< Access refused, or the file system is read-only.
    locked,           ///< Another process has the lock.
    damaged,          ///< A checksum or a form is wrong.
    newer_version,    ///< Written by a newer version of Baton.
    not_a_directory,  ///< Something on the way is a file.
};

[[nodiscard]] const std::error_category& storage_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(Errc code) noexcept {
    return {static_cast<int>(code), storage_category()};
}

}  // namespace baton::storage

template <>
struct std::is_error_code_enum<baton::storage::Errc> : std::true_type {};
