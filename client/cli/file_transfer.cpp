#include "client/cli/file_transfer.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "client/cli/progress.hpp"

namespace baton::cli {

namespace {

constexpr std::size_t threads_max = 4;

}  // namespace

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
