"""Links, frame by frame: numbering, duplicates, credit, settlements, attempts, and how each rule is enforced."""

import struct
import unittest

import wire
from broker import BrokerTest, each_shard_count, eventually
from wire import ATTACH, CREDIT, DELIVER, encode_attach

PRODUCER = "00112233445566778899aabbccddeeff"


def bodies(messages):
    return [message.body for message in messages]


@each_shard_count()
class SenderLinkTest(BrokerTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker()
        self.sender = self.peer(self.server)

    def expect_link_fault(self, peer, link, status):
        fault = peer.expect_fault(link)
        self.assertEqual((status, "link"), (fault.status, fault.severity), fault.text)
        self.assertTrue(fault.text)
        peer.ping()  # Neither the connection nor other links are concerned.
        return fault

    def test_attached_tells_the_settings(self):
        for name in (b"a", b"b", b"c", b"d"):
            attached = self.sender.attach_sender(name[0], name)
            self.assertEqual(0, attached.sequence)
            self.assertEqual({"kind": "queue", "storage": "memory", "message_size_max": 67_108_864, "created": True},
                             attached.json())
            receiver = self.sender.attach_receiver(name[0] + 100, name, credit=None).json()
            self.assertIs(False, receiver["created"])
            self.assertEqual((30_000, 43_200_000, 10),
                             (receiver["lease_ms"], receiver["lease_max_ms"], receiver["attempts_max"]))

    def test_create_false_is_not_found(self):
        for link, role in ((1, wire.SENDER), (2, wire.RECEIVER)):
            self.sender.send(ATTACH, link, body=encode_attach(role, b"nowhere", {"create": False}))
            self.expect_link_fault(self.sender, link, "not_found")
        self.assertEqual("not_found", self.sender.admin("channel.show", b"nowhere")["error"]["code"])

    def test_options_that_the_broker_does_not_know(self):
        for role, options in ((wire.SENDER, {"durable": True}), (wire.RECEIVER, {"producer": PRODUCER})):
            self.sender.send(ATTACH, 1, body=encode_attach(role, b"c", options))
            fault = self.expect_link_fault(self.sender, 1, "unsupported")
            self.assertIn(next(iter(options)), fault.text)
        self.sender.send(ATTACH, 1, body=encode_attach(wire.SENDER, b"c", {"producer": "short"}))
        self.expect_link_fault(self.sender, 1, "bad_frame")
        self.sender.attach_sender(1, b"c")  # The number is free again.

    def test_bad_names(self):
        for name in (b"", b"n" * 256):
            self.sender.send(ATTACH, 1, body=encode_attach(wire.SENDER, name))
            self.expect_link_fault(self.sender, 1, "bad_name")
            self.assertEqual("bad_name", self.sender.admin("channel.create", name)["error"]["code"])
        self.sender.attach_sender(1, b"n" * 255)

    def test_names_and_bodies_of_any_bytes(self):
        names = [bytes(range(256))[:255], bytes([255]) * 3, b"with spaces and\nnewlines", b"\x00", b"100%", b"%41",
                 "größe".encode(), b"\xed\xa0\x80"]
        every_byte = bytes(range(256))
        for link, name in enumerate(names, 1):
            self.sender.attach_sender(link, name)
            self.sender.expect(CREDIT, link)
            self.sender.publish(link, 1, every_byte, b"", name)
            self.sender.confirmed(link, 1)
        receiver = self.peer(self.server)
        for link, name in enumerate(names, 1):
            receiver.attach_receiver(link, name)
            self.assertEqual([every_byte, b"", name], bodies(receiver.deliveries(link, 3)))
        listed = [channel["name"] for channel in receiver.admin("channel.list")["channels"]]
        self.assertEqual(len(names), len(set(listed)))
        self.assertLessEqual({"größe", "%00", "100%25", "%2541", "%FF%FF%FF", "%ED%A0%80"}, set(listed))

    def test_link_in_use_and_link_numbers(self):
        self.sender.attach_sender(1, b"c")
        self.sender.send(ATTACH, 1, body=encode_attach(wire.SENDER, b"d"))
        self.assertEqual("link_in_use", self.sender.expect_fault(1).status)
        beyond = self.sender.welcome["links_max"] + 1
        self.sender.send(ATTACH, beyond, body=encode_attach(wire.SENDER, b"d"))
        self.assertEqual("too_many_links", self.sender.expect_fault(beyond).status)
        self.sender.detach(1)
        self.sender.attach_sender(1, b"d")
        self.sender.attach_sender(self.sender.welcome["links_max"], b"d")

    def test_sequence_gap(self):
        self.sender.attach_sender(1, b"c")
        self.sender.expect(CREDIT, 1)
        self.sender.publish(1, 1, b"one")
        self.sender.publish(1, 3, b"three")
        self.expect_link_fault(self.sender, 1, "sequence_gap")
        self.assertEqual(1, self.sender.show(b"c")["ready"])

    def test_anonymous_senders_number_from_one(self):
        self.sender.attach_sender(1, b"c")
        self.sender.expect(CREDIT, 1)
        self.sender.publish(1, 7, b"seven")
        self.expect_link_fault(self.sender, 1, "sequence_gap")

    def test_a_resend_after_a_reconnect_is_not_a_duplicate(self):
        self.assertEqual(0, self.sender.attach_sender(1, b"c", producer=PRODUCER).sequence)
        self.sender.expect(CREDIT, 1)
        self.sender.publish(1, 1, b"one", b"two", b"three")
        self.assertEqual([], self.sender.confirmed(1, 3))
        self.sender.close()

        again = self.peer(self.server)
        self.assertEqual(3, again.attach_sender(4, b"c", producer=PRODUCER).sequence)
        again.expect(CREDIT, 4)
        again.publish(4, 1, b"one")                              # All of it is known,
        again.publish(4, 2, b"two", b"three", b"four", b"five")  # half of it is known,
        again.publish(4, 6, b"six")                              # nothing is known.
        self.assertEqual([], again.confirmed(4, 6))
        again.attach_receiver(5, b"c")
        self.assertEqual([b"one", b"two", b"three", b"four", b"five", b"six"], bodies(again.deliveries(5, 6)))
        self.assertEqual((0, 6), (again.ask(5).ready, again.ask(5).in_flight))
        shown = again.show(b"c")
        self.assertEqual((6, 3), (shown["published"], shown["duplicates"]))

    def test_a_producer_that_the_broker_does_not_know_goes_on_with_its_numbers(self):
        self.sender.attach_sender(1, b"c", producer=PRODUCER)
        self.sender.expect(CREDIT, 1)
        self.sender.publish(1, 1000, b"after the broker forgot")
        self.assertEqual([], self.sender.confirmed(1, 1000))

    def test_the_newer_link_of_a_producer_wins(self):
        self.sender.attach_sender(1, b"c", producer=PRODUCER)
        self.sender.expect(CREDIT, 1)
        self.sender.publish(1, 1, b"one")
        self.sender.confirmed(1, 1)
        newer = self.peer(self.server)
        self.assertEqual(1, newer.attach_sender(1, b"c", producer=PRODUCER).sequence)
        self.expect_link_fault(self.sender, 1, "superseded")
        newer.expect(CREDIT, 1)
        newer.publish(1, 2, b"two")
        newer.confirmed(1, 2)
        self.assertEqual(2, newer.show(b"c")["ready"])

    def test_malformed_batches(self):
        good = wire.encode_batch([b"one", b"two"])
        broken = {
            "count of zero": struct.pack("<I", 0) + good[4:],
            "count too high": struct.pack("<I", 3) + good[4:],
            "reserved": good[:6] + b"\1\0" + good[8:],
            "short": good[:-1],
            "long": good + b"x",
            "size": good[:28] + struct.pack("<I", 99) + good[32:],
            "message length": good[:32] + struct.pack("<I", 0xFFFFFFFF) + good[36:],
            "header only": good[:20],
            "empty": b"",
            "properties beyond the message": wire.encode_batch([b"body"], b"\1\xff\xffk"),
        }
        for what, batch in broken.items():
            with self.subTest(what):
                self.sender.attach_sender(1, b"c")
                self.sender.expect(CREDIT, 1)
                self.sender.send(wire.PUBLISH, 1, 1, batch)
                self.expect_link_fault(self.sender, 1, "bad_batch")
        self.assertEqual(0, self.sender.show(b"c")["published"])

    def test_properties_are_passed_on(self):
        properties = (struct.pack("<BH", 1, 3) + b"key" + struct.pack("<BHH", 9, 2 + 1 + 1, 1) + b"h" + b"v"
                      + struct.pack("<BH", 200, 2) + b"??")
        self.sender.attach_sender(1, b"c")
        self.sender.expect(CREDIT, 1)
        self.sender.publish(1, 1, b"body", b"", properties=properties)
        self.sender.attach_receiver(2, b"c")
        for message in self.sender.deliveries(2, 2):
            self.assertEqual(properties, message.properties)

    def test_over_credit_in_messages(self):
        self.sender.attach_sender(1, b"c")
        limit, _ = self.sender.expect(CREDIT, 1).credit()
        self.sender.publish(1, 1, *([b""] * (limit + 1)))
        self.expect_link_fault(self.sender, 1, "over_credit")
        self.assertEqual(0, self.sender.show(b"c")["ready"])

    def test_frames_behind_a_failure_are_ignored(self):
        self.sender.attach_sender(1, b"c")
        self.sender.expect(CREDIT, 1)
        self.sender.publish(1, 5, b"gap")
        for number in range(6, 20):
            self.sender.publish(1, number, b"sent before the failure was known")
        self.expect_link_fault(self.sender, 1, "sequence_gap")
        self.sender.attach_sender(1, b"c")
        self.sender.expect(CREDIT, 1)
        self.sender.publish(1, 1, b"fresh")
        self.sender.confirmed(1, 1)
        self.assertEqual(1, self.sender.show(b"c")["ready"])

    def test_wrong_role(self):
        self.sender.attach_sender(1, b"c")
        self.sender.give_credit(1, 5)
        self.expect_link_fault(self.sender, 1, "protocol_violation")
        self.sender.attach_receiver(2, b"c")
        self.sender.publish(2, 1, b"x")
        self.expect_link_fault(self.sender, 2, "protocol_violation")

    def test_deleted_under_its_links(self):
        self.sender.attach_sender(1, b"c")
        self.sender.attach_receiver(2, b"c")
        self.sender.expect(CREDIT, 1)
        self.sender.publish(1, 1, b"x")
        self.sender.confirmed(1, 1)
        other = self.peer(self.server)
        self.assertEqual({"ok": True, "messages": 1}, other.admin("channel.delete", b"c", force=True))
        for link in (1, 2):
            self.expect_link_fault(self.sender, link, "channel_deleted")
        self.assertTrue(self.sender.attach_sender(1, b"c").json()["created"])


@each_shard_count()
class ReceiverLinkTest(BrokerTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker()
        self.receiver = self.peer(self.server)
        self.other = self.peer(self.server)

    def fill(self, count, name=b"c"):
        sender = self.peer(self.server)
        sender.attach_sender(1, name)
        sender.publish_all(1, 1, [b"%d" % number for number in range(1, count + 1)])
        sender.close()

    def test_nothing_without_credit(self):
        self.fill(3)
        self.receiver.attach_receiver(1, b"c", credit=None)
        state = self.receiver.ask(1)
        self.assertEqual(("no_message_credit", 3, 0), (state.reason, state.ready, state.in_flight))
        self.receiver.give_credit(1, 2)
        self.assertEqual([b"1", b"2"], bodies(self.receiver.deliveries(1, 2)))
        self.assertEqual((1, 2, 0), self.receiver.ask(1)[2:])
        self.assertEqual([], [frame for frame in self.receiver.unread if frame.kind == DELIVER])
        self.receiver.give_credit(1, 3)
        self.assertEqual([b"3"], bodies(self.receiver.deliveries(1, 1)))

    def test_byte_credit(self):
        sender = self.peer(self.server)
        sender.attach_sender(1, b"c")
        sender.publish_all(1, 1, [b"x" * 96] * 5)  # 100 bytes each in the messages region.
        self.receiver.attach_receiver(1, b"c", credit=(1000, 250))
        self.assertEqual(2, len(self.receiver.deliveries(1, 2)))
        state = self.receiver.ask(1)
        self.assertEqual(("no_byte_credit", 3, 2), (state.reason, state.ready, state.in_flight))

    def test_a_message_larger_than_the_byte_window_comes_alone(self):
        sender = self.peer(self.server)
        sender.attach_sender(1, b"c")
        sender.publish_all(1, 1, [b"small", b"L" * 5000, b"small"])
        self.receiver.attach_receiver(1, b"c", credit=(10, 100))
        self.assertEqual([b"small"], bodies(self.receiver.deliveries(1, 1)))
        self.assertEqual(1, self.receiver.ask(1).in_flight)
        self.receiver.settle(1, 1)
        self.assertEqual([b"L" * 5000], bodies(self.receiver.deliveries(1, 1)))

    def test_sequence_of_deliver_counts_from_one(self):
        self.fill(5)
        self.receiver.attach_receiver(1, b"c", credit=(2, 1 << 40))
        expected = 1
        while expected <= 5:
            frame = self.receiver.expect(DELIVER, 1)
            self.assertEqual(expected, frame.sequence)
            expected += len(frame.messages())
            self.receiver.give_credit(1, 5)

    def test_done_is_done(self):
        self.fill(3)
        self.receiver.attach_receiver(1, b"c")
        self.receiver.deliveries(1, 3)
        self.assertEqual([], self.receiver.settle_and_wait(1, 1, count=3))
        shown = self.other.show(b"c")
        self.assertEqual((0, 0, 3), (shown["ready"], shown["in_flight"], shown["settled"]))

    def test_settled_twice_is_a_lost_lease(self):
        self.fill(3)
        self.receiver.attach_receiver(1, b"c")
        self.receiver.deliveries(1, 3)
        self.assertEqual([], self.receiver.settle_and_wait(1, 2, receipt=1))
        self.assertEqual([(2, 1, 1, "lost_lease")], self.receiver.settle_and_wait(1, 2, receipt=2))
        self.assertEqual([(1, 1, 9, "lost_lease")], self.receiver.settle_and_wait(1, 1, attempt=9, receipt=3))
        self.assertEqual([(50, 1, 1, "lost_lease")], self.receiver.settle_and_wait(1, 50, receipt=4))
        self.assertEqual(2, self.other.show(b"c")["in_flight"])

    def test_without_a_receipt_only_exceptions_are_answered(self):
        self.fill(2)
        self.receiver.attach_receiver(1, b"c")
        self.receiver.deliveries(1, 2)
        self.receiver.settle(1, 1)
        self.receiver.settle(1, 1)
        frame = self.receiver.expect(wire.SETTLED, 1)
        self.assertEqual([(1, 1, 1, "lost_lease")], frame.exceptions())
        self.assertEqual(0, frame.sequence)

    def test_outcomes(self):
        self.fill(3)
        self.receiver.attach_receiver(1, b"c")
        self.receiver.deliveries(1, 3)
        for receipt, outcome in enumerate((wire.RETRY, wire.REJECT, wire.EXTEND), 1):
            self.assertEqual([], self.receiver.settle_and_wait(1, receipt, outcome=outcome, receipt=receipt))
        channel = self.other.show(b"c")
        self.assertEqual((1, 1), (channel["in_flight"], channel["quarantined"]))
        self.assertEqual(1, channel["delayed"] + channel["ready"])

    def test_given_back_to_its_old_place(self):
        self.fill(4)
        self.receiver.attach_receiver(1, b"c", credit=(3, 1 << 40))
        self.receiver.deliveries(1, 3)
        self.receiver.settle(1, 3, outcome=wire.GIVE_BACK)
        self.receiver.settle(1, 1, outcome=wire.STARTED)
        self.assertEqual([], self.receiver.settle_and_wait(1, 1, outcome=wire.GIVE_BACK))
        self.other.attach_receiver(1, b"c")
        got = self.other.deliveries(1, 3)
        self.assertEqual([(1, 2, True), (3, 1, True), (4, 1, False)],
                         [(message.offset, message.attempt, message.redelivered) for message in got])
        self.assertEqual([b"1", b"3", b"4"], bodies(got))

    def test_a_receiver_that_disappears_blames_only_what_it_had_started(self):
        self.fill(6)
        self.receiver.attach_receiver(1, b"c")
        self.receiver.deliveries(1, 6)
        self.receiver.settle(1, 1)
        self.receiver.settle(1, 4)
        self.receiver.settle_and_wait(1, 2, outcome=wire.STARTED)
        self.receiver.close()
        self.other.attach_receiver(1, b"c")
        self.assertEqual([(2, 2), (3, 1), (5, 1), (6, 1)],
                         [(message.offset, message.attempt) for message in self.other.deliveries(1, 4)])

    def test_detach_gives_back(self):
        self.fill(2)
        self.receiver.attach_receiver(1, b"c")
        self.receiver.deliveries(1, 2)
        self.receiver.detach(1)
        self.other.attach_receiver(1, b"c")
        self.assertEqual([b"1", b"2"], bodies(self.other.deliveries(1, 2)))

    def test_competing_receivers_share(self):
        self.receiver.attach_receiver(1, b"c", credit=(10, 1 << 40))
        self.other.attach_receiver(1, b"c", credit=(10, 1 << 40))
        self.fill(20)
        got = self.receiver.deliveries(1, 10) + self.other.deliveries(1, 10)
        self.assertEqual(set(range(1, 21)), {message.offset for message in got})

    def test_the_wait_reasons_are_shown(self):
        self.receiver.attach_receiver(1, b"c", credit=None)
        self.assertEqual("no_message_credit", self.receiver.ask(1).reason)
        self.receiver.give_credit(1, 1)
        self.assertEqual("empty", self.receiver.ask(1).reason)
        self.fill(2)
        self.receiver.deliveries(1, 1)
        eventually(lambda: self.head_reason() == "receivers_busy", "the head waits for busy receivers")
        self.assertIn("no_message_credit", self.link_reasons())
        self.receiver.give_credit(1, 10)
        self.receiver.deliveries(1, 1)
        self.assertEqual("in_flight", self.head_reason())
        self.receiver.detach(1)
        self.assertEqual("no_receiver", self.head_reason())

    def head_reason(self):
        return self.other.show(b"c")["wait"]["reason"]

    def link_reasons(self):
        return [link["wait"]["reason"] for link in self.other.show(b"c")["links"]]

    def test_a_slow_reader_is_named_and_delays_nobody_else(self):
        sender = self.peer(self.server)
        sender.attach_sender(1, b"c")
        self.receiver.sock.setsockopt(wire.socket.SOL_SOCKET, wire.socket.SO_RCVBUF, 65536)
        self.receiver.attach_receiver(1, b"c")
        sender.publish_all(1, 1, [bytes(30_000)] * 500)  # 15 MB for somebody who does not read.
        eventually(lambda: "slow_reader" in self.link_reasons(), "the receiver counts as slow")
        self.other.attach_receiver(1, b"c")
        self.assertTrue(self.other.deliveries(1, 1))

    def test_peek_and_purge(self):
        self.fill(5)
        self.receiver.attach_receiver(1, b"c", credit=(2, 1 << 40))
        self.receiver.deliveries(1, 2)
        before = self.other.show(b"c")
        peeked = self.other.admin("channel.peek", b"c")["messages"]
        self.assertEqual([(1, "in-flight"), (2, "in-flight"), (3, "ready"), (4, "ready"), (5, "ready")],
                         [(message["offset"], message["state"]) for message in peeked])
        part = self.other.admin("channel.peek", b"c", state="ready", count=2)
        self.assertEqual(([3, 4], True, 5), ([message["offset"] for message in part["messages"]], part["more"], part["next"]))
        after = self.other.show(b"c")
        for key in ("ready", "in_flight", "delivered", "redelivered"):
            self.assertEqual(before[key], after[key])
        self.assertEqual({"ok": True, "messages": 3}, self.other.admin("channel.purge", b"c"))
        self.assertEqual((0, 2), (self.other.show(b"c")["ready"], self.other.show(b"c")["in_flight"]))


@each_shard_count()
class AttachOptionsTest(BrokerTest):
    """What a receiver may ask for, and what it is told of anything else: the option, and what is allowed."""

    def refused(self, peer, link, **options):
        with self.assertRaises(wire.Refused) as refused:
            peer.attach_receiver(link, b"t", credit=None, **options)
        return refused.exception.fault

    def test_each_option_and_wrong_values(self):
        peer = self.peer(self.broker())
        self.assertTrue(peer.admin("channel.create", b"t", kind="topic")["ok"])
        attached = peer.attach_receiver(1, b"t", subscription="s", filter="a.*", lease_ms=100, exclusive=True,
                                        **{"from": "new"}).json()
        self.assertEqual(("topic", "s", 100), tuple(attached[key] for key in ("kind", "subscription", "lease_ms")))
        link = 1
        for option, values in (("subscription", (7, "", "x" * 256, "%", None)), ("filter", (7, None, ["a"])),
                               ("lease_ms", (99, 86_400_001, -1, "5s", 1.5, True)), ("exclusive", (1, "yes", None)),
                               ("from", ("next", 7, {"offset": -1}, {"offset": 1, "time_us": 1}, {"time_us": "now"}))):
            for value in values:
                with self.subTest(option=option, value=value):
                    link += 1
                    fault = self.refused(peer, link, **{option: value})
                    self.assertEqual("link", fault.severity, "nothing else ends")
                    self.assertIn(fault.status, ("bad_frame", "unsupported"))
                    self.assertIn(option, fault.text)
        self.assertEqual("bad_request", self.refused(peer, 100, filter="a.>.b").status)
        self.assertEqual("incompatible_options", self.refused(peer, 101, subscription="s", filter="b.*").status)
        peer.ping()


if __name__ == "__main__":
    unittest.main()
