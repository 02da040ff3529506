"""The first bytes of a connection, and peers that do not behave: strangers, silence, garbage, wrong sizes."""

import json
import random
import socket
import struct
import time
import unittest

import wire
from broker import BrokerTest, eventually
from wire import ADMIN, CREDIT, ERROR, HELLO, PING, WELCOME, encode_frame

PREAMBLE = b"BATN" + bytes([1, 1, 0, 0])


def read_to_end(sock):
    received = bytearray()
    try:
        while piece := sock.recv(65536):
            received += piece
    except ConnectionError:
        pass  # A reset is an end too: the broker closed with bytes of ours unread.
    return bytes(received)


class HandshakeTest(BrokerTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker(listen=("tcp://127.0.0.1:0", f"unix://{self.folder}/baton.sock"))

    def bare(self, index=0):
        sock = wire.connect(self.server.ready["listen"][index])
        self.addCleanup(sock.close)
        return sock

    def assert_broker_serves(self):
        peer = self.peer(self.server)
        peer.ping()
        peer.close()

    def expect_connection_error(self, status, sent, handshake=True):
        peer = self.peer(self.server, handshake=handshake)
        peer.sock.sendall(sent if handshake else PREAMBLE + sent)
        if not handshake:
            self.assertEqual(b"BATN" + bytes([1, 1, 1, 0]), peer.take(8, time.monotonic() + peer.timeout))
        frames = peer.expect_closed()
        self.assertTrue(frames, "closed without a word")
        self.assertEqual(ERROR, frames[-1].kind)
        fault = frames[-1].fault()
        self.assertEqual((status, "connection", 0), (fault.status, fault.severity, fault.link), fault)
        self.assert_broker_serves()
        return fault

    def test_welcome_tells_every_promised_key(self):
        for url in self.server.ready["listen"]:
            welcome = self.peer(url, agent="test", name="me").welcome
            self.assertEqual(
                {"agent", "session", "heartbeat_ms", "frame_size_max", "fragment_size_max", "message_size_max", "links_max",
                 "channel_name_size_max", "features", "draining", "time_us"}, set(welcome))
            self.assertEqual(262_144, welcome["frame_size_max"])
            self.assertEqual(65_536, welcome["fragment_size_max"])
            self.assertEqual(67_108_864, welcome["message_size_max"])
            self.assertEqual(255, welcome["channel_name_size_max"])
            self.assertEqual([], welcome["features"])
            self.assertIs(False, welcome["draining"])
            self.assertLess(abs(welcome["time_us"] / 1e6 - time.time()), 60)

    def test_unknown_keys_of_hello_are_ignored(self):
        self.assertIn("session", self.peer(self.server, colour="green", features=["later"]).welcome)

    def test_negotiates_frame_size_and_heartbeat_downwards(self):
        welcome = self.peer(self.server, frame_size_max=65_552, heartbeat_ms=500).welcome
        self.assertEqual((65_552, 500), (welcome["frame_size_max"], welcome["heartbeat_ms"]))

    def test_handshake_byte_by_byte(self):
        peer = self.peer(self.server, handshake=False)
        hello = json.dumps({"agent": "slow", "heartbeat_ms": 3_600_000}).encode()
        for byte in PREAMBLE + encode_frame(HELLO, body=hello):
            peer.sock.sendall(bytes([byte]))
        self.assertEqual(8, len(peer.take(8, time.monotonic() + peer.timeout)))
        peer.expect(WELCOME)
        for byte in encode_frame(PING, sequence=77):
            peer.sock.sendall(bytes([byte]))
        self.assertEqual(77, peer.expect(wire.PONG).sequence)

    def test_a_session_byte_by_byte(self):
        peer = self.peer(self.server)
        session = (encode_frame(wire.ATTACH, 1, body=wire.encode_attach(wire.SENDER, b"slow"))
                   + encode_frame(wire.ATTACH, 2, body=wire.encode_attach(wire.RECEIVER, b"slow"))
                   + encode_frame(CREDIT, 2, body=struct.pack("<QQ", 10, 1000)))
        for byte in session:
            peer.sock.sendall(bytes([byte]))
        peer.expect(CREDIT, 1)
        for byte in encode_frame(wire.PUBLISH, 1, 1, wire.encode_batch([b"drop", b"by", b"drop"])):
            peer.sock.sendall(bytes([byte]))
        self.assertEqual([b"drop", b"by", b"drop"], [message.body for message in peer.deliveries(2, 3)])

    def test_everything_in_one_write(self):
        peer = self.peer(self.server, handshake=False)
        peer.sock.sendall(PREAMBLE + encode_frame(HELLO, body=b"{}"))
        peer.take(8, time.monotonic() + peer.timeout)
        peer.expect(WELCOME)

    def test_http_is_answered_in_its_own_words(self):
        for request in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /healthz HTTP/1.0\r\n\r\n", b"HEAD / HTTP/1.1\r\n\r\n"):
            sock = self.bare()
            sock.sendall(request)
            answer = read_to_end(sock)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), (request, answer))
            head, body = answer.split(b"\r\n\r\n", 1)
            self.assertIn(b"Baton", body)
            self.assertIn(b"Content-Length: %d" % len(body), head)
        self.assert_broker_serves()

    def test_strangers_are_closed_at_once_and_told_nothing(self):
        tls_hello = bytes.fromhex("1603010200010001fc0303") + bytes(range(200))
        for first in (tls_hello, b"\x00" * 64, b"SSH-2.0-OpenSSH_9.2\r\n", b"BATX\1\1\0\0", b"BAT\n", b"\xff", b"AMQP\0\0\x09\1"):
            for index in (0, 1):
                sock = self.bare(index)
                sock.sendall(first)
                self.assertEqual(b"", read_to_end(sock), first)
        self.assert_broker_serves()

    def test_garbage_of_any_kind_does_no_harm(self):
        random_bytes = random.Random(20260801)
        for round_number in range(40):
            peer = self.peer(self.server, handshake=round_number % 2 == 1)
            try:
                peer.sock.sendall((PREAMBLE if round_number % 4 == 0 else b"") + random_bytes.randbytes(2000))
                peer.sock.shutdown(socket.SHUT_WR)
            except ConnectionError:
                pass
            peer.expect_closed()
            peer.close()
        self.assert_broker_serves()

    def test_no_common_version(self):
        peer = self.peer(self.server, handshake=False)
        peer.sock.sendall(b"BATN" + bytes([2, 9, 0, 0]))
        self.assertEqual(b"BATN" + bytes([0, 1, 1, 0]), read_to_end(peer.sock))

    def test_a_newer_client_that_still_speaks_version_1(self):
        peer = self.peer(self.server, handshake=False)
        peer.sock.sendall(b"BATN" + bytes([1, 200, 0, 0]) + encode_frame(HELLO, body=b"{}"))
        self.assertEqual(b"BATN" + bytes([1, 1, 1, 0]), peer.take(8, time.monotonic() + peer.timeout))
        peer.expect(WELCOME)

    def test_first_frame_is_not_hello(self):
        self.expect_connection_error("protocol_violation", encode_frame(PING), handshake=False)

    def test_hello_twice(self):
        self.expect_connection_error("protocol_violation", encode_frame(HELLO))

    def test_hello_that_is_not_json(self):
        for body in (b"{", b"[]", b"\xff\xfe", b'{"heartbeat_ms":"soon"}', b'{"heartbeat_ms":1}', b'{"frame_size_max":10}',
                     b'{"agent":"' + b"a" * 201 + b'"}', b"[" * 3000):
            self.expect_connection_error("bad_frame", encode_frame(HELLO, body=body), handshake=False)

    def test_length_is_checked_before_anything_is_allocated(self):
        before = self.server.memory()
        for handshake in (False, True):
            for length in (0xFFFFFFFF, 0x7FFFFFFF, 300_000):
                header = wire.HEADER.pack(length, HELLO if not handshake else wire.PUBLISH, 0, 0, 0)
                self.expect_connection_error("frame_too_large", header, handshake=handshake)
        self.expect_connection_error("frame_too_large", encode_frame(HELLO, body=b" " * 4096), handshake=False)
        self.assertLess(self.server.memory() - before, 64 << 20)

    def test_frames_that_only_the_broker_sends(self):
        for kind in (wire.WELCOME, wire.ATTACHED, wire.CONFIRM, wire.DELIVER, wire.SETTLED, wire.GRANT, wire.GOAWAY,
                     wire.ADMIN_REPLY):
            self.expect_connection_error("protocol_violation", encode_frame(kind, body=bytes(16)))

    def test_a_frame_for_a_link_that_never_was(self):
        for kind in (wire.PUBLISH, wire.SETTLE, wire.CREDIT, wire.DETACH, wire.FRAGMENT, wire.STATE):
            self.expect_connection_error("protocol_violation", encode_frame(kind, 9, body=bytes(16)))

    def test_malformed_admin(self):
        peer = self.peer(self.server)
        peer.send(ADMIN, sequence=5, body=struct.pack("<HH", 0, 0) + b"not json")
        reply = peer.expect(wire.ADMIN_REPLY)
        self.assertEqual(5, reply.sequence)
        self.assertEqual((False, "bad_request"), (reply.json()["ok"], reply.json()["error"]["code"]))
        self.assertEqual("unsupported", peer.admin("channel.paint", b"c")["error"]["code"])
        self.assertEqual("not_found", peer.admin("channel.show", b"nowhere")["error"]["code"])
        self.assertEqual("unsupported", peer.admin("channel.create", b"c", colour="red")["error"]["code"])
        peer.ping()

    def test_unknown_frames(self):
        peer = self.peer(self.server)
        peer.attach_sender(1, b"known")
        peer.attach_sender(2, b"known")
        peer.send(99, link=1, body=b"skip me", flags=wire.OPTIONAL)
        peer.send(99, link=0, body=b"skip me too", flags=wire.OPTIONAL)
        peer.send(99, link=1, body=b"you must know this")
        fault = peer.expect_fault(1)
        self.assertEqual(("unknown_frame", "link"), (fault.status, fault.severity))
        peer.expect(CREDIT, 2)
        peer.publish(2, 1, b"the other link goes on")
        self.assertEqual([], peer.confirmed(2, 1))
        peer.send(99, link=0)
        self.assertEqual("unknown_frame", peer.expect_closed()[-1].fault().status)

    def test_undefined_flag_bits_are_ignored(self):
        peer = self.peer(self.server)
        peer.send(PING, sequence=4, flags=0x7F)
        self.assertEqual(4, peer.expect(wire.PONG).sequence)


class SilenceTest(BrokerTest):
    def test_a_peer_that_says_nothing(self):
        server = self.broker(limits_handshake_timeout="300ms")
        silent = wire.connect(server.listen_url)
        self.addCleanup(silent.close)
        self.assertEqual(b"", read_to_end(silent))
        half = self.peer(server, handshake=False)
        half.sock.sendall(PREAMBLE)
        half.take(8, time.monotonic() + half.timeout)
        self.assertEqual("handshake_timeout", half.expect_closed()[-1].fault().status)

    def test_a_peer_that_trickles_its_hello(self):
        server = self.broker(limits_handshake_timeout="500ms")
        peer = self.peer(server, handshake=False)
        peer.sock.sendall(PREAMBLE)
        peer.take(8, time.monotonic() + peer.timeout)

        def trickle():
            try:
                peer.sock.sendall(b"\x01")
                return bool(peer.readable) or peer.sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) != b"x"
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
        # One byte every few milliseconds: each says "I am alive", none makes a HELLO (the length is impossible soon).
        eventually(trickle, "the broker gives up on a HELLO that never ends")

    def test_half_open_peer_is_found_by_its_silence(self):
        server = self.broker()
        holder = self.peer(server, heartbeat_ms=200)
        watcher = self.peer(server)
        watcher.attach_sender(1, b"work")
        watcher.publish_all(1, 1, [b"one", b"two"])
        holder.attach_receiver(1, b"work")
        self.assertEqual(2, len(holder.deliveries(1, 2)))
        # The holder's machine is gone: it neither sends nor closes. Its messages come back within two intervals.
        holder.answers_ping = False
        eventually(lambda: watcher.show(b"work")["ready"] == 2, "the broker takes back what a dead peer holds")
        self.assertEqual(0, watcher.show(b"work")["receivers"])
        self.assertEqual("heartbeat_timeout", holder.expect_closed()[-1].fault().status)

    def test_heartbeats_keep_a_quiet_peer_alive(self):
        server = self.broker()
        quiet = self.peer(server, heartbeat_ms=100)
        quiet.answers_ping = False
        for _ in range(12):  # More than four times the silence that ends a connection.
            frame = quiet.read_frame()
            self.assertEqual(PING, frame.kind)
            quiet.send(wire.PONG, sequence=frame.sequence)
        quiet.ping()


if __name__ == "__main__":
    unittest.main()
