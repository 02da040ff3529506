#include "client/cli/file_transfer.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "client/cli/progress.hpp"
#include "common/base/base64.hpp"

namespace baton::cli {

namespace {

constexpr std::size_t threads_max = 4;

}  // namespace

// Inside of a string each of these quotes has a backslash in front, so this is a key.
std::string_view body_in(std::string_view reply) noexcept {
    constexpr std::string_view key = R"("body_base64":")";
    const auto at = reply.find(key);
    if (at == std::string_view::npos) {
        return {};
    }
    reply.remove_prefix(at + key.size());
    const auto body = reply.substr(0, reply.find('"'));
    return body.contains('\\') ? std::string_view{} : body;
}

std::string with_body(std::string object, Bytes body) {
    object.erase(object.rfind('}'));
    object += object == "{" ? R"("body_base64":")" : R"(,"body_base64":")";
    object += base64_encode(body);
    return object += "\"}";
}

bool FileTransfer::carried(std::uint64_t bytes) {
    const std::lock_guard lock{mutex_};
    bytes_ += bytes;
    return !trouble_;
}

void FileTransfer::carry_some(const std::vector<TransferFile>& files,
                              const std::function<void(const TransferFile&)>& carry) {
    for (;;) {
        std::size_t file = 0;
        {
            const std::lock_guard lock{mutex_};
            if (trouble_ || next_ == files.size()) {
                return;
            }
            file = next_++;
        }
        try {
            carry(files[file]);
        } catch (...) {
            const std::lock_guard lock{mutex_};
            trouble_ = trouble_ ? trouble_ : std::current_exception();
        }
    }
}

void FileTransfer::run(const std::vector<TransferFile>& files,
                       const std::function<void(const TransferFile&)>& carry) {
    constexpr std::uint64_t mebibyte = 1ULL << 20U;
    Progress progress{global_, verb_, bytes_total_ / mebibyte};
    std::vector<std::jthread> threads;
    const std::size_t count = std::min(threads_max, files.size());
    running_ = count;
    for (std::size_t i = 0; i < count; ++i) {
        threads.emplace_back([&] {
            carry_some(files, carry);
            const std::lock_guard lock{mutex_};
            --running_;
            changed_.notify_all();
        });
    }
    std::unique_lock lock{mutex_};
    while (running_ > 0) {
        changed_.wait_for(lock, std::chrono::milliseconds{5});
        progress.reached(bytes_ / mebibyte,
                         static_cast<double>(bytes_) / static_cast<double>(std::max<std::uint64_t>(bytes_total_, 1)));
    }
    if (trouble_) {
        std::rethrow_exception(trouble_);
    }
}

}  // namespace baton::cli
