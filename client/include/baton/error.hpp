// What can go wrong for a user of the client library: one exception class, one enumeration to decide by.
// The same object is thrown by the convenient calls and returned by their std::nothrow twins.
// Any thread. Next file: wait_limit.hpp.
#pragma once

#include <cstdint>
#include <exception>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace baton {

// What to decide by. The text of the error says more.
enum class ClientErrc : std::uint8_t {
    bad_argument = 1,   // A URL, option, name or property that cannot work anywhere. Nothing was sent.
    cannot_connect,     // No broker could be reached for ClientOptions::connect_timeout; the library goes on trying.
    timed_out,          // The wait limit of the call was reached. A message that was being sent may still arrive.
    blocked,            // As timed_out, and the broker had said why it takes no more: see the text ("full for 5.2s").
    interrupted,        // The stop token of the call was triggered. As with timed_out, the outcome may be open.
    closed,             // The client, sender or receiver was closed (perhaps by another thread).
    disconnected,       // The connection broke before an answer came (to an administrative request, a ping, or a settlement that
                        // was waited for): outcome unknown.
    not_found,          // No such channel, and creating it was not wanted; or it was deleted meanwhile.
    not_authorised,     // Reserved.
    message_too_large,  // Above the limit of the broker or the channel; the text names size and limit. Not sent.
    refused,            // A limit, a policy or the disk of the broker: the text and status_name() say which.
    draining,           // The broker is going down in order.
    superseded,         // Another sender has taken over this sender's producer id.
    protocol_error,     // One side broke a rule of the protocol: a fault of the library or of the broker.
    lost_lease,         // What a step would have settled is not ours any more. Nothing of it was done.
};

// "not_found". Stable: scripts may rely on it.
[[nodiscard]] std::string_view name_of(ClientErrc errc) noexcept;

class ClientError : public std::exception {
public:
    // `status` is the number of docs/protocol.md section 13 if the broker said it, else 0.
    ClientError(ClientErrc code, std::string text, bool is_retryable = false, std::uint32_t status = 0);

    [[nodiscard]] ClientErrc code() const noexcept { return code_; }
    // The same call may succeed later without anybody changing anything.
    [[nodiscard]] bool retryable() const noexcept { return is_retryable_; }
    [[nodiscard]] std::uint32_t status() const noexcept { return status_; }
    // Of Sender::send: the message had been accepted before the call ended, and may still arrive, or be stored already
    // (flush() tells). Otherwise it was not, and can be sent again.
    [[nodiscard]] bool is_accepted() const noexcept { return is_accepted_; }
    void set_accepted() noexcept { is_accepted_ = true; }
    // The broker's own name for it ("incompatible_options"); name_of(code()) if the broker was not asked.
    [[nodiscard]] std::string_view status_name() const noexcept;
    // What the broker adds for programs: the text of a JSON object such as {"diff":{…}}; empty if there is nothing.
    [[nodiscard]] std::string_view details() const noexcept {
        return details_ != nullptr ? std::string_view{*details_} : std::string_view{};
    }
    void set_details(std::string json) { details_ = std::make_shared<const std::string>(std::move(json)); }
    // One line for people: what was tried, the value, the cause.
    [[nodiscard]] const char* what() const noexcept override { return text_->c_str(); }
    [[nodiscard]] const std::string& text() const noexcept { return *text_; }

private:
    std::shared_ptr<const std::string> text_;  // Copying an exception must not throw.
    std::shared_ptr<const std::string> details_;
    ClientErrc code_;
    bool is_retryable_;
    bool is_accepted_ = false;
    std::uint32_t status_;
};

// What the calls with std::nothrow return.
template <class T>
using Expected = std::expected<T, ClientError>;

}  // namespace baton
