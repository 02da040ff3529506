// The one friend of the public classes: makes handles, which users cannot.
// Any thread. Next file: core.hpp.
#pragma once

#include <memory>
#include <utility>

#include <baton/delivery.hpp>
#include <baton/receiver.hpp>
#include <baton/sender.hpp>

namespace baton {

class client_access {
public:
    // Takes over one reference of the slice.
    [[nodiscard]] static Delivery delivery(client::DeliveredSlice& slice, std::uint64_t offset, Bytes body,
                                           Bytes properties) noexcept {
        return {slice, offset, body, properties};
    }
    [[nodiscard]] static Sender sender(std::shared_ptr<client::SenderEndpoint> endpoint) noexcept {
        return Sender{std::move(endpoint)};
    }
    [[nodiscard]] static Receiver receiver(std::shared_ptr<client::ReceiverEndpoint> endpoint) noexcept {
        return Receiver{std::move(endpoint)};
    }

    // For asynchronous settlements: takes over the decision; the guard will not decide any more. Null: it has none to
    // make.
    [[nodiscard]] static client::DeliveredSlice* slice(const Delivery& delivery) noexcept { return delivery.slice_; }
    static void set_settled(Delivery& delivery) noexcept { delivery.is_settled_ = true; }
};

}  // namespace baton
