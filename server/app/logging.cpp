#include "server/app/logging.hpp"

#include <spdlog/async.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "common/base/one_line.hpp"

namespace baton::app {

namespace {

constexpr std::size_t queue_size = 8192;  ///< Lines; when it is full the oldest are dropped, the broker never waits.

/// %J: the message as a JSON string.
class JsonText final : public spdlog::custom_flag_formatter {
public:
    void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
        const std::string text{message.payload.data(), message.payload.size()};
        const auto quoted = nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
        out.append(quoted.data(), quoted.data() + quoted.size());
    }
    [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
        return std::make_unique<JsonText>();
    }
};

/// %*: the message on one line, whatever names and paths are in it.
class OneLine final : public spdlog::custom_flag_formatter {
public:
    void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
        const auto text = one_line({message.payload.data(), message.payload.size()});
        out.append(text.data(), text.data() + text.size());
    }
    [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
        return std::make_unique<OneLine>();
    }
};

}  // namespace

void start_logging(const std::string& level, const std::string& format) {
    spdlog::init_thread_pool(queue_size, 1);
    auto logger = std::make_shared<spdlog::async_logger>("batond", std::make_shared<spdlog::sinks::stderr_sink_mt>(),
                                                         spdlog::thread_pool(),
                                                         spdlog::async_overflow_policy::overrun_oldest);
    auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
    formatter->add_flag<JsonText>('J').add_flag<OneLine>('*');
    formatter->set_pattern(format == "json" ? R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l","text":%J})"
                                            : "%Y-%m-%dT%H:%M:%S.%eZ %l %*");
    logger->set_formatter(std::move(formatter));
    spdlog::set_default_logger(std::move(logger));
    set_log_level(level);
    spdlog::flush_on(spdlog::level::info);
}

void set_log_level(const std::string& level) { spdlog::set_level(spdlog::level::from_str(level)); }

void stop_logging() { spdlog::shutdown(); }

}  // namespace baton::app
