"""Every limit does what the documentation says: it blocks, refuses or ends, names itself, and nothing else suffers."""

import base64
import os
import threading
import time
import unittest

import wire
from broker import BrokerTest, each_shard_count, eventually
from wire import ATTACH, CREDIT, GRANT, STATE, encode_attach

MIB = 1 << 20


@each_shard_count()
class FullChannelTest(BrokerTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker()
        self.sender, self.other = self.peer(self.server), self.peer(self.server)

    def attach_to_small_channel(self, **limits):
        self.assertTrue(self.sender.admin("channel.create", b"small", **limits)["created"])
        self.sender.attach_sender(1, b"small", producer="ab" * 16)
        return self.sender.expect(CREDIT, 1).credit()

    def expect_blocked(self, reason):
        """The broker says so unasked, when asked, and to whoever looks at the channel."""
        self.sender.expect(STATE, 1, lambda frame: frame.state().reason == reason)
        self.assertEqual(reason, self.sender.ask(1).reason)
        wait = [link for link in self.other.show(b"small")["links"] if link["role"] == "sender"][0]["wait"]
        self.assertEqual(reason, wait["reason"])
        self.assertEqual(reason != "none", "for_ms" in wait)

    def test_a_full_channel_withholds_credit_and_stores_exactly_its_limit(self):
        self.assertEqual(10, self.attach_to_small_channel(messages_max=10)[0])
        self.sender.publish(1, 1, *[b"%d" % number for number in range(1, 11)])
        self.assertEqual([], self.sender.confirmed(1, 10))
        self.expect_blocked("full")
        self.assertEqual((10, 0), (self.other.show(b"small")["ready"], self.other.show(b"small")["parked"]))
        self.assertEqual([], [frame for frame in self.sender.unread if frame.kind == CREDIT])

        self.other.attach_receiver(1, b"small", credit=(4, 1 << 40))
        self.assertEqual([b"1", b"2", b"3", b"4"], [message.body for message in self.other.deliveries(1, 4)])
        self.assertEqual("full", self.sender.ask(1).reason, "what is in flight still counts")
        self.other.settle(1, 1, count=4)
        self.assertEqual(14, self.sender.expect(CREDIT, 1, lambda frame: frame.credit()[0] > 10).credit()[0])
        self.expect_blocked("none")
        self.sender.publish(1, 11, b"11", b"12", b"13", b"14")
        self.assertEqual([], self.sender.confirmed(1, 14))
        self.expect_blocked("full")
        self.other.give_credit(1, 100)
        self.assertEqual([b"%d" % number for number in range(5, 15)],
                         [message.body for message in self.other.deliveries(1, 10)])

    def test_several_senders_may_together_go_beyond_and_wait_unconfirmed(self):
        self.attach_to_small_channel(messages_max=10)
        self.sender.publish(1, 1, *[b"%d" % number for number in range(1, 10)])
        self.sender.confirmed(1, 9)
        for link in (2, 3):  # Each has credit for at least one message: nobody is starved by promises to others.
            self.sender.attach_sender(link, b"small")
            self.sender.expect(CREDIT, link)
        for link in (2, 3):
            self.sender.publish(link, 1, b"from link %d" % link)
        self.assertEqual([], self.sender.confirmed(2, 1))
        shown = eventually(lambda: (channel := self.other.show(b"small"))["parked"] == 1 and channel, "one is parked")
        self.assertEqual(10, shown["ready"])
        self.assertEqual([], [frame for frame in self.sender.unread if (frame.kind, frame.link) == (wire.CONFIRM, 3)])
        self.other.attach_receiver(1, b"small")
        self.other.deliveries(1, 10)
        self.other.settle(1, 1)
        self.assertEqual([], self.sender.confirmed(3, 1))

    def test_bytes_are_limited_too(self):
        _, limit = self.attach_to_small_channel(bytes_max=10_000)
        self.assertLessEqual(limit, 10_000)
        batch = wire.encode_batch([bytes(996)])  # 1,000 bytes in the channel.
        number, blocked = 0, False
        while not blocked:
            if (number + 1) * len(batch) <= limit:
                number += 1
                self.sender.send(wire.PUBLISH, 1, number, batch)
                continue
            frame = self.sender.next_frame()
            limit = frame.credit()[1] if frame.kind == CREDIT else limit
            blocked = frame.kind == STATE and frame.state().reason == "full"
        self.sender.ping()
        shown = self.other.show(b"small")
        self.assertEqual((10, 10_000, number - 10), (shown["ready"], shown["bytes"], shown["parked"]))

    def test_a_higher_limit_takes_effect_at_once(self):
        self.attach_to_small_channel(messages_max=1)
        self.sender.publish(1, 1, b"1")
        self.sender.confirmed(1, 1)
        self.expect_blocked("full")
        reply = self.other.admin("channel.create", b"small", messages_max=5)
        self.assertEqual((True, False, 5), (reply["ok"], reply["created"], reply["channel"]["messages_max"]))
        self.assertEqual(5, self.sender.expect(CREDIT, 1, lambda frame: frame.credit()[0] > 1).credit()[0])

    def test_a_blocked_sender_that_leaves_takes_its_unconfirmed_messages_along(self):
        self.attach_to_small_channel(messages_max=2)
        self.sender.publish(1, 1, b"1")
        self.sender.confirmed(1, 1)
        self.sender.attach_sender(2, b"small")
        self.sender.expect(CREDIT, 2)
        self.sender.publish(2, 1, b"2")
        self.sender.confirmed(2, 1)
        self.sender.publish(1, 2, b"3")  # Within its old credit, and the channel is full.
        eventually(lambda: self.other.show(b"small")["parked"] == 1, "it is parked")
        self.sender.close()
        eventually(lambda: self.other.show(b"small")["parked"] == 0, "parked messages are forgotten")
        self.assertEqual(1, self.other.attach_sender(1, b"small", producer="ab" * 16).sequence)
        self.other.attach_receiver(2, b"small")
        self.assertEqual(2, len(self.other.deliveries(2, 2)))
        self.other.settle(2, 1, count=2)
        self.other.expect(CREDIT, 1)
        self.other.publish(1, 2, b"3")
        self.assertEqual([b"3"], [message.body for message in self.other.deliveries(2, 1)])


class LimitTest(BrokerTest):
    def test_message_size_of_a_channel(self):
        server = self.broker()
        peer = self.peer(server)
        peer.admin("channel.create", b"small", message_size_max=100)
        self.assertEqual(100, peer.attach_sender(1, b"small").json()["message_size_max"])
        peer.expect(CREDIT, 1)
        peer.publish(1, 1, bytes(100))
        peer.publish(1, 2, bytes(101))
        peer.publish(1, 3, b"small again")
        self.assertEqual([(2, 1, "message_too_large")], peer.confirmed(1, 3))
        shown = peer.show(b"small")
        self.assertEqual((2, 1), (shown["ready"], shown["refused"]))

    def test_message_size_of_the_broker(self):
        server = self.broker(limits_message_size_max="1m")
        peer = self.peer(server)
        self.assertEqual(MIB, peer.welcome["message_size_max"])
        peer.attach_sender(1, b"c")
        peer.expect(CREDIT, 1)
        peer.announce(1, 1, 2 * MIB)
        fault = peer.expect_fault(1)
        self.assertEqual(("message_too_large", "link"), (fault.status, fault.severity))
        self.assertIn("limits.message_size_max", fault.text)
        peer.ping()

    def test_connections(self):
        server = self.broker(limits_connections_max=3)
        peers = [self.peer(server) for _ in range(3)]
        one_too_many = self.peer(server, handshake=False)
        with self.assertRaises(wire.Refused) as refusal:
            one_too_many.shake_hands()
        self.assertEqual("too_many_connections", refusal.exception.fault.status)
        self.assertTrue(refusal.exception.fault.retryable)
        peers[0].close()
        eventually(lambda: self.can_connect(server), "room for another connection")
        peers[1].ping()

    @staticmethod
    def can_connect(server):
        peer = wire.Peer(server.listen_url, handshake=False)
        try:
            peer.shake_hands()
            return True
        except (wire.Refused, wire.Closed):
            return False
        finally:
            peer.close()

    def test_channels(self):
        server = self.broker(limits_channels_max=2, shards=2)
        peer = self.peer(server)
        peer.attach_sender(1, b"one")
        peer.attach_sender(2, b"two")
        peer.send(ATTACH, 3, body=encode_attach(wire.SENDER, b"three"))
        self.assertEqual("too_many_channels", peer.expect_fault(3).status)
        self.assertEqual("too_many_channels", peer.admin("channel.create", b"three")["error"]["code"])
        peer.attach_receiver(3, b"one")
        self.assertTrue(peer.admin("channel.delete", b"two", force=True)["ok"])
        peer.attach_sender(4, b"three")

    def test_links(self):
        server = self.broker(limits_links_max=4)
        peer = self.peer(server)
        self.assertEqual(4, peer.welcome["links_max"])
        for link in range(1, 5):
            peer.attach_sender(link, b"c")
        peer.send(ATTACH, 5, body=encode_attach(wire.SENDER, b"c"))
        self.assertEqual("too_many_links", peer.expect_fault(5).status)

    def test_name_length(self):
        server = self.broker(limits_channel_name_size_max=8)
        peer = self.peer(server)
        self.assertEqual(8, peer.welcome["channel_name_size_max"])
        peer.attach_sender(1, b"12345678")
        peer.send(ATTACH, 2, body=encode_attach(wire.SENDER, b"123456789"))
        self.assertEqual("bad_name", peer.expect_fault(2).status)

    def test_producers(self):
        server = self.broker(limits_producers_max=2)
        peer = self.peer(server)
        for link in (1, 2):
            peer.attach_sender(link, b"c", producer="%032x" % link)
            peer.expect(CREDIT, link)
            peer.publish(link, 1, b"x")
            peer.confirmed(link, 1)
        peer.send(ATTACH, 3, body=encode_attach(wire.SENDER, b"c", {"producer": "%032x" % 3}))
        fault = peer.expect_fault(3)
        self.assertEqual(("too_many_producers", True), (fault.status, fault.retryable))

    def test_emfile_is_survived(self):
        server = self.broker(open_files=64)
        known = self.peer(server)
        sockets = []
        for _ in range(100):
            sockets.append(wire.connect(server.listen_url))
            self.addCleanup(sockets[-1].close)
        eventually(lambda: "cannot accept" in server.log(), "the log tells of it")
        known.ping()
        self.assertLess(server.log().count("cannot accept"), 50, "not one line for every attempt")
        for sock in sockets:
            sock.close()

        def is_served_again():
            try:
                self.peer(server).ping()
            except (wire.Closed, OSError):
                return False  # The broker has not heard of all those ends yet.
            return True

        eventually(is_served_again, "new connections are served again")
        known.ping()


@each_shard_count(2)
class MemoryTest(BrokerTest):
    def test_the_total_bound_holds(self):
        server = self.broker(limits_memory_max="48m", limits_message_size_max="1m", shards=self.shards)
        watcher = self.peer(server)
        before = server.memory()
        stop = threading.Event()
        stored, reasons, failures = [0] * 6, [None] * 6, []

        def push(index):
            """Sends as fast as it may until it is told that it is blocked; goes on whenever it may."""
            try:
                peer = wire.Peer(server.listen_url)
                peer.attach_sender(1, b"pushed %d" % index)
                limit, used, sequence = (0, 0), [0, 0], 1
                batch = wire.encode_batch([bytes(996)] * 3)
                while not stop.is_set():
                    while used[0] + 3 <= limit[0] and used[1] + len(batch) <= limit[1]:
                        peer.send(wire.PUBLISH, 1, sequence, batch)
                        sequence, used = sequence + 3, [used[0] + 3, used[1] + len(batch)]
                    try:
                        frame = peer.next_frame(0.05)
                    except TimeoutError:
                        continue
                    if frame.kind == CREDIT:
                        limit = frame.credit()
                    elif frame.kind == STATE:
                        reasons[index] = frame.state().reason
                    elif frame.kind == wire.CONFIRM:
                        stored[index] = frame.sequence
                    elif frame.kind == wire.ERROR:
                        failures.append(frame.fault())
                peer.close()
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=push, args=(index,)) for index in range(6)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: failures or all(reason == "memory" for reason in reasons), "all are told: memory")
            peak = server.memory() - before
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual([], failures)
        total = sum(stored) * 1_000
        print(f"\nmemory bound 48 MiB: {total / MIB:.1f} MiB stored, {peak / MIB:.1f} MiB resident above the start")
        self.assertGreater(total, 24 * MIB, "most of the bound is usable")
        self.assertLess(total, 48 * MIB)
        if "BATON_TEST_INSTRUMENTED" not in os.environ:
            self.assertLess(peak, 80 * MIB)
        # Receiving makes room again. All channels: chunks of small messages are shared between the channels of a shard.
        for index in range(6):
            watcher.attach_receiver(10 + index, b"pushed %d" % index)
            got = watcher.deliveries(10 + index, stored[index])
            watcher.settle_and_wait(10 + index, got[0].offset, count=len(got))
        watcher.attach_sender(2, b"other")
        watcher.expect(CREDIT, 2)

    def test_senders_go_on_while_of_each_batch_a_message_is_left_in_quarantine(self):
        """Each once kept all of its batch: when those had filled the memory no sender went on any more."""
        settings = {"limits_memory_max": "24m", "limits_message_size_max": "1m", "data_dir": self.data_dir()}
        server = self.broker(shards=self.shards, **settings)
        sender, receiver = self.peer(server), self.peer(server)
        rounds, size, left = 400, 996, {}
        for storage in ("memory", "durable"):
            name = storage.encode()
            self.assertTrue(sender.admin("channel.create", name, storage=storage)["created"])
            receiver.attach_receiver(1, name, credit=(1 << 40, 1 << 40))
            left[storage] = {}
            for number in range(rounds):
                bodies = [(b"%d.%d" % (number, index)).ljust(size, b".") for index in range(100)]
                sender.attach_sender(1, name)
                self.assertEqual([], sender.publish_all(1, 1, bodies))
                sender.detach(1)
                messages = receiver.deliveries(1, 100)
                first = messages[0].offset
                self.assertEqual(list(range(first, first + 100)), [message.offset for message in messages])
                receiver.settle(1, first, count=37)
                receiver.settle(1, first + 37, outcome=wire.REJECT, note=b"no")
                self.assertEqual([], receiver.settle_and_wait(1, first + 38, count=62))
                left[storage][first + 37] = bodies[37]
            receiver.detach(1)
        used = sender.admin("broker.show")["memory_used"]
        print(f"\n{2 * rounds} messages of {size} bytes left of {2 * rounds * 100}: {used / MIB:.1f} MiB in use")
        self.assertLess(used, 12 * MIB, "what is left is 1.2 MB")
        self.assert_left(server, left)
        server.kill()
        again = self.broker(shards=self.shards, **settings)
        self.assert_left(again, {"durable": left["durable"]})
        peer = self.peer(again)
        peer.attach_sender(1, b"durable")
        self.assertEqual([], peer.publish_all(1, 1, [bytes(size)] * 1_000))

    def test_quarantine_of_a_durable_channel_is_larger_than_memory(self):
        """What is in quarantine is in segments: senders go on, and it is there when somebody wants it."""
        settings = {"limits_memory_max": "24m", "limits_message_size_max": "1m", "data_dir": self.data_dir()}
        server = self.broker(shards=self.shards, **settings)
        sender, receiver = self.peer(server), self.peer(server)
        rounds, count, size, expected = 96, 100, 10_000, {}
        self.assertTrue(sender.admin("channel.create", b"q", storage="durable")["created"])
        sender.attach_sender(1, b"q")
        receiver.attach_receiver(1, b"q", credit=(1 << 40, 1 << 40))
        for number in range(rounds):
            bodies = [(b"%d.%d" % (number, index)).ljust(size, b".") for index in range(count)]
            sender.detach(1)
            sender.attach_sender(1, b"q")
            self.assertEqual([], sender.publish_all(1, 1, bodies))
            first = receiver.deliveries(1, count)[0].offset
            receiver.settle(1, first, outcome=wire.RETRY)
            again = receiver.deliveries(1, 1)[0]
            self.assertEqual((first, 2), (again.offset, again.attempt))
            receiver.settle(1, first, attempt=2, outcome=wire.REJECT, note=b"no")
            self.assertEqual([], receiver.settle_and_wait(1, first + 1, count=count - 1, outcome=wire.REJECT, note=b"no"))
            expected.update({first + index: body for index, body in enumerate(bodies)})
        receiver.detach(1)
        shown = sender.show(b"q")
        self.assertEqual((rounds * count, rounds * count * (size + 4)), (shown["quarantined"], shown["bytes"]))
        eventually(lambda: sender.show(b"q")["resident_bytes"] < 12 * MIB, "it leaves memory")
        self.assertLess(sender.admin("broker.show")["memory_used"], 24 * MIB)
        self.assert_in_quarantine(sender, expected)
        server.kill()

        server = self.broker(shards=self.shards, **settings)
        peer, receiver = self.peer(server), self.peer(server)
        eventually(lambda: peer.show(b"q")["resident_bytes"] < 12 * MIB, "what came out of the log leaves memory, too")
        self.assert_in_quarantine(peer, expected)
        moved = sorted(expected)[5::3_000]
        explained = peer.admin("channel.explain", b"q", offset=moved[0])
        self.assertEqual(expected[moved[0]], base64.b64decode(explained["message"]["body_base64"]))
        reply = peer.admin("channel.move", b"q", to="other", state="quarantined", offsets=moved)
        self.assertEqual((True, len(moved)), (reply["ok"], reply["messages"]))
        receiver.attach_receiver(2, b"other")
        self.assertEqual([expected.pop(offset) for offset in moved],
                         [message.body for message in receiver.deliveries(2, len(moved))])
        peer.attach_sender(1, b"q")
        self.assertEqual([], peer.publish_all(1, 1, [b"new"]))
        self.assertEqual(len(expected), peer.admin("channel.retry", b"q", all=True)["messages"])
        receiver.attach_receiver(1, b"q", credit=(0, 0))
        order, used, resident = [], 0, 0
        while len(order) < len(expected):
            receiver.give_credit(1, min(len(order) + count, len(expected)))
            got = receiver.deliveries(1, min(count, len(expected) - len(order)))
            for message in got:
                self.assertEqual((expected[message.offset], 1), (message.body, message.attempt))
                order.append(message.offset)
            for message in got[:-1]:
                receiver.settle(1, message.offset)
            self.assertEqual([], receiver.settle_and_wait(1, got[-1].offset, receipt=len(order)))
            used = max(used, peer.admin("broker.show")["memory_used"])
            resident = max(resident, server.memory())
        self.assertEqual(sorted(expected), order)
        receiver.give_credit(1, len(expected) + 1)
        self.assertEqual(b"new", receiver.deliveries(1, 1)[0].body, "it came later")
        print(f"\n{rounds * count * size / MIB:.0f} MiB retried: at most {used / MIB:.1f} MiB of 24 in use, "
              f"{resident / MIB:.1f} MiB resident")
        self.assertLess(used, 24 * MIB)
        if "BATON_TEST_INSTRUMENTED" not in os.environ:
            self.assertLess(resident, 64 * MIB)

    def test_delayed_messages_of_a_durable_channel_are_larger_than_memory(self):
        """What waits for its time is in segments: senders go on, and it comes when it is due, also after a crash."""
        settings = {"limits_memory_max": "24m", "limits_message_size_max": "1m", "data_dir": self.data_dir()}
        server = self.broker(shards=self.shards, **settings)
        sender = self.peer(server)
        rounds, count, size, expected = 96, 100, 10_000, {}
        start = time.time() + (120 if "BATON_TEST_INSTRUMENTED" in os.environ else 20)
        self.assertTrue(sender.admin("channel.create", b"q", storage="durable")["created"])
        sender.attach_sender(1_000, b"q")
        self.assertEqual([], sender.publish_all(1_000, 1, [b"in front of them"]), "nobody takes it")
        for number in range(rounds):
            due_us = int((start + (rounds - number) * 0.1) * 1e6)  # The last ones come first.
            bodies = [(b"%d.%d" % (number, index)).ljust(size, b".") for index in range(count)]
            self.assertEqual([], sender.publish_on(number + 1, b"q", bodies, wire.not_before(due_us)))
            expected.update({number * count + index + 2: (body, due_us) for index, body in enumerate(bodies)})
        shown = sender.show(b"q")
        self.assertEqual((rounds * count, 1), (shown["delayed"], shown["ready"]))
        eventually(lambda: sender.show(b"q")["resident_bytes"] < 12 * MIB, "they leave memory")
        self.assertLess(sender.admin("broker.show")["memory_used"], 24 * MIB)
        self.assert_delayed(sender, expected)
        server.kill()

        server = self.broker(shards=self.shards, **settings)
        peer, receiver = self.peer(server), self.peer(server)
        eventually(lambda: peer.show(b"q")["resident_bytes"] < 12 * MIB, "what came out of the log leaves memory, too")
        self.assert_delayed(peer, expected)
        dropped, moved = sorted(expected)[7::3_000], sorted(expected)[1_005::3_000]
        self.assertEqual(len(dropped), peer.admin("channel.drop", b"q", state="delayed", offsets=dropped)["messages"])
        reply = peer.admin("channel.move", b"q", to="other", state="delayed", offsets=moved)
        self.assertEqual((True, len(moved)), (reply["ok"], reply["messages"]))
        self.assertEqual(sorted(expected[offset][1] for offset in moved),
                         sorted(message["due_us"] for message in
                                peer.admin("channel.peek", b"other", state="delayed", count=9)["messages"]))
        for offset in dropped + moved:
            del expected[offset]
        self.assertEqual(len(expected), peer.show(b"q")["delayed"], "it took too long until here")
        receiver.attach_receiver(1, b"q", credit=(101, 1 << 40))
        self.assertEqual(b"in front of them", receiver.deliveries(1, 1)[0].body)
        self.receive_in_time(server, receiver, expected)
        self.assertEqual(0, peer.show(b"q")["delayed"])

    def test_what_was_due_and_nobody_takes_is_larger_than_memory(self):
        settings = {"limits_memory_max": "24m", "limits_message_size_max": "1m", "data_dir": self.data_dir()}
        server = self.broker(shards=self.shards, **settings)
        peer = self.peer(server)
        rounds, count, size = 48, 100, 10_000
        self.assertTrue(peer.admin("channel.create", b"q", storage="durable")["created"])
        for number in range(rounds):
            bodies = [(b"%d.%d" % (number, index)).ljust(size, b".") for index in range(count)]
            self.assertEqual([], peer.publish_on(number + 1, b"q", bodies, wire.delay(50_000)))
        eventually(lambda: peer.show(b"q")["ready"] == rounds * count, "all of them are due")
        eventually(lambda: peer.show(b"q")["resident_bytes"] < 12 * MIB, "they leave memory")
        server.kill()
        server = self.broker(shards=self.shards, **settings)
        peer = self.peer(server)
        self.assertEqual(rounds * count, peer.show(b"q")["ready"])
        peer.attach_receiver(1, b"q", credit=(count, 1 << 40))
        got = {}
        while len(got) < rounds * count:
            for message in peer.deliveries(1, 1):
                got[message.offset] = message.body
                peer.settle(1, message.offset)
            peer.give_credit(1, len(got) + count)
        self.assertEqual([b"%d.%d" % divmod(offset - 1, count) for offset in sorted(got)],
                         [got[offset].rstrip(b".") for offset in sorted(got)])

    def test_what_expires_overtakes_or_came_back_is_larger_than_memory(self):
        """Whatever is between plain messages is in segments with them: senders go on, and it expires and overtakes in time, also
        after a crash."""
        settings = {"limits_memory_max": "24m", "limits_message_size_max": "1m", "data_dir": self.data_dir()}
        server = self.broker(shards=self.shards, **settings)
        peer = self.peer(server)
        rounds, count, size = 80, 100, 10_000
        kinds = [None, wire.ttl(3_600_000_000), wire.priority(5), wire.priority(7) + wire.ttl(3_600_000_000)]
        self.assertTrue(peer.admin("channel.create", b"q", storage="durable")["created"])
        taker = self.peer(server)
        taker.attach_receiver(1, b"q", credit=(250, 1 << 40))  # These come back when it has gone.
        short_until = time.time() + (120 if "BATON_TEST_INSTRUMENTED" in os.environ else 20)
        for number in range(rounds):
            bodies = [(b"%d.%d" % (number, index)).ljust(size, b".") for index in range(count)]
            self.assertEqual([], peer.publish_on(number + 1, b"q", bodies, kinds[number % 4]))
            short = wire.ttl(int((short_until - time.time()) * 1e6))
            self.assertEqual([], peer.publish_on(100 + number, b"q", [b"short".ljust(size, b".")], short))
        taker.close()
        ready = rounds * (count + 1)

        def is_small():
            shown = peer.show(b"q")
            return shown["ready"] == ready and shown["resident_bytes"] < 12 * MIB

        eventually(is_small, "they leave memory")
        self.assertLess(peer.admin("broker.show")["memory_used"], 24 * MIB)
        server.kill()

        server = self.broker(shards=self.shards, **settings)
        peer = self.peer(server)
        eventually(is_small, "what came out of the log leaves memory, too")
        self.assertLess(time.time(), short_until, "it took too long until here")
        eventually(lambda: peer.show(b"q")["ready"] == rounds * count, "the others have expired, on the disk", timeout=130)
        self.assertLess(peer.show(b"q")["resident_bytes"], 12 * MIB)
        peer.attach_receiver(1, b"q", credit=(count, 1 << 40))
        got = []
        while len(got) < rounds * count:
            for message in peer.deliveries(1, 1):
                got.append(message)
                peer.settle(1, message.offset, attempt=message.attempt)
            peer.give_credit(1, len(got) + count)
        by_rank = {7: 3, 5: 2, 0: None}
        expected = [b"%d.%d" % (number, index) for rank in by_rank for number in range(rounds)
                    if number % 4 == by_rank[rank] or (rank == 0 and number % 4 < 2) for index in range(count)]
        self.assertEqual(expected, [message.body.rstrip(b".") for message in got])
        eventually(lambda: peer.show(b"q")["stored"] == 0, "nothing is left")
        self.assertEqual(0, peer.show(b"q")["bytes"])

    def test_an_ordered_channel_is_larger_than_memory(self):
        """What waits behind busy keys is in segments: senders and other keys go on, and each key keeps its order."""
        settings = {"limits_memory_max": "24m", "limits_message_size_max": "1m", "data_dir": self.data_dir()}
        server = self.broker(shards=self.shards, **settings)
        sender, holder, receiver = self.peer(server), self.peer(server), self.peer(server)
        rounds, count, size, keys = 104, 100, 10_000, 8
        self.assertTrue(sender.admin("channel.create", b"q", storage="durable", ordered_by_key=True)["created"])
        holder.attach_receiver(1, b"q", credit=(1, 1 << 40))
        self.assertEqual([], sender.publish_on(1_000, b"q", [b"0.held"], wire.key(b"0")))
        self.assertEqual(b"0.held", holder.deliveries(1, 1)[0].body)
        receiver.attach_receiver(1, b"q", credit=(50, 1 << 40))  # It gets one of each other key, and wants more.
        for number in range(rounds):
            bodies = [(b"%d.%d.%d" % (number % keys, number, index)).ljust(size, b".") for index in range(count)]
            self.assertEqual([], sender.publish_on(number + 1, b"q", bodies, wire.key(b"%d" % (number % keys))))
        shown = sender.show(b"q")
        self.assertEqual((rounds * count + 1, keys), (shown["ready"] + shown["in_flight"], shown["in_flight"]))
        eventually(lambda: sender.show(b"q")["resident_bytes"] < 12 * MIB, "it leaves memory")
        self.assertLess(sender.admin("broker.show")["memory_used"], 24 * MIB)
        newest = {}
        self.receive_in_order(server, receiver, newest, 2_000)
        self.assertEqual({b"%d" % key for key in range(1, keys)}, set(newest), "one of them is busy")
        server.kill()

        server = self.broker(shards=self.shards, **settings)
        peer, receiver = self.peer(server), self.peer(server)
        print(f"\n{server.memory() / MIB:.1f} MiB resident after a restart")
        if "BATON_TEST_INSTRUMENTED" not in os.environ:
            self.assertLess(server.memory(), 64 * MIB)
        self.assertEqual(rounds * count + 1 - 2_000, peer.show(b"q")["ready"])
        self.assertEqual([], peer.publish_on(1, b"q", [b"9.new"], wire.key(b"9")))
        receiver.attach_receiver(1, b"q", credit=(50, 1 << 40))
        self.receive_in_order(server, receiver, newest, rounds * count + 2 - 2_000)
        self.assertEqual(0, peer.show(b"q")["stored"])

    def test_a_fair_channel_is_larger_than_memory(self):
        """What waits for the turn of its tenant is in segments: senders go on, and who came last with little has a turn."""
        settings = {"limits_memory_max": "24m", "limits_message_size_max": "1m", "data_dir": self.data_dir()}
        server = self.broker(shards=self.shards, **settings)
        sender, receiver = self.peer(server), self.peer(server)
        rounds, count, size, few, window = 104, 100, 10_000, 10, 20
        self.assertTrue(sender.admin("channel.create", b"q", storage="durable", fair_by="key")["created"])
        receiver.attach_receiver(1, b"q", credit=(window, 1 << 40))
        for number in range(rounds):
            bodies = [(b"%d.%d.%d" % (number % 2, number, index)).ljust(size, b".") for index in range(count)]
            self.assertEqual([], sender.publish_on(number + 1, b"q", bodies, wire.key(b"%d" % (number % 2))))
        late = [b"late.%d" % index for index in range(few)]
        self.assertEqual([], sender.publish_on(1_000, b"q", late, wire.key(b"late")))
        total = rounds * count + few
        shown = sender.show(b"q")
        self.assertEqual((total, window), (shown["ready"] + shown["in_flight"], shown["in_flight"]))
        eventually(lambda: sender.show(b"q")["resident_bytes"] < 12 * MIB, "it leaves memory")
        newest = {}
        self.receive_in_order(server, receiver, newest, 2_000, window)
        self.assertEqual({b"0", b"1", b"late"}, set(newest))
        server.kill()

        server = self.broker(shards=self.shards, **settings)
        peer, receiver = self.peer(server), self.peer(server)
        if "BATON_TEST_INSTRUMENTED" not in os.environ:
            self.assertLess(server.memory(), 64 * MIB)
        self.assertEqual(total - 2_000, peer.show(b"q")["ready"])
        self.assertEqual([], peer.publish_on(1, b"q", [b"new.0"], wire.key(b"new")))
        receiver.attach_receiver(1, b"q", credit=(window, 1 << 40))
        self.receive_in_order(server, receiver, newest, total - 2_000 + 1, window)
        self.assertEqual({b"0", b"1", b"late", b"new"}, set(newest))
        self.assertEqual(0, peer.show(b"q")["stored"])

    def receive_in_order(self, server, receiver, newest, count, window=50):
        """So many messages, each behind the `newest` of its key. They are settled for good."""
        used, resident = 0, 0
        messages = []
        for number in range(1, count + 1):
            if not messages:
                messages = receiver.deliveries(1, 1)
            message = messages.pop(0)
            key = message.body.split(b".")[0]
            self.assertLess(newest.get(key, 0), message.offset, "of its key")
            self.assertEqual(1, message.attempt)
            newest[key] = message.offset
            receiver.settle(1, message.offset, receipt=count if number == count else 0)
            receiver.give_credit(1, number + window)
            if number % 100 == 0:
                used = max(used, receiver.admin("broker.show")["memory_used"])
                resident = max(resident, server.memory())
        self.assertEqual([], receiver.settled(1, count))
        print(f"\n{count} messages in order: at most {used / MIB:.1f} MiB of 24 in use, {resident / MIB:.1f} MiB resident")
        self.assertLess(used, 21 * MIB, "who reads a backlog makes room for it when three quarters are in use")
        if "BATON_TEST_INSTRUMENTED" not in os.environ:
            self.assertLess(resident, 64 * MIB)

    def receive_in_time(self, server, receiver, expected):
        """All of these, none before its time; memory stays within its bounds."""
        got, used, resident, late = set(), 0, 0, 0
        while time.time() * 1e6 < min(due for _, due in expected.values()):
            receiver.ping()
            time.sleep(0.05)
        while len(got) < len(expected):
            for message in receiver.deliveries(1, 1):
                self.assertEqual((expected[message.offset][0], 1), (message.body, message.attempt))
                self.assertNotIn(message.offset, got)
                late = max(late, time.time() * 1e6 - expected[message.offset][1])
                self.assertLessEqual(expected[message.offset][1], time.time() * 1e6, "it came early")
                got.add(message.offset)
                receiver.settle(1, message.offset)
            receiver.give_credit(1, len(got) + 101)
            used = max(used, receiver.admin("broker.show")["memory_used"])
            resident = max(resident, server.memory())
        print(f"\n{len(expected)} delayed messages came: at most {used / MIB:.1f} MiB of 24 in use, "
              f"{resident / MIB:.1f} MiB resident, {late / 1e6:.2f} s late")
        self.assertLess(used, 24 * MIB)
        if "BATON_TEST_INSTRUMENTED" not in os.environ:
            self.assertLess(resident, 64 * MIB)

    def assert_delayed(self, peer, expected):
        """Some of them, as they were sent."""
        for offset in sorted(expected)[::997]:
            reply = peer.admin("channel.peek", b"q", state="delayed", count=1, **{"from": offset})
            message = reply["messages"][0]
            self.assertEqual((offset, 1, "delayed", expected[offset][1]),
                             (message["offset"], message["attempt"], message["state"], message["due_us"]))
            self.assertEqual(expected[offset][0], base64.b64decode(message["body_base64"]))

    def assert_in_quarantine(self, peer, expected):
        """Some of them, as they were sent: the first of each round was given twice."""
        for offset in sorted(expected)[::997]:
            reply = peer.admin("channel.peek", b"q", state="quarantined", count=1, **{"from": offset})
            message = reply["messages"][0]
            self.assertEqual((offset, "rejected", "no"), (message["offset"], message["reason"], message["note"]))
            self.assertEqual(expected[offset], base64.b64decode(message["body_base64"]))
            self.assertEqual(2 if expected[offset].split(b".")[1] == b"0" else 1, message["attempt"])

    def assert_left(self, server, left):
        """Exactly these messages are in quarantine, as they were sent."""
        peer = self.peer(server)
        for storage, expected in left.items():
            found, start = {}, 0
            while start is not None:
                reply = peer.admin("channel.peek", storage.encode(), state="quarantined", count=200, **{"from": start})
                for message in reply["messages"]:
                    self.assertEqual(("rejected", "no"), (message["reason"], message["note"]))
                    found[message["offset"]] = base64.b64decode(message["body_base64"])
                start = reply["next"] if reply["more"] else None
            self.assertEqual(expected, found)

    def test_a_large_message_waits_for_memory(self):
        server = self.broker(limits_memory_max="16m", limits_message_size_max="8m", shards=self.shards)
        peer = self.peer(server)
        size = 7 * MIB
        for number in (1, 2):
            peer.attach_sender(number, b"large %d" % number)
            self.send_large(peer, number, size)
        peer.attach_sender(3, b"large 3")
        peer.announce(3, 1, wire.BATCH.size + 4 + size)
        self.assertEqual("memory", peer.expect(STATE, 3).state().reason)
        self.assertEqual(["memory"], [link["wait"]["reason"] for link in peer.show(b"large 3")["links"]])
        with self.assertRaises(TimeoutError):
            peer.expect(GRANT, 3, timeout=0.2)  # An upper bound of nothing: a grant here would be an overdraft.
        peer.attach_receiver(9, b"large 1")
        self.assertEqual(1, len(wire.messages_of(peer.assemble(9))))
        peer.settle_and_wait(9, 1)
        peer.expect(GRANT, 3)
        self.assertEqual("none", peer.expect(STATE, 3).state().reason)

    def send_large(self, peer, link, size):
        batch = wire.encode_batch([bytes(size)])
        peer.announce(link, 1, len(batch))
        peer.expect(GRANT, link)
        step = peer.welcome["fragment_size_max"]
        for at in range(0, len(batch), step):
            piece = batch[at:at + step]
            peer.send(wire.FRAGMENT, link, at, piece, wire.LAST if at + len(piece) == len(batch) else 0)
        self.assertEqual([], peer.confirmed(link, 1))


if __name__ == "__main__":
    unittest.main()
