"""What users of other brokers complain about, as tests of Baton: the number in a test's name is the row of the project's list of
lessons. Each against the real programs, with one shard and with four, in memory and, where a restart matters, on the disk."""

import json
import os
import signal
import time
import unittest

import wire
from broker import BrokerTest, each_shard_count, eventually


def rows(output):
    return [json.loads(line) for line in output.splitlines()]


def header(key, value):
    return bytes([key]) + len(value).to_bytes(2, "little") + value


KEY, PRIORITY = 1, 2


class LessonTest(BrokerTest):
    def setUp(self):
        super().setUp()
        self.data = os.path.join(self.data_dir(), "data")
        self.start()

    def start(self, **settings):
        self.server = self.broker(data_dir=self.data, **settings)
        self.admin = self.peer(self.server)

    def restart(self, **settings):
        self.server.kill()
        self.start(**settings)

    def run_baton(self, code, *arguments, **options):
        return self.expect_exit(code, self.server, *arguments, **options)

    def create(self, name, **settings):
        reply = self.admin.admin("channel.create", name, **settings)
        self.assertTrue(reply["ok"], reply)
        return reply

    def fill(self, name, *bodies, properties=None):
        peer = self.peer(self.server)
        peer.attach_sender(1, name)
        peer.publish(1, 1, *bodies, properties=properties)
        self.assertEqual([], peer.confirmed(1, len(bodies)))
        peer.close()

    def receiver(self, name, credit=wire.WINDOW, **options):
        peer = self.peer(self.server)
        peer.attach_receiver(1, name, credit, **options)
        return peer

    def peek(self, name, *flags):
        return rows(self.run_baton(0, "--output", "jsonl", "peek", name, *flags).stdout)

    def gets_nothing(self, peer, link=1, seconds=0.15):
        with self.assertRaises(TimeoutError):
            peer.expect(wire.DELIVER, link, timeout=seconds)

    @staticmethod
    def each_storage():
        """And a name for its channel."""
        return [("memory", b"memory"), ("durable", b"durable")]


@each_shard_count()
class DelayTest(LessonTest):
    def test_row_01_delayed_messages_survive_are_listed_counted_and_cancelled(self):
        self.run_baton(0, "send", "c", "first", "--delay", "1h")
        self.run_baton(0, "send", "c", "second", "--delay", "2s")
        self.run_baton(0, "send", "c", "third", "--at", str(int(time.time()) + 3600))
        before = self.peek("c", "--state", "delayed")
        self.restart()
        after = self.peek("c", "--state", "delayed")
        self.assertEqual(["first", "second", "third"], [row["body"] for row in after])
        for one, other in zip(before, after):
            self.assertLess(abs(one["due_us"] - other["due_us"]), 100_000, "no drift over a restart")
        self.assertEqual(3, self.admin.show(b"c")["delayed"])
        self.run_baton(0, "drop", "c", str(after[0]["offset"]), "--state", "delayed")
        self.assertEqual([b"second"], self.run_baton(0, "receive", "c", "-n", "1").stdout.split(b"\n")[:-1])
        self.assertEqual(["third"], [row["body"] for row in self.peek("c")])

    def test_row_01_downtime_fires_late_or_drops(self):
        self.create(b"fire")
        self.create(b"drop", late="drop")
        for name in ("fire", "drop"):
            self.run_baton(0, "send", name, "x", "--delay", "300ms")
        self.server.kill()
        time.sleep(0.5)
        self.start()
        self.assertEqual(b"x\n", self.run_baton(0, "receive", "fire", "-n", "1").stdout)
        self.run_baton(6, "receive", "drop", "-n", "1", "--timeout", "100ms")
        self.assertEqual(0, self.admin.show(b"drop")["stored"])

    def test_row_34_waits_do_not_follow_the_wall_clock(self):
        """Nobody can set the clock here (the simulation does, tests/sim): of the two the broker must say which one it follows."""
        for storage, name in self.each_storage():
            self.create(name, storage=storage)
            began = time.monotonic()
            self.run_baton(0, "send", storage, "x", "--delay", "300ms")
            receiver = self.receiver(name)
            receiver.deliveries(1, 1)
            self.assertGreaterEqual(time.monotonic() - began, 0.29)
            receiver.settle_and_wait(1, 1, outcome=wire.RETRY, argument=300)
            receiver.deliveries(1, 1)
            self.assertGreaterEqual(time.monotonic() - began, 0.59)


@each_shard_count()
class LeaseTest(LessonTest):
    def test_row_04_a_late_message_expires_alone(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage, lease_ms=300)
            self.fill(name, b"stuck", b"worked on")
            slow = self.receiver(name, (2, 1 << 20))
            slow.deliveries(1, 2)
            other = self.receiver(name)
            got = []
            deadline = time.monotonic() + 10
            while not got and time.monotonic() < deadline:
                slow.settle(1, 2, outcome=wire.EXTEND)
                try:
                    got = other.expect(wire.DELIVER, 1, timeout=0.1).messages()
                except TimeoutError:
                    pass
            self.assertEqual([(b"stuck", True)], [(message.body, message.redelivered) for message in got])
            self.assertEqual([], slow.settle_and_wait(1, 2), "the other one is its own still, and so is its link")
            other.settle_and_wait(1, 1, attempt=got[0].attempt)
            self.fill(name, b"next")
            slow.give_credit(1, 10)
            eventually(lambda: self.admin.show(name)["in_flight"] == 1, "the late one goes on")
            self.assertEqual(1, self.admin.show(name)["leases_ended"])

    def test_row_04_work_longer_than_a_lease_is_done_once(self):
        self.run_baton(0, "send", "c", "x")
        log = os.path.join(self.folder, "log")
        self.run_baton(0, "receive", "c", "-n", "1", "--lease", "200ms", "--exec", f"echo $BATON_ATTEMPT >> {log}; sleep 1")
        with open(log, encoding="utf-8") as file:
            self.assertEqual("1\n", file.read())

    def test_row_04_there_is_a_hard_cap(self):
        self.create(b"c", lease_ms=200, lease_max_ms=500)
        self.fill(b"c", b"x")
        hanging = self.receiver(b"c", (1, 1 << 20))
        hanging.deliveries(1, 1)
        other = self.receiver(b"c")
        began, got = time.monotonic(), []
        while not got and time.monotonic() < began + 10:
            hanging.settle(1, 1, outcome=wire.EXTEND)
            try:
                got = other.expect(wire.DELIVER, 1, timeout=0.05).messages()
            except TimeoutError:
                pass
        self.assertTrue(got, "however often it is extended")
        self.assertGreater(time.monotonic() - began, 0.4)

    def test_row_19_a_late_settlement_is_told_lost_lease(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage, lease_ms=200)
            self.fill(name, b"x")
            late = self.receiver(name, (1, 1 << 20))
            late.deliveries(1, 1)
            late.settle(1, 1, outcome=wire.STARTED)
            other = self.receiver(name)
            (again,) = other.deliveries(1, 1)
            self.assertEqual(2, again.attempt)
            for outcome in (wire.DONE, wire.RETRY, wire.REJECT, wire.GIVE_BACK, wire.EXTEND):
                self.assertEqual([(1, 1, 1, "lost_lease")],
                                 late.settle_and_wait(1, 1, outcome=outcome, receipt=outcome))
            self.assertEqual(1, self.admin.show(name)["in_flight"], "it is the other one's")
            other.settle(1, 1, attempt=2, outcome=wire.EXTEND, argument=60_000)
            self.assertEqual([], other.settle_and_wait(1, 1, attempt=2))
            self.assertEqual(0, self.admin.show(name)["stored"])


@each_shard_count()
class SlowReceiverTest(LessonTest):
    def subscription(self, name, subscription):
        (one,) = [one for one in self.admin.admin("subscription.list", name)["subscriptions"] if one["name"] == subscription]
        return one

    def test_row_05_nothing_is_dropped_without_being_counted(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage, kind="topic")
            for overflow in ("block", "drop-oldest", "drop-newest", "disconnect"):
                reply = self.admin.admin("subscription.create", name, subscription=overflow, overflow=overflow, backlog_max=5)
                self.assertTrue(reply["ok"], reply)
            slow = self.receiver(name, (0, 0), subscription="disconnect")
            self.fill(name, *[b"%d" % index for index in range(12)])
            fault = slow.expect_fault(1)
            self.assertEqual("slow_subscriber", fault.status)
            self.assertEqual((7, 5), tuple(self.subscription(name, "drop-oldest")[key] for key in ("dropped", "ready")))
            self.assertEqual((7, 5), tuple(self.subscription(name, "drop-newest")[key] for key in ("dropped", "ready")))
            self.assertEqual((0, 12), tuple(self.subscription(name, "block")[key] for key in ("dropped", "ready")))
            self.assertEqual((0, 12), tuple(self.subscription(name, "disconnect")[key] for key in ("dropped", "ready")))
            shown = self.admin.show(name)
            self.assertEqual(14, shown["dropped"])
            self.assertIn("last_dropped", shown, "and which they were")
            oldest = self.receiver(name, subscription="drop-oldest")
            self.assertEqual([b"%d" % index for index in range(7, 12)], [one.body for one in oldest.deliveries(1, 5)])
            newest = self.receiver(name, subscription="drop-newest")
            self.assertEqual([b"%d" % index for index in range(5)], [one.body for one in newest.deliveries(1, 5)])

    def test_row_05_a_full_channel_says_what_it_drops(self):
        for overflow, left in (("drop-oldest", [b"3", b"4", b"5"]), ("drop-newest", [b"1", b"2", b"3"])):
            name = overflow.encode()
            self.create(name, messages_max=3, overflow=overflow)
            for body in (b"1", b"2", b"3", b"4", b"5"):
                self.fill(name, body)
            self.assertEqual(2, self.admin.show(name)["dropped"])
            self.assertEqual(left, [one.body for one in self.receiver(name).deliveries(1, 3)])
        self.assertEqual({"first": 1, "count": 2}, self.admin.show(b"drop-oldest")["last_dropped"])

    def test_row_10_one_slow_receiver_holds_up_nobody(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage, lease_ms=500)
            stuck = self.receiver(name, (3, 1 << 20))
            busy = self.receiver(name)
            self.fill(name, *[b"%d" % index for index in range(10)])
            held = stuck.deliveries(1, 1)
            done = 0
            while done < 10:
                for message in busy.expect(wire.DELIVER, 1).messages():
                    self.assertIn(busy.settle_and_wait(1, message.offset, attempt=message.attempt, receipt=done + 1), ([],))
                    done += 1
            self.assertGreater(len(held), 0)
            self.assertEqual(0, self.admin.show(name)["stored"], "also what the slow one had and had not begun")

    def test_row_10_priority_is_not_defeated_by_what_waits(self):
        self.create(b"c")
        receiver = self.receiver(b"c", (1, 1 << 20))
        for priority in (0, 3, 9):
            self.fill(b"c", b"%d" % priority, properties=header(PRIORITY, bytes([priority])))
        self.assertEqual([b"0"], [one.body for one in receiver.deliveries(1, 1)])
        receiver.give_credit(1, 2)
        self.assertEqual([b"9"], [one.body for one in receiver.deliveries(1, 1)])
        receiver.give_credit(1, 3)
        self.assertEqual([b"3"], [one.body for one in receiver.deliveries(1, 1)])

    def test_row_07_a_full_channel_blocks_its_senders_and_nobody_else(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage, messages_max=2)
            sender = self.peer(self.server)
            sender.attach_sender(1, name)
            sender.publish(1, 1, b"1", b"2")
            sender.confirmed(1, 2)
            blocked = sender.ask(1)
            self.assertEqual("full", blocked.reason)
            self.fill(b"other", b"x")
            sender.attach_receiver(2, name, (1, 1 << 20))
            (one,) = sender.deliveries(2, 1)
            self.assertEqual([], sender.settle_and_wait(2, one.offset), "the same connection receives and settles")
            self.assertEqual("none", eventually(lambda: (sender.ask(1).reason == "none") and "none", "it goes on"))
            sender.publish(1, 3, b"3")
            self.assertEqual([], sender.confirmed(1, 3))
            text = self.run_baton(0, "explain", storage).stdout
            self.assertIn(b"full", text)


@each_shard_count()
class PoisonTest(LessonTest):
    def test_row_08_poison_messages_are_quarantined_and_put_back(self):
        for storage, _ in self.each_storage():
            self.run_baton(0, "channel", "create", storage, f"--{storage}", "--attempts-max", "2", "--retry-first", "10ms",
                           "--retry-jitter", "0")
            self.run_baton(0, "send", storage, "poison")
            self.run_baton(0, "receive", storage, "--until-empty", "--exec", "echo cannot read it >&2; exit 1")
            if storage == "durable":
                time.sleep(0.3)  # A decision without a receipt is on the disk within moments.
                self.restart()
            (row,) = self.peek(storage, "--state", "quarantined")
            self.assertEqual(("poison", "attempts", "cannot read it"), (row["body"], row["reason"], row["note"]))
            self.assertEqual(1, self.admin.show(storage.encode())["quarantined"])
            self.run_baton(6, "receive", storage, "-n", "1", "--timeout", "50ms")
            self.run_baton(0, "retry", storage, "--all")
            (again,) = rows(self.run_baton(0, "receive", storage, "-n", "1", "--jsonl").stdout)
            self.assertEqual(("poison", 1), (again["body"], again["attempt"]))

    def test_row_08_attempts_are_counted_across_restarts(self):
        self.create(b"c", attempts_max=3)
        self.fill(b"c", b"x")
        for attempt in (1, 2):
            receiver = self.receiver(b"c")
            (one,) = receiver.deliveries(1, 1)
            self.assertEqual(attempt, one.attempt)
            receiver.settle_and_wait(1, 1, attempt=attempt, outcome=wire.RETRY, argument=0)
            self.restart()
        receiver = self.receiver(b"c")
        receiver.deliveries(1, 1)
        receiver.settle_and_wait(1, 1, attempt=3, outcome=wire.RETRY, argument=0, note=b"again")
        (row,) = self.peek("c", "--state", "quarantined")
        self.assertEqual(("attempts", "again"), (row["reason"], row["note"]))

    def test_row_08_a_limit_is_there_without_asking(self):
        self.assertEqual(10, self.create(b"c")["channel"]["attempts_max"])

    def test_row_09_only_what_was_worked_on_is_blamed(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage)
            self.fill(name, *[b"%d" % index for index in range(5)])
            crashing = self.receiver(name)
            crashing.deliveries(1, 5)
            crashing.settle_and_wait(1, 2, outcome=wire.STARTED)
            crashing.close()
            attempts = {one.offset: one.attempt for one in self.receiver(name).deliveries(1, 5)}
            self.assertEqual({1: 1, 2: 2, 3: 1, 4: 1, 5: 1}, attempts)

    def test_row_09_a_broker_that_dies_blames_nobody_else(self):
        self.fill(b"c", b"1", b"2", b"3")
        receiver = self.receiver(b"c")
        receiver.deliveries(1, 3)
        receiver.settle_and_wait(1, 2, outcome=wire.STARTED)
        self.restart()
        self.assertEqual({1: 1, 2: 2, 3: 1}, {one.offset: one.attempt for one in self.receiver(b"c").deliveries(1, 3)})

    def test_row_11_what_waits_to_be_tried_again_takes_no_credit(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage, retry_first_ms=60_000)
            self.fill(name, *[b"%d" % index for index in range(20)])
            receiver = self.receiver(name, (1, 1 << 20))
            for turn in range(19):
                (one,) = receiver.deliveries(1, 1)
                receiver.settle_and_wait(1, one.offset, outcome=wire.RETRY, argument=wire.BACK_OFF, receipt=turn + 1)
                receiver.give_credit(1, turn + 2)
            (last,) = receiver.deliveries(1, 1)
            self.assertEqual(b"19", last.body)
            state = receiver.ask(1)
            self.assertEqual((1, 19), (state.in_flight, state.delayed))
            shown = self.admin.show(name)
            self.assertEqual((19, 1), (shown["delayed"], shown["in_flight"]))

    def test_row_12_one_receive_gives_new_and_recovered_messages(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage)
            self.fill(name, b"recovered")
            crashing = self.receiver(name)
            crashing.deliveries(1, 1)
            crashing.settle_and_wait(1, 1, outcome=wire.STARTED)
            crashing.close()
            self.fill(name, b"new")
            got = rows(self.run_baton(0, "receive", storage, "--until-empty", "--jsonl").stdout)
            self.assertEqual([("recovered", 2), ("new", 1)], [(row["body"], row["attempt"]) for row in got])


@each_shard_count()
class FlowTest(LessonTest):
    def test_row_13_receivers_come_and_go_and_nobody_stops(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage)
            self.fill(name, *[b"%d" % index for index in range(6)])
            stays = self.receiver(name, (2, 1 << 20))
            kept = stays.deliveries(1, 2)
            goes = self.receiver(name, (2, 1 << 20))
            gone = goes.deliveries(1, 2)
            goes.close()
            comes = self.receiver(name, (4, 1 << 20))
            self.assertEqual({one.offset for one in gone} | {5, 6}, {one.offset for one in comes.deliveries(1, 4)})
            self.assertEqual([], stays.settle_and_wait(1, kept[0].offset, 2), "what the others held is theirs")

    def test_row_15_one_old_message_does_not_keep_the_disk_full(self):
        self.server.stop()
        self.start(wal_file_size="1m")
        receiver = self.receiver(b"c")
        self.fill(b"c", b"old")
        receiver.deliveries(1, 1)
        for _ in range(300):
            self.fill(b"c", b"x" * 40_000)
            (one,) = receiver.deliveries(1, 1)
            receiver.settle_and_wait(1, one.offset, receipt=one.offset)

        def size():
            return sum(os.path.getsize(os.path.join(folder, file)) for folder, _, files in os.walk(self.data) for file in files)
        eventually(lambda: size() < 8 << 20, "12 MB went through, and one message is left")
        shown = self.admin.show(b"c")
        self.assertEqual((1, 1, 1), (shown["stored"], shown["in_flight"], shown["oldest"]["offset"]), "and it is named")

    def test_row_18_publishing_twice_under_one_number_stores_once(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage)
            producer = "0123456789abcdef0123456789abcdef"
            for _ in range(2):
                sender = self.peer(self.server)
                sender.attach_sender(1, name, producer=producer)
                sender.publish(1, 1, b"1", b"2")
                self.assertEqual([], sender.confirmed(1, 2))
                sender.close()
                if storage == "durable":
                    self.restart()
            self.assertEqual(2, self.admin.show(name)["ready"])

    def test_row_18_publishing_twice_with_one_id_stores_once(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage, dedupe_window_ms=60_000)
            self.run_baton(0, "send", storage, "x", "--id", "7")
            if storage == "durable":
                self.restart()
            self.run_baton(0, "send", storage, "x", "--id", "7")
            shown = self.admin.show(name)
            self.assertEqual((1, 1), (shown["ready"], shown["duplicates"]))

    def test_row_18_processing_is_at_least_once(self):
        self.fill(b"c", b"x")
        receiver = self.receiver(b"c")
        receiver.deliveries(1, 1)
        self.restart()
        (again,) = self.receiver(b"c").deliveries(1, 1)
        self.assertEqual(b"x", again.body)

    def test_row_20_create_means_make_it_so(self):
        for storage, name in self.each_storage():
            self.assertTrue(self.create(name, storage=storage, lease_ms=5000)["created"])
            self.fill(name, b"x")
            again = self.create(name, attempts_max=3, overflow="reject", ordered_by_key=True)
            self.assertFalse(again["created"])
            effective = again["channel"]
            self.assertEqual((5000, 3, "reject", True, storage), tuple(
                effective[key] for key in ("lease_ms", "attempts_max", "overflow", "ordered_by_key", "storage")))
            other = {"memory": "durable", "durable": "memory"}[storage]
            for wanted, is_now in (({"kind": "topic"}, "queue"), ({"storage": other}, storage)):
                (key, value), = wanted.items()
                reply = self.admin.admin("channel.create", name, **wanted)
                self.assertEqual("incompatible_options", reply["error"]["code"])
                self.assertEqual({key: {"is": is_now, "wanted": value}}, reply["error"]["diff"])
            if storage == "durable":
                self.restart()
                self.assertEqual(3, self.admin.show(name)["attempts_max"])
            self.assertEqual(1, self.admin.show(name)["ready"], "and the messages stay")

    def test_row_21_publishing_to_nowhere_does_not_succeed(self):
        peer = self.peer(self.server)
        with self.assertRaises(wire.Refused) as refused:
            peer.attach_sender(1, b"nowhere", create=False)
        self.assertEqual("not_found", refused.exception.fault.status)
        self.create(b"t", kind="topic")
        self.fill(b"t", b"x")
        shown = self.admin.show(b"t")
        self.assertEqual((0, 1, []), (shown["stored"], shown["unwanted"], shown["subscriptions"]), "and it is counted")


@each_shard_count()
class OrderTest(LessonTest):
    def send(self, name, key, *bodies):
        self.fill(name, *bodies, properties=header(KEY, key))

    def test_row_28_order_by_key_and_no_key_holds_up_another(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage, ordered_by_key=True)
            for index in range(3):
                for key in (b"a", b"b"):
                    self.send(name, key, key + b"%d" % index)
            peers = [self.receiver(name) for _ in range(3)]
            stuck, other = [], []
            while len(other) < 3:  # b is worked on to its end while the first of a is held.
                held = eventually(lambda: [(peer, one) for peer in peers for one in self.arrived(peer)], "something comes")
                for peer, one in held:
                    if one.body.startswith(b"a"):
                        stuck.append((peer, one))
                    else:
                        other.append(one.body)
                        peer.settle_and_wait(1, one.offset, attempt=one.attempt, receipt=one.offset)
            self.assertEqual([b"b0", b"b1", b"b2"], other)
            self.assertEqual([b"a0"], [one.body for _, one in stuck])
            if storage == "durable":
                self.restart()
                peers = [self.receiver(name)]
            else:
                peer, one = stuck[0]
                peer.settle_and_wait(1, one.offset, outcome=wire.RETRY, argument=0, receipt=100)
            order = []
            while len(order) < 3:
                for peer in peers:
                    for one in self.arrived(peer):
                        order.append(one.body)
                        peer.settle_and_wait(1, one.offset, attempt=one.attempt, receipt=100 + one.offset)
            self.assertEqual([b"a0", b"a1", b"a2"], order, "a retry keeps its place")

    def arrived(self, peer):
        try:
            return peer.expect(wire.DELIVER, 1, timeout=0.05).messages()
        except TimeoutError:
            return []

    def test_row_28_dropping_the_active_message_frees_its_key(self):
        self.create(b"c", ordered_by_key=True)
        self.send(b"c", b"a", b"1", b"2", b"3")
        receiver = self.receiver(b"c", (1, 1 << 20))
        receiver.deliveries(1, 1)
        receiver.settle_and_wait(1, 1, outcome=wire.GIVE_BACK)
        receiver.close()
        self.assertEqual(1, self.admin.admin("channel.drop", b"c", state="ready", offsets=[1])["messages"])
        self.assertEqual([b"2"], [one.body for one in self.receiver(b"c").deliveries(1, 1)])

    def test_row_29_a_noisy_tenant_does_not_starve_others(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage, fair_by="key", fair_weights={"heavy": 2})
            self.send(name, b"noisy.1", *[b"n"] * 50)
            self.send(name, b"quiet.1", *[b"q"] * 5)
            self.send(name, b"heavy.1", *[b"h"] * 20)
            receiver = self.receiver(name, (20, 1 << 20))
            got = [one.body for one in receiver.deliveries(1, 20)]
            self.assertEqual((5, 5, 10), tuple(got.count(body) for body in (b"n", b"q", b"h")))

    def test_row_30_looking_changes_nothing(self):
        for storage, name in self.each_storage():
            self.create(name, storage=storage)
            self.run_baton(0, "send", storage, "quarantined")
            self.run_baton(0, "receive", storage, "-n", "1", "--exec", "exit 65")
            self.run_baton(0, "send", storage, "held", "ready")
            self.run_baton(0, "send", storage, "delayed", "--delay", "1h")
            receiver = self.receiver(name, (1, 1 << 20))
            receiver.deliveries(1, 1)
            before = self.admin.show(name)
            for state in ("quarantined", "in-flight", "ready", "delayed"):
                (row,) = self.peek(storage, "--state", state)
                self.assertEqual("held" if state == "in-flight" else state, row["body"])
            self.assertEqual([1, 2, 3, 4], [row["offset"] for row in self.peek(storage)])
            after = self.admin.show(name)
            for key in ("ready", "in_flight", "delayed", "quarantined", "delivered", "redelivered", "settled"):
                self.assertEqual(before[key], after[key], key)
            self.assertEqual([], receiver.settle_and_wait(1, 2), "nor for who holds it")


del LessonTest

if __name__ == "__main__":
    unittest.main()
