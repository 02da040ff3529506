// Owner of one file descriptor. It is how a socket travels between threads: released from one IoContext, mailed as a
// value, adopted by another one (stream.hpp); a descriptor that nobody takes is closed, not leaked.
// Any thread. Next file: stream.hpp.
#pragma once

#include <unistd.h>

#include <utility>

namespace baton::net {

class Descriptor {
public:
    Descriptor() noexcept = default;
    explicit Descriptor(int number) noexcept : number_{number} {}
    Descriptor(Descriptor&& other) noexcept : number_{other.release()} {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        if (this != &other) {
            reset(other.release());
        }
        return *this;
    }
    ~Descriptor() { reset(); }

    [[nodiscard]] explicit operator bool() const noexcept { return number_ >= 0; }
    [[nodiscard]] int number() const noexcept { return number_; }

    // The caller closes it.
    [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }

    void reset(int number = -1) noexcept {
        if (number_ >= 0) {
            ::close(number_);
        }
        number_ = number;
    }

private:
    int number_ = -1;
};

}  // namespace baton::net
