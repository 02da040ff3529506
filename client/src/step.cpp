// The user's side of a step: what was added, encoded as it came, and the wait for its answer.
#include <algorithm>
#include <optional>
#include <utility>

#include "client/src/access.hpp"
#include "client/src/core.hpp"
#include "client/src/errors.hpp"
#include "client/src/outgoing.hpp"
#include "common/base/assert.hpp"
#include "common/base/batch_builder.hpp"
#include "common/base/text_form.hpp"
#include <baton/step.hpp>

namespace baton {

namespace client {

class StepWork {
public:
    explicit StepWork(std::shared_ptr<Core> core) : core_{std::move(core)} {}

    Expected<void> send(std::string_view channel, const Message& message, bool create);
    Expected<void> done(Delivery&& delivery);
    Expected<void> commit(const WaitLimit& limit);

    std::vector<Delivery> take_deliveries() noexcept {
        size_ -= receivers_ * wire::step_section_head_size + deliveries_.size() * wire::settlement_size;
        receivers_ = 0;
        return std::exchange(deliveries_, {});
    }
    [[nodiscard]] std::size_t messages() const noexcept { return messages_; }
    [[nodiscard]] std::size_t deliveries() const noexcept { return deliveries_.size(); }
    [[nodiscard]] std::size_t size_bytes() const noexcept { return size_; }

private:
    struct Stored {
        std::vector<std::byte> body;
        std::vector<std::byte> properties;
    };
    struct Sending {
        std::string channel;
        bool must_exist = false;
        bool has_properties = false;
        std::vector<Stored> messages;
    };

    [[nodiscard]] std::optional<ClientError> check_room(std::size_t added, bool is_new_section) const;
    [[nodiscard]] StepWish wish() const;

    std::shared_ptr<Core> core_;
    std::vector<Sending> sendings_;
    std::vector<Delivery> deliveries_;
    std::size_t receivers_ = 0;  // Counted as often as they change.
    std::size_t messages_ = 0;
    std::size_t size_ = wire::step_head_size;
};

std::optional<ClientError> StepWork::check_room(std::size_t added, bool is_new_section) const {
    constexpr std::size_t size_max = wire::frame_size_max_default - wire::frame_header_size;
    if (size_ + added > size_max) {
        return ClientError{ClientErrc::message_too_large, "the step would have " + std::to_string(size_ + added) +
                                                              " bytes, the limit is " + std::to_string(size_max)};
    }
    if (is_new_section && sendings_.size() + receivers_ == wire::step_sections_max) {
        return ClientError{
            ClientErrc::message_too_large,
            "a step is about at most " + std::to_string(wire::step_sections_max) + " channels and receivers"};
    }
    return std::nullopt;
}

Expected<void> StepWork::send(std::string_view channel, const Message& message, bool create) {
    constexpr std::size_t name_size_max = 255;
    const auto about_channel = [channel](const ClientError& error) {
        return ClientError{error.code(), "channel " + name_text(as_bytes(channel)) + ": " + error.text()};
    };
    if (channel.empty() || channel.size() > name_size_max) {
        return std::unexpected{
            ClientError{ClientErrc::bad_argument,
                        "a channel's name has 1 to 255 bytes, this one has " + std::to_string(channel.size())}};
    }
    auto properties = encoded_properties(message);
    if (!properties) {
        return std::unexpected{about_channel(properties.error())};
    }
    const auto found = std::ranges::find_if(
        sendings_, [&](const Sending& sending) { return sending.channel == channel && sending.must_exist == !create; });
    const bool is_new = found == sendings_.end();
    const bool had_properties = !is_new && found->has_properties;
    const bool has_properties = had_properties || !properties->empty();
    // The first message with properties gives all others an empty block.
    const std::size_t others = is_new || had_properties || !has_properties ? 0 : found->messages.size();
    const std::size_t head =
        is_new ? wire::step_section_head_size + wire::step_messages_head_size + channel.size() + batch_header_size : 0;
    const std::size_t added =
        head + (has_properties ? 2 * (others + 1) : 0) + 4 + message.body().size() + properties->size();
    if (auto error = check_room(added, is_new)) {
        return std::unexpected{about_channel(*error)};
    }
    if (is_new) {
        sendings_.push_back({std::string{channel}, !create, false, {}});
    }
    Sending& sending = is_new ? sendings_.back() : *found;
    sending.has_properties = has_properties;
    sending.messages.push_back({{message.body().begin(), message.body().end()}, std::move(*properties)});
    ++messages_;
    size_ += added;
    return {};
}

Expected<void> StepWork::done(Delivery&& delivery) {
    const DeliveredSlice* slice = client_access::slice(delivery);
    if (delivery.is_settled()) {
        return std::unexpected{ClientError{ClientErrc::bad_argument, "the delivery is settled already"}};
    }
    if (!core_->owns(*slice->owner)) {
        return std::unexpected{ClientError{ClientErrc::bad_argument, "the delivery came from another client"}};
    }
    const bool is_new = deliveries_.empty() || client_access::slice(deliveries_.back())->owner != slice->owner;
    const std::size_t added = wire::settlement_size + (is_new ? wire::step_section_head_size : 0);
    if (auto error = check_room(added, is_new)) {
        return std::unexpected{std::move(*error)};
    }
    deliveries_.push_back(std::move(delivery));
    receivers_ += is_new ? 1 : 0;
    size_ += added;
    return {};
}

// The step keeps what it has: if it is refused it can be committed again.
StepWish StepWork::wish() const {
    StepWish wish;
    ChunkPool pool{wire::frame_size_max_default, 1};
    BatchBuilder builder;
    for (const Sending& sending : sendings_) {
        for (const Stored& message : sending.messages) {
            builder.append(message.body, message.properties);
        }
        const Payload batch = builder.take(pool, BatchBuilder::Crc::off);
        wish.sendings.push_back({sending.channel, sending.must_exist, {batch.bytes().begin(), batch.bytes().end()}});
    }
    for (const Delivery& delivery : deliveries_) {
        wish.settlings.push_back({SliceRef{*client_access::slice(delivery)}, delivery.offset()});
    }
    return wish;
}

Expected<void> StepWork::commit(const WaitLimit& limit) {
    if (messages_ == 0 && deliveries_.empty()) {
        return {};
    }
    auto committed = core_->commit(wish(), limit);
    if (!committed) {
        return committed;
    }
    for (Delivery& delivery : deliveries_) {
        DeliveredSlice& slice = *client_access::slice(delivery);
        slice.owner->settled_by_step(slice, delivery.offset());
        client_access::set_settled(delivery);
    }
    deliveries_.clear();
    sendings_.clear();
    messages_ = receivers_ = 0;
    size_ = wire::step_head_size;
    return {};
}

}  // namespace client

namespace {

void throw_error(Expected<void>&& outcome) {
    if (!outcome) {
        throw std::move(outcome.error());
    }
}

}  // namespace

Step::Step(std::shared_ptr<client::Core> core) : work_{std::make_unique<client::StepWork>(std::move(core))} {}
Step::Step(Step&& other) noexcept = default;
Step& Step::operator=(Step&& other) noexcept = default;
Step::~Step() = default;

Expected<void> Step::send(std::string_view channel, const Message& message, bool create, std::nothrow_t) noexcept {
    return work_->send(channel, message, create);
}
void Step::send(std::string_view channel, const Message& message, bool create) {
    throw_error(send(channel, message, create, std::nothrow));
}
Expected<void> Step::done(Delivery&& delivery, std::nothrow_t) noexcept {
    return work_->done(std::move(delivery));
}
void Step::done(Delivery&& delivery) {
    throw_error(done(std::move(delivery), std::nothrow));
}
Expected<void> Step::commit(const WaitLimit& limit, std::nothrow_t) noexcept {
    return work_->commit(limit);
}
void Step::commit(const WaitLimit& limit) {
    throw_error(commit(limit, std::nothrow));
}

bool Step::empty() const noexcept {
    return messages() == 0 && deliveries() == 0;
}
std::size_t Step::messages() const noexcept {
    return work_->messages();
}
std::size_t Step::deliveries() const noexcept {
    return work_->deliveries();
}
std::size_t Step::size_bytes() const noexcept {
    return work_->size_bytes();
}
std::vector<Delivery> Step::take_deliveries() noexcept {
    return work_->take_deliveries();
}

}  // namespace baton
