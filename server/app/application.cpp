#include "server/app/application.hpp"

#include <unistd.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <thread>

#include "common/base/assert.hpp"
#include "common/base/units.hpp"
#include "common/net/endpoint.hpp"
#include "common/net/errc.hpp"
#include "server/app/logging.hpp"
#include "server/session/session.hpp"

namespace baton::app {

namespace {

constexpr Duration drain_poll_period = std::chrono::milliseconds{10};
/// For peers to read the last frames once everything is settled.
constexpr Duration close_timeout = std::chrono::seconds{3};
/// Clients wait at least this long before they come back.
constexpr std::uint32_t reconnect_after_ms = 500;

std::uint32_t shard_count(const Options& options) {
    return options.shards != 0 ? options.shards : std::max(1U, std::thread::hardware_concurrency());
}

/// What the files of the data directory may need at once, however many connections want all descriptors there are.
constexpr std::size_t storage_descriptors = 256;

/// What to do about it.
const char* advice_to_listen(const std::error_code& code) noexcept {
    if (code == std::errc::address_in_use || code == net::Errc::already_listening) {
        return "; is another broker running there? Stop it, or choose another --listen";
    }
    if (code == std::errc::permission_denied || code == std::errc::operation_not_permitted) {
        return "; choose a port above 1023 or a folder that this user can write to (--listen)";
    }
    if (code == std::errc::address_not_available || code == net::Errc::host_not_found) {
        return "; choose an address of this machine (--listen)";
    }
    if (code == std::errc::no_such_file_or_directory) {
        return "; make the folder first, or choose another --listen";
    }
    return "; choose another --listen";
}

/// A channel that is created without a limit of its own gets the broker's.
runtime::Limits limits_of(const Options& options) {
    auto limits = options.limits;
    limits.channel_defaults.message_size_max = limits.message_size_max;
    return limits;
}

}  // namespace

Application::Application(const CommandLine& command_line)
    : command_line_{command_line},
      state_{limits_of(command_line.configuration.options), shard_count(command_line.configuration.options), clock_},
      drain_ticker_{io_.get_executor(), [this] {
                        phase_ == Phase::settling ? wait_for_settlements() : wait_for_connections();
                    }} {}

Application::~Application() = default;

int Application::run() {
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
        signals_.add(signal);
    }
    std::signal(SIGPIPE, SIG_IGN);
    const auto& ready_file = command_line_.configuration.options.ready_file;
    if (!ready_file.empty()) {
        if (const auto checked = check_ready_file(ready_file); !checked) {
            spdlog::error("{}", checked.error().message());
            return exit_usage;
        }
    }
    for (const auto& name : unknown_variables(environ)) {
        spdlog::warn("{}", unknown_variable_text(name));
    }
    if (const int code = open_store(); code != exit_done) {
        return code;
    }
    if (!ready_file.empty()) {
        remove_ready_file(ready_file);  // Not before the data directory is ours: another broker may be as alive as its file.
    }
    if (!listen()) {
        return exit_cannot_listen;
    }
    std::vector<runtime::Shard*> peers;
    for (std::uint32_t index = 0; index < state_.shard_count; ++index) {
        shards_.push_back(std::make_unique<runtime::Shard>(index, state_, &session::Session::make));
        peers.push_back(shards_.back().get());
    }
    for (auto& shard : shards_) {
        shard->connect(peers);
    }
    state_.policies.configure(command_line_.configuration.options.policies);
    state_.is_durable_by_default = is_durable_by_default(command_line_.configuration.options) && store_ != nullptr;
    if (const int code = start_store(peers); code != exit_done) {
        return code;
    }
    for (auto& shard : shards_) {
        shard->start();
    }
    for (auto& listener : listeners_) {
        listener->start();
    }
    int exit_code = exit_done;
    if (announce_ready()) {
        wait_for_signal();
        io_.run();
    } else {
        exit_code = exit_failed;
        stop_shards();
    }
    for (auto& shard : shards_) {
        shard->join();
    }
    if (store_) {
        store_->stop();
    }
    if (ready_file_) {
        remove_own_ready_file(*ready_file_);
    }
    notify_service_manager("STOPPING=1");
    return exit_code;
}

// --- Durable channels ----------------------------------------------------------------------------------------------------

/// A directory that was asked for must be usable. The default one need not be: a second broker of the same user is fine,
/// and does without.
int Application::open_store() {
    const auto& options = command_line_.configuration.options;
    if (options.data_dir.empty()) {
        return exit_done;
    }
    auto opened = DataStore::open(options.data_dir);
    if (opened) {
        store_ = std::move(*opened);
        return exit_done;
    }
    if (options.is_data_dir_configured) {
        spdlog::error("{}", opened.error().context);
        return exit_data_dir;
    }
    spdlog::warn("no durable channels, because the default {}", opened.error().context);
    return exit_done;
}

int Application::start_store(const std::vector<runtime::Shard*>& shards) {
    if (!store_) {
        return exit_done;
    }
    const auto& storage = command_line_.configuration.options.storage;
    const auto started = store_->start(shards, {.wal_file_size = storage.wal_file_size,
                                                .segment_size = storage.segment_size,
                                                .settle_interval = storage.settle_sync_interval,
                                                .disk_free_min = storage.disk_free_min});
    if (!started) {
        spdlog::error("{}", started.error().context);
        return exit_data_dir;
    }
    state_.policies.set(store_->policies());
    return exit_done;
}

// --- Start -------------------------------------------------------------------------------------------------------------

bool Application::listen() {
    for (const auto& url : command_line_.configuration.options.listen) {
        const auto endpoint = net::parse_listen_url(url);
        auto listener = net::Listener::listen(io_.get_executor(), *endpoint, *this);
        if (!listener) {
            spdlog::error("{}{}", listener.error().message(), advice_to_listen(listener.error().code));
            return false;
        }
        if (store_) {
            (*listener)->leave_descriptors(storage_descriptors);
        }
        listeners_.push_back(std::move(*listener));
    }
    return true;
}

bool Application::announce_ready() {
    std::vector<std::string> urls;
    for (const auto& listener : listeners_) {
        urls.push_back(net::to_url(listener->local_endpoint()));
        spdlog::info("listening on {}", urls.back());
    }
    const auto& path = command_line_.configuration.options.ready_file;
    if (!path.empty()) {
        auto written = write_ready_file(path, urls);
        if (!written) {
            spdlog::error("{}", written.error().message());
            return false;
        }
        ready_file_ = std::move(*written);
    }
    notify_service_manager("READY=1");
    spdlog::info("batond {} is ready with {} shard(s)", BATON_VERSION, state_.shard_count);
    return true;
}

// --- Connections -------------------------------------------------------------------------------------------------------

void Application::on_accepted(net::Descriptor socket) noexcept {
    shards_[next_shard_]->adopt(std::move(socket));
    next_shard_ = (next_shard_ + 1) % shards_.size();
}

void Application::on_accept_trouble(std::error_code reason) noexcept {
    spdlog::warn("cannot accept connections for the moment: {}", reason.message());
}

// --- Signals -----------------------------------------------------------------------------------------------------------

void Application::wait_for_signal() {
    signals_.async_wait([this](std::error_code error, int signal) {
        if (!error) {
            on_signal(signal);
            if (phase_ != Phase::stopped) {  // Otherwise nothing would ever end the wait.
                wait_for_signal();
            }
        }
    });
}

void Application::on_signal(int signal) {
    if (signal == SIGHUP) {
        return reload_configuration();
    }
    if (phase_ == Phase::serving) {
        spdlog::info("draining: no new messages, waiting up to {} for receivers to settle",
                     format_duration(command_line_.configuration.options.drain_timeout));
        drain();
    } else {
        spdlog::warn("told to stop a second time: not waiting any longer");
        stop_shards();
    }
}

void Application::reload_configuration() {
    auto configuration = reload(command_line_);
    if (!configuration) {
        spdlog::error("the configuration was not reloaded, the old settings stay: {}", configuration.error().context);
        return;
    }
    auto& current = command_line_.configuration;
    for (const auto& setting : settings_table()) {
        if (setting.show(configuration->options) == setting.show(current.options)) {
            continue;
        }
        if (setting.is_live) {
            BATON_ASSERT(setting.set(current.options, setting.show(configuration->options)));
            spdlog::info("{} is now {}", setting.key, setting.show(current.options).front());
        } else {
            spdlog::warn("{} has changed in the configuration; it takes effect at the next start", setting.key);
        }
    }
    if (configuration->options.policies != current.options.policies) {
        current.options.policies = configuration->options.policies;
        state_.policies.configure(current.options.policies);
        const auto count = current.options.policies.size();
        spdlog::info("the configuration has {} {} now; channels that exist keep their settings", count,
                     count == 1 ? "policy" : "policies");
    }
    set_log_level(current.options.log_level);
}

// --- Drain -------------------------------------------------------------------------------------------------------------

/// Stop accepting, tell clients GOAWAY, refuse new messages, stop dispatching; then wait for settlements.
void Application::drain() {
    phase_ = Phase::settling;
    phase_deadline_ = clock_.now() + command_line_.configuration.options.drain_timeout;
    state_.is_draining.store(true, std::memory_order_relaxed);
    for (auto& listener : listeners_) {
        listener->close();
    }
    for (auto& shard : shards_) {
        shard->begin_drain(reconnect_after_ms);
    }
    drain_ticker_.start(drain_poll_period);
}

void Application::wait_for_settlements() {
    const bool is_quiet = std::ranges::all_of(shards_, [](const auto& shard) { return shard->is_quiet(); });
    if (!is_quiet && clock_.now() < phase_deadline_) {
        return;
    }
    if (!is_quiet) {
        spdlog::warn("drain timeout: receivers still hold messages; a memory channel forgets them now, a durable one gives "
                     "them again after the start");
    }
    close_connections();
}

/// Flush and close every connection.
void Application::close_connections() {
    phase_ = Phase::closing;
    phase_deadline_ = clock_.now() + close_timeout;
    for (auto& shard : shards_) {
        shard->finish_connections();
    }
}

void Application::wait_for_connections() {
    const bool is_empty =
        std::ranges::all_of(shards_, [](const auto& shard) { return shard->connection_count() == 0; });
    if (is_empty || clock_.now() >= phase_deadline_) {
        stop_shards();
    }
}

void Application::stop_shards() {
    if (phase_ == Phase::stopped) {
        return;
    }
    phase_ = Phase::stopped;
    drain_ticker_.stop();
    signals_.cancel();
    for (auto& listener : listeners_) {
        listener->close();
    }
    for (auto& shard : shards_) {
        shard->stop();
    }
    spdlog::info("stopped");
}

}  // namespace baton::app
