// The table of settings. To add one: a line here and a line in docs/operations.md; flag, environment name and file key
// follow from the key.
#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "common/base/units.hpp"
#include "server/app/options.hpp"

namespace baton::app {

namespace {

using Values = std::vector<std::string>;
constexpr auto count_max = std::numeric_limits<std::uint64_t>::max() / 2;

bool parse_count(const std::string& text, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size();
}

/// A whole number from `low` to `high`; `member` gives the place in Options.
template <class Member>
Setting count(std::string key, std::uint64_t low, std::uint64_t high, std::string help, Member member) {
    const auto allowed = "a whole number from " + std::to_string(low) + " to " + std::to_string(high);
    return {std::move(key), allowed, std::move(help), false, false,
            [=](Options& options, const Values& values) {
                std::uint64_t value = 0;
                if (!parse_count(values.front(), value) || value < low || value > high) {
                    return false;
                }
                auto& place = member(options);
                place = static_cast<std::remove_reference_t<decltype(place)>>(value);
                return true;
            },
            [=](const Options& options) {
                return Values{std::to_string(member(const_cast<Options&>(options)))};
            }};
}

template <class Member>
Setting size(std::string key, std::uint64_t low, std::uint64_t high, std::string help, Member member) {
    const auto allowed = "a size from " + format_size(low) + " to " + format_size(high) + ", such as 64k, 10m or 1g";
    return {std::move(key), allowed, std::move(help), false, false,
            [=](Options& options, const Values& values) {
                const auto value = parse_size(values.front());
                if (!value || *value < low || *value > high) {
                    return false;
                }
                auto& place = member(options);
                place = static_cast<std::remove_reference_t<decltype(place)>>(*value);
                return true;
            },
            [=](const Options& options) { return Values{format_size(member(const_cast<Options&>(options)))}; }};
}

template <class Member>
Setting duration(std::string key, Duration low, Duration high, std::string help, Member member) {
    const auto allowed =
        "a duration from " + format_duration(low) + " to " + format_duration(high) + ", such as 250ms, 5s or 2m";
    return {std::move(key), allowed, std::move(help), false, false,
            [=](Options& options, const Values& values) {
                const auto value = parse_duration(values.front());
                if (!value || *value < low || *value > high) {
                    return false;
                }
                member(options) = *value;
                return true;
            },
            [=](const Options& options) { return Values{format_duration(member(const_cast<Options&>(options)))}; }};
}

template <class Member>
Setting choice(std::string key, Values choices, std::string help, bool is_live, Member member) {
    std::string allowed = "one of";
    for (const auto& item : choices) {
        allowed += (item == choices.front() ? " " : ", ") + item;
    }
    return {std::move(key), allowed, std::move(help), false, is_live,
            [=](Options& options, const Values& values) {
                if (std::ranges::find(choices, values.front()) == choices.end()) {
                    return false;
                }
                member(options) = values.front();
                return true;
            },
            [=](const Options& options) { return Values{member(const_cast<Options&>(options))}; }};
}

Setting listen_setting() {
    return {"listen", "tcp://HOST:PORT or unix:///PATH", "Where to listen; may be given several times.", true, false,
            [](Options& options, const Values& values) {
                options.listen = values;
                return !values.empty();
            },
            [](const Options& options) { return options.listen; }};
}

Setting ready_file_setting() {
    return {"ready_file", "a path", "Written, atomically, once every listener accepts.", false, false,
            [](Options& options, const Values& values) {
                options.ready_file = values.front();
                return true;
            },
            [](const Options& options) { return Values{options.ready_file}; }};
}

Setting data_dir_setting() {
    return {"data_dir",
            "a path, or nothing for no durable channels",
            "Where durable channels are kept; none: \"\". Default: $XDG_STATE_HOME/baton or ~/.local/state/baton.",
            false,
            false,
            [](Options& options, const Values& values) {
                options.data_dir = values.front();
                options.is_data_dir_configured = true;
                return true;
            },
            [](const Options& options) { return Values{options.data_dir}; },
            true};
}

/// Shown as what it comes to, so that what is shown means the same when it is read as a file.
Setting default_storage_setting() {
    auto setting =
        choice("default_storage", {"auto", "memory", "durable"},
               "Where the messages of a channel are of which nobody says it; auto: durable if data_dir is set.", false,
               [](Options& o) -> auto& { return o.default_storage; });
    setting.show = [](const Options& options) { return Values{is_durable_by_default(options) ? "durable" : "memory"}; };
    return setting;
}

Setting disk_free_min_setting() {
    return {"disk_free_min",
            "auto, or a size such as 512m or 2g",
            "Free space below which durable channels take nothing; auto: 5 % of the disk, at most 1g.",
            false,
            false,
            [](Options& options, const Values& values) {
                const auto value = parse_size(values.front());
                if (!value && values.front() != "auto") {
                    return false;
                }
                options.storage.disk_free_min = value ? std::optional{*value} : std::nullopt;
                return true;
            },
            [](const Options& options) {
                const auto& value = options.storage.disk_free_min;
                return Values{value ? format_size(*value) : "auto"};
            }};
}

void add_storage(std::vector<Setting>& table) {
    constexpr std::uint64_t kib = 1024, gib = kib * kib * kib;
    using std::chrono::milliseconds, std::chrono::seconds;
    table.push_back(data_dir_setting());
    table.push_back(default_storage_setting());
    table.push_back(duration("settle_sync_interval", milliseconds{1}, seconds{10},
                             "How long a settlement waits for others before it goes to the disk with them.",
                             [](Options& o) -> auto& { return o.storage.settle_sync_interval; }));
    table.push_back(disk_free_min_setting());
    table.push_back(size("wal_file_size", 64 * kib, 16 * gib, "One file of the write-ahead log; a multiple of 4k.",
                         [](Options& o) -> auto& { return o.storage.wal_file_size; }));
    table.push_back(size("segment_size", 64 * kib, 16 * gib, "One segment file of a durable channel.",
                         [](Options& o) -> auto& { return o.storage.segment_size; }));
}

void add_limits(std::vector<Setting>& table) {
    constexpr std::uint64_t kib = 1024, mib = 1024 * kib, tib = mib * mib;
    using std::chrono::hours, std::chrono::milliseconds, std::chrono::minutes, std::chrono::seconds;
    table.push_back(size("limits.memory_max", 16 * mib, tib, "Memory for messages and promised credit, whole broker.",
                         [](Options& o) -> auto& { return o.limits.memory_max; }));
    table.push_back(count("limits.connections_max", 1, 1'000'000, "Connections at once.",
                          [](Options& o) -> auto& { return o.limits.connections_max; }));
    table.push_back(count("limits.links_max", 1, 65'535, "Links of one session.",
                          [](Options& o) -> auto& { return o.limits.links_max; }));
    table.push_back(count("limits.channels_max", 1, 10'000'000, "Channels of the broker.",
                          [](Options& o) -> auto& { return o.limits.channels_max; }));
    table.push_back(count("limits.channel_name_size_max", 1, 4'000, "Bytes of a channel's name.",
                          [](Options& o) -> auto& { return o.limits.channel_name_size_max; }));
    table.push_back(size("limits.message_size_max", 1, 1024 * mib, "Properties and payload of one message.",
                         [](Options& o) -> auto& { return o.limits.message_size_max; }));
    table.push_back(size("limits.frame_size_max", 65'552, 16 * mib, "One frame on the wire, header included.",
                         [](Options& o) -> auto& { return o.limits.frame_size_max; }));
    table.push_back(size("limits.outbox_high_water", 64 * kib, 1024 * mib,
                         "Unsent bytes above which a connection's receivers count as slow.",
                         [](Options& o) -> auto& { return o.limits.outbox_high_water; }));
    table.push_back(size("limits.outbox_low_water", 16 * kib, 1024 * mib,
                         "Unsent bytes below which they no longer do.",
                         [](Options& o) -> auto& { return o.limits.outbox_low_water; }));
    table.push_back(size("limits.outbox_max", 128 * kib, 16 * 1024 * mib,
                         "Unsent bytes above which a peer that goes on asking is disconnected.",
                         [](Options& o) -> auto& { return o.limits.outbox_max; }));
    table.push_back(duration("limits.handshake_timeout", milliseconds{100}, minutes{10},
                             "Time from a connection to its HELLO.",
                             [](Options& o) -> auto& { return o.limits.handshake_timeout; }));
    table.push_back(duration("limits.heartbeat_interval", milliseconds{100}, hours{1},
                             "Longest heartbeat interval; silence over two of them ends a connection.",
                             [](Options& o) -> auto& { return o.limits.heartbeat_interval; }));
    table.push_back(count("limits.channel_messages_max", 1, count_max,
                          "Messages that a memory channel stores, by default.",
                          [](Options& o) -> auto& { return o.limits.channel_defaults.messages_max; }));
    table.push_back(size("limits.channel_bytes_max", 1, count_max, "Bytes that a memory channel stores, by default.",
                         [](Options& o) -> auto& { return o.limits.channel_defaults.bytes_max; }));
    table.push_back(count("limits.durable_messages_max", 1, count_max,
                          "Messages that a durable channel stores, by default.",
                          [](Options& o) -> auto& { return o.limits.durable_defaults.messages_max; }));
    table.push_back(size("limits.durable_bytes_max", 1, count_max, "Bytes that a durable channel stores, by default.",
                         [](Options& o) -> auto& { return o.limits.durable_defaults.bytes_max; }));
    table.push_back(count("limits.producers_max", 1, 10'000'000, "Producers that a channel remembers.",
                          [](Options& o) -> auto& { return o.limits.channel_defaults.producers_max; }));
    table.push_back(duration("limits.producer_retention", seconds{1}, hours{24 * 30},
                             "How long a producer is remembered after its last link.",
                             [](Options& o) -> auto& { return o.limits.channel_defaults.producer_retention; }));
    table.push_back(count("limits.sender_window_messages", 64, 16'777'216, "Most message credit of one sender.",
                          [](Options& o) -> auto& { return o.limits.channel_defaults.sender_window.messages; }));
    table.push_back(size("limits.sender_window_bytes", 64 * kib, 1024 * mib, "Most byte credit of one sender.",
                         [](Options& o) -> auto& { return o.limits.channel_defaults.sender_window.bytes; }));
}

std::vector<Setting> make_table() {
    std::vector<Setting> table;
    table.push_back(listen_setting());
    table.push_back(count("shards", 0, 256, "Threads that own channels; 0: one per core.",
                          [](Options& o) -> auto& { return o.shards; }));
    table.push_back(ready_file_setting());
    table.push_back(choice("log_level", {"trace", "debug", "info", "warn", "error"}, "What is logged.", true,
                           [](Options& o) -> auto& { return o.log_level; }));
    table.push_back(choice("log_format", {"text", "json"}, "How it is logged, on stderr.", false,
                           [](Options& o) -> auto& { return o.log_format; }));
    table.push_back(duration("drain_timeout", Duration::zero(), std::chrono::hours{24},
                             "How long SIGTERM waits for receivers to settle.",
                             [](Options& o) -> auto& { return o.drain_timeout; }));
    add_storage(table);
    add_limits(table);
    return table;
}

}  // namespace

const std::vector<Setting>& settings_table() {
    static const std::vector<Setting> table = make_table();
    return table;
}

}  // namespace baton::app
