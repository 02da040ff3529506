"""Compaction of streams as users see it: what stays, what comes back after a kill, and that the space on the disk comes back."""

import json
import os
import shutil
import unittest

from broker import each_shard_count, eventually
from durable_test import DurableBrokerTest

BODY = "x" * 1_000


def bytes_below(folder):
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(where, name)).st_size
            except FileNotFoundError:
                pass  # It has just gone.
    return total


class CompactionTest(DurableBrokerTest):
    storage = "--memory"

    def setUp(self):
        super().setUp()
        self.server = self.start(wal_file_size="64k", segment_size="256k")

    def run_baton(self, code, *arguments, **options):
        return self.expect_exit(code, self.server, *arguments, **options)

    def create(self, name, *flags):
        self.run_baton(0, "channel", "create", name, "--kind", "stream", self.storage, *flags)

    def send(self, name, *messages):
        """Pairs of key (None: no key) and body."""
        given = [json.dumps({"body": body} if key is None else {"body": body, "key": key}) for key, body in messages]
        self.run_baton(0, "send", name, "--jsonl", stdin="\n".join(given).encode())

    def show(self, name):
        return json.loads(self.run_baton(0, "--output", "json", "channel", "show", name).stdout)

    def rows(self, name):
        output = self.run_baton(0, "--output", "jsonl", "peek", name, "-n", "100000").stdout
        return [json.loads(line) for line in output.splitlines()]

    def kept(self, name):
        return [(row["offset"], row.get("properties", {}).get("key")) for row in self.rows(name)]

    def wait_kept(self, name, expected, why):
        eventually(lambda: self.kept(name) == expected, f"{why}: {expected}")


class EveryStorage(CompactionTest):
    def test_the_newest_of_each_key_stays_and_offsets_do_not_change(self):
        self.create("prices", "--compact")
        self.assertIn(b"compact (tombstones for 1d)", self.run_baton(0, "channel", "show", "prices").stdout)
        self.send("prices", ("EUR", "1"), ("USD", "1"), (None, "plain"), ("EUR", "2"), ("JPY", "1"), ("USD", "2"))
        self.wait_kept("prices", [(3, None), (4, "EUR"), (5, "JPY"), (6, "USD")], "the older ones go")
        shown = self.show("prices")
        self.assertEqual((2, 3, 4, 7), (shown["compacted"], shown["keys"], shown["stored"], shown["next_offset"]))
        got = self.run_baton(0, "receive", "prices", "--from", "first", "--until-empty").stdout
        self.assertEqual(b"plain\n2\n1\n2\n", got)
        got = self.run_baton(0, "receive", "prices", "--from", "2", "-n", "2").stdout
        self.assertEqual(b"plain\n2\n", got)

    def test_a_subscription_passes_over_what_has_gone(self):
        self.create("s", "--compact")
        self.run_baton(0, "subscription", "create", "s", "slow")
        self.send("s", *[(f"k{number}", "old") for number in range(10)])
        self.run_baton(0, "receive", "s", "--subscription", "slow", "-n", "2", "--window", "1")
        self.send("s", *[(f"k{number}", "new") for number in range(5)])
        eventually(lambda: self.show("s")["compacted"] == 5, "five have gone")
        got = self.run_baton(0, "receive", "s", "--subscription", "slow", "--until-empty").stdout
        self.assertEqual([b"old"] * 5 + [b"new"] * 5, got.splitlines())

    def test_tombstones(self):
        self.create("s", "--compact", "--tombstone-age", "300ms")
        self.send("s", ("a", "1"), ("b", "1"))
        self.send("s", ("a", ""))
        eventually(lambda: self.kept("s") in ([(2, "b"), (3, "a")], [(2, "b")]), "it takes the older one away")
        self.wait_kept("s", [(2, "b")], "and then goes")

    def test_it_is_switched_on_and_off(self):
        self.create("s")
        self.send("s", *[(f"k{number % 7}", str(number)) for number in range(700)])
        self.assertEqual(700, self.show("s")["stored"])
        self.create("s", "--compact")
        eventually(lambda: self.show("s")["stored"] == 7, "only the newest stay")
        self.create("s", "--no-compact")
        self.send("s", ("k0", "a"), ("k0", "b"))
        self.assertEqual(9, self.show("s")["stored"])
        self.create("s", "--compact")
        eventually(lambda: self.show("s")["stored"] == 7, "again")

    def test_only_streams(self):
        told = self.run_baton(2, "channel", "create", "q", "--compact").stderr
        self.assertIn(b"only a stream is compacted", told)


@each_shard_count()
class MemoryCompactionTest(EveryStorage):
    pass


@each_shard_count(1)
class DurableCompactionTest(EveryStorage):
    storage = "--durable"

    def restart(self):
        self.server.kill()
        self.server = self.start(wal_file_size="64k", segment_size="256k")

    def test_the_space_comes_back_and_everything_is_there_after_a_kill(self):
        self.create("s", "--compact")
        expected = {}
        for number in range(40):
            keys = [f"k{key}" for key in range(50)] + [f"once{number}"]
            self.send("s", *[(key, f"{number} {BODY}") for key in keys])
            expected.update({key: number * 51 + place + 1 for place, key in enumerate(keys)})
        kept = sorted((offset, key) for key, offset in expected.items())
        self.wait_kept("s", kept, "of 2 MB about 90 kB are left")
        segments = os.path.join(self.data, "channels")
        eventually(lambda: bytes_below(segments) < 500_000, "segments with little in them are copied and removed")
        for _ in range(2):
            self.restart()
            self.wait_kept("s", kept, "the same after a kill")
            eventually(lambda: self.show("s")["keys"] == 90, "they are known again")
        rows = self.rows("s")
        self.assertTrue(all(row["body"].endswith(BODY) for row in rows))
        self.send("s", ("k0", "newest"), ("once0", "newest"))
        gone = {expected["k0"], expected["once0"]}
        kept = [row for row in kept if row[0] not in gone] + [(2041, "k0"), (2042, "once0")]
        self.wait_kept("s", kept, "old ones in segments go, too")
        self.restart()
        self.wait_kept("s", kept, "and stay away")
        self.create("s", "--no-compact")
        self.restart()
        self.assertEqual(kept, self.kept("s"), "what has gone does not come back when it is switched off")


@each_shard_count(1, 3)
class BackedUpCompactionTest(CompactionTest):
    storage = "--durable"
    names = ["s0", "s1", "s2", "s3"]  # With three shards on more than one.
    settings = {"wal_file_size": "64k", "segment_size": "256k"}

    def fill(self, rounds):
        for number in rounds:
            for name in self.names:
                self.send(name, *[(f"k{key}", f"{name} {number} {BODY}") for key in range(40)])

    def newest(self, rounds):
        return [(rounds * 40 - 39 + key, f"k{key}") for key in range(40)]

    def check_broker(self, server, rounds, names):
        """Everything is there, as of this round, and nothing of what had been superseded comes back."""
        self.server = server
        for name, source in names.items():
            self.wait_kept(name, self.newest(rounds), f"{name} is as it was")
            got = self.run_baton(0, "receive", name, "--from", "first", "--until-empty").stdout.decode().splitlines()
            self.assertEqual([f"{source} {rounds - 1} {BODY}"] * 40, got)
            late = self.run_baton(0, "receive", name, "--subscription", "slow", "--until-empty").stdout.decode().splitlines()
            self.assertEqual([f"{source} {rounds - 1} {BODY}"] * 40, late, "the subscription passes over what has gone")

    def test_a_backup_in_the_middle_of_it_and_one_behind(self):
        for name in self.names:
            self.create(name, "--compact")
            self.run_baton(0, "subscription", "create", name, "slow")
        source = self.server
        directories = {}
        self.fill(range(4))
        directories[4] = os.path.join(self.folder, "middle")
        self.run_baton(0, "backup", directories[4])  # Compaction, moves to segments and copies of them are under way.
        self.fill(range(4, 12))
        for name in self.names:
            self.wait_kept(name, self.newest(12), "only the newest")
        segments = os.path.join(self.data, "channels")
        eventually(lambda: bytes_below(segments) < 1_000_000, "the space is there again")
        directories[12] = os.path.join(self.folder, "behind")
        self.run_baton(0, "backup", directories[12])
        for rounds, directory in directories.items():
            with self.subTest(rounds):  # With another number of shards: a backup is a data directory.
                copy = shutil.copytree(directory, directory + "-copy")
                server = self.broker(data_dir=copy, shards=2, **self.settings)
                self.check_broker(server, rounds, {name: name for name in self.names})
                server.kill()
                again = self.broker(data_dir=copy, shards=1, **self.settings)
                self.server = again
                for name in self.names:
                    self.wait_kept(name, self.newest(rounds), "the same after a kill")
                again.stop()
        self.server = source
        renamed = {f"t{number}": name for number, name in enumerate(self.names)}
        self.run_baton(0, "restore", directories[4], *[word for new, old in renamed.items() for word in ("--as", f"{old}={new}")])
        self.check_broker(source, 4, renamed)
        self.check_broker(source, 12, {name: name for name in self.names})
        self.send("t1", ("k7", "last"))
        self.wait_kept("t1", [row for row in self.newest(4) if row[1] != "k7"] + [(161, "k7")], "compaction goes on")
        source.kill()
        self.server = self.start(**self.settings)
        for name in self.names:
            self.wait_kept(name, self.newest(12), "after a kill")
        self.wait_kept("t1", [row for row in self.newest(4) if row[1] != "k7"] + [(161, "k7")], "also what was restored")


if __name__ == "__main__":
    unittest.main()
