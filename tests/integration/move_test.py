"""`baton move` against the real broker: messages go to another channel, which may live on another shard, and are never lost.

Named after what must hold; the rules are in docs/protocol.md, section 11. Next file: lessons_test.py."""

import base64
import json
import os
import unittest

import wire
from broker import BrokerTest, each_shard_count, eventually


def rows(output):
    return [json.loads(line) for line in output.splitlines()]


class MoveTest(BrokerTest):
    storage = "memory"

    def setUp(self):
        super().setUp()
        self.data = os.path.join(self.data_dir(), "data")
        self.start()

    def start(self, **settings):
        if self.storage == "durable":
            settings["data_dir"] = self.data
        self.server = self.broker(**settings)
        self.admin = self.peer(self.server)

    def run_baton(self, code, *arguments, **options):
        return self.expect_exit(code, self.server, *arguments, **options)

    def fill(self, name, bodies, properties=None):
        peer = self.peer(self.server)
        peer.attach_sender(1, name)
        if properties is None:
            self.assertEqual([], peer.publish_all(1, 1, bodies))
        else:
            for index, body in enumerate(bodies):
                peer.publish(1, index + 1, body, properties=properties)
            self.assertEqual([], peer.confirmed(1, len(bodies)))
        peer.close()

    def peek(self, name, *flags):
        return rows(self.run_baton(0, "--output", "jsonl", "peek", name, "-n", "100000", *flags).stdout)

    def bodies(self, name, count):
        """Takes them out."""
        peer = self.peer(self.server)
        peer.attach_receiver(1, name)
        messages = peer.deliveries(1, count)
        peer.settle_and_wait(1, messages[0].offset, messages[-1].offset + 1 - messages[0].offset)
        peer.close()
        return [message.body for message in messages]

    def move(self, name, to, **arguments):
        return self.admin.admin("channel.move", name, to=to, **arguments)

    def quarantine(self, name, *bodies):
        self.run_baton(0, "send", name, *bodies)
        self.run_baton(0, "receive", name, "-n", str(len(bodies)), "--exec", "echo no good >&2; exit 65")


class EveryStorage(MoveTest):
    def test_offsets_that_are_not_there_are_named(self):
        self.fill(b"a", [b"%d" % number for number in range(150)])
        ended = self.run_baton(9, "move", "a", "b", "1", "2", "99999")
        self.assertEqual(b"2 messages moved\n", ended.stdout)
        self.assertIn(b'offset 99999 of "a" is not there in the right state; `baton explain`', ended.stderr)
        ended = self.run_baton(5, "drop", "a", "1", "2", "3", "--state", "delayed")
        self.assertIn(b'offsets 1, 2, 3 of "a" are not there', ended.stderr)
        ended = self.run_baton(5, "retry", "a", *[str(offset) for offset in range(200, 230)])
        self.assertIn(b'offsets 200, 201, ', ended.stderr)
        self.assertIn(b'218, 219 and 10 more of "a" are not there', ended.stderr)
        ended = self.run_baton(9, "move", "a", "b", *[str(offset) for offset in range(1, 151)])
        self.assertIn(b'2 of 150 offsets of "a" are not there', ended.stderr)
        # What was done before a failure is said.
        self.fill(b"c", [b"1", b"2", b"3"])
        self.run_baton(0, "channel", "create", "full", "--max-messages", "2")
        told = self.run_baton(7, "move", "c", "full", "1", "2", "3").stderr
        self.assertIn(b"2 messages before it were moved", told)

    def test_many_messages_in_order(self):
        bodies = [b"%d " % index + b"x" * (index % 700) for index in range(7000)]
        for to in ("b", "c", "d", "e"):  # On this shard and on others.
            self.fill(b"a", bodies)
            self.assertEqual(b"7000 messages moved\n", self.run_baton(0, "move", "a", to).stdout)
            self.assertEqual(0, self.admin.show(b"a")["stored"])
            self.assertEqual(bodies, self.bodies(to.encode(), len(bodies)))
        self.assertEqual(28000, self.admin.show(b"a")["moved"])

    def test_properties_stay(self):
        self.run_baton(0, "send", "a", "x", "--key", "k", "--priority", "7", "--ttl", "1h", "--header", "h=v", "--id", "i")
        (before,) = self.peek("a")
        self.run_baton(0, "move", "a", "b")
        (after,) = self.peek("b")
        self.assertEqual((before["body"], before["properties"]), (after["body"], after["properties"]))
        self.assertEqual({"h": "v"}, after["properties"]["headers"])

    def test_quarantined_messages_say_where_they_come_from(self):
        self.quarantine("a", "one", "two")
        self.run_baton(0, "send", "a", "good")
        offset = self.peek("a", "--state", "quarantined")[0]["offset"]
        self.run_baton(0, "move", "a", "b", "--state", "quarantined")
        one = self.peek("b")[0]
        self.assertEqual({"baton-origin": f"a/{offset}", "baton-reason": "rejected: no good"}, one["properties"]["headers"])
        self.assertEqual(["one", "two"], [row["body"] for row in self.peek("b", "--state", "ready")])
        self.run_baton(0, "receive", "b", "-n", "2", "--exec", "cat >/dev/null; exit 65")
        self.run_baton(0, "move", "b", "c")
        self.assertEqual(f"a/{offset}", self.peek("c")[0]["properties"]["headers"]["baton-origin"], "the first origin stays")
        self.assertEqual(["good"], [row["body"] for row in self.peek("a")])

    def test_delayed_messages_keep_their_time(self):
        self.run_baton(0, "send", "a", "later", "--delay", "1h")
        self.run_baton(0, "send", "a", "soon", "--delay", "300ms")
        eventually(lambda: self.admin.show(b"a")["delayed"] == 1, "one is due")
        due = self.peek("a", "--state", "delayed")[0]["due_us"]
        self.run_baton(0, "move", "a", "b")
        (delayed,) = self.peek("b", "--state", "delayed")
        self.assertLess(abs(due - delayed["due_us"]), 100_000)
        self.assertEqual(["soon"], [row["body"] for row in self.peek("b", "--state", "ready")], "it does not wait again")

    def test_single_offsets(self):
        self.run_baton(0, "send", "a", *map(str, range(10)))
        self.assertEqual(b"2 messages moved\n", self.run_baton(0, "move", "a", "b", "3", "8").stdout)
        self.run_baton(9, "move", "a", "b", "3", "4")
        self.run_baton(5, "move", "a", "b", "3")
        self.assertEqual(["2", "7", "3"], [row["body"] for row in self.peek("b")])
        self.assertEqual(["0", "1", "4", "5", "6", "8", "9"], [row["body"] for row in self.peek("a")])

    def test_what_a_receiver_holds_stays(self):
        self.fill(b"a", [b"1", b"2", b"3"])
        receiver = self.peer(self.server)
        receiver.attach_receiver(1, b"a", credit=(1, 1 << 20))
        receiver.deliveries(1, 1)
        self.assertEqual(2, self.move(b"a", "b", all=True)["messages"])
        self.assertEqual(0, self.move(b"a", "b", offsets=[1])["messages"])
        self.assertEqual([], receiver.settle_and_wait(1, 1))
        self.assertEqual([b"2", b"3"], self.bodies(b"b", 2))

    def test_a_full_target_stops_it(self):
        for overflow in ("block", "reject", "drop-oldest", "drop-newest"):
            with self.subTest(overflow):
                target = overflow.encode()
                self.admin.admin("channel.create", target, messages_max=5, overflow=overflow)
                self.fill(b"a", [b"%d" % index for index in range(12)])
                reply = self.move(b"a", overflow, all=True)
                self.assertEqual((False, "full", True, 5), (reply["ok"], reply["error"]["code"], reply["error"]["retryable"],
                                                            reply["messages"]), reply)
                self.assertIn("5 messages were moved", reply["error"]["text"])
                shown = self.admin.show(b"a")
                self.assertEqual((7, 0), (shown["ready"], shown["in_flight"]))
                self.assertEqual([b"%d" % index for index in range(5)], self.bodies(target, 5))
                self.assertEqual(5, self.move(b"a", overflow, all=True)["messages"])
                self.bodies(target, 5)
                self.assertEqual({"ok": True, "messages": 2}, self.move(b"a", overflow, all=True))
                self.assertEqual([b"10", b"11"], self.bodies(target, 2))
        self.admin.admin("channel.create", b"small", messages_max=1)
        self.fill(b"a", [b"1", b"2"])
        told = self.run_baton(7, "move", "a", "small").stderr
        self.assertIn(b"1 message was moved", told)

    def test_a_message_that_is_too_large_for_the_target(self):
        self.admin.admin("channel.create", b"b", message_size_max=100)
        self.fill(b"a", [b"1", b"x" * 1000, b"3"])
        reply = self.move(b"a", "b", all=True)
        self.assertEqual(("message_too_large", 2), (reply["error"]["code"], reply["messages"]), reply)
        self.assertEqual([2], [row["offset"] for row in self.peek("a")])

    def test_large_messages(self):
        size = 8 << 20
        body = os.urandom(size)
        self.run_baton(0, "send", "a", "--whole", stdin=body)
        self.run_baton(0, "send", "a", "small")
        self.run_baton(0, "move", "a", "b")
        self.assertEqual(body + b"\n", self.run_baton(0, "receive", "b", "-n", "1").stdout)
        self.assertEqual(b"small\n", self.run_baton(0, "receive", "b", "-n", "1").stdout)

    def test_what_is_refused(self):
        self.fill(b"a", [b"1"])
        for code, arguments in (("bad_request", {"to": "a", "all": True}), ("bad_name", {"to": "", "all": True}),
                                ("bad_request", {"to": "b%", "all": True}), ("bad_request", {"to": "b"}),
                                ("bad_request", {"to": 7, "all": True}),
                                ("unsupported", {"to": "b", "all": True, "state": "in-flight"}),
                                ("unsupported", {"to": "b", "all": True, "subscription": "s"}),
                                ("unsupported", {"to": "b", "all": True, "colour": 1})):
            with self.subTest(arguments):
                self.assertEqual(code, self.admin.admin("channel.move", b"a", **arguments)["error"]["code"])
        self.assertEqual("not_found", self.move(b"nothing", "b", all=True)["error"]["code"])
        self.admin.admin("channel.create", b"t", kind="topic")
        reply = self.move(b"a", "t", all=True)
        self.assertEqual(("not_found", 0), (reply["error"]["code"], reply["messages"]), "nobody would get it")
        self.assertEqual(1, self.admin.show(b"a")["ready"])
        self.assertEqual([], self.admin.show(b"t")["links"], "its link is gone")

    def test_from_a_subscription(self):
        self.admin.admin("channel.create", b"t", kind="topic")
        for name in ("s", "other"):
            self.assertTrue(self.admin.admin("subscription.create", b"t", subscription=name)["ok"])
        self.fill(b"t", [b"1", b"2"])
        self.assertEqual(2, self.move(b"t", "b", all=True, subscription="s")["messages"])
        self.assertEqual([b"1", b"2"], self.bodies(b"b", 2))
        ready = {one["name"]: one["ready"] for one in self.admin.admin("subscription.list", b"t")["subscriptions"]}
        self.assertEqual({"s": 0, "other": 2}, ready)
        self.admin.admin("channel.create", b"s", kind="stream")
        self.fill(b"s", [b"1", b"2", b"3"])
        self.admin.admin("subscription.create", b"s", subscription="x", **{"from": "first"})
        self.assertEqual(3, self.move(b"s", "b", all=True, subscription="x")["messages"])
        self.assertEqual(3, self.admin.show(b"s")["stored"], "the stream keeps them")

    def test_keys_in_order(self):
        self.admin.admin("channel.create", b"a", ordered_by_key=True)
        for index in range(6):
            self.run_baton(0, "send", "a", str(index), "--key", "ab"[index % 2])
        receiver = self.peer(self.server)
        receiver.attach_receiver(1, b"a", credit=(1, 1 << 20))
        receiver.deliveries(1, 1)
        self.assertEqual(5, self.move(b"a", "b", all=True)["messages"])
        self.assertEqual([b"1", b"2", b"3", b"4", b"5"], self.bodies(b"b", 5))
        receiver.settle_and_wait(1, 1)
        self.run_baton(0, "send", "a", "next", "--key", "a")
        self.run_baton(0, "send", "a", "next", "--key", "b")
        receiver.give_credit(1, 10)
        self.assertEqual([b"next", b"next"], [message.body for message in receiver.deliveries(1, 2)], "no key is stuck")


@each_shard_count()
class MemoryMoveTest(EveryStorage):
    pass


@each_shard_count()
class DurableMoveTest(EveryStorage):
    storage = "durable"

    def test_what_was_moved_is_on_the_disk(self):
        self.quarantine("a", "bad")
        self.fill(b"a", [b"%d" % index for index in range(3000)])
        self.run_baton(0, "send", "a", "later", "--delay", "1h")
        self.assertEqual(3002, self.move(b"a", "b", all=True)["messages"])
        self.server.kill()
        self.start()
        self.assertEqual(0, self.admin.show(b"a")["stored"])
        shown = self.admin.show(b"b")
        self.assertEqual((3001, 1), (shown["ready"], shown["delayed"]))
        self.assertEqual("a/1", self.peek("b")[0]["properties"]["headers"]["baton-origin"])

    def test_nothing_is_lost_when_the_broker_dies_in_between(self):
        bodies = [b"%06d" % index + b"x" * 200 for index in range(20_000)]
        self.fill(b"a", bodies)
        request = b"\x01\x00\x00\x00a" + json.dumps({"op": "channel.move", "to": "b", "all": True}).encode()
        self.admin.send(wire.ADMIN, sequence=77, body=request)
        watch = self.peer(self.server)
        eventually(lambda: self.baton(self.server, "channel", "show", "b").returncode == 0 and watch.show(b"b")["published"] > 0,
                   "it has begun")
        self.server.kill()
        self.start()
        # What was published and not on the disk yet is gone, and so may be the channel itself; then all is in the other.
        names = [name for name in (b"a", b"b") if self.admin.admin("channel.show", name)["ok"]]
        self.assertIn(b"a", names)
        for name in names:
            self.assertEqual(0, self.admin.show(name)["in_flight"])
        found = []
        for name in names:
            at = 0
            while True:
                reply = self.admin.admin("channel.peek", name, **{"from": at, "count": 1000})
                found += [base64.b64decode(message["body_base64"]) for message in reply["messages"]]
                if not reply["more"]:
                    break
                at = reply["next"]
        self.assertEqual(set(bodies), set(found))
        self.assertTrue(self.move(b"a", "b", all=True)["ok"])
        self.assertEqual(0, self.admin.show(b"a")["stored"])

    def test_a_backlog_that_is_on_the_disk_only(self):
        self.server.stop()
        self.start(limits_memory_max="32m", limits_message_size_max="1m")
        bodies = [b"%05d" % index + b"x" * 10_000 for index in range(4000)]
        self.fill(b"a", bodies)
        shown = self.admin.show(b"a")
        self.assertLess(shown["resident_bytes"], shown["bytes"])
        self.assertEqual(4000, self.move(b"a", "b", all=True)["messages"])
        self.assertEqual([body[:5] for body in bodies], [body[:5] for body in self.bodies(b"b", 4000)])


del EveryStorage, MoveTest

if __name__ == "__main__":
    unittest.main()
