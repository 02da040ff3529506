"""The disk gets full, or fails: durable channels say so and keep what they have; everything else goes on.

Full: a small file system in a file, mounted here (needs root). Failing: the same behind nbdkit, which fails writes as long as
a file is there (needs nbdkit, nbdfuse and FUSE). Hanging: frozen by fsfreeze. Where that is missing the tests skip.
Next file: durable_test.py.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import wire
from broker import eventually
from durable_test import DurableBrokerTest

CHUNK = 20_000


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class DiskTest(DurableBrokerTest):
    """A file system of its own under the data directory."""

    def mount(self, size="64M", device=None):
        if os.getuid() != 0 or not shutil.which("losetup") or not shutil.which("mkfs.ext4"):
            self.skipTest("needs root, losetup and mkfs.ext4")
        self.disk = tempfile.mkdtemp(prefix="disk-", dir=self.folder)
        if device is None:
            image = self.disk + ".img"
            run("truncate", "-s", size, image)
            run("mkfs.ext4", "-qF", "-m", "0", image)
            device = image
        try:
            self.loop = run("losetup", "-f", "--show", device)
        except subprocess.CalledProcessError as error:
            self.skipTest(f"no loop device: {error.stderr}")
        self.addCleanup(subprocess.run, ["losetup", "-d", self.loop], check=False)
        try:
            run("mount", self.loop, self.disk)
        except subprocess.CalledProcessError as error:
            self.skipTest(f"cannot mount here: {error.stderr}")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], check=False)
        self.data = os.path.join(self.disk, "data")

    def start(self, **settings):
        settings.setdefault("wal_file_size", "1m")
        settings.setdefault("segment_size", "4m")
        settings.setdefault("disk_free_min", "8m")
        return super().start(**settings)

    def fill_up(self, leave):
        """A file that takes all but so many bytes."""
        state = os.statvfs(self.disk)
        path = os.path.join(self.disk, "filler")
        with open(path, "wb") as file:
            for size in (state.f_bavail * state.f_frsize - leave, 1 << 16, 4096) if not leave else (
                    state.f_bavail * state.f_frsize - leave,):
                try:
                    while True:
                        os.posix_fallocate(file.fileno(), file.tell(), size)
                        file.seek(size, os.SEEK_CUR)
                        if leave:
                            break
                except OSError:
                    continue  # As much as there is, in smaller steps.
        return path

    def send_until_refused(self, peer, link, first):
        """Publishes one after the other; the number of the first that was refused, or None once credit is withheld."""
        limit, used = (0, 0), 0
        number = first
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            while used + CHUNK + 100 > limit[1]:
                try:
                    limit = peer.expect(wire.CREDIT, link, timeout=3).credit()
                except TimeoutError:
                    return None, number
            peer.publish(link, number, b"%010d" % number + bytes(CHUNK))
            used += 32 + 4 + 10 + CHUNK
            refused = peer.confirmed(link, number)
            if refused:
                self.assertEqual([(number, 1, "disk_full")], refused)
                return number, number
            number += 1
        self.fail("the disk was not full after a minute")

    def problems(self, server):
        with wire.Peer(server.listen_url) as peer:
            shown = peer.admin("broker.show")
            return shown["problems"]

    def assert_full_and_recovers(self, server, peer, confirmed, make_space):
        """Of a broker whose disk is full, and a channel c with the numbers 1 to confirmed."""
        eventually(lambda: self.problems(server), "it says that the disk is full")
        ended = self.expect_exit(10, server, "ping")
        self.assertIn(b"disk", ended.stdout + ended.stderr)
        error = peer.admin("channel.create", b"new", storage="durable")["error"]
        self.assertEqual(("disk_full", True), (error["code"], error["retryable"]))
        # Memory channels are not concerned, and receivers of durable ones go on.
        self.assertTrue(peer.admin("channel.create", b"memory", storage="memory")["ok"])
        self.expect_exit(0, server, "send", "memory", "works")
        self.assertEqual(b"works\n", self.expect_exit(0, server, "receive", "memory", "-n", "1").stdout)
        peer.attach_receiver(5, b"c", (3, 1 << 40))
        got = peer.deliveries(5, 3)
        self.assertEqual([b"%010d" % number for number in (1, 2, 3)], [message.body[:10] for message in got])
        self.assertEqual([], peer.settle_and_wait(5, got[0].offset, 3), "acks are taken")
        peer.detach(5)
        # A sender that begins now is refused at once: one line with channel, cause and next step.
        began = time.monotonic()
        ended = self.expect_exit(7, server, "send", "c", "impatient")
        self.assertLess(time.monotonic() - began, 2)
        self.assertEqual(1, ended.stderr.count(b"\n"), ended.stderr)
        for word in (b'"c"', b"disk_full", b"free some there and send again"):
            self.assertIn(word, ended.stderr)
        ended = self.expect_exit(7, server, "send", "new", "impatient")
        self.assertIn(b"disk", ended.stderr)
        # One that stays gets no credit and is told why; once there is space it goes on, on the same link.
        link = 6
        peer.attach_sender(link, b"c")
        self.assertEqual("disk_full", self.next_state(peer, link))
        make_space()
        eventually(lambda: not self.problems(server), "it is in health again")
        self.assertEqual("none", self.next_state(peer, link))
        peer.expect(wire.CREDIT, link)
        peer.publish(link, 1, b"patient")
        self.assertEqual([], peer.confirmed(link, 1))
        self.expect_exit(0, server, "ping")
        self.expect_exit(0, server, "send", "c", "afterwards")
        self.assertEqual(confirmed - 3 + 2, self.peer(server).show(b"c")["ready"])

    def next_state(self, peer, link):
        return peer.expect(wire.STATE, link).state().reason


class FullDiskTest(DiskTest):
    def test_watermark(self):
        self.mount()
        server = self.start()
        peer = self.create(server, b"c", b"lasting")
        peer.attach_sender(1, b"c")
        self.assertEqual([], peer.publish_all(1, 1, [b"%010d" % number for number in range(1, 11)]))
        # Senders that live through it: one has something to send meanwhile, the other has not.
        hasty, patient = (self.command(server, "send", "lasting", stdin=subprocess.PIPE) for _ in range(2))
        for sender in (hasty, patient):
            self.write_line(sender, b"before")
        eventually(lambda: self.peer(server).show(b"lasting")["ready"] == 2, "both have sent")
        filler = self.fill_up(leave=4 << 20)
        eventually(lambda: self.problems(server), "it has seen that space is low")
        self.write_line(hasty, b"while it is full")
        self.assertEqual(9, hasty.wait(), "one of two was stored")
        self.assertIn(b"1 of 2 messages was refused", b"".join(hasty.complaints))
        self.assert_full_and_recovers(server, peer, 10, lambda: os.remove(filler))
        self.write_line(patient, b"afterwards")
        patient.process.stdin.close()
        self.assertEqual(0, patient.wait(), patient.complaints)
        self.assertEqual(3, self.peer(server).show(b"lasting")["ready"])

    def write_line(self, sender, line):
        sender.process.stdin.write(line + b"\n")
        sender.process.stdin.flush()

    def test_full_by_what_is_sent(self):
        self.mount("128M")
        server = self.start(disk_free_min="24m")  # The watermark is looked at ten times a second.
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c")
        refused, number = self.send_until_refused(peer, 1, 1)
        confirmed = number - 1
        self.assertGreater(confirmed, 50)
        print(f"\n128 MB file system: {confirmed} messages of {CHUNK} bytes, then {'refused' if refused else 'no credit'}")
        # What was confirmed is there after a kill in this state.
        server.kill()
        server = self.start(disk_free_min="24m")
        peer = self.peer(server)
        self.assertEqual(confirmed, peer.show(b"c")["ready"])
        messages = self.bodies(peer, b"c", confirmed)
        self.assertEqual([b"%010d" % number for number in range(1, confirmed + 1)],
                         [message.body[:10] for message in messages])
        # Emptied, it has room again, without a restart.
        eventually(lambda: not self.problems(server), "space is free again")
        self.expect_exit(0, server, "send", "c", "afterwards")

    def test_really_full(self):
        """The disk is full at once, in the middle of the log's work: what is confirmed is there, what is refused is not."""
        self.mount("48M")
        server = self.start(disk_free_min="0", wal_file_size="64k")
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c")
        self.assertEqual([], peer.publish_all(1, 1, [b"%010d" % number + bytes(1000) for number in range(1, 501)]))
        peer.attach_sender(2, b"c")
        credit = peer.expect(wire.CREDIT, 2).credit()
        count = min(credit[0], credit[1] // 1050, 200)
        self.assertGreater(count, 20)
        self.fill_up(leave=0)
        for number in range(1, 1 + count):
            peer.publish(2, number, b"%010d" % (500 + number) + bytes(1000))
        eventually(lambda: self.problems(server), "it says that the disk is full")
        confirmed, refused = 0, set()
        try:
            while confirmed < count:
                frame = peer.expect(wire.CONFIRM, 2, timeout=2)
                confirmed = frame.sequence
                for first, number, status in frame.exceptions():
                    self.assertEqual("disk_full", status)
                    refused |= set(range(500 + first, 500 + first + number))
        except TimeoutError:
            pass  # The rest waits in the log for space.
        stored = [number for number in range(1, 500 + confirmed + 1) if number not in refused]
        print(f"\nsuddenly full: of {count} messages {len(stored) - 500} stored, {len(refused)} refused, "
              f"{count - confirmed} wait")
        server.kill()
        os.remove(os.path.join(self.disk, "filler"))
        peer = self.peer(self.start(disk_free_min="0", wal_file_size="64k"))
        ready = peer.show(b"c")["ready"]
        numbers = [int(message.body[:10]) for message in self.bodies(peer, b"c", ready)]
        self.assertEqual(stored, numbers[:len(stored)])
        self.assertEqual(set(), refused & set(numbers))

    def test_ends_although_the_log_waits_for_space(self):
        self.mount("48M")
        server = self.start(disk_free_min="0", wal_file_size="64k")
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c")
        self.assertEqual([], peer.publish_all(1, 1, [bytes(1000)] * 100))
        peer.attach_receiver(3, b"c", (1, 1 << 40))
        (held,) = peer.deliveries(3, 1)
        peer.attach_sender(2, b"c")
        count = min(peer.expect(wire.CREDIT, 2).credit()[0], 50)
        self.fill_up(leave=0)
        for number in range(1, 1 + count):
            peer.publish(2, number, bytes(1000))
        eventually(lambda: self.problems(server), "it says that the disk is full")
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        peer.expect(wire.GOAWAY)
        peer.settle(3, held.offset)
        peer.expect_closed()
        self.assertEqual(0, server.wait())
        took = time.monotonic() - began
        print(f"\nended in {took:.1f} s")
        self.assertLess(took, 10)
        os.remove(os.path.join(self.disk, "filler"))
        self.assertIn(self.peer(self.start()).show(b"c")["ready"], range(99, 101 + count), "what was confirmed is there")

    def fill_in_a_rush(self, server, peer, link):
        """As fast as there is credit, until the broker says that the disk is full. How many were sent."""
        limit, used, number = (0, 0), 0, 1
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if number <= limit[0] and used + CHUNK + 100 <= limit[1]:
                peer.publish(link, number, b"%010d" % number + bytes(CHUNK))
                number, used = number + 1, used + 32 + 4 + 10 + CHUNK
                continue
            frame = peer.next_frame()
            if frame.kind == wire.CREDIT:
                limit = frame.credit()
            elif frame.kind == wire.STATE and frame.state().reason == "disk_full":
                return number - 1
        self.fail("the disk was not full after a minute")

    def test_small_disk_filled_in_a_rush(self):
        """Faster than anybody looks: what was confirmed is there after a kill, and once it is received there is space again."""
        for shards in (1, 2):
            with self.subTest(shards=shards):
                self.mount("64M")
                settings = {"shards": shards, "wal_file_size": "32m", "disk_free_min": "auto"}
                server = self.start(**settings)
                peer = self.create(server, b"c")
                peer.attach_sender(1, b"c")
                sent = self.fill_in_a_rush(server, peer, 1)
                server.kill()
                server = self.start(**settings)
                ready = self.peer(server).show(b"c")["ready"]
                print(f"\n64 MB file system, {shards} shard(s): {ready} messages of {CHUNK} bytes")
                self.assertLessEqual(ready, sent)
                # Once more, without a kill: it is the receivers that make space.
                eventually(lambda: not self.problems(server), "what was in the log is in segments")
                peer = self.peer(server)
                peer.attach_sender(1, b"c")
                self.fill_in_a_rush(server, peer, 1)
                peer.close()
                self.expect_exit(0, server, "receive", "c", "--until-empty")
                eventually(lambda: not self.problems(server), "there is space")
                self.expect_exit(0, server, "send", "c", "afterwards")
                server.stop()

    def test_no_room_to_start_in(self):
        """A start needs room for a new generation. Without it: exit code 11, nothing lost, the next start works."""
        self.mount("48M")
        server = self.start()
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c")
        peer.publish_all(1, 1, [bytes(1000)] * 100)
        server.kill()
        filler = self.fill_up(leave=0)
        server = self.start(wait=False)
        eventually(lambda: server.process.poll() is not None or os.path.exists(server.ready_file), "it decides")
        if server.process.poll() is not None:
            self.assertEqual(11, server.process.returncode)
            self.assertRegex(server.log(), r"data directory /.*the start needs about \d+ bytes .* \d+ are free: no space left; "
                                           "make space")
        else:
            server.wait_ready()
            self.assertEqual(100, self.peer(server).show(b"c")["ready"])
            server.kill()
        os.remove(filler)
        self.assertEqual(100, self.peer(self.start()).show(b"c")["ready"])


class HangingDiskTest(DiskTest):
    """The disk answers nothing for a while, neither good nor bad."""

    def freeze(self):
        if not shutil.which("fsfreeze"):
            self.skipTest("needs fsfreeze")
        run("fsfreeze", "--freeze", self.disk)
        self.addCleanup(subprocess.run, ["fsfreeze", "--unfreeze", self.disk], check=False, capture_output=True)

    def threads(self, server):
        folder = f"/proc/{server.process.pid}/task"
        return run("cat", *(f"{folder}/{task}/comm" for task in os.listdir(folder))).split()

    def test_nobody_else_waits_for_it(self):
        self.mount()
        server = self.start(shards=1)
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c")
        # A sender alone, on a disk that is quick: its syncs come to be made by the shard's own thread.
        number = 0
        while "shard-0b" not in self.threads(server) and number < 2000:
            number += 1
            peer.publish(1, number, b"quick")
            self.assertEqual([], peer.confirmed(1, number))
        if "shard-0b" not in self.threads(server):
            print("\nthis disk is slow: the worker syncs, and hangs")
        self.freeze()
        for _ in range(3):
            number += 1
            peer.publish(1, number, b"hanging")
        peer.ping()  # Its own connection is served, too.
        other = self.peer(server)
        self.assertTrue(other.admin("channel.create", b"memory", storage="memory")["ok"])
        self.expect_exit(0, server, "send", "memory", "works")
        self.assertEqual(b"works\n", self.expect_exit(0, server, "receive", "memory", "-n", "1").stdout)
        with self.assertRaises(TimeoutError):
            peer.expect(wire.CONFIRM, 1, timeout=0.2)
        run("fsfreeze", "--unfreeze", self.disk)
        self.assertEqual([], peer.confirmed(1, number))
        number += 1
        peer.publish(1, number, b"afterwards")
        self.assertEqual([], peer.confirmed(1, number))
        self.assertEqual(number, other.show(b"c")["ready"])


class FailingDiskTest(DiskTest):
    def mount_failing(self):
        for tool in ("nbdkit", "nbdfuse", "fusermount3"):
            if not shutil.which(tool):
                self.skipTest(f"needs {tool}")
        if not os.path.exists("/dev/fuse"):
            self.skipTest("needs /dev/fuse")
        image, socket, self.failing = (os.path.join(self.folder, name) for name in ("failing.img", "s", "fail-now"))
        run("truncate", "-s", "128M", image)
        run("mkfs.ext4", "-qF", "-m", "0", image)
        server = subprocess.Popen(["nbdkit", "-f", "-U", socket, "--filter=error", "file", image, "error=EIO",
                                   "error-pwrite-rate=100%", f"error-pwrite-file={self.failing}"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        eventually(lambda: os.path.exists(socket), "nbdkit listens")
        point = os.path.join(self.folder, "point")
        os.mkdir(point)
        device = os.path.join(point, "nbd")
        fuse = subprocess.Popen(["nbdfuse", device, f"nbd+unix:///?socket={socket}"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(fuse.wait)
        self.addCleanup(fuse.terminate)
        try:
            eventually(lambda: os.path.exists(device) or fuse.poll() is not None, "nbdfuse has mounted")
        except AssertionError:
            self.skipTest("FUSE does not work here")
        if fuse.poll() is not None:
            self.skipTest("FUSE does not work here")
        self.mount(device=device)

    def heal(self):
        """The file system went read-only at the failure: unmount it, and look at the device again."""
        os.remove(self.failing)
        run("umount", self.disk)
        run("mount", self.loop, self.disk)

    def assert_cannot_confirm(self, peer, number):
        """It is refused, or its link fails; either says storage_failed."""
        try:
            self.assertEqual([(number, 1, "storage_failed")], peer.confirmed(1, number))
        except wire.Refused as refused:
            self.assertEqual("storage_failed", refused.fault.status)

    def test_failed_sync(self):
        self.mount_failing()
        server = self.start(disk_free_min="1m")
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c")
        self.assertEqual([], peer.publish_all(1, 1, [b"%d" % number for number in range(1, 51)]))
        open(self.failing, "wb").close()
        peer.publish(1, 51, b"51")
        self.assert_cannot_confirm(peer, 51)
        self.assertTrue(self.problems(server))
        self.expect_exit(10, server, "ping")
        # Never again a confirm, also when the disk works again: nobody knows what is on it.
        os.remove(self.failing)
        ended = self.expect_exit(7, server, "send", "c", "again")
        self.assertIn(b"disk failed", ended.stderr)
        # Receivers get what there is; that it is settled cannot be promised.
        peer.attach_receiver(2, b"c")
        got = peer.deliveries(2, 50)
        self.assertEqual([b"%d" % number for number in range(1, 51)], [message.body for message in got[:50]])
        peer.settle(2, got[0].offset, 10, receipt=1)
        peer.ping()
        self.assertEqual([], [frame for frame in peer.unread if frame.kind == wire.SETTLED and not frame.exceptions()])
        self.expect_exit(0, server, "channel", "create", "m", "--memory")
        self.expect_exit(0, server, "send", "m", "memory channels work")
        peer.close()
        server.stop()
        open(self.failing, "wb").close()
        self.heal()
        peer = self.peer(self.start(disk_free_min="1m"))
        ready = peer.show(b"c")["ready"]
        self.assertIn(ready, (40, 50, 51), "the unconfirmed one may be there, and the acks may not")
        bodies = [int(message.body) for message in self.bodies(peer, b"c", ready)]
        self.assertEqual([*range(bodies[0], bodies[0] + ready)], bodies)

    def test_killed_in_the_failed_state(self):
        self.mount_failing()
        server = self.start(disk_free_min="1m")
        peer = self.create(server, b"c")
        peer.attach_sender(1, b"c", producer="ab" * 16)
        confirmed, number = 0, 1
        while number < 400:
            if number == 200:
                open(self.failing, "wb").close()
            peer.publish(1, number, b"%d" % number)
            try:
                if peer.confirmed(1, number):
                    break
            except wire.Refused as refused:
                self.assertEqual("storage_failed", refused.fault.status)
                break
            confirmed, number = number, number + 1
        self.assertGreaterEqual(confirmed, 199)
        server.kill()
        self.heal()
        server = self.start(disk_free_min="1m")
        peer = self.peer(server)
        decided = peer.attach_sender(1, b"c", producer="ab" * 16).sequence
        self.assertGreaterEqual(decided, confirmed)
        self.assertEqual(decided, peer.show(b"c")["ready"])
        peer.publish(1, decided + 1, b"%d" % (decided + 1))
        self.assertEqual([], peer.confirmed(1, decided + 1))
        self.assertEqual([b"%d" % number for number in range(1, decided + 2)],
                         [message.body for message in self.bodies(peer, b"c", decided + 1)])


if __name__ == "__main__":
    unittest.main()
