"""A connection goes to the shard of its first channel (docs/adr/0021-connections-move-once.md): nothing of that is seen from
outside but the session's number, whose upper 16 bits are the shard."""

import unittest

import wire
from broker import BrokerTest, eventually
from wire import ATTACH, DELIVER, PING, PONG, encode_attach, encode_frame

SHARDS = 4


def shard_of(link):
    return link["session"] >> 48


class MovingTest(BrokerTest):
    shards = SHARDS

    def links(self, watcher, name):
        return watcher.show(name)["links"]

    def test_a_sender_and_a_receiver_meet_on_the_shard_of_their_channel(self):
        server = self.broker()
        watcher = self.peer(server)
        seen = set()
        for name in [b"c%d" % number for number in range(8)]:
            with self.subTest(name), self.peer(server) as receiver, self.peer(server) as sender:
                receiver.attach_receiver(7, name)
                sender.attach_sender(9, name)
                sender.publish(9, 1, b"hello")
                self.assertEqual([b"hello"], [message.body for message in receiver.expect(DELIVER, 7).messages()])
                sender.confirmed(9, 1)
                shards = {shard_of(link) for link in self.links(watcher, name)}
                self.assertEqual(1, len(shards), "both on one shard")
                seen |= shards
        self.assertGreater(len(seen), 1, "and not always on the same one")

    def test_receivers_of_one_channel_do_not_all_live_on_one_shard(self):
        server = self.broker()
        watcher = self.peer(server)
        for _ in range(40):
            self.peer(server).attach_receiver(1, b"c")
        counts = [0] * SHARDS
        for link in self.links(watcher, b"c"):
            counts[shard_of(link)] += 1
        self.assertEqual(40, sum(counts))
        self.assertLessEqual(max(counts), 41 * 1.25 / SHARDS + 5, counts)  # The rule, and one that is on its way.
        self.assertGreater(min(counts), 0, counts)

    def test_what_came_with_the_first_attach_is_done_after_it(self):
        server = self.broker()
        for number in range(8):
            name = b"c%d" % number
            with self.subTest(name), self.peer(server) as peer:
                together = encode_frame(ATTACH, 1, body=encode_attach(wire.SENDER, name))
                together += encode_frame(ATTACH, 2, body=encode_attach(wire.RECEIVER, b"other"))
                together += encode_frame(PING, sequence=77)
                half = len(together) - 5
                peer.sock.sendall(together[:half])
                peer.expect(wire.ATTACHED, 1)
                peer.sock.sendall(together[half:])
                peer.expect(wire.ATTACHED, 2)
                self.assertEqual(77, peer.expect(PONG).sequence)

    def test_who_leaves_in_the_middle_is_counted_once(self):
        server = self.broker(limits_connections_max=6)
        for number in range(200):
            peer = self.peer(server)
            peer.sock.sendall(encode_frame(ATTACH, 1, body=encode_attach(wire.RECEIVER, b"c%d" % (number % 8))))
            if number % 2:
                peer.expect(wire.ATTACHED, 1)
            peer.close()
        # Were one counted twice there would be no room, and were one not counted there would be too much.
        peers = []

        def fill_the_house():
            peer = self.peer(server, handshake=False)
            try:
                peer.shake_hands()
                peers.append(peer)
            except (wire.Refused, wire.Closed):  # Those before have not all been noticed yet.
                pass
            return len(peers) == 6
        eventually(fill_the_house, "six connections fit")
        for peer in peers:
            peer.ping()
        with self.assertRaises(wire.Refused):
            self.peer(server)

    def test_commands_find_every_channel(self):
        server = self.broker()
        for number in range(12):
            self.expect_exit(0, server, "send", f"c{number}", f"hello {number}")
        for number in range(12):
            ended = self.expect_exit(0, server, "receive", f"c{number}", "--count", "1")
            self.assertEqual(f"hello {number}\n".encode(), ended.stdout)


if __name__ == "__main__":
    unittest.main()
