"""The atomic step against the real broker, by frames and by `baton receive --forward`: whatever dies, a message is in one of
the two channels and never in both.

Named after what must hold; the rules are in docs/protocol.md, section 10b. Next file: lessons_test.py."""

import json
import os
import random
import signal
import struct
import subprocess
import unittest

import wire
from broker import BrokerTest, each_shard_count, eventually, program

PRODUCER = bytes(range(1, 17))
NO_SECTION = 0xFFFFFFFF
TOO_LARGE, LOST_LEASE, FULL = 19, 22, 32


def send_to(name, *bodies):
    batch = wire.encode_batch(bodies)
    body = struct.pack("<HH", len(name), 0) + name + batch
    return struct.pack("<BBHI", 1, 0, 0, len(body)) + body


def settle(link, offset, count=1, attempt=1):
    return struct.pack("<BBHI", 2, 0, link, 24) + struct.pack("<QIIBBHI", offset, count, attempt, wire.DONE, 0, 0, 0)


class StepTest(BrokerTest):
    """Channels in, out and log, on any shards, with a worker that holds three messages of in."""

    storage = "durable"

    def setUp(self):
        super().setUp()
        self.data = os.path.join(self.data_dir(), "data")
        self.start()
        for name in (b"in", b"out", b"log"):
            self.assertTrue(self.admin.admin("channel.create", name, storage=self.storage)["ok"])
        sender = self.peer(self.server)
        sender.attach_sender(1, b"in")
        self.assertEqual([], sender.publish_all(1, 1, [b"1", b"2", b"3"]))
        self.open_worker()

    def start(self):
        self.server = self.broker(data_dir=self.data)
        self.admin = self.peer(self.server)

    def open_worker(self):
        self.worker = self.peer(self.server, features=["step"])
        self.worker.attach_receiver(2, b"in")
        return [message.body for message in self.worker.deliveries(2, 3)]

    def ask(self, number, *sections, request=1):
        body = PRODUCER + struct.pack("<QII", number, len(sections), 0) + b"".join(sections)
        self.worker.send(wire.STEP, sequence=request, body=body)

    def answer(self, request=1):
        frame = self.worker.expect(wire.STEPPED, matching=lambda frame: frame.sequence == request)
        status, section, size, zero = struct.unpack_from("<IIHH", frame.body)
        self.assertEqual((len(frame.body) - 12, 0), (size, zero))
        return status, section

    def step(self, number, *sections):
        self.ask(number, *sections)
        return self.answer()

    def stored(self):
        return tuple(self.admin.show(name)["stored"] for name in (b"in", b"out", b"log"))


class EveryStorage(StepTest):
    def test_all_of_it_happens(self):
        self.assertEqual((0, NO_SECTION), self.step(1, settle(2, 2), send_to(b"out", b"a", b"b"), send_to(b"log", b"c")))
        self.assertEqual((2, 2, 1), self.stored())

    def test_or_nothing(self):
        self.assertEqual((LOST_LEASE, 1), self.step(1, send_to(b"out", b"a"), settle(2, 2, attempt=2)))
        self.admin.admin("channel.create", b"log", messages_max=1)
        self.assertEqual((TOO_LARGE, 2), self.step(1, settle(2, 2), send_to(b"out", b"a"), send_to(b"log", b"b", b"c")),
                         "it never fits")
        self.assertEqual((3, 0, 0), self.stored())
        self.assertEqual((0, NO_SECTION), self.step(1, settle(2, 1, 2), send_to(b"log", b"c")))
        self.assertEqual((FULL, 1), self.step(2, settle(2, 3), send_to(b"log", b"d")))
        self.assertEqual((1, 0, 1), self.stored())

    def test_a_stream_and_a_window_of_ids_take_it_in_pieces(self):
        for name, settings in ((b"st", {"kind": "stream", "messages_max": 32}), (b"win", {"dedupe_window_ms": 60_000})):
            self.admin.admin("channel.create", name, storage=self.storage, **settings)
            self.assertEqual((0, NO_SECTION), self.step(1, send_to(name, *[b"%d" % i for i in range(10)])))
            eventually(lambda: self.admin.show(name)["stored"] == 10, "all of it is there")

    def test_each_channel_has_one_section_with_messages(self):
        unsupported = 16
        self.assertEqual((unsupported, 2), self.step(1, settle(2, 1), send_to(b"out", b"a"), send_to(b"out", b"b")))
        self.assertEqual((3, 0, 0), self.stored())
        self.assertEqual((0, NO_SECTION), self.step(2, settle(2, 1), send_to(b"out", b"a", b"b")))

    def test_a_lost_lease_fences(self):
        """The worker was too slow: somebody else has the message."""
        self.worker.close()
        self.worker = self.peer(self.server, features=["step"])
        self.worker.attach_receiver(2, b"in", credit=(1, 1 << 20), lease_ms=100)
        (slow,) = self.worker.deliveries(2, 1)
        other = self.peer(self.server)
        other.attach_receiver(1, b"in")
        quick = next(message for message in other.deliveries(1, 3) if message.offset == slow.offset)
        self.assertEqual((LOST_LEASE, 0), self.step(1, settle(2, slow.offset, attempt=slow.attempt), send_to(b"out", b"a")))
        self.assertEqual((3, 0, 0), self.stored())
        self.assertEqual([], other.settle_and_wait(1, quick.offset, attempt=quick.attempt), "it is somebody else's")

    def test_again_is_once(self):
        sections = settle(2, 2), send_to(b"out", b"a"), send_to(b"log", b"b")
        self.ask(1, *sections)
        eventually(lambda: self.stored() == (2, 1, 1), "it is done")
        self.worker.close()  # Before the answer was read.
        self.open_worker_again(2)
        self.assertEqual((0, NO_SECTION), self.step(1, settle(0, 2), *sections[1:]))
        self.assertEqual((2, 1, 1), self.stored())
        self.assertEqual((LOST_LEASE, 0), self.step(2, settle(0, 1), *sections[1:]), "and what was not done is not")
        self.assertEqual((2, 1, 1), self.stored())

    def open_worker_again(self, count):
        self.worker = self.peer(self.server, features=["step"])
        self.worker.attach_receiver(2, b"in")
        self.worker.deliveries(2, count)

    def test_what_is_no_step(self):
        self.worker.send(wire.STEP, sequence=1, body=PRODUCER)
        self.assertEqual("bad_frame", self.worker.expect_fault().status)
        self.worker = self.peer(self.server)
        self.ask(1, send_to(b"out", b"a"))
        self.assertEqual("unknown_frame", self.worker.expect_fault().status)
        self.worker = self.peer(self.server, features=["step"])
        self.ask(1, settle(2, 1))
        self.assertEqual("protocol_violation", self.worker.expect_fault().status)
        self.assertEqual((3, 0, 0), self.stored())


@each_shard_count()
class MemoryStepTest(EveryStorage):
    storage = "memory"


@each_shard_count()
class DurableStepTest(EveryStorage):
    def test_what_was_answered_is_on_the_disk(self):
        sections = settle(2, 2), send_to(b"out", b"a", b"b"), send_to(b"log", b"c")
        self.assertEqual((0, NO_SECTION), self.step(1, *sections))
        self.server.kill()
        self.inspect("verify")
        records = [record for folder in os.listdir(self.data) if folder.startswith("generation")
                   for record in self.inspect("--output", "jsonl", "dump", "wal").splitlines()]
        kinds = {json.loads(record).get("type") for record in records}
        # Over several shards the intent decides; nobody waits for the parts, and the kill may have been faster.
        self.assertIn("intent" if self.shards > 1 else "joint", kinds)
        self.assertTrue(self.shards > 1 or "intent" not in kinds)
        self.start()
        self.assertEqual((2, 2, 1), self.stored())
        self.open_worker_again(2)
        self.assertEqual((0, NO_SECTION), self.step(1, settle(0, 2), *sections[1:]), "it is known")
        self.assertEqual((2, 2, 1), self.stored())

    def test_who_looks_after_the_answer_finds_what_was_sent(self):
        """Over shards the answer comes when it is decided, and the parts are then on their way to the disk."""
        reader = self.peer(self.server)
        reader.attach_receiver(1, b"out", credit=(0, 0))
        for number in range(1, 51):
            self.assertEqual((0, NO_SECTION), self.step(number, send_to(b"out", b"a"), send_to(b"log", b"b")))
            self.assertEqual(number, reader.ask(1).ready)

    def inspect(self, *arguments):
        ended = subprocess.run([program("BATON_INSPECT"), self.data, *arguments], capture_output=True, check=False)
        self.assertEqual(0, ended.returncode, (arguments, ended.stdout, ended.stderr))
        return ended.stdout

    def test_a_broker_that_dies_has_done_it_or_not(self):
        rng = random.Random(7)
        for round_number in range(6):
            before = self.stored()
            for number in range(20):
                self.ask(100 * round_number + number + 1, send_to(b"out", b"x"), send_to(b"log", b"y"), request=number)
                if number == rng.randrange(20):
                    break
                self.answer(request=number)
            self.server.kill()
            self.start()
            after = self.stored()
            self.assertEqual(after[1] - before[1], after[2] - before[2], "both channels or none")
            self.open_worker()


@each_shard_count()
class ForwardTest(BrokerTest):
    def setUp(self):
        super().setUp()
        self.data = os.path.join(self.data_dir(), "data")
        self.start()

    def start(self):
        self.server = self.broker(data_dir=self.data)
        self.admin = self.peer(self.server)
        return self.server

    def fill(self, count):
        for name in (b"in", b"out"):
            self.admin.admin("channel.create", name, storage="durable", attempts_max=0, retry_first_ms=0)
        self.expect_exit(0, self.server, "send", "in", stdin=b"".join(b"%d\n" % number for number in range(count)))

    def results(self):
        return [int(line) for line in self.expect_exit(0, self.server, "receive", "out", "--until-empty").stdout.split()]

    def test_it_moves_what_comes(self):
        self.fill(1_000)
        self.expect_exit(0, self.server, "receive", "in", "--forward", "out", "--until-empty")
        self.assertEqual(list(range(1_000)), self.results())
        self.assertEqual(0, self.admin.show(b"in")["stored"])

    def test_with_a_command_its_output(self):
        self.fill(5)
        self.expect_exit(0, self.server, "receive", "in", "--exec", "read n; [ $n = 3 ] || echo 10$n", "--forward", "out",
                         "--until-empty")
        self.assertEqual([100, 101, 102, 104], self.results())
        self.assertEqual(0, self.admin.show(b"in")["stored"])

    def test_a_full_channel_is_waited_for(self):
        self.fill(20)
        self.admin.admin("channel.create", b"out", messages_max=10, overflow="reject")
        forwarder = self.command(self.server, "receive", "in", "--exec", "cat", "--forward", "out", "-n", "20")
        eventually(lambda: self.admin.show(b"out")["stored"] == 10 and forwarder.complaints, "it is full")
        self.assertEqual(0, len(forwarder.lines))
        self.assertEqual(list(range(10)), self.results())
        self.assertEqual(0, forwarder.wait())
        self.assertEqual(list(range(10, 20)), self.results())

    def test_who_waits_for_room_can_be_interrupted(self):
        self.fill(3)
        self.admin.admin("channel.create", b"out", messages_max=1)
        forwarder = self.command(self.server, "receive", "in", "--exec", "cat", "--forward", "out")
        eventually(lambda: forwarder.complaints, "it is full")
        forwarder.process.send_signal(signal.SIGINT)
        self.assertEqual(130, forwarder.wait())
        shown = self.admin.show(b"in")
        self.assertEqual((2, 0), (shown["stored"], shown["in_flight"]))

    def test_its_limits(self):
        self.fill(1)
        self.expect_exit(2, self.server, "receive", "in", "--forward", "in")  # It would never end.
        for arguments in (("--null",), ("--jsonl",), ("--ack", "none")):
            self.expect_exit(2, self.server, "receive", "in", "--forward", "out", *arguments)
            self.expect_exit(2, self.server, "receive", "in", "--exec", "cat", *arguments)
        self.expect_exit(2, self.server, "receive", "in", "--forward", "")
        self.expect_exit(0, self.server, "receive", "in", "--until-empty")
        self.expect_exit(0, self.server, "send", "in", "--whole", stdin=b"x" * 300_000)
        told = self.expect_exit(0, self.server, "receive", "in", "--forward", "out", "--until-empty").stderr
        self.assertIn(b"the limit is 262128", told)
        self.assertEqual(1, self.admin.show(b"in")["quarantined"], "no other worker fails on it")
        self.expect_exit(0, self.server, "send", "in", "x")
        told = self.expect_exit(0, self.server, "receive", "in", "--exec", "head -c 204801 /dev/zero", "--forward", "out",
                                "--until-empty").stderr
        self.assertRegex(told, rb"^baton: the command wrote more than 204800 bytes: message \d+ is quarantined\n$")
        self.assertEqual(2, self.admin.show(b"in")["quarantined"])

    def test_more_than_fits_goes_in_smaller_steps(self):
        for overflow in ("block", "reject"):
            self.fill(300)
            self.admin.admin("channel.create", b"out", messages_max=7, overflow=overflow)
            forwarder = self.command(self.server, "receive", "in", "--forward", "out", "-n", "300")
            eventually(lambda: self.admin.show(b"out")["stored"] == 7 or forwarder.process.poll() is not None, "it is full")
            got = [int(line) for line in
                   self.expect_exit(0, self.server, "receive", "out", "-n", "300").stdout.split()]
            self.assertEqual(list(range(300)), got)
            self.assertEqual(0, forwarder.wait(), forwarder.complaints)
            self.assertEqual(0, self.admin.show(b"in")["stored"])

    def test_the_oldest_go_for_what_is_forwarded(self):
        self.fill(50)
        self.admin.admin("channel.create", b"out", messages_max=7, overflow="drop-oldest")
        self.expect_exit(0, self.server, "receive", "in", "--forward", "out", "--until-empty")
        self.assertEqual(list(range(43, 50)), self.results())

    def test_a_worker_goes_on_over_an_orderly_restart(self):
        self.fill(300)
        worker = self.command(self.server, "receive", "in", "--exec", "cat", "--forward", "out")
        eventually(lambda: self.admin.show(b"out")["stored"] >= 20, "some are forwarded")
        self.goes_on_after(self.server.stop, worker, 300)

    def goes_on_after(self, end_broker, worker, count):
        """The broker ends like this and comes back where it was."""
        port = self.server.listen_url.rsplit(":", 1)[1]
        end_broker()
        self.server = self.broker(data_dir=self.data, listen=(f"tcp://127.0.0.1:{port}",))
        self.admin = self.peer(self.server)
        eventually(lambda: self.admin.show(b"in")["stored"] == 0, "all are forwarded")
        worker.process.send_signal(signal.SIGINT)
        self.assertEqual(130, worker.wait(), worker.complaints)
        self.assertEqual(list(range(count)), sorted(self.results()))

    def test_workers_and_brokers_that_die(self):
        """Each number is forwarded once, whoever is killed whenever."""
        count = 3_000
        self.fill(count)
        rng = random.Random(self.shards)
        for kill in range(8):
            worker = self.command(self.server, "receive", "in", "--forward", "out", "--window", "7")
            threshold = self.admin.show(b"out")["stored"] + rng.randrange(1, 120)
            eventually(lambda: self.admin.show(b"out")["stored"] >= threshold, "some are forwarded")
            if kill % 2 == 0:
                worker.process.kill()
                worker.wait()
                continue
            self.server.kill()
            worker.process.kill()
            worker.wait()
            self.start()
        self.expect_exit(0, self.server, "receive", "in", "--forward", "out", "--until-empty")
        self.assertEqual(list(range(count)), sorted(self.results()))
        self.assertEqual(0, self.admin.show(b"in")["stored"])

    def test_a_worker_goes_on_over_a_broker_that_dies(self):
        self.fill(2_000)
        worker = self.command(self.server, "receive", "in", "--forward", "out", "--window", "5")
        eventually(lambda: self.admin.show(b"out")["stored"] >= 300, "some are forwarded")
        self.goes_on_after(self.server.kill, worker, 2_000)


del StepTest, EveryStorage

if __name__ == "__main__":
    unittest.main()
