"""Policies that are set while the broker runs: for new channels, for those that exist if it is asked for, over a restart."""

import json
import os
import signal
import unittest

from broker import each_shard_count, eventually
from durable_test import DurableBrokerTest

NAMES = [f"jobs.{number}" for number in range(12)]  # So many that every shard has some.


@each_shard_count(1, 4)
class PolicyTest(DurableBrokerTest):
    def setUp(self):
        super().setUp()
        self.config = os.path.join(self.folder, "config.json")
        self.configure({"match": "jobs.*", "attempts_max": 3}, {"match": "other", "storage": "memory"})
        self.server = self.start(config=self.config)

    def configure(self, *policies):
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump({"policies": policies}, file)

    def run_baton(self, code, *arguments, **options):
        return self.expect_exit(code, self.server, *arguments, **options)

    def asked(self, *arguments, code=0):
        return json.loads(self.run_baton(code, "--output", "json", *arguments).stdout)

    def shown(self, name):
        return self.asked("channel", "show", name)

    def create_all(self, *flags):
        for name in NAMES:
            self.run_baton(0, "channel", "create", name, *flags)

    def listed(self):
        return [(policy["match"], policy["origin"], policy.get("hidden", False)) for policy in self.asked("policy", "list")]

    def test_it_counts_for_new_channels_on_every_shard_and_after_a_restart(self):
        told = self.asked("policy", "set", "jobs.*", "--durable", "--attempts-max", "7", "--lease", "5s")
        self.assertEqual((True, True, 0), (told["created"], told["durable"], told["channels"]))
        self.create_all()
        for name in NAMES:
            shown = self.shown(name)
            self.assertEqual(("durable", 7, 5_000), (shown["storage"], shown["attempts_max"], shown["lease_ms"]))
        self.server.kill()
        self.server = self.start(config=self.config)
        self.assertEqual([("jobs.*", "set", False), ("jobs.*", "configuration", True), ("other", "configuration", False)],
                         self.listed())
        self.run_baton(0, "send", "jobs.new", "x")
        self.assertEqual(7, self.shown("jobs.new")["attempts_max"])
        told = self.asked("policy", "delete", "jobs.*")
        self.assertEqual("configuration", told["policy"]["origin"])
        self.run_baton(0, "send", "jobs.newer", "x")
        self.assertEqual(3, self.shown("jobs.newer")["attempts_max"])
        self.assertEqual(7, self.shown("jobs.new")["attempts_max"], "channels keep what they have")
        self.server.stop()
        self.server = self.start(config=self.config)
        self.assertEqual([("jobs.*", "configuration", False), ("other", "configuration", False)], self.listed())

    def test_channels_that_exist_keep_their_settings_unless_it_is_asked_for(self):
        self.create_all("--durable")
        text = self.run_baton(0, "policy", "set", "jobs.*", "--attempts-max", "9", "--max-age", "1h").stdout
        self.assertIn(b"jobs.*: set; in effect for 12 channels that exist, of which 12 have other settings and keep them", text)
        self.assertEqual({3}, {self.shown(name)["attempts_max"] for name in NAMES})
        told = self.asked("policy", "apply", "jobs.*")
        self.assertEqual((12, 12, 0), (told["channels"], told["changed"], told["refused"]))
        for name in NAMES:
            shown = self.shown(name)
            self.assertEqual((9, 3_600_000), (shown["attempts_max"], shown["age_max_ms"]))
        self.server.kill()
        self.server = self.start(config=self.config)
        self.assertEqual({9}, {self.shown(name)["attempts_max"] for name in NAMES}, "it was durable when it was answered")
        told = self.asked("policy", "show", "jobs.*")
        self.assertEqual((12, 0), (told["channels"], told["different"]))

    def test_what_a_channel_cannot_have_is_said(self):
        self.create_all("--durable")
        ended = self.run_baton(9, "policy", "set", "jobs.*", "--kind", "stream", "--apply")
        self.assertIn(b"12 channels, 0 changed", ended.stdout)
        self.assertIn(b"jobs.0 cannot have them: its kind cannot change", ended.stdout)
        ended = self.run_baton(9, "policy", "set", "jobs.*", "--memory", "--apply")
        self.assertIn(b"jobs.*: replaced; ", ended.stdout)
        self.assertIn(b"its storage cannot change", ended.stdout)

    def test_the_first_that_matches_counts(self):
        self.run_baton(0, "policy", "set", "jobs.1*", "--attempts-max", "11")
        self.run_baton(0, "policy", "set", "jobs.*", "--attempts-max", "12")
        self.run_baton(0, "policy", "set", "*", "--attempts-max", "13", "--first")
        self.assertEqual([("*", "set"), ("jobs.1*", "set"), ("jobs.*", "set")], [row[:2] for row in self.listed()[:3]])
        self.run_baton(0, "channel", "create", "jobs.1")
        self.assertEqual(13, self.shown("jobs.1")["attempts_max"])
        self.run_baton(0, "policy", "delete", "*")
        self.create_all()
        self.assertEqual((13, 12, 11), tuple(self.shown(name)["attempts_max"] for name in ("jobs.1", "jobs.2", "jobs.10")))
        self.assertEqual(2, self.asked("policy", "show", "jobs.1*")["channels"] - 1, "jobs.1, jobs.10 and jobs.11")

    def test_errors_name_the_value(self):
        for words, arguments in (((b"PATTERN",), ("set", "")),
                                 ((b"compact", b"only a stream"), ("set", "a", "--compact")),
                                 ((b"message_size_max is 1g",), ("set", "a", "--message-size-max", "1g"))):
            ended = self.baton(self.server, "policy", *arguments)
            self.assertNotEqual(0, ended.returncode)
            for word in words:
                self.assertIn(word, ended.stderr)
        self.assertIn(b'no policy with the pattern "nothing"', self.run_baton(5, "policy", "delete", "nothing").stderr)
        self.assertIn(b"one of the configuration file", self.run_baton(5, "policy", "delete", "other").stderr)
        self.assertIn(b'"nothing"', self.run_baton(5, "policy", "show", "nothing").stderr)
        reply = self.peer(self.server).admin("policy.set", b"", match="a", colour="red")
        self.assertEqual("bad_request", reply["error"]["code"])
        self.assertIn("colour", reply["error"]["text"])
        reply = self.peer(self.server).admin("policy.set", b"", match="a", retry_first_ms=5_000, retry_max_ms=10)
        self.assertEqual("bad_request", reply["error"]["code"])
        self.assertIn("retry_first_ms is 5000, allowed is at most retry_max_ms (10)", reply["error"]["text"])
        self.assertEqual(2, len(self.listed()))

    def test_the_configuration_is_read_again(self):
        self.configure({"match": "jobs.*", "attempts_max": 5})
        self.server.send_signal(signal.SIGHUP)
        eventually(lambda: len(self.listed()) == 1, "one policy is left")
        self.run_baton(0, "channel", "create", "jobs.1")
        self.assertEqual(5, self.shown("jobs.1")["attempts_max"])

    def test_a_damaged_file_stops_the_start(self):
        self.run_baton(0, "policy", "set", "a", "--attempts-max", "2")
        self.server.stop()
        path = os.path.join(self.data, "POLICIES")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("2", "3", 1))
        broken = self.start(wait=False)
        self.assertEqual(11, broken.wait())
        self.assertIn("POLICIES: the checksum is wrong", broken.log())
        with open(path, encoding="utf-8") as file:
            self.assertNotEqual("", file.read(), "nothing was deleted")


class MemoryPolicyTest(DurableBrokerTest):
    def test_without_a_data_directory_it_lasts_as_long_as_the_broker(self):
        server = self.broker(data_dir="")
        text = self.expect_exit(0, server, "policy", "set", "a", "--attempts-max", "2").stdout
        self.assertIn(b"until the broker ends", text)
        self.assertIn(b"data directory", self.expect_exit(7, server, "policy", "set", "a", "--durable").stderr)
        self.expect_exit(0, server, "channel", "create", "a")
        shown = self.expect_exit(0, server, "--output", "json", "channel", "show", "a").stdout
        self.assertEqual(2, json.loads(shown)["attempts_max"])


if __name__ == "__main__":
    unittest.main()
