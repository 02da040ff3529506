// The data directory of this process: its lock, the start on it, and the two threads that do its blocking work, one for
// the logs of all shards and one for everything else. The only place that makes them.
// Thread: main. Next files: server/runtime/storage_start.hpp, application.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "server/runtime/policy_book.hpp"
#include "server/runtime/shard.hpp"
#include "server/runtime/shard_store.hpp"
#include "server/storage/io_worker.hpp"
#include "server/storage/posix_file_system.hpp"

namespace baton::app {

class DataStore {
public:
    /// Makes the directory, with its parents, if need be, and locks it. The error says what to do.
    [[nodiscard]] static Result<std::unique_ptr<DataStore>> open(const std::string& directory);
    DataStore(const DataStore&) = delete;
    DataStore& operator=(const DataStore&) = delete;
    ~DataStore();

    /// Recovers what is there and hands it to the shards, which do not run yet and have been told of each other. Of
    /// `settings` generation, shard and shard_count are filled in here.
    [[nodiscard]] Result<void> start(const std::vector<runtime::Shard*>& shards, runtime::ShardStoreSettings settings);
    /// After the shards have ended.
    void stop();

    /// What is wrong with what was recovered, one line each; for the health of the broker.
    [[nodiscard]] const std::vector<std::string>& damage() const noexcept { return damage_; }
    [[nodiscard]] const std::string& directory() const noexcept { return directory_; }
    /// Those that were set while a broker ran on it. After start().
    [[nodiscard]] const runtime::PolicyBook::Policies& policies() const noexcept { return policies_; }

private:
    DataStore(std::string directory, std::unique_ptr<storage::PosixFileSystem> files,
              std::unique_ptr<storage::FileLock> lock);

    const std::string directory_;
    const std::unique_ptr<storage::PosixFileSystem> files_;
    const std::unique_ptr<storage::FileLock> lock_;
    std::vector<std::string> damage_;
    runtime::PolicyBook::Policies policies_;
    storage::IoWorker sync_worker_;
    storage::IoWorker bulk_worker_;
};

}  // namespace baton::app
