"""Files of a stopped broker are spoilt: the channel that is concerned is quarantined, all others serve, nothing is deleted.

Bytes are found by what was sent, groups of the log by their header (docs/storage.md, section 3). One shard: all
channels share one log. Next file: durable_test.py.
"""

import glob
import json
import os
import struct
import unittest

import wire
from broker import eventually
from durable_test import DurableBrokerTest, crc32c, files_below

UNIT = 4096


def find_bytes(folder, pattern, needle):
    """(path, position) of the only place where these bytes are."""
    places = []
    for path in glob.glob(os.path.join(folder, pattern), recursive=True):
        if os.path.isfile(path):
            try:
                with open(path, "rb") as file:
                    content = file.read()
            except FileNotFoundError:
                continue  # A broker that runs has removed it meanwhile.
            at = content.find(needle)
            while at >= 0:
                places.append((path, at))
                at = content.find(needle, at + 1)
    return places


def flip(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        octet = file.read(1)
        file.seek(position)
        file.write(bytes([octet[0] ^ 0x10]))


def end_of_log(path):
    """Behind the last group of a file."""
    with open(path, "rb") as file:
        content = file.read()
    number, = struct.unpack_from("<Q", content, 24)
    at, end = UNIT, UNIT
    while at < len(content):
        magic, _, file_number, _, _, body = struct.unpack_from("<4sIQQQQ", content, at)
        if magic != b"BGRP" or file_number != number:
            break
        at += -(-(64 + body) // UNIT) * UNIT
        end = at
    return end


class DamageTest(DurableBrokerTest):
    def confirmed_one_by_one(self, peer, link, first, *bodies):
        """So that each is in a group of its own."""
        for number, body in enumerate(bodies, first):
            peer.publish(link, number, body)
            self.assertEqual([], peer.confirmed(link, number))

    def three_channels(self, **settings):
        """hurt and fine with messages that can be found in the files; the broker is dead afterwards."""
        server = self.start(**settings)
        peer = self.create(server, b"hurt", b"fine", b"late")
        for link, name in ((1, b"hurt"), (2, b"fine"), (3, b"late")):
            peer.attach_sender(link, name)
        self.confirmed_one_by_one(peer, 1, 1, b"hurt-one", b"hurt-two", b"hurt-three")
        self.confirmed_one_by_one(peer, 2, 1, b"fine-one", b"fine-two")
        self.confirmed_one_by_one(peer, 3, 1, b"late-one", b"late-two")
        peer.close()
        server.kill()
        return server

    def assert_quarantined(self, server, name=b"hurt"):
        peer = self.peer(server)
        for role in (wire.SENDER, wire.RECEIVER):
            with self.assertRaises(wire.Refused) as raised:
                (peer.attach_sender if role == wire.SENDER else peer.attach_receiver)(role, name)
            self.assertEqual(("channel_damaged", "link"), raised.exception.fault[:2])
        channel = peer.show(name)
        self.assertTrue(channel["damage"])
        self.assertEqual("damaged", channel["wait"]["reason"])
        shown = peer.admin("broker.show")
        self.assertEqual("degraded", shown["health"])
        self.assertTrue([text for text in shown["problems"] if name.decode() in text], shown["problems"])
        ended = self.expect_exit(10, server, "ping")
        self.assertIn(b"quarantined", ended.stdout + ended.stderr)
        self.assert_logs(server, "damage")

    def nameless(self, server):
        """What is left of hurt when its name is not known any more."""
        shown = [channel for channel in json.loads(self.expect_exit(0, server, "--output", "json", "channel", "list").stdout)
                 if channel["name"] not in ("fine", "late")]
        self.assertEqual(1, len(shown), shown)
        return shown[0]["name"].encode()

    def assert_logs(self, server, text):
        """The log is written by a thread of its own."""
        eventually(lambda: text in server.log(), f"it says {text!r} in the log")

    def assert_serves(self, server, name, *bodies):
        peer = self.peer(server)
        self.assertEqual([*bodies], [message.body for message in self.bodies(peer, name, len(bodies), settle=False)])
        peer.attach_sender(1, name)
        peer.publish(1, 1, b"new")
        self.assertEqual([], peer.confirmed(1, 1))
        peer.close()

    def assert_healthy(self, server):
        self.assertEqual(("ok", []), tuple(self.peer(server).admin("broker.show")[key] for key in ("health", "problems")))
        self.expect_exit(0, server, "ping")

    # --- The log ---

    def test_flipped_bit_in_the_log(self):
        self.three_channels()
        (place,) = find_bytes(self.data, "generation-*/**", b"hurt-two")
        flip(*place)
        with open(place[0], "rb") as file:
            content = file.read()
        server = self.start()
        self.assert_quarantined(server)
        self.assert_serves(server, b"fine", b"fine-one", b"fine-two")
        self.assert_serves(server, b"late", b"late-one", b"late-two")
        kept = glob.glob(os.path.join(self.data, "damaged-*", "*", "wal-*"))
        self.assertIn(content, [open_and_read(path) for path in kept], "the spoilt log is kept as it was")
        # It stays so over the next starts, with the same words, and the others go on.
        server.kill()
        again = self.start(shards=2)
        self.assert_quarantined(again)
        self.assert_serves(again, b"fine", b"fine-one", b"fine-two", b"new")
        self.assertEqual(kept, glob.glob(os.path.join(self.data, "damaged-*", "*", "wal-*")))

    def test_deleting_the_damaged_channel_makes_it_healthy(self):
        self.three_channels()
        (place,) = find_bytes(self.data, "generation-*/**", b"hurt-two")
        flip(*place)
        server = self.start()
        self.assert_quarantined(server)
        self.expect_exit(0, server, "channel", "delete", "hurt")
        server.kill()
        server = self.start()
        self.assert_healthy(server)
        self.create(server, b"hurt")
        self.assert_serves(server, b"hurt")

    def test_flipped_bit_in_a_group_header(self):
        """A whole group is missing: whoever cannot prove that it was not his is quarantined. hurt cannot."""
        self.three_channels()
        (path, position), = find_bytes(self.data, "generation-*/**", b"hurt-three")
        flip(path, position // UNIT * UNIT + 9)
        server = self.start()
        self.assert_quarantined(server)
        self.assert_serves(server, b"fine", b"fine-one", b"fine-two")
        self.assert_serves(server, b"late", b"late-one", b"late-two")

    def test_torn_tail_is_cut_and_reported_and_nothing_else(self):
        self.three_channels()
        (path, _), = find_bytes(self.data, "generation-*/**", b"hurt-three")
        end = end_of_log(path)
        content = open_and_read(path)
        last = content.rfind(b"BGRP", 0, end)
        number, first, _, _, records = struct.unpack_from("<QQQQI", content, last + 8)
        first += records
        header = struct.pack("<QQQQI", number, first, first - 1, 9000, 1) + content[last + 44:last + 64]
        with open(path, "r+b") as file:  # The beginning of a group that was being written.
            file.seek(end)
            file.write(b"BGRP" + struct.pack("<I", crc32c(header)) + header + b"half of a record")
        server = self.start()
        self.assert_logs(server, "an unfinished write at the end of the log was cut off")
        self.assert_healthy(server)
        for name, count in ((b"hurt", 3), (b"fine", 2), (b"late", 2)):
            self.assertEqual(count, self.peer(server).show(name)["ready"])
        self.assertEqual([], glob.glob(os.path.join(self.data, "damaged-*")))

    def test_every_part_of_the_last_group(self):
        """Nothing proves that the last group was ever synced: it is cut, whichever of its bits is wrong."""
        self.three_channels()
        (path, position), = find_bytes(self.data, "generation-*/**", b"late-two")
        start = position // UNIT * UNIT
        with open(path, "rb") as file:
            content = file.read()
        saved = self.data + ".saved"
        os.rename(self.data, saved)
        for at in (start, start + 5, start + 17, start + 64, start + 70, position):
            with self.subTest(at - start):
                os.system(f"rm -rf {self.data} && cp -a {saved} {self.data}")
                flip(path, at)
                self.assertNotEqual(content, open_and_read(path))
                server = self.start()
                if at >= start + 64:  # Else it does not look like a group: it might be what a recycled file still has.
                    self.assert_logs(server, "was cut off")
                self.assert_healthy(server)
                self.assertEqual([1, 2, 3], [self.peer(server).show(name)["ready"] for name in (b"late", b"fine", b"hurt")])
                server.kill()

    def test_missing_log_file(self):
        self.three_channels(wal_file_size="64k")
        server = self.start(wal_file_size="64k")
        peer = self.peer(server)
        peer.attach_sender(1, b"fine")
        self.confirmed_one_by_one(peer, 1, 1, *[os.urandom(3000) for _ in range(60)])
        server.kill()
        files = sorted(glob.glob(os.path.join(self.data, "generation-*", "shard-0000", "wal-*")))
        self.assertGreater(len(files), 2, files)
        os.rename(files[1], os.path.join(self.folder, "taken"))
        server = self.start()
        self.assert_quarantined(server, b"fine")
        peer = self.peer(server)
        # What did not write to the missing file cannot prove it; it must be quarantined, or complete.
        for name, count in ((b"hurt", 3), (b"late", 2)):
            channel = peer.show(name)
            self.assertTrue(channel.get("damage") or channel["ready"] == count, channel)

    # --- Checkpoints ---

    def test_flipped_bit_in_a_section_of_the_checkpoint(self):
        self.three_channels()
        self.start().kill()  # Now the channels are in the checkpoint.
        (place,) = find_bytes(self.data, "generation-*/*/checkpoint-*", b"hurt")
        flip(place[0], place[1] + 12)
        server = self.start()
        self.assert_quarantined(server, self.nameless(server))
        self.assert_serves(server, b"fine", b"fine-one", b"fine-two")
        self.assert_serves(server, b"late", b"late-one", b"late-two")

    def test_checkpoint_that_cannot_be_read(self):
        """Its header is wrong, and there is no older one: nothing can be known, and nothing is touched."""
        self.three_channels()
        server = self.start()
        server.kill()
        (path,) = glob.glob(os.path.join(self.data, "generation-*", "*", "checkpoint-*"))
        flip(path, 17)
        before = files_below(self.data)
        server = self.start(wait=False)
        self.assertEqual(11, server.wait())
        self.assertIn(os.path.basename(path), server.log())
        self.assertEqual(before, files_below(self.data))
        flip(path, 17)
        self.assert_serves(self.start(), b"hurt", b"hurt-one", b"hurt-two", b"hurt-three")

    # --- Segments ---

    def with_segments(self):
        server = self.start(wal_file_size="64k", segment_size="256k")
        peer = self.create(server, b"hurt", b"fine", b"late")
        for link, name in ((1, b"hurt"), (2, b"fine"), (3, b"late")):  # What is old moves on as others write.
            peer.attach_sender(link, name)
            bodies = [b"%s-%05d " % (name, number) + os.urandom(1000) for number in range(1500)]
            self.assertEqual([], peer.publish_all(link, 1, bodies))
        for needle in (b"hurt-00100 ", b"fine-00100 "):
            eventually(lambda: find_bytes(self.data, "channels/**", needle), "it is in a segment")
            eventually(lambda: not find_bytes(self.data, "generation-*/**", needle), "and only there")
        return server

    def test_flipped_bit_in_a_segment(self):
        """Found when it is read: nothing wrong is delivered, the channel stops there, the other one goes on."""
        self.with_segments().kill()
        for place in find_bytes(self.data, "channels/**", b"hurt-00100 "):
            flip(place[0], place[1] + 20)
        server = self.start(wal_file_size="64k", segment_size="256k")
        peer = self.peer(server)
        got = []
        try:
            peer.attach_receiver(1, b"hurt")
            while True:
                got += peer.expect(wire.DELIVER, 1).messages()
        except wire.Refused as refused:
            self.assertEqual("channel_damaged", refused.fault.status)
        numbers = [int(message.body[5:10]) for message in got]
        self.assertEqual([*range(len(numbers))], numbers)
        self.assertLessEqual(len(numbers), 100)
        self.assert_quarantined(server)
        peer = self.peer(server)
        messages = self.bodies(peer, b"fine", 1500)
        self.assertEqual([b"fine-%05d " % number for number in range(1500)], [message.body[:11] for message in messages])
        self.assertTrue(find_bytes(self.data, "**", b"hurt-01000 "), "what is not concerned is kept")
        server.kill()
        self.assert_quarantined(self.start())

    def test_segments_of_a_damaged_section_outlive_every_start(self):
        """No checkpoint names them any more, and the generation that did is put aside: they are all that is left."""
        self.with_segments().kill()
        for path, position in find_bytes(self.data, "generation-*/*/checkpoint-*", b"hurt"):
            flip(path, position + 12)
        for _ in range(3):
            server = self.start(wal_file_size="64k", segment_size="256k")
            server.kill()
            self.assertTrue(find_bytes(self.data, "channels/**", b"hurt-00100 "))
        server = self.start()
        self.assert_quarantined(server, self.nameless(server))

    def test_no_file_descriptors_left(self):
        """That a segment cannot be opened for a while is no damage: the channel goes on when there are descriptors again."""
        self.with_segments().kill()
        server = self.start(wal_file_size="64k", segment_size="256k", open_files=64)
        peer = self.peer(server)
        others = []
        try:
            while len(others) < 200:
                others.append(wire.Peer(server.listen_url, timeout=0.3))
        except (TimeoutError, wire.Closed, OSError):
            pass  # There are none left.
        self.assertLess(len(others), 64)
        peer.attach_receiver(1, b"hurt")
        got = []
        try:
            while len(got) < 1500:
                got += peer.expect(wire.DELIVER, 1, timeout=1).messages()
        except TimeoutError:
            pass
        for other in others:
            other.close()
        while len(got) < 1500:
            got += peer.expect(wire.DELIVER, 1).messages()
        self.assertEqual([b"hurt-%05d " % number for number in range(1500)], [message.body[:11] for message in got])
        self.assertEqual([], peer.admin("broker.show")["problems"])

    def test_more_channels_with_segments_than_descriptors(self):
        names = [b"channel-%d" % number for number in range(150)]
        server = self.start(wal_file_size="64k", segment_size="256k", open_files=64)
        peer = self.create(server, *names)
        for link, name in enumerate(names, 1):
            peer.attach_sender(link, name)
            self.assertEqual([], peer.publish_all(link, 1, [bytes(4000)] * 5))
        folders = os.path.join(self.data, "channels")
        eventually(lambda: os.path.isdir(folders) and len(os.listdir(folders)) > 100, "most have segments")
        self.assertEqual([], peer.admin("broker.show")["problems"])
        server.kill()
        peer = self.peer(self.start(wal_file_size="64k", open_files=64))
        for name in names:
            self.assertEqual(5, len(self.bodies(peer, name, 5)))

    def test_missing_segment(self):
        self.with_segments().kill()
        path, _ = find_bytes(self.data, "channels/**", b"hurt-00100 ")[0]
        os.rename(path, os.path.join(self.folder, "taken"))
        server = self.start(wait=False)
        server.wait_ready()
        peer = self.peer(server)
        try:
            peer.attach_receiver(1, b"hurt")
            peer.deliveries(1, 1500)
            self.fail("it cannot have them all")
        except wire.Refused as refused:
            self.assertEqual("channel_damaged", refused.fault.status)
        self.assert_quarantined(server)
        self.assertEqual(1500, len(self.bodies(self.peer(server), b"fine", 1500)))


def open_and_read(path):
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    unittest.main()
