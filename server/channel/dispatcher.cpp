#include "server/channel/dispatcher.hpp"

#include <algorithm>

#include "common/base/assert.hpp"

namespace baton::channel {

namespace {

// `empty`: could take a message if there was one.
WaitReason reason_of(const Receiver& receiver) noexcept {
    const Credit left = credit_left(receiver.limit, receiver.delivered);
    if (receiver.is_slow) {
        return WaitReason::slow_reader;
    }
    if (left.messages == 0) {
        return WaitReason::no_message_credit;
    }
    return left.bytes == 0 ? WaitReason::no_byte_credit : WaitReason::empty;
}

}  // namespace

void Dispatcher::refresh(Receiver& receiver, MonotonicTime now) noexcept {
    const WaitReason reason = reason_of(receiver);
    set_wait(receiver.wait, reason, now);
    if (reason != WaitReason::empty) {
        remove(receiver);
    } else if (receiver.heap_index == Receiver::not_a_candidate) {
        push(receiver);
    } else {
        heap_[receiver.heap_index] = candidate(receiver);
        move(receiver.heap_index);
    }
}

void Dispatcher::remove(Receiver& receiver) noexcept {
    const std::size_t index = receiver.heap_index;
    if (index == Receiver::not_a_candidate) {
        return;
    }
    receiver.heap_index = Receiver::not_a_candidate;
    const Candidate last = heap_.back();
    heap_.pop_back();
    if (last.receiver != &receiver) {
        heap_[index] = last;
        move(index);
    }
}

Dispatcher::Delivered Dispatcher::run(ReadyMessages& ready, std::uint32_t& slices, MonotonicTime now) noexcept {
    Delivered total;
    Share share;
    std::size_t round = 0;  // Receivers that still get this share before it is computed anew.
    bool has_progress = false;
    while (ready.count() > 0 && slices > 0) {
        if (heap_.empty()) {
            if (!has_progress || passed_over_.empty()) {
                break;
            }
            has_progress = false;  // The next message is another one: it may fit those who were passed over.
            round = 0;
            readmit();
        }
        if (round == 0) {
            round = heap_.size();
            share = share_of(ready.count());
        }
        --round;
        Receiver& receiver = *heap_.front().receiver;
        const Delivered given = give(receiver, share, ready, slices, now);
        if (given.messages == 0) {
            pass_over(receiver, now);
            continue;
        }
        has_progress = true;
        total.messages += given.messages;
        total.redelivered += given.redelivered;
        total.lease_end = std::min(total.lease_end, given.lease_end);
        receiver.last_served = ++servings_;
        receiver.is_passed_over = false;
        receiver.wait = {};  // It got something: if it waits now, then from now on.
        refresh(receiver, now);
    }
    if (ready.count() == 0) {
        for (Receiver* receiver : passed_over_) {
            receiver->is_passed_over = false;
            set_wait(receiver->wait, WaitReason::empty, now);
        }
    }
    readmit();
    return total;
}

Dispatcher::Share Dispatcher::share_of(std::uint64_t ready) const noexcept {
    const std::uint64_t candidates = heap_.size();
    if (candidates == 1) {
        return {ready, ready};
    }
    const std::uint64_t even = (ready + candidates - 1) / candidates;
    return {std::min<std::uint64_t>(even, quantum_max), even};
}

Dispatcher::Delivered Dispatcher::give(Receiver& receiver, Share share, ReadyMessages& ready,
                                       std::uint32_t& slices, MonotonicTime now) noexcept {
    Delivered given{.lease_end = lease_end(now, receiver.lease)};
    const std::uint32_t lease_cap = lease_end(now, receiver.lease_max);
    while (share.messages > 0 && ready.count() > 0 && slices > 0) {
        const Cut cut = fitting(receiver, ready.head(), share);
        if (cut.count == 0) {
            break;
        }
        --slices;
        Run run = ready.take(cut);
        run.lease_end = given.lease_end;
        run.lease_cap = lease_cap;
        receiver.delivered.messages += run.count;
        receiver.delivered.bytes += run.bytes;
        receiver.in_flight.add(run);
        given.messages += run.count;
        given.redelivered += run.was_delivered ? run.count : 0;
        share.messages -= std::min<std::uint64_t>(share.messages, run.count);
        share.whole_batches -= std::min<std::uint64_t>(share.whole_batches, run.count);
        events_.deliver(receiver.address, run.slice());
    }
    return given;
}

Cut Dispatcher::fitting(const Receiver& receiver, const Run& head, Share share) const noexcept {
    const Credit left = credit_left(receiver.limit, receiver.delivered);
    const std::uint64_t share_now = head.count <= share.whole_batches ? head.count : share.messages;
    const std::uint64_t count_max = std::min(left.messages, share_now);
    if (head.count <= count_max && head.bytes <= left.bytes) {
        return {head.count, head.bytes};
    }
    if (count_max == 0 || left.bytes == 0) {
        return {};
    }
    const Cut cut = cut_front(head.region(), {.count = count_max, .bytes = left.bytes});
    if (cut.count == 0 && receiver.in_flight.empty()) {
        return {1, static_cast<std::uint32_t>(first_message_bytes(head.region()))};
    }
    return cut;
}

void Dispatcher::pass_over(Receiver& receiver, MonotonicTime now) noexcept {
    remove(receiver);
    passed_over_.push_back(&receiver);
    if (!receiver.is_passed_over) {
        receiver.is_passed_over = true;
        receiver.passed_over_since = now;
    }
    receiver.wait = {WaitReason::no_byte_credit, receiver.passed_over_since};
}

void Dispatcher::readmit() noexcept {
    for (Receiver* receiver : passed_over_) {
        push(*receiver);
    }
    passed_over_.clear();
}

Dispatcher::Candidate Dispatcher::candidate(Receiver& receiver) noexcept {
    return {receiver.in_flight.messages(), receiver.last_served, &receiver};
}

bool Dispatcher::is_before(const Candidate& a, const Candidate& b) noexcept {
    return a.load != b.load ? a.load < b.load : a.last_served < b.last_served;
}

void Dispatcher::place(std::size_t index, const Candidate& candidate) noexcept {
    heap_[index] = candidate;
    candidate.receiver->heap_index = index;
}

// To where it belongs.
void Dispatcher::move(std::size_t index) noexcept {
    if (index > 0 && is_before(heap_[index], heap_[(index - 1) / 2])) {
        sift_up(index);
    } else {
        sift_down(index);
    }
}

void Dispatcher::sift_up(std::size_t index) noexcept {
    const Candidate risen = heap_[index];
    while (index > 0 && is_before(risen, heap_[(index - 1) / 2])) {
        place(index, heap_[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place(index, risen);
}

void Dispatcher::sift_down(std::size_t index) noexcept {
    const Candidate sunk = heap_[index];
    const std::size_t size = heap_.size();
    for (std::size_t child = 2 * index + 1; child < size; child = 2 * index + 1) {
        child += child + 1 < size && is_before(heap_[child + 1], heap_[child]) ? 1 : 0;
        if (!is_before(heap_[child], sunk)) {
            break;
        }
        place(index, heap_[child]);
        index = child;
    }
    place(index, sunk);
}

void Dispatcher::push(Receiver& receiver) noexcept {
    BATON_ASSERT(receiver.heap_index == Receiver::not_a_candidate);
    if (receiver.last_served == 0) {
        receiver.last_served = ++servings_;  // A new one: after those who wait already.
    }
    heap_.push_back(candidate(receiver));
    sift_up(heap_.size() - 1);
}

}  // namespace baton::channel
