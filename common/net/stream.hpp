// One type of socket for TCP and for Unix sockets, and what is done to each before bytes flow.
// Not responsible for reading and writing: connection_io.hpp. On the thread of the executor. Next file:
// connection_io.hpp.
#pragma once

#include <string>
#include <system_error>

#include "common/base/result.hpp"
#include "common/net/asio.hpp"
#include "common/net/descriptor.hpp"

namespace baton::net {

using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;

// Non-blocking, closed on exec; for TCP no Nagle delay (a turn's output is written at once anyway) and keep-alive
// probes. An error means that the socket is of no use, usually because the peer has gone already.
[[nodiscard]] std::error_code prepare(Socket& socket) noexcept;

// Makes a prepared Socket of a connected stream socket that was accepted or released elsewhere.
[[nodiscard]] Result<Socket> adopt(const Executor& executor, Descriptor descriptor);

// Takes the descriptor out of a socket with no operation outstanding, to adopt() it on another thread.
[[nodiscard]] Result<Descriptor> release(Socket socket);

// The peer for logs and `who is connected`: "192.0.2.7:4711", "[2001:db8::1]:4711", or "unix:pid=4711,uid=1000".
// "unknown" if it cannot be told any more.
[[nodiscard]] std::string peer_name(int descriptor);

}  // namespace baton::net
