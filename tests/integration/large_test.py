"""Large messages: fragments, their rules, and that small messages do not stand behind them."""

import os
import struct
import subprocess
import unittest

import wire
from broker import BrokerTest, each_shard_count, eventually
from wire import CONFIRM, CREDIT, DELIVER, FRAGMENT, GRANT, LAST

MIB = 1 << 20


@each_shard_count()
class LargeMessageTest(BrokerTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker()
        self.peer_ = self.peer(self.server)

    def start(self, peer, link, batch, sequence=1):
        peer.announce(link, sequence, len(batch))
        self.assertEqual(sequence, peer.expect(GRANT, link).sequence)

    def send_pieces(self, peer, link, batch, step=65_536):
        for at in range(0, len(batch), step):
            piece = batch[at:at + step]
            peer.send(FRAGMENT, link, at, piece, LAST if at + len(piece) == len(batch) else 0)

    def test_64_mib_beside_small_ones_on_one_connection(self):
        """Order of arrival, not time: a small round trip ends long before the large transfer does, both ways."""
        peer = self.peer_
        body = bytes(range(256)) * (64 * MIB // 256 - 1)
        batch = wire.encode_batch([body])
        peer.attach_sender(1, b"large")
        peer.attach_sender(2, b"small")
        peer.attach_receiver(3, b"small")
        peer.expect(CREDIT, 2)
        self.start(peer, 1, batch)
        # To the broker: each round trip of a small message ends while the large one is still being sent.
        step, small = 65_536, 0
        for index, at in enumerate(range(0, len(batch), step)):
            piece = batch[at:at + step]
            is_last = at + len(piece) == len(batch)
            if index % 100 == 50:
                small += 1
                peer.publish(2, small, b"small %d" % small)
                message = peer.deliveries(3, 1)[0]
                self.assertEqual(b"small %d" % small, message.body)
                peer.settle(3, message.offset)
            peer.send(FRAGMENT, 1, at, piece, LAST if is_last else 0)
        self.assertGreaterEqual(small, 10)
        self.assertEqual([], peer.confirmed(1, 1))
        # From the broker: while the large one arrives, small round trips go through between its fragments.
        peer.attach_receiver(4, b"large")
        first = peer.expect(FRAGMENT, 4)
        total = struct.unpack_from("<Q", first.body, 8)[0]
        received, began, turns, in_between = bytearray(), 0, [], False
        while len(received) < total:
            if not in_between and len(received) < total - 20 * MIB:
                small += 1
                peer.publish(2, small, b"small %d" % small)
                in_between, began = True, len(received)
            frame = peer.read_frame()
            if frame.kind == FRAGMENT and frame.link == 4:
                self.assertEqual(len(received), frame.sequence)
                received += frame.body
            elif frame.kind == DELIVER and frame.link == 3:
                turns.append(len(received) - began)
                peer.settle(3, frame.messages()[0].offset)
                in_between = False
        self.assertEqual([body], [message.body for message in wire.messages_of(bytes(received))])
        print(f"\nlarge message: {len(turns)} small round trips beside it, at most {max(turns) / MIB:.1f} MiB of it "
              "arrived meanwhile")
        self.assertGreaterEqual(len(turns), 3, "small messages went through while the large one arrived")
        # What lay in the sockets already is in front; what waits in the broker is not. How much passes while the two
        # shards take turns depends on the machine's load; half of the message is far from "behind it" in any case.
        self.assertLess(sorted(turns)[len(turns) // 2], total // 2)

    def test_idle_senders_do_not_hold_it_up(self):
        """They keep credit that they were promised, together more than there is; a large message and others go on."""
        server = self.broker(limits_memory_max="16m", limits_message_size_max="8m")
        senders = []
        for number in range(8):
            channel = b"idle %d" % number
            peer = self.peer(server)
            peer.admin("channel.create", channel)
            self.command(server, "receive", channel.decode())
            sender = self.command(server, "send", channel.decode(), stdin=subprocess.PIPE)
            sender.process.stdin.write((b"y" * 900 + b"\n") * 20_000)
            sender.process.stdin.flush()
            senders.append((channel, sender))
        watcher = self.peer(server)
        for channel, sender in senders:
            eventually(lambda: (shown := watcher.show(channel))["published"] == 20_000 and shown["ready"] + shown["in_flight"] == 0,
                       "everything was received")
        path = os.path.join(self.folder, "large")
        with open(path, "wb") as file:
            file.write(b"L" * 7_000_000)
        for _ in range(2):
            self.expect_exit(0, server, "send", "large", "--file", path)
            self.assertEqual(7_000_001, len(self.expect_exit(0, server, "receive", "large", "-n", "1").stdout))
        self.expect_exit(0, server, "send", "small", "x")
        for channel, sender in senders:
            sender.process.stdin.close()
            self.assertEqual(0, sender.wait())

    def test_one_that_is_larger_than_is_allowed_now_is_still_given(self):
        data = self.data_dir()
        server = self.broker(data_dir=data, limits_message_size_max="32m")
        path = os.path.join(self.folder, "large")
        with open(path, "wb") as file:
            file.write(b"L" * 20_000_000)
        self.expect_exit(0, server, "send", "large", "--file", path)
        self.expect_exit(0, server, "send", "large", "next")
        server.stop()
        server = self.broker(data_dir=data, limits_message_size_max="1m")
        received = self.expect_exit(0, server, "receive", "large", "--until-empty").stdout
        self.assertEqual([20_000_000, 4], [len(line) for line in received.splitlines()])

    def test_sizes_around_the_frame_limit(self):
        peer = self.peer_
        peer.attach_sender(1, b"c")
        peer.attach_receiver(2, b"c")
        frame_body_max = peer.welcome["frame_size_max"] - wire.HEADER.size
        for number, size in enumerate((frame_body_max - 50, frame_body_max - 44, frame_body_max - 43, frame_body_max,
                                       300_000), 1):
            body = bytes([number]) * size
            batch = wire.encode_batch([body])
            self.start(peer, 1, batch, number)
            self.send_pieces(peer, 1, batch, step=50_000)
            self.assertEqual([], peer.confirmed(1, number))
            if 8 + len(batch) > frame_body_max:
                message = wire.messages_of(peer.assemble(2))[0]
            else:
                message = peer.deliveries(2, 1)[0]
            self.assertEqual(body, message.body)
            peer.settle(2, message.offset)

    def test_a_large_message_comes_back_from_a_lost_receiver(self):
        peer, lost = self.peer_, self.peer(self.server)
        batch = wire.encode_batch([bytes(3 * MIB)])
        peer.attach_sender(1, b"c")
        self.start(peer, 1, batch)
        self.send_pieces(peer, 1, batch)
        peer.confirmed(1, 1)
        lost.attach_receiver(1, b"c")
        lost.expect(FRAGMENT, 1)
        lost.close()  # In the middle of it.
        peer.attach_receiver(2, b"c")
        message = wire.messages_of(peer.assemble(2))[0]
        self.assertEqual((bytes(3 * MIB), 1), (message.body, message.attempt))

    def test_a_sender_lost_in_the_middle_leaves_nothing(self):
        lost = self.peer(self.server)
        batch = wire.encode_batch([bytes(3 * MIB)])
        lost.attach_sender(1, b"c")
        self.start(lost, 1, batch)
        lost.send(FRAGMENT, 1, 0, batch[:65_536])
        lost.close()
        peer = self.peer_
        peer.attach_receiver(1, b"c")
        self.assertEqual(0, peer.ask(1).ready)
        self.assertEqual(0, peer.show(b"c")["published"])

    def test_broken_rules_fail_the_link_only(self):
        batch = wire.encode_batch([bytes(300_000)])
        two = wire.encode_batch([bytes(150_000), bytes(150_000)])

        def out_of_order(peer):
            self.start(peer, 1, batch)
            peer.send(FRAGMENT, 1, 10, batch[10:100])

        def too_much(peer):
            self.start(peer, 1, batch[:70_000])
            peer.send(FRAGMENT, 1, 0, batch[:65_536])
            peer.send(FRAGMENT, 1, 65_536, batch[65_536:131_072], LAST)

        def too_early_last(peer):
            self.start(peer, 1, batch)
            peer.send(FRAGMENT, 1, 0, batch[:1000], LAST)

        def piece_too_large(peer):
            self.start(peer, 1, batch)
            peer.send(FRAGMENT, 1, 0, batch[:65_537])

        def without_grant(peer):
            peer.send(FRAGMENT, 1, 0, batch[:1000])

        def publish_in_between(peer):
            self.start(peer, 1, batch)
            peer.publish(1, 1, b"small")

        def wrong_type(peer):
            peer.announce(1, 1, len(batch), kind=wire.SETTLE)

        def more_than_one_message(peer):
            self.start(peer, 1, two)
            self.send_pieces(peer, 1, two)

        expected = {out_of_order: "bad_frame", too_much: "bad_frame", too_early_last: "bad_frame",
                    piece_too_large: "bad_frame", without_grant: "bad_frame", publish_in_between: "bad_frame",
                    wrong_type: "bad_frame", more_than_one_message: "bad_batch"}
        peer = self.peer_
        for break_it, status in expected.items():
            with self.subTest(break_it.__name__):
                peer.attach_sender(1, b"c")
                break_it(peer)
                fault = peer.expect_fault(1)
                self.assertEqual((status, "link"), (fault.status, fault.severity), fault.text)
                peer.ping()
                peer.unread = [frame for frame in peer.unread if frame.kind not in (CREDIT, GRANT, CONFIRM)]
        self.assertEqual(0, peer.show(b"c")["published"])


if __name__ == "__main__":
    unittest.main()
