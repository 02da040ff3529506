#include "server/app/data_store.hpp"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <optional>
#include <random>
#include <utility>

#include "server/runtime/policy_admin.hpp"
#include "server/runtime/storage_settings.hpp"
#include "server/runtime/storage_start.hpp"
#include "server/storage/data_directory.hpp"
#include "server/storage/errc.hpp"

namespace baton::app {

namespace {

/// Recoveries that take longer than this say how far they have got, and again after as much time.
constexpr Duration progress_period = std::chrono::seconds{1};

std::string advice(const std::error_code& code, const std::string& directory) {
    if (code == storage::Errc::locked) {
        return "; stop that broker, or give this one another --data-dir";
    }
    if (code == storage::Errc::not_permitted) {
        return "; make " + directory + " writable for this user, or choose another --data-dir";
    }
    if (code == storage::Errc::newer_version) {
        return "; start the version of batond that wrote it, or a newer one";
    }
    if (code == storage::Errc::damaged) {
        return "; nothing was changed: look at it with baton-inspect, restore a backup, or choose another --data-dir";
    }
    if (code == storage::Errc::no_space) {
        return "; make space on that file system";
    }
    if (code == storage::Errc::not_a_directory) {
        return "; a file is in the way: choose another --data-dir";
    }
    return "; nothing was deleted: look at it with baton-inspect, restore a backup, or choose another --data-dir";
}

/// One of the files in the root of the directory whose name something else has.
std::optional<std::string> what_is_no_file(const std::string& directory) {
    for (const auto& name : std::array<std::string, 3>{"LOCK", "MANIFEST", storage::policies_path}) {
        struct stat status{};
        const auto path = directory + "/" + name;
        if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
            return path;
        }
    }
    return std::nullopt;
}

Error advised(Error error, const std::string& directory) {
    error.context = "data directory " + directory + ": " + error.context;
    const bool may_be_no_file = error.code == storage::Errc::not_permitted || error.code == storage::Errc::io_error;
    const auto path = may_be_no_file ? what_is_no_file(directory) : std::nullopt;
    const auto text = path ? "; " + *path + " must be a file: move away what is there, or choose another --data-dir"
                           : advice(error.code, directory);
    return {error.code, error.message() + text};
}

/// Makes it if it is not there, for its owner only: messages are nobody else's business. What is wrong shows when it is
/// opened.
void make_directory(const std::filesystem::path& directory) {
    std::error_code error;
    const auto path = directory.has_filename() ? directory : directory.parent_path();
    if (path.has_parent_path()) {
        std::filesystem::create_directories(path.parent_path(), error);
    }
    static_cast<void>(::mkdir(path.c_str(), S_IRWXU));
}

}  // namespace

DataStore::DataStore(std::string directory, std::unique_ptr<storage::PosixFileSystem> files,
                     std::unique_ptr<storage::FileLock> lock)
    : directory_{std::move(directory)},
      files_{std::move(files)},
      lock_{std::move(lock)},
      sync_worker_{*files_, "sync"},
      bulk_worker_{*files_, "bulk"} {}

DataStore::~DataStore() = default;

Result<std::unique_ptr<DataStore>> DataStore::open(const std::string& directory) {
    make_directory(directory);
    auto files = storage::PosixFileSystem::open_root(directory);
    if (!files && files.error().code == storage::Errc::not_found) {
        files.error().context = "data directory " + directory + ": " + files.error().context;
        return fail(files.error().code, files.error().message() + "; it cannot be made: make it, or choose another --data-dir");
    }
    if (!files) {
        return fail(advised(files.error(), directory));
    }
    auto lock = storage::lock_data_directory(**files);
    if (!lock) {
        return fail(advised(lock.error(), directory));
    }
    return std::unique_ptr<DataStore>{new DataStore{directory, std::move(*files), std::move(*lock)}};
}

Result<void> DataStore::start(const std::vector<runtime::Shard*>& shards, runtime::ShardStoreSettings settings) {
    const auto began = std::chrono::steady_clock::now();
    auto reported = began;
    auto policies = runtime::load_policies(*files_);
    if (!policies) {
        return fail(advised(policies.error(), directory_));
    }
    policies_ = std::move(*policies);
    runtime::StorageStart start{*files_};
    auto done = start.recover(shards.front()->pool(), [&](double part) {
        const auto now = std::chrono::steady_clock::now();
        if (now - reported >= progress_period) {
            reported = now;
            spdlog::info("recovering {}: {:.0f} %", directory_, part * 100);
        }
    });
    if (done) {
        done = start.begin_generation(static_cast<std::uint32_t>(shards.size()));
    }
    settings.generation = start.generation();
    settings.shard_count = static_cast<std::uint32_t>(shards.size());
    if (const auto space = files_->space()) {
        const auto wanted = settings.wal_file_size;
        settings.wal_file_size = runtime::wal_file_size_on(space->total, settings.shard_count, wanted);
        settings.is_disk_small = settings.wal_file_size < wanted;
    }
    // Too little space: how much it would take, and whose.
    const auto refused = [&](Error error) {
        const auto space = files_->space();
        if (error.code == storage::Errc::no_space && space) {
            error.context += (error.context.empty() ? "" : ": ") + std::string{"the start needs about "} +
                             std::to_string(start.bytes_needed(settings.wal_file_size)) +
                             " bytes on its file system, for what is alive in the log is written once more, and " +
                             std::to_string(space->available) + " are free";
        }
        return fail(advised(std::move(error), directory_));
    };
    if (!done) {
        return refused(done.error());
    }
    std::random_device random;
    std::vector<runtime::ShardBroker*> brokers;
    for (auto* shard : shards) {
        settings.shard = static_cast<std::uint32_t>(brokers.size());
        settings.wal_salt = std::uint64_t{random()} << 32U | random();
        settings.on_trouble = [shard_number = settings.shard](const std::string& trouble) {
            if (trouble.empty()) {
                spdlog::info("shard {}: durable channels take messages again", shard_number);
            } else {
                spdlog::error("shard {}: {}", shard_number, trouble);
            }
        };
        shard->open_store(*files_, settings);
        brokers.push_back(&shard->broker());
    }
    done = start.install(brokers, [&] {
        bool had_any = false;
        for (auto* shard : shards) {
            had_any = shard->run_storage_jobs(*files_) || had_any;
        }
        return had_any;
    });
    if (done) {
        done = start.finish();
    }
    if (!done) {
        return refused(done.error());
    }
    for (auto* shard : shards) {
        shard->serve_storage(sync_worker_, bulk_worker_);
    }
    const auto& recovery = start.recovery();
    std::uint64_t messages = 0;
    for (const auto& image : recovery.channels) {
        messages += image.live_messages();
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    spdlog::info("data directory {}: {} durable channel(s), {} message(s), {} log bytes read in {:.3f} s", directory_,
                 recovery.channels.size(), messages, recovery.log_bytes, took.count());
    for (const auto& text : recovery.torn) {
        spdlog::warn("an unfinished write at the end of the log was cut off; nothing in it had been confirmed: {}", text);
    }
    damage_ = recovery.damage;
    for (const auto& image : recovery.channels) {
        if (!image.settings().damage.empty()) {
            damage_.push_back("channel \"" + image.settings().name + "\" is quarantined: " + image.settings().damage);
        }
    }
    for (const auto& text : damage_) {
        spdlog::error("damage: {}", text);
    }
    return {};
}

void DataStore::stop() {
    sync_worker_.stop(storage::IoWorker::Waiting::dropped);
    bulk_worker_.stop(storage::IoWorker::Waiting::dropped);
}

}  // namespace baton::app
