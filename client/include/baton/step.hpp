// The atomic step: settle what was received and send what came of it, as one thing. All of it happens or nothing,
// whoever dies in the middle: this process, the broker, the machine (docs/guarantees.md says what that means for which
// channels). Not responsible for receiving (receiver.hpp). One thread at a time per Step; different ones may be used,
// and committed, at once. Next file: client.hpp.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <string_view>
#include <vector>

#include <baton/delivery.hpp>
#include <baton/error.hpp>
#include <baton/message.hpp>
#include <baton/wait_limit.hpp>

namespace baton {

namespace client {
class Core;
class StepWork;
}  // namespace client

//   auto job = jobs.receive();
//   auto step = broker.step();
//   step.send("results", compute(job.text()));
//   step.send("log", "done");
//   step.done(std::move(job));
//   step.commit();
//
// Nothing is sent before commit(). A step that is destroyed without it does nothing, and what it would have settled
// goes back as if each Delivery had been destroyed then. It takes no window and no confirm level: commit() returns when
// all of it is on the disk, as far as its channels are durable.
//
// Limits: all messages and deliveries together fill one frame at most (256 KiB unless the broker wants less), so a
// single message is smaller than that, too; at most 1,000 channels and receivers.
class Step {
public:
    Step(Step&& other) noexcept;
    Step& operator=(Step&& other) noexcept;
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;
    ~Step();

    // To be sent to this channel, in order; copied. The channel is made if it does not exist, unless `create` is false.
    // Throws bad_argument, and message_too_large if the step would be: what was added before stays.
    void send(std::string_view channel, const Message& message, bool create = true);
    Expected<void> send(std::string_view channel, const Message& message, bool create, std::nothrow_t) noexcept;
    // To be settled as by ack(). Throws bad_argument if it is settled already or came from another client, and
    // message_too_large as above; then the delivery stays with the caller.
    void done(Delivery&& delivery);
    Expected<void> done(Delivery&& delivery, std::nothrow_t) noexcept;

    [[nodiscard]] bool empty() const noexcept;
    [[nodiscard]] std::size_t messages() const noexcept;
    [[nodiscard]] std::size_t deliveries() const noexcept;
    [[nodiscard]] std::size_t size_bytes() const noexcept;  // Of the frame that it needs.

    // Returns when everything is done; of an empty step at once. The step is empty then and can be used again.
    // Throws, and nothing of it was done:
    //   lost_lease         a delivery is not ours any more (its lease has ended, or the connection that it came with is
    //   gone). refused            by a channel or the broker: see status_name() ("full": there is no room, and a step
    //   does not wait for
    //                      it; "disk_full"; "unsupported": an older broker). retryable(): commit() can be called again.
    //   message_too_large, not_found, draining, bad_argument   of a channel: the text names it.
    // Throws, and the outcome is unknown: timed_out, interrupted, cannot_connect, closed; refused with
    // "storage_failed". Whoever calls commit() again then may do it twice, unless it settles something: once that is
    // done it is `lost_lease`. A connection that breaks is no error: the broker is asked again, and knows whether it
    // has done it.
    void commit(const WaitLimit& limit = WaitLimit::forever());
    Expected<void> commit(const WaitLimit& limit, std::nothrow_t) noexcept;

    // Gives the deliveries back to the caller, undecided, after a commit that failed, say. The messages stay in the
    // step.
    [[nodiscard]] std::vector<Delivery> take_deliveries() noexcept;

private:
    friend class Client;
    explicit Step(std::shared_ptr<client::Core> core);

    std::unique_ptr<client::StepWork> work_;
};

}  // namespace baton
