// The files of a backup on their way, several at once: enough to keep the connection busy. What is done with a file is the
// caller's. Next files: backup.cpp, restore.cpp.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/command.hpp"
#include "common/base/bytes.hpp"

namespace baton::cli {

struct TransferFile {
    std::string path;  ///< Below the backup's directory.
    std::uint64_t size = 0;
};

/// "body_base64" in the text of a reply to backup.read. Empty if it is not there, or is no string that stands for itself.
/// As text, because a parser looks at each character; it is not taken for the value of another key, or for a part of one.
[[nodiscard]] std::string_view body_in(std::string_view reply) noexcept;
/// The text of an object, with "body_base64" of these bytes in it.
[[nodiscard]] std::string with_body(std::string object, Bytes body);

class FileTransfer {
public:
    /// Progress is said in MiB, with this verb in the past ("fetched").
    FileTransfer(const GlobalOptions& global, const char* verb, std::uint64_t bytes_total) noexcept
        : global_{global}, verb_{verb}, bytes_total_{bytes_total} {}

    /// Calls `carry` for each file, on threads of its own; returns when all are through. The first that throws ends it, and is
    /// thrown again here.
    void run(const std::vector<TransferFile>& files, const std::function<void(const TransferFile&)>& carry);
    /// `carry` has carried so many more bytes. False: another file has failed, and this one is not wanted any more.
    [[nodiscard]] bool carried(std::uint64_t bytes);

private:
    void carry_some(const std::vector<TransferFile>& files, const std::function<void(const TransferFile&)>& carry);

    const GlobalOptions& global_;
    const char* verb_;
    const std::uint64_t bytes_total_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t next_ = 0;  // Of the files.
    std::size_t running_ = 0;
    std::uint64_t bytes_ = 0;
    std::exception_ptr trouble_;
};

}  // namespace baton::cli
