"""Durable channels across kills and restarts, and what a start on a data directory refuses. Damage: damage_test.py."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import wire
from broker import BrokerTest, clean_environment, each_shard_count, eventually, program

PRODUCER = "0123456789abcdef0123456789abcdef"
NOBODY = 65534


def crc32c(octets):
    """Castagnoli, as docs/storage.md wants it."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sealed_line(text):
    return f"{text} {crc32c(text.encode()):08x}\n".encode()


def files_below(folder):
    return sorted(os.path.relpath(os.path.join(where, name), folder)
                  for where, _, names in os.walk(folder) for name in names)


class DurableBrokerTest(BrokerTest):
    """A data directory, and brokers that follow one another on it."""

    def setUp(self):
        super().setUp()
        self.data = os.path.join(self.data_dir(), "data")

    def start(self, **settings):
        settings.setdefault("data_dir", self.data)
        return self.broker(**settings)

    def create(self, server, *names):
        peer = self.peer(server)
        for name in names:
            reply = peer.admin("channel.create", name, storage="durable")
            self.assertTrue(reply["ok"], reply)
        return peer

    def bodies(self, peer, name, count, link=9, settle=True):
        """Attaches, takes that many, settles them durably, detaches; the messages."""
        peer.attach_receiver(link, name, (count, 1 << 40))
        messages = peer.deliveries(link, count) if count else []
        self.assertEqual(count, len(messages))
        if settle:
            for index, message in enumerate(messages):
                peer.settle(link, message.offset, 1, message.attempt, receipt=index + 1 if index + 1 == count else 0)
            if messages:
                self.assertEqual([], peer.settled(link, count))
        peer.detach(link)
        return messages


@each_shard_count(1, 2)
class SurvivalTest(DurableBrokerTest):
    def test_confirmed_messages_are_there_after_a_kill(self):
        server = self.start()
        peer = self.create(server, b"c")
        attached = peer.attach_sender(1, b"c")
        self.assertEqual("durable", attached.json()["storage"])
        peer.publish(1, 1, *[b"%d" % number for number in range(100)])
        frame = peer.expect(wire.CONFIRM, 1)
        while frame.sequence < 100:
            frame = peer.expect(wire.CONFIRM, 1)
        self.assertEqual((2, []), (frame.level(), frame.exceptions()))
        server.kill()
        peer = self.peer(self.start())
        got = self.bodies(peer, b"c", 100)
        self.assertEqual([b"%d" % number for number in range(100)], [message.body for message in got])
        self.assertEqual([*range(1, 101)], [message.offset - got[0].offset + 1 for message in got])
        self.assertEqual({(1, False)}, {(message.attempt, message.redelivered) for message in got}, "nobody had them")

    def test_settled_stays_settled_and_started_counts(self):
        server = self.start()
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c")
        peer.publish_all(1, 1, [b"%d" % number for number in range(10)])
        peer.attach_receiver(2, b"c")
        got = peer.deliveries(2, 10)
        first = got[0].offset
        peer.settle(2, first + 5, outcome=wire.STARTED)
        self.assertEqual([], peer.settle_and_wait(2, first, 3))  # Its receipt covers what was started, too.
        server.kill()
        peer = self.peer(self.start())
        again = self.bodies(peer, b"c", 7)
        self.assertEqual([b"%d" % number for number in range(3, 10)], [message.body for message in again])
        self.assertEqual([1, 1, 2, 1, 1, 1, 1], [message.attempt for message in again])
        self.assertEqual({True}, {message.redelivered for message in again})
        self.assertEqual([first + 3 + index for index in range(7)], [message.offset for message in again])

    def test_memory_channels_are_gone(self):
        server = self.start()
        peer = self.create(server, b"kept")
        self.assertTrue(peer.admin("channel.create", b"gone", storage="memory")["ok"])
        for link, name in ((1, b"kept"), (2, b"gone")):
            peer.attach_sender(link, name)
            self.assertEqual([], peer.publish_all(link, 1, [b"x"]))
        server.kill()
        peer = self.peer(self.start())
        self.assertEqual(1, peer.show(b"kept")["ready"])
        self.assertEqual("not_found", peer.admin("channel.show", b"gone")["error"]["code"])

    def test_other_numbers_of_shards(self):
        names = [b"channel-%d" % number for number in range(12)]
        server = self.start()
        peer = self.create(server, *names)
        for link, name in enumerate(names, 1):
            peer.attach_sender(link, name)
            peer.publish_all(link, 1, [name + b" %d" % number for number in range(5)])
        for shards in (3, 1, 4, 2):
            server.kill()
            server = self.start(shards=shards)
            self.assertEqual({5}, {self.peer(server).show(name)["ready"] for name in names})
        peer = self.peer(server)
        for name in names:
            self.assertEqual([name + b" %d" % number for number in range(5)],
                             [message.body for message in self.bodies(peer, name, 5)])

    def test_duplicates_are_dropped_after_the_restart(self):
        server = self.start()
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c", producer=PRODUCER)
        peer.publish_all(1, 1, [b"1", b"2", b"3"])
        server.kill()
        server = self.start()
        peer = self.peer(server)
        self.assertEqual(3, peer.attach_sender(1, b"c", producer=PRODUCER).sequence)
        peer.publish(1, 2, b"2", b"3", b"4")
        self.assertEqual([], peer.confirmed(1, 4))
        server.stop()  # In order, this time.
        peer = self.peer(self.start())
        self.assertEqual(4, peer.attach_sender(1, b"c", producer=PRODUCER).sequence)
        self.assertEqual([b"1", b"2", b"3", b"4"], [message.body for message in self.bodies(peer, b"c", 4)])

    def test_large_messages(self):
        server = self.start()
        self.create(server, b"c")
        bodies = [os.urandom(size) for size in (3_000_000, 1, 300_000)]
        for number, body in enumerate(bodies):
            path = os.path.join(self.folder, str(number))
            with open(path, "wb") as file:
                file.write(body)
            self.expect_exit(0, server, "send", "c", "--file", path)
        server.kill()
        server = self.start()
        for body in bodies:
            self.assertEqual(body + b"\n", self.expect_exit(0, server, "receive", "c", "-n", "1").stdout)

    def test_purge_and_delete_survive(self):
        server = self.start()
        peer = self.create(server, b"purged", b"deleted", b"other")
        for link, name in ((1, b"purged"), (2, b"deleted"), (3, b"other")):
            peer.attach_sender(link, name)
            peer.publish_all(link, 1, [b"old"] * 4)
        self.assertEqual(4, peer.admin("channel.purge", b"purged")["messages"])
        self.assertEqual(4, peer.admin("channel.delete", b"deleted", force=True)["messages"])
        peer.publish(1, 5, b"new")
        peer.confirmed(1, 5)
        server.kill()
        server = self.start()
        peer = self.peer(server)
        self.assertEqual([b"new"], [message.body for message in self.bodies(peer, b"purged", 1)])
        self.assertEqual("not_found", peer.admin("channel.show", b"deleted")["error"]["code"])
        self.assertEqual(4, peer.show(b"other")["ready"])
        # A new channel of that name has nothing of the old one.
        self.create(server, b"deleted")
        self.assertEqual(0, peer.show(b"deleted")["ready"])
        server.kill()
        self.assertEqual(0, self.peer(self.start()).show(b"deleted")["ready"])

    def test_deleting_frees_files(self):
        server = self.start(wal_file_size="64k", segment_size="256k")
        peer = self.create(server, b"c")
        for link in range(1, 11):  # One after the other: what is confirmed together may be in one large file of the log.
            peer.attach_sender(link, b"c")
            peer.publish_all(link, 1, [os.urandom(1000) for _ in range(300)])
        segments = os.path.join(self.data, "channels")
        eventually(lambda: os.path.isdir(segments) and files_below(segments), "the backlog is in segments")
        self.assertTrue(peer.admin("channel.delete", b"c", force=True)["ok"])
        eventually(lambda: not files_below(segments), "its segments are gone")
        # So is, with the next checkpoint, what the log had of it.
        eventually(lambda: self.bytes_used() < 1_500_000, "the log has become short")

    def bytes_used(self):
        sizes = 0
        for name in files_below(self.data):
            try:
                sizes += os.path.getsize(os.path.join(self.data, name))
            except FileNotFoundError:
                pass  # Removed in this moment.
        return sizes

    def test_drain_and_restart(self):
        """SIGTERM loses nothing and brings nothing back, also of what was acked without a receipt just before."""
        server = self.start()
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c", confirm="received")
        peer.publish_all(1, 1, [b"%d" % number for number in range(1000)])
        peer.attach_receiver(2, b"c", (400, 1 << 40))
        got = peer.deliveries(2, 400)
        peer.settle(2, got[0].offset, 400)
        peer.ping()  # The broker has it, not more.
        server.send_signal(signal.SIGTERM)
        self.assertEqual("draining", peer.expect(wire.GOAWAY).json()["code"])
        self.assertEqual(0, server.wait())
        self.assertEqual([b"%d" % number for number in range(400, 1000)],
                         [message.body for message in self.bodies(self.peer(self.start()), b"c", 600)])

    def test_confirm_received_comes_with_level_1(self):
        server = self.start()
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c", confirm="received")
        peer.publish(1, 1, b"x")
        self.assertEqual(1, peer.expect(wire.CONFIRM, 1).level())
        self.expect_exit(0, server, "send", "c", "y", "--confirm", "received")
        self.expect_exit(0, server, "send", "c", "z", "--confirm", "durable")
        self.assertEqual(3, peer.show(b"c")["ready"])

    def test_client_program_goes_on_over_a_kill(self):
        server = self.start()
        self.create(server, b"c")
        count = 20_000
        numbers = self.numbers_over_a_kill(server, lambda: self.start(listen=(server.listen_url,)), count, before=10_000,
                                           window=300)
        self.assertEqual(set(range(count)), set(numbers), "none is lost")
        first = list(dict.fromkeys(numbers))
        self.assertEqual(sorted(first), first, "first deliveries are in order")


    def test_a_reader_of_a_stream_goes_on_in_front_of_what_was_not_given(self):
        """A message that overtook the others does not take the reader with it over a restart."""
        server = self.start()
        self.expect_exit(0, server, "channel", "create", "s", "--kind", "stream")
        self.expect_exit(0, server, "send", "s", *(str(number) for number in range(1, 21)))
        self.expect_exit(0, server, "send", "s", "--priority", "9", "urgent")
        step = os.path.join(self.folder, "go")
        os.mkfifo(step)
        receiver = self.command(server, "receive", "s", "--from", "first", "--window", "1", "--until-empty",
                                "--exec", f"cat; echo; if test -e {step}; then read x <{step}; fi")
        receiver.wait_lines(1)
        for count in (2, 3):
            with open(step, "w", encoding="ascii") as go:
                go.write("on\n")
            receiver.wait_lines(count)
        server.send_signal(signal.SIGTERM)  # It drains until the third one is done, with the next line.
        with open(step, "w", encoding="ascii") as go:
            os.unlink(step)
            go.write("on\n")
        self.assertEqual(0, server.wait())
        self.start(listen=(server.listen_url,))
        self.assertEqual(0, receiver.wait())
        self.assertEqual(b"urgent", receiver.lines[0])
        self.assertEqual({b"%d" % number for number in range(1, 21)} | {b"urgent"}, set(receiver.lines))


class DefaultStorageTest(DurableBrokerTest):
    def test_auto_created_channels(self):
        for default, expected in (("durable", "durable"), ("memory", "memory"), ("auto", "durable")):
            with self.subTest(default):
                server = self.start(default_storage=default, data_dir=self.data_dir())
                peer = self.peer(server)
                self.assertEqual(expected, peer.attach_sender(1, b"c").json()["storage"])
                peer.publish_all(1, 1, [b"x"])
                self.assertEqual(expected, peer.show(b"c")["storage"])

    def test_other_storage_on_an_existing_channel(self):
        server = self.start()
        peer = self.create(server, b"d")
        self.assertTrue(peer.admin("channel.create", b"m", storage="memory")["ok"])
        for name, has, wanted in ((b"d", "durable", "memory"), (b"m", "memory", "durable")):
            error = peer.admin("channel.create", name, storage=wanted)["error"]
            self.assertEqual("incompatible_options", error["code"])
            self.assertEqual({"storage": {"is": has, "wanted": wanted}}, error["diff"])
            ended = self.expect_exit(7, server, "channel", "create", name.decode(), f"--{wanted}")
            self.assertIn(has.encode(), ended.stderr)
            self.assertTrue(peer.admin("channel.create", name)["ok"], "without a wish it is as it is")
            self.assertTrue(peer.admin("channel.create", name, storage=has)["ok"])

    def test_without_a_data_directory(self):
        server = self.start(data_dir="")
        error = self.peer(server).admin("channel.create", b"c", storage="durable")["error"]
        self.assertEqual("unsupported", error["code"])
        ended = self.baton(server, "channel", "create", "c", "--durable")
        self.assertEqual(7, ended.returncode, ended.stderr)
        self.assertIn(b"data directory", ended.stderr)
        self.assertEqual(1, len(ended.stderr.splitlines()))
        self.expect_exit(0, server, "send", "c", "works all the same")
        self.expect_exit(0, server, "ping")


class StartTest(DurableBrokerTest):
    """What batond says of a data directory that it cannot use: exit code 11, one line with the path, nothing touched."""

    def start_fails(self, data, uid=None, **environment):
        command = [program("BATOND"), "--listen", "tcp://127.0.0.1:0", "--shards", "1", "--data-dir", data]
        if uid is not None:
            command = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", *command]
        ended = subprocess.run(command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
                               env=clean_environment(XDG_STATE_HOME=self.folder, **environment))
        text = ended.stderr.decode()
        self.assertEqual(11, ended.returncode, text)
        self.assertIn(data, text.splitlines()[-1])
        return text.splitlines()[-1]

    def as_nobody(self):
        """Another user who may start batond, or skip."""
        if os.getuid() != 0 or not shutil.which("setpriv"):
            self.skipTest("needs root and setpriv, to be another user")
        os.chmod(self.folder, 0o755)
        tried = subprocess.run(["setpriv", "--reuid", str(NOBODY), "--clear-groups", program("BATOND"), "--version"],
                               capture_output=True, check=False)
        if tried.returncode != 0:
            self.skipTest("another user cannot reach the program in this folder")
        folder = tempfile.mkdtemp(dir=self.folder)
        os.chmod(folder, 0o755)
        return folder

    def filled(self):
        server = self.start()
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c")
        peer.publish_all(1, 1, [b"x"])
        peer.close()
        server.kill()
        return self.contents()

    def contents(self):
        content = {}
        for name in files_below(self.data):
            with open(os.path.join(self.data, name), "rb") as file:
                content[name] = file.read()
        return content

    def assert_untouched(self, before):
        now = self.contents()
        self.assertEqual([*before], [*now])
        for name, content in before.items():
            self.assertTrue(name == "LOCK" or content == now[name], name)

    def test_second_broker_names_the_first(self):
        server = self.start()
        line = self.start_fails(self.data)
        self.assertIn(f"process {server.process.pid}", line)
        self.expect_exit(0, server, "send", "c", "still here")

    def test_newer_format(self):
        before = self.filled()
        before["MANIFEST"] = sealed_line('{"format":2,"generation":1,"shards":1,"moon":"full"}')
        with open(os.path.join(self.data, "MANIFEST"), "wb") as file:
            file.write(before["MANIFEST"])
        self.assertIn("newer", self.start_fails(self.data))
        self.assert_untouched(before)

    def test_damaged_or_missing_manifest(self):
        before = self.filled()
        manifest = os.path.join(self.data, "MANIFEST")
        good = before["MANIFEST"]
        self.assertEqual(good, sealed_line(good.decode().rsplit(" ", 1)[0]), "the page says how it is sealed")
        for bad in (b"", b"x", good[:-1], good + b"\n", good.replace(b"1", b"7", 1), good.upper()):
            with self.subTest(bad):
                before["MANIFEST"] = bad
                with open(manifest, "wb") as file:
                    file.write(bad)
                self.start_fails(self.data)
                self.assert_untouched(before)
        os.remove(manifest)
        del before["MANIFEST"]
        self.start_fails(self.data)
        self.assert_untouched(before)

    def test_directory_is_made_for_its_owner_only(self):
        deep = os.path.join(self.data, "a", "b")
        self.addCleanup(os.umask, os.umask(0o022))
        server = self.start(data_dir=deep)
        self.expect_exit(0, server, "send", "c", "x")
        self.assertEqual(0o700, os.stat(deep).st_mode & 0o777)

    def test_a_file_is_in_the_way(self):
        with open(self.data, "w", encoding="ascii") as file:
            file.write("precious")
        self.start_fails(self.data)
        self.start_fails(os.path.join(self.data, "below"))
        with open(self.data, encoding="ascii") as file:
            self.assertEqual("precious", file.read())

    def test_missing_directory_that_cannot_be_made(self):
        folder = self.as_nobody()
        self.start_fails(os.path.join(folder, "data"), uid=NOBODY)
        self.assertEqual([], os.listdir(folder))

    def test_directory_of_another_user(self):
        self.as_nobody()
        before = self.filled()
        for mode in (0o700, 0o755):
            os.chmod(self.data, mode)
            os.chmod(os.path.dirname(self.data), 0o755)
            self.start_fails(self.data, uid=NOBODY)
            self.assert_untouched(before)

    def test_read_only_directory(self):
        folder = self.as_nobody()
        data = os.path.join(folder, "data")
        os.mkdir(data)
        os.chown(data, NOBODY, NOBODY)
        os.chmod(data, 0o500)
        self.start_fails(data, uid=NOBODY)
        self.assertEqual([], os.listdir(data))

    def test_leftovers_of_an_interrupted_start_go_away(self):
        self.filled()
        os.makedirs(os.path.join(self.data, "generation-0000000000000099", "shard-0000"))
        for name in ("MANIFEST.tmp", "generation-0000000000000099/shard-0000/wal-0000000000000001"):
            with open(os.path.join(self.data, name), "wb") as file:
                file.write(b"half of it")
        peer = self.peer(self.start())
        self.assertEqual(1, peer.show(b"c")["ready"])
        left = [name for name in files_below(self.data) if "tmp" in name or "0099" in name]
        self.assertEqual([], left)

    def test_killed_during_start_again_and_again(self):
        """Generations are switched at any moment of the start; none of it may cost a message."""
        server = self.start()
        names = [b"n%d" % number for number in range(30)]
        peer = self.create(server, *names)
        for link, name in enumerate(names, 1):
            peer.attach_sender(link, name)
            peer.publish_all(link, 1, [os.urandom(200) for _ in range(50)])
        server.kill()
        for attempt in range(25):
            server = self.start(shards=1 + attempt % 3, wait=False)
            time.sleep(0.002 + 0.004 * attempt)  # The moment is the point here; nothing is waited for.
            server.kill()
        peer = self.peer(self.start())
        self.assertEqual({50}, {peer.show(name)["ready"] for name in names})
        self.assertEqual(1, len([name for name in os.listdir(self.data) if name.startswith("generation-")]))
        self.assertEqual([], [name for name in os.listdir(self.data) if name.startswith("damaged-")])


if __name__ == "__main__":
    unittest.main()
