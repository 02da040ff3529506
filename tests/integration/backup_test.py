"""Backups of a running broker: what was confirmed before is in it, what was settled is not, one moment for all channels;
restores into a running broker: all channels as they were, or none;
and what baton-inspect gets out of a channel that is quarantined. Next file: durable_test.py.
"""

import base64
import json
import os
import shutil
import subprocess
import threading
import time
import unittest

import wire
from broker import DEADLINE, clean_environment, each_shard_count, eventually, program
from damage_test import find_bytes, flip
from durable_test import PRODUCER, DurableBrokerTest, files_below


def inspect(*arguments):
    return subprocess.run([program("BATON_INSPECT"), *arguments], capture_output=True, timeout=DEADLINE,
                          env=clean_environment(), check=False)


class InspectedBrokerTest(DurableBrokerTest):
    def expect_inspect(self, code, *arguments):
        ended = inspect(*arguments)
        self.assertEqual(code, ended.returncode, (arguments, ended.stdout[-1000:], ended.stderr[-1000:]))
        return ended

    def rows(self, code, *arguments):
        return [json.loads(line) for line in self.expect_inspect(code, *arguments, "--output", "json").stdout.splitlines()]

    def backup(self, server):
        directory = os.path.join(self.folder, f"backup-{len(os.listdir(self.folder))}")
        self.expect_exit(0, server, "backup", directory)
        return directory


@each_shard_count(1, 3)
class BackupTest(InspectedBrokerTest):
    def test_confirmed_is_there_and_settled_is_not(self):
        server = self.start(wal_file_size="64k")
        peer = self.create(server, b"many", b"few", b"empty", b"gone")
        peer.attach_sender(1, b"many")
        bodies = [b"%05d-" % number + b"x" * 300 for number in range(3000)]  # More than the log keeps.
        peer.publish_all(1, 1, bodies)
        peer.attach_sender(2, b"few")
        peer.publish_all(2, 1, [b"f%d" % number for number in range(10)])
        peer.attach_receiver(3, b"few", (10, 1 << 40))
        first = peer.deliveries(3, 10)[0].offset
        peer.settle(3, first + 7, outcome=wire.STARTED)
        self.assertEqual([], peer.settle_and_wait(3, first, 3))
        peer.attach_sender(4, b"gone")
        peer.publish_all(4, 1, [b"g"])
        self.assertTrue(peer.admin("channel.delete", b"gone", force=True)["ok"])
        directory = self.backup(server)
        # What comes later is not in it.
        peer.publish(2, 11, b"late")
        self.assertEqual([], peer.confirmed(2, 11))
        self.assertEqual([], peer.settle_and_wait(3, first + 3, 2))
        self.assertEqual([], [name for name in os.listdir(self.data) if name.startswith("backup-")], "removed at the end")
        self.expect_inspect(0, directory, "verify")
        self.assertEqual(bodies, [row["body"].encode() for row in self.rows(0, directory, "dump", "channel", "many")])
        server.kill()
        restored = os.path.join(self.folder, "restored")
        self.expect_inspect(0, directory, "restore", restored)
        for data in (restored, directory):
            again = self.start(data_dir=data, shards=2)
            peer = self.peer(again)
            shown = peer.admin("channel.list")["channels"]
            self.assertEqual(["empty", "few", "many"], [channel["name"] for channel in shown])
            got = self.bodies(peer, b"few", 7)
            self.assertEqual([b"f%d" % number for number in range(3, 10)], [message.body for message in got])
            self.assertEqual([1, 1, 1, 1, 2, 1, 1], [message.attempt for message in got])
            self.assertEqual(first + 3, got[0].offset)
            self.assertEqual(bodies, [message.body for message in self.bodies(peer, b"many", 3000)])
            again.kill()

    def test_under_load_what_was_passed_on_is_in_one_of_them(self):
        """A worker takes from one channel and sends to another before it settles: at no moment is a message in neither."""
        server = self.start(wal_file_size="64k")
        names = [b"a%d" % number for number in range(4)]
        peer = self.create(server, *names)
        count = 400
        peer.attach_sender(1, names[0])
        peer.publish_all(1, 1, [b"%d" % number for number in range(count)])
        workers = []
        for source, target in zip(names, names[1:]):
            worker = threading.Thread(target=self.pass_on, args=(server, source, target, count), daemon=True)
            worker.start()
            workers.append(worker)
        backups = []
        while any(worker.is_alive() for worker in workers) and len(backups) < 10:
            backups.append(self.backup(server))
        for worker in workers:
            worker.join(DEADLINE)
        backups.append(self.backup(server))
        positions = set()
        for directory in backups:
            self.expect_inspect(0, directory, "verify")
            found = {name: {int(row["body"]) for row in self.rows(0, directory, "dump", "channel", name.decode())}
                     for name in names}
            self.assertEqual(set(range(count)), set().union(*found.values()), directory)
            positions.add(tuple(len(found[name]) for name in names))
        self.assertEqual(set(range(count)), found[names[-1]], "in the end all have arrived")
        print(f"\n{len(backups)} backups: {sorted(positions)}")

    def pass_on(self, server, source, target, count):
        with wire.Peer(server.listen_url, timeout=DEADLINE) as peer:
            peer.attach_receiver(1, source, (count, 1 << 40))
            peer.attach_sender(2, target)
            sequence = 0
            while sequence < count:
                for message in peer.deliveries(1, 1):
                    sequence += 1
                    peer.publish(2, sequence, message.body)
                    self.assertEqual([], peer.confirmed(2, sequence))
                    peer.settle(1, message.offset, 1, message.attempt)

    def test_senders_go_on_during_a_backup(self):
        server = self.start()
        self.create(server, b"c")
        sender = self.command(server, "send", "c", stdin=subprocess.PIPE)
        stop = threading.Event()

        def feed():
            number = 0
            while not stop.is_set():
                sender.process.stdin.write(b"%d\n" % number)
                number += 1
            sender.process.stdin.close()
        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        watcher = self.peer(server)
        eventually(lambda: watcher.show(b"c")["ready"] > 1000, "messages come")
        before = watcher.show(b"c")["ready"]  # Visible: committed.
        directory = self.backup(server)
        after = watcher.show(b"c")["next_offset"]
        stop.set()
        feeder.join(DEADLINE)
        self.assertEqual(0, sender.wait())
        numbers = [int(row["body"]) for row in self.rows(0, directory, "dump", "channel", "c")]
        self.assertEqual([*range(len(numbers))], numbers)
        self.assertGreaterEqual(len(numbers), before)
        self.assertLess(len(numbers), after)

    def test_the_end_of_the_connection_removes_it(self):
        server = self.start()
        peer = self.create(server, b"c")
        begun = peer.admin("backup.begin")
        self.assertTrue(begun["ok"], begun)
        self.assertIn(begun["id"], os.listdir(self.data))
        self.assertEqual("bad_request", peer.admin("backup.begin")["error"]["code"])
        other = self.peer(server)
        self.assertEqual("not_found", other.admin("backup.list", id=begun["id"])["error"]["code"])
        for path in ("../LOCK", "LOCK", "/etc/passwd", "", "MANIFEST/../../LOCK"):
            answer = peer.admin("backup.read", id=begun["id"], path=path)
            self.assertEqual("not_found", answer["error"]["code"], path)
        self.assertEqual("bad_request", peer.admin("backup.read", id=begun["id"], path="MANIFEST", offset=999)["error"]["code"])
        peer.close()
        eventually(lambda: begun["id"] not in os.listdir(self.data), "it is removed")

    def test_a_kill_leaves_nothing_behind(self):
        server = self.start()
        peer = self.create(server, b"c")
        begun = peer.admin("backup.begin")
        server.kill()
        self.assertIn(begun["id"], os.listdir(self.data))
        self.start()
        self.assertNotIn(begun["id"], os.listdir(self.data))

    def test_refusals(self):
        memory = self.broker()
        ended = self.baton(memory, "backup", os.path.join(self.folder, "b"))
        if b"no data directory" not in ended.stderr:  # The default one may be usable.
            self.assertEqual(0, ended.returncode, ended.stderr)
        server = self.start()
        full = os.path.join(self.folder, "full")
        os.mkdir(full)
        open(os.path.join(full, "file"), "wb").close()
        self.assertIn(b"not empty", self.expect_exit(2, server, "backup", full).stderr)
        self.assertIn(b"no MANIFEST", self.expect_exit(7, server, "restore", full).stderr)
        self.assertIn(b"No such file or directory", self.expect_exit(1, server, "restore", full + "/nowhere").stderr)
        self.assertIn(b"--live", self.expect_inspect(3, self.data, "list").stderr)
        self.expect_inspect(0, self.data, "list", "--live")
        self.expect_inspect(3, os.path.join(self.folder, "nowhere"), "list")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "nowhere")))
        self.expect_inspect(3, full, "list")
        for words, told in (((self.data,), b"one of list, verify, dump, restore is missing"),
                            ((self.data, "lst"), b'is missing, there is "lst"'),
                            (("list", self.data), b'behind DIR ("list")'),
                            ((self.data, "dump"), b"behind dump one of wal, segment, checkpoint, channel is missing"),
                            ((self.data, "list", "more"), b'"more" is not expected there')):
            told_by_it = self.expect_inspect(2, *words).stderr
            self.assertIn(told, told_by_it)
            self.assertIn(b"; the order is baton-inspect DIR VERB, with DIR first", told_by_it)
        self.assertIn(b"Usage: baton-inspect DIR dump channel [OPTIONS] NAME...",
                      self.expect_inspect(0, self.data, "dump", "channel", "--help").stdout)

    def test_a_backup_that_fails_leaves_no_empty_directory(self):
        made, empty = os.path.join(self.folder, "made"), os.path.join(self.folder, "empty")
        os.mkdir(empty)
        for directory in (made, empty):
            told = self.expect_exit(3, "baton://127.0.0.1:1", "--connect-timeout", "200ms", "backup", directory).stderr
            self.assertNotIn(b"remove it", told)
        self.assertFalse(os.path.exists(made))
        self.assertEqual([], os.listdir(empty))


@each_shard_count(1, 3)
class RestoreTest(InspectedBrokerTest):
    """`baton restore` into a running broker."""

    def filled(self, **settings):
        """A broker with channels that have something of everything, and a backup of it."""
        server = self.start(wal_file_size="64k", **settings)
        peer = self.create(server, b"many", b"few", b"empty")
        self.assertTrue(peer.admin("channel.create", b"empty", messages_max=7)["ok"])
        peer.attach_sender(1, b"many")
        peer.publish_all(1, 1, [b"%05d-" % number + b"x" * 300 for number in range(3000)])
        peer.attach_sender(2, b"few", producer=PRODUCER)
        peer.publish_all(2, 1, [b"f%d" % number for number in range(10)])
        peer.attach_receiver(3, b"few", (10, 1 << 40))
        first = peer.deliveries(3, 10)[0].offset
        peer.settle(3, first + 7, outcome=wire.STARTED)
        self.assertEqual([], peer.settle_and_wait(3, first, 3))
        directory = self.backup(server)
        peer.detach(3)
        return server, directory

    def contents(self, server, *names):
        peer = self.peer(server)
        found = {}
        for name in names:
            messages, start = [], 0
            while start is not None:
                reply = peer.admin("channel.peek", name, count=1000, **{"from": start})
                messages += [(row["offset"], row["attempt"], row["time_us"], row["body_base64"])
                             for row in reply["messages"]]
                start = reply.get("next")
            shown = peer.show(name)
            found[name] = (messages, shown["next_offset"], shown["producers"], shown["messages_max"])
        peer.close()
        return found

    def test_channels_come_back_as_they_were(self):
        names = (b"many", b"few", b"empty")
        server, directory = self.filled()
        before = self.contents(server, *names)
        other = self.start(data_dir=os.path.join(self.folder, "other"), shards=2)
        self.expect_exit(0, other, "restore", directory)
        peer = self.peer(server)
        for name in names:
            self.assertTrue(peer.admin("channel.delete", name, force=True)["ok"])
        done = json.loads(self.expect_exit(0, server, "--output", "json", "restore", directory).stdout)
        self.assertEqual((3, 3007), (done["channels"], done["messages"]))
        for broker, data in ((server, self.data), (other, os.path.join(self.folder, "other"))):
            self.assertEqual(before, self.contents(broker, *names))
            broker.kill()
            again = self.start(data_dir=data)
            self.assertEqual(before, self.contents(again, *names))
            peer = self.peer(again)
            # The duplicate window: what it had is known, what is new goes on behind it.
            peer.attach_sender(1, b"few", producer=PRODUCER)
            peer.publish(1, 10, b"again")
            peer.publish(1, 11, b"new")
            self.assertEqual([], peer.confirmed(1, 11))
            got = self.bodies(peer, b"few", 8)
            self.assertEqual([b"f%d" % number for number in range(3, 10)] + [b"new"], [message.body for message in got])
            self.assertEqual([1, 1, 1, 1, 2, 1, 1, 1], [message.attempt for message in got])
            self.assertEqual(3000, len(self.bodies(peer, b"many", 3000)))
            self.assertEqual([], [name for name in os.listdir(data) if name.startswith("restore-")])
            again.kill()

    def test_what_has_expired_by_then_does_not_come_back(self):
        """Also if nothing is left of a channel, and of the files that its messages are in."""
        server = self.start(wal_file_size="64k")
        peer = self.create(server, b"short")
        bodies = [b"%d" % number + b"x" * 300 for number in range(1_000)]

        def is_in_segments():
            return any(files for _, _, files in os.walk(os.path.join(self.data, "channels")))

        for seconds in (5, 20, 60):  # A disk that is busy with other things may take longer than the first of these.
            expires = time.time() + seconds
            for at in range(0, len(bodies), 100):  # One record each, so that there are full log files, not a long one.
                self.assertEqual([], peer.publish_on(1, b"short", bodies[at:at + 100], wire.ttl(seconds * 1_000_000)))
            eventually(lambda: is_in_segments() or time.time() > expires - 1, "some of it is in segments, or too late", 120)
            if is_in_segments() and time.time() < expires - 1:
                break
            eventually(lambda: peer.show(b"short")["stored"] == 0, "it has expired", 120)
        self.assertLess(time.time(), expires, "some of it came to the segments in time")
        directory = self.backup(server)
        server.kill()
        eventually(lambda: time.time() > expires, "all of it has expired")
        server = self.start(wal_file_size="64k")
        peer = self.peer(server)
        eventually(lambda: peer.show(b"short")["stored"] == 0, "it has expired")
        self.expect_exit(0, server, "restore", directory, "--as", "short=again")
        self.assertEqual(0, peer.show(b"again")["stored"])
        self.assertEqual([], peer.publish_on(2, b"again", [b"new"]))
        self.assertEqual([b"new"], [message.body for message in self.bodies(peer, b"again", 1)])
        self.assertEqual([], peer.publish_on(2, b"again", [b"stays"]))
        server.kill()
        peer = self.peer(self.start(wal_file_size="64k"))
        self.assertEqual((0, 1), (peer.show(b"short")["stored"], peer.show(b"again")["stored"]))

    def test_delayed_messages_on_the_disk_come_back_with_their_times(self):
        settings = {"limits_memory_max": "16m", "limits_message_size_max": "1m"}
        server = self.start(**settings)
        peer = self.create(server, b"later")
        rounds, count, expected = 24, 100, {}
        for number in range(rounds):
            due_us = int((time.time() + 3_600 - number) * 1e6)
            bodies = [(b"%d.%d" % (number, index)).ljust(10_000, b".") for index in range(count)]
            self.assertEqual([], peer.publish_on(number + 1, b"later", bodies, wire.not_before(due_us)))
            expected.update({number * count + index + 1: (body, due_us) for index, body in enumerate(bodies)})
        eventually(lambda: peer.show(b"later")["resident_bytes"] < 8 << 20, "they leave memory")
        directory = self.backup(server)
        self.expect_inspect(0, directory, "verify")
        self.assertEqual(rounds * count, len(self.rows(0, directory, "dump", "channel", "later")))
        self.expect_exit(0, server, "restore", directory, "--as", "later=again")
        for _ in range(2):
            peer = self.peer(server)
            eventually(lambda: peer.show(b"again")["resident_bytes"] < 8 << 20, "they leave memory, or stay on the disk")
            for name in (b"later", b"again"):
                self.assertEqual((rounds * count, 0), (peer.show(name)["delayed"], peer.show(name)["ready"]))
                for offset in sorted(expected)[::233]:
                    (row,) = peer.admin("channel.peek", name, state="delayed", count=1, **{"from": offset})["messages"]
                    self.assertEqual((offset, 1, expected[offset][1]), (row["offset"], row["attempt"], row["due_us"]))
                    self.assertEqual(expected[offset][0], base64.b64decode(row["body_base64"]))
            server.kill()
            server = self.start(**settings)

    def test_names_that_are_there_are_refused(self):
        server, directory = self.filled()
        peer = self.peer(server)
        self.assertTrue(peer.admin("channel.delete", b"many", force=True)["ok"])
        before = self.contents(server, b"few", b"empty")
        ended = self.expect_exit(7, server, "restore", directory)
        self.assertIn(b'"empty", "few"', ended.stderr)
        self.assertNotIn(b"many", ended.stderr)
        self.assertEqual(before, self.contents(server, b"few", b"empty"))
        self.assertEqual("not_found", peer.admin("channel.show", b"many")["error"]["code"])
        self.expect_exit(5, server, "restore", directory, "--only", "nobody")
        self.expect_exit(2, server, "restore", directory, "--as", "nobody")
        twice = self.expect_exit(2, server, "restore", directory, "--as", "many=one", "--only", "many", "--as", "many=two")
        self.assertIn(b'--as many=two: "many" is to be called "one" already', twice.stderr)
        self.expect_exit(0, server, "restore", directory, "--only", "many", "--only", "few", "--as", "few=less")
        self.assertEqual(before[b"few"], self.contents(server, b"less")[b"less"])
        self.assertEqual(3000, peer.show(b"many")["ready"])
        self.assertEqual([], [name for name in os.listdir(self.data) if name.startswith("restore-")])

    def test_of_many_names_those_that_are_there_are_refused(self):
        server = self.start()
        peer = self.create(server, *(b"c%03d" % number for number in range(300)))
        directory = self.backup(server)
        for number in range(300):
            if number not in (7, 120, 299):
                self.assertTrue(peer.admin("channel.delete", b"c%03d" % number)["ok"])
        self.create(server, *(b"b%03d" % number for number in range(60)), *(b"c%03d-" % number for number in range(60)))
        self.assertIn(b'already: "c007", "c120", "c299"\n', self.expect_exit(7, server, "restore", directory).stderr)
        self.expect_exit(0, server, "restore", directory, "--as", "c007=d007", "--as", "c120=%FF", "--as", "c299=a")
        ended = self.expect_exit(7, server, "restore", directory, "--as", "c007=%FE")
        self.assertRegex(ended.stderr, rb'already: "c000", .* and \d+ more\n')

    def test_what_was_deleted_is_in_nobodys_way(self):
        """A data directory is a backup, too; its checkpoint does not know what came later."""
        server = self.start()
        self.create(server, b"gone", b"kept")
        server.stop()
        server = self.start()
        self.assertTrue(self.peer(server).admin("channel.delete", b"gone")["ok"])
        server.kill()
        directory = os.path.join(self.folder, "copy")
        shutil.copytree(self.data, directory)
        server = self.start()
        self.create(server, b"gone")
        self.assertIn(b'already: "kept"\n', self.expect_exit(7, server, "restore", directory).stderr)
        self.expect_exit(0, server, "restore", directory, "--as", "kept=again")

    def test_names_that_look_like_lists(self):
        server = self.start()
        for name in ("[x]", "{y", "++"):
            self.expect_exit(0, server, "send", name, name)
        directory = self.backup(server)
        self.expect_exit(0, server, "channel", "delete", "{y")
        self.expect_exit(0, server, "restore", directory, "--only", "{y", "--only", "[x]", "--as", "[x]=[z]")
        for name, body in (("{y", b"{y\n"), ("[z]", b"[x]\n")):
            self.assertEqual(body, self.expect_exit(0, server, "receive", name, "--until-empty").stdout)

    def test_a_backup_that_is_not_whole_is_refused(self):
        server, directory = self.filled()
        other = self.start(data_dir=os.path.join(self.folder, "other"))
        (path, position), = find_bytes(directory, "**/*", b"00100-xxx")
        flip(path, position)
        self.assertIn(b"damaged", self.expect_exit(7, other, "restore", directory).stderr)
        os.remove(path)
        self.expect_exit(7, other, "restore", directory)
        os.remove(os.path.join(directory, "MANIFEST"))
        self.expect_exit(7, other, "restore", directory)
        self.assertEqual([], self.peer(other).admin("channel.list")["channels"])
        self.assertEqual(["LOCK", "MANIFEST"], [name for name in files_below(os.path.join(self.folder, "other"))
                                                if not name.startswith("generation-")])

    def test_a_kill_at_any_moment_leaves_all_or_nothing(self):
        names = (b"many", b"few", b"empty")
        server, directory = self.filled()
        before = self.contents(server, *names)
        server.kill()
        outcomes = []
        target = self.start(data_dir=os.path.join(self.folder, "whole"))
        begun = time.monotonic()
        self.expect_exit(0, target, "restore", directory)
        took = time.monotonic() - begun
        for attempt in range(12):
            data = os.path.join(self.folder, f"killed-{attempt}")
            target = self.start(data_dir=data)
            restore = self.command(target, "restore", directory)
            time.sleep(took * attempt / 8)
            target.kill()
            restore.process.kill()
            restore.process.wait()
            again = self.start(data_dir=data)
            listed = [channel["name"] for channel in self.peer(again).admin("channel.list")["channels"]]
            self.assertIn(listed, ([], ["empty", "few", "many"]))
            if listed:
                self.assertEqual(before, self.contents(again, *names))
            self.assertEqual([], [name for name in os.listdir(data) if name.startswith("restore-")])
            if not listed:
                self.expect_exit(0, again, "restore", directory)
                self.assertEqual(before, self.contents(again, *names))
            outcomes.append(bool(listed))
            again.kill()
        print(f"\nrestored before the kill: {outcomes}")

    def test_senders_and_receivers_go_on(self):
        server, directory = self.filled()
        peer = self.create(server, b"busy")
        peer.attach_sender(5, b"busy")
        peer.attach_receiver(6, b"busy", (1 << 30, 1 << 40))
        restore = self.command(server, "restore", directory, "--only", "many", "--as", "many=copy")
        slowest = number = 0
        while restore.process.poll() is None or number < 100:
            number += 1
            begun = time.monotonic()
            peer.publish(5, number, b"x")
            self.assertEqual([], peer.confirmed(5, number))
            message, = peer.deliveries(6, 1)
            peer.settle(6, message.offset, 1, message.attempt)
            slowest = max(slowest, time.monotonic() - begun)
        self.assertEqual(0, restore.wait())
        print(f"\n{number} round trips, the slowest {slowest * 1000:.1f} ms")
        self.assertEqual(3000, self.peer(server).show(b"copy")["ready"])

    def test_the_end_of_the_connection_removes_it(self):
        server = self.start()
        peer = self.peer(server)
        begun = peer.admin("restore.begin")
        self.assertIn(begun["id"], os.listdir(self.data))
        self.assertEqual("not_found", self.peer(server).admin("restore.end", id=begun["id"])["error"]["code"])
        peer.close()
        eventually(lambda: begun["id"] not in os.listdir(self.data), "it is removed")


class RescueTest(InspectedBrokerTest):
    def damaged(self):
        server = self.start()
        peer = self.create(server, b"hurt", b"fine")
        peer.attach_sender(1, b"hurt")
        for number, body in enumerate((b"hurt-1", b"hurt-2", b"hurt-3"), 1):
            peer.publish(1, number, body)
            self.assertEqual([], peer.confirmed(1, number))
        peer.attach_sender(2, b"fine")
        peer.publish_all(2, 1, [b"fine-1"])
        server.kill()
        (path, position), = find_bytes(self.data, "generation-*/**/wal-*", b"hurt-2")
        flip(path, position)

    def test_quarantined_messages_are_dumped_and_sent_again(self):
        self.damaged()
        before = files_below(self.data)
        found = self.expect_inspect(1, self.data, "verify").stdout
        self.assertIn(b"wal-0000000000000001", found)
        self.assertIn(b'"hurt"', found)
        listed = self.rows(0, self.data, "list")[0]
        self.assertIn("damage", next(channel for channel in listed["channels"] if channel["name"] == "hurt"))
        self.assertEqual(before, files_below(self.data), "nothing was changed")
        for _ in range(3):  # The old generation is kept, however often it is started.
            server = self.start()
            self.assertTrue(server.stop() == 0)
            rows = self.rows(1, self.data, "dump", "channel", "hurt")
            self.assertEqual([("hurt-1", 1), ("hurt-3", 3)], [(row["body"], row["offset"]) for row in rows])
        lines = self.expect_inspect(1, self.data, "--output", "json", "dump", "channel", "hurt").stdout
        server = self.start()
        self.expect_exit(0, server, "send", "--jsonl", "rescued", stdin=lines)
        got = self.expect_exit(0, server, "receive", "rescued", "--until-empty").stdout
        self.assertEqual(b"hurt-1\nhurt-3\n", got)
        self.assertEqual(b"fine-1\n", self.expect_exit(0, server, "receive", "fine", "--until-empty").stdout)

    def test_what_is_dumped_or_peeked_is_sent_again_with_its_times(self):
        server = self.start()
        self.create(server, b"c")
        self.expect_exit(0, server, "send", "c", "at", "--at", "2100-01-01T00:00:00.5Z", "--priority", "3")
        self.expect_exit(0, server, "send", "c", "delay", "--delay", "1h", "--ttl", "2h")
        self.expect_exit(0, server, "send", "c", "plain", "--key", "k", "--header", "a=1")
        peeked = self.expect_exit(0, server, "--output", "jsonl", "peek", "c").stdout
        server.stop()
        dumped = self.expect_inspect(0, self.data, "--output", "json", "dump", "channel", "c").stdout
        server = self.start()
        for name, lines in (("peeked", peeked), ("dumped", dumped)):
            with self.subTest(name):
                self.assertIn(b'"not_before_us":4102444800500000', lines)
                self.assertIn(b'"delay_us":3600000000', lines)
                self.expect_exit(0, server, "send", "--jsonl", name, stdin=lines)
                again = self.expect_exit(0, server, "--output", "jsonl", "peek", name).stdout
                first, second = ([json.loads(row) for row in rows.splitlines()] for rows in (peeked, again))
                for key in ("body", "state", "properties"):
                    self.assertEqual([row.get(key) for row in first], [row.get(key) for row in second], key)
                self.assertEqual(first[0]["due_us"], second[0]["due_us"])

    def test_output_that_cannot_be_written_is_no_success(self):
        self.damaged()
        self.start().stop()
        for words in (("list",), ("dump", "channel", "fine")):
            with open("/dev/full", "wb") as full:
                ended = subprocess.run([program("BATON_INSPECT"), self.data, *words], stdout=full, stderr=subprocess.PIPE,
                                       env=clean_environment(), check=False)
            self.assertEqual(3, ended.returncode, words)
            self.assertIn(b"cannot write to stdout: No space left", ended.stderr)

    def test_help_that_cannot_be_written_is_no_success(self):
        for words in (("--help",), ("--version",), ("dump", "--help")):
            with open("/dev/full", "wb") as full:
                ended = subprocess.run([program("BATON_INSPECT"), *words], stdout=full, stderr=subprocess.PIPE,
                                       env=clean_environment(), check=False)
            self.assertEqual((3, b"baton-inspect: cannot write to stdout: No space left on device\n"),
                             (ended.returncode, ended.stderr), words)
            ended = subprocess.run(["/bin/bash", "-c", 'exec "$0" "$@" >&-', program("BATON_INSPECT"), *words],
                                   capture_output=True, env=clean_environment(), check=False)
            self.assertEqual((3, b"baton-inspect: cannot write to stdout: Bad file descriptor\n"),
                             (ended.returncode, ended.stderr), words)

    def test_an_empty_path_is_a_mistake(self):
        server = self.start()
        self.create(server, b"c")
        server.stop()
        for words in (("", "list"), (self.data, "restore", "")):
            self.assertIn(b'it is "", allowed is the path of a directory', self.expect_inspect(2, *words).stderr)

    def test_a_dump_says_of_a_message_what_peek_says(self):
        server = self.start()
        self.create(server, b"c")
        self.expect_exit(0, server, "send", "c", "at", "--at", "2100-01-01T00:00:00Z", "--ttl", "1d", "--priority", "3",
                         "--key", "k", "--header", "a=1", "--header", "a=2", "--id", "i", "--content-type", "x/y")
        self.expect_exit(0, server, "send", "c", "later", "--delay", "1h")
        self.expect_exit(0, server, "send", "c", "plain")

        def peeked(broker, channel):
            output = self.expect_exit(0, broker, "--output", "jsonl", "peek", channel).stdout
            return [self.content(json.loads(line)) for line in output.splitlines()]
        expected = peeked(server, "c")
        self.assertEqual(4_102_444_800_000_000, expected[0][1]["not_before_us"])
        server.stop()
        self.assertEqual(expected, [self.content(row) for row in self.rows(0, self.data, "dump", "channel", "c")])
        self.assertIn(b" ttl_us=86400000000 ", self.expect_inspect(0, self.data, "dump", "channel", "c").stdout)
        lines = self.expect_inspect(0, self.data, "--output", "json", "dump", "channel", "c").stdout
        server = self.start()
        self.expect_exit(0, server, "send", "--jsonl", "again", stdin=lines)
        self.assertEqual(expected, peeked(server, "again"))

    @staticmethod
    def content(row):
        return row["body"], row.get("properties")

    def test_a_damaged_file_of_policies_is_found(self):
        server = self.start()
        self.expect_exit(0, server, "policy", "set", "a", "--attempts-max", "2")
        self.expect_exit(0, server, "send", "c", "x")
        server.stop()
        self.expect_inspect(0, self.data, "verify")
        path = os.path.join(self.data, "POLICIES")
        with open(path, "r+b") as file:
            content = file.read()
            file.seek(0)
            file.write(content.replace(b"2", b"3", 1))
        self.assertIn(b"POLICIES", self.expect_inspect(1, self.data, "verify").stdout)

    def test_a_backup_has_the_quarantine_in_it(self):
        self.damaged()
        directory = self.backup(self.start())
        self.assertIn(b'"hurt"', self.expect_inspect(1, directory, "verify").stdout)
        self.expect_inspect(1, directory, "restore", os.path.join(self.folder, "new"))
        self.assertFalse(os.path.exists(os.path.join(self.folder, "new")))
        rows = self.rows(0, directory, "dump", "channel", "fine")
        self.assertEqual(["fine-1"], [row["body"] for row in rows])

    def test_rows_of_files(self):
        self.damaged()
        records = self.rows(1, self.data, "dump", "wal")
        self.assertIn("damage", {key for row in records for key in row})
        self.assertEqual({"settings", "publish"}, {row["type"] for row in records if "type" in row})
        self.assertEqual(1, len(self.rows(0, self.data, "dump", "checkpoint")))
        self.assertEqual([], self.rows(0, self.data, "dump", "segment"))
        self.expect_inspect(2, self.data, "dump", "wal", "wal-0000000000000009")
        self.expect_inspect(2, self.data, "dump", "channel", "unknown")


if __name__ == "__main__":
    unittest.main()
