// Listens to the bytes of one connection at both ends and checks what can be judged from frames alone: nobody goes
// beyond credit, confirms and deliveries are in order. Tells the ledger which settlements have reached the broker.
// Not responsible for messages (ledger.hpp). One thread. Next file: network.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/base/bytes.hpp"
#include "common/wire/bodies.hpp"
#include "common/wire/frame.hpp"
#include "tests/sim/ledger.hpp"
#include "tests/sim/report.hpp"

namespace baton::sim {

enum class Side : std::uint8_t { client, broker };
[[nodiscard]] constexpr Side other(Side side) noexcept {
    return side == Side::client ? Side::broker : Side::client;
}

// Cuts a stream into frames; of bodies that carry messages only the beginning is kept.
class FrameCutter {
public:
    // Calls `on_frame(header, body)` for each frame that is complete.
    template <class OnFrame>
    void take(Bytes bytes, OnFrame&& on_frame) {
        while (!bytes.empty()) {
            const std::size_t size = std::min(missing_, bytes.size());
            keep(bytes.first(size));
            bytes = bytes.subspan(size);
            missing_ -= size;
            if (missing_ == 0 && next()) {
                on_frame(header_, Bytes{kept_});
                begin(Part::header, wire::frame_header_size);
            }
        }
    }

private:
    enum class Part : std::uint8_t { preamble, header, body };
    static constexpr std::size_t messages_kept = 128;

    void keep(Bytes bytes);
    // A part is complete. True: a frame is.
    [[nodiscard]] bool next();
    void begin(Part part, std::size_t size);

    Part part_ = Part::preamble;
    std::size_t missing_ = 8;
    std::size_t kept_max_ = 8;
    std::vector<std::byte> kept_;
    wire::FrameHeader header_;
};

class WireTap {
public:
    WireTap(Report& report, Ledger& ledger, std::string name)
        : report_{report}, ledger_{ledger}, name_{std::move(name)} {}

    void on_written(Side from, Bytes bytes);
    void on_read(Side reader, Bytes bytes);
    // The broker has given up this connection: it may read on, and does nothing about it.
    void ignore_what_broker_reads() noexcept { is_given_up_ = true; }

private:
    struct Totals {
        std::uint64_t messages = 0;
        std::uint64_t bytes = 0;
    };
    // A link as the client sees it.
    struct Link {
        bool is_receiver = false;
        Totals allowed;             // The most that was ever granted.
        Totals used;                // Published, or delivered.
        std::uint64_t settled = 0;  // Messages that the client has settled.
        std::uint64_t last_sent = 0;
        std::uint64_t last_confirmed = 0;
        std::uint64_t decided_before = 0;  // On earlier connections.
    };

    void note(const char* what, const wire::FrameHeader& header);
    void on_client_wrote(const wire::FrameHeader& header, Bytes body);
    void on_client_read(const wire::FrameHeader& header, Bytes body);
    void on_broker_read(const wire::FrameHeader& header, Bytes body);
    void on_given(const wire::FrameHeader& header, Link& link, std::uint64_t sequence, std::uint64_t count,
                  std::uint64_t bytes);
    void spend(const wire::FrameHeader& header, Link& link, std::uint64_t first, std::uint64_t count,
               std::uint64_t bytes);
    void grant(Link& link, Bytes body);
    void violation(const wire::FrameHeader& header, const std::string& text);

    Report& report_;
    Ledger& ledger_;
    const std::string name_;
    FrameCutter client_wrote_, client_read_, broker_read_;
    bool is_given_up_ = false;
    std::map<std::uint16_t, Link> links_;
    std::map<std::uint16_t, std::uint32_t> broker_links_;  // Channels, by number.
};

}  // namespace baton::sim
