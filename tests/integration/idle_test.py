"""Ten thousand idle receivers on one broker, and what each costs."""

import os
import resource
import socket
import struct
import unittest

import wire
from broker import BrokerTest, eventually

WANTED = 10_000


class IdleReceiversTest(BrokerTest):
    shards = 2

    def test_ten_thousand_idle_receivers(self):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        count = WANTED if "BATON_TEST_INSTRUMENTED" not in os.environ else 1_000
        if hard != resource.RLIM_INFINITY:
            count = min(count, hard - 200)
        server = self.broker()  # It inherits the limit.
        watcher = self.peer(server)
        watcher.attach_sender(1, b"idle")
        before = server.memory()
        greeting = (wire.MAGIC + bytes([1, 1, 0, 0]) + wire.encode_frame(wire.HELLO, body=b'{"heartbeat_ms":3600000}'))
        attach = (wire.encode_frame(wire.ATTACH, 1, body=wire.encode_attach(wire.RECEIVER, b"idle"))
                  + wire.encode_frame(wire.CREDIT, 1, body=struct.pack("<QQ", 1, 1 << 20)))
        sockets = []
        try:
            for begin in range(0, count, 100):
                some = [socket.create_connection(self.address(server)) for _ in range(min(100, count - begin))]
                sockets += some
                for sock in some:
                    sock.sendall(greeting)
                for sock in some:
                    self.read_welcome(sock)
                    sock.sendall(attach)
            eventually(lambda: watcher.admin("broker.show")["connections"] == count + 1, "all are connected")
            shown = eventually(lambda: (channel := watcher.show(b"idle"))["receivers"] == count and channel,
                               "all are attached")
            self.assertEqual(count, shown["receivers"])
            each = (server.memory() - before) / count
            print(f"\n{count} idle receivers: {each:.0f} bytes resident in the broker for each")
            if "BATON_TEST_INSTRUMENTED" not in os.environ:
                self.assertLess(each, 8 * 1024)
            # They are all alive: each gets one message.
            watcher.publish_all(1, 1, [b"wake up"] * count)
            eventually(lambda: watcher.show(b"idle")["delivered"] == count, "each has one message")
            for sock in sockets[::97] + sockets[-1:]:
                self.assertIn(b"wake up", self.read_some(sock, b"wake up"))
        finally:
            for sock in sockets:
                sock.close()
        eventually(lambda: watcher.admin("broker.show")["connections"] == 1, "the broker lets all of them go")
        self.assertEqual(count, watcher.show(b"idle")["ready"])

    @staticmethod
    def address(server):
        host, port = server.listen_url.removeprefix("tcp://").rsplit(":", 1)
        return host, int(port)

    @staticmethod
    def read_welcome(sock):
        received = b""
        while len(received) < 24 or len(received) < 24 + struct.unpack_from("<I", received, 8)[0]:
            piece = sock.recv(4096)
            assert piece, received
            received += piece

    @staticmethod
    def read_some(sock, until):
        received = b""
        while until not in received:
            piece = sock.recv(4096)
            assert piece, received
            received += piece
        return received


if __name__ == "__main__":
    unittest.main()
