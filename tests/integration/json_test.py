"""What the programs print for programs: every answer against its schema (tests/schema, one file an answer), where things go
well and where they do not. The schemas allow nothing that they do not name, so a field that comes or goes is seen here.
"""

import json
import os
import re
import sys
import unittest
import warnings

from broker import BrokerTest, eventually

try:
    import jsonschema
except ImportError:
    raise unittest.SkipTest("python3-jsonschema is missing (./run deps test)")

SCHEMAS = os.path.join(os.environ["BATON_SOURCE"], "tests", "schema")
used = set()


def load_schemas():
    schemas = {}
    for name in os.listdir(SCHEMAS):
        with open(os.path.join(SCHEMAS, name), encoding="utf-8") as file:
            schemas[name.removesuffix(".json")] = json.load(file)
    return schemas


ALL = load_schemas()


def validator(name):
    with warnings.catch_warnings():  # The newer way to look schemas up is not in Debian 12.
        warnings.simplefilter("ignore", DeprecationWarning)
        resolver = jsonschema.RefResolver.from_schema(ALL[name], store={key + ".json": ALL[key] for key in ALL})
        return jsonschema.Draft202012Validator(ALL[name], resolver=resolver)


def tearDownModule():
    """A schema that no test looks at may say anything. One test that runs alone is no reason to complain."""
    if not any(not argument.startswith("-") for argument in sys.argv[1:]):
        unused = set(ALL) - used - {"common"}
        assert not unused, f"no test has used these schemas: {sorted(unused)}"


class JsonTest(BrokerTest):
    shards = 2

    def setUp(self):
        super().setUp()
        self.directory = self.data_dir()
        self.server = self.broker(data_dir=self.directory)

    def check(self, name, value):
        used.add(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            problems = [f"{'/'.join(str(part) for part in error.absolute_path) or 'it'}: {error.message}"
                        for error in validator(name).iter_errors(value)]
        self.assertEqual([], problems, f"{name}: {json.dumps(value)[:600]}")
        return value

    def answer(self, name, *arguments, code=0, stdin=b"", server=None):
        """The one line on stdout, as its schema wants it."""
        ended = self.expect_exit(code, server or self.server, "--output", "json", *arguments, stdin=stdin)
        rows = ended.stdout.splitlines()
        self.assertEqual(1, len(rows), (arguments, ended.stdout))
        if code == 0:
            self.assertEqual(b"", ended.stderr, arguments)
        return self.check(name, json.loads(rows[0]))

    def rows(self, name, *arguments):
        """The same list as lines."""
        whole = self.answer(name, *arguments)
        ended = self.expect_exit(0, self.server, "--output", "jsonl", *arguments)
        rows = [json.loads(row) for row in ended.stdout.splitlines()]
        self.check(name, rows)
        self.assertEqual([set(row) for row in whole], [set(row) for row in rows])
        return whole

    def error(self, code, kind, *arguments, server=None, stdin=b""):
        ended = self.expect_exit(code, server or self.server, "--output", "json", *arguments, stdin=stdin)
        errors = [json.loads(row) for row in ended.stderr.splitlines()]
        errors = [error for error in errors if "error" in error or self.check("notice", error) is None]
        self.assertEqual(1, len(errors), (arguments, ended.stderr))
        self.check("error", errors[0])
        self.assertEqual(kind, errors[0]["error"]["code"], errors[0])
        return errors[0]["error"]

    def send(self, *arguments):
        return self.answer("send", "send", *arguments)

    def reject(self, channel):
        """One message of the channel into quarantine."""
        self.expect_exit(0, self.server, "receive", channel, "-n", "1", "--exec", "exit 65")


class AnswersTest(JsonTest):
    def test_every_verb_has_a_schema(self):
        text = self.expect_exit(0, self.server, "--help").stdout.decode()
        verbs = set(re.findall(r"^  ([a-z]+)\s", text.split("Subcommands:")[1], re.MULTILINE))
        self.assertIn("send", verbs)
        for verb in verbs - {"completion"}:
            self.assertTrue(any(name == verb or name.startswith(verb + "-") for name in ALL), f"{verb} has no schema")
        for name, schema in ALL.items():
            jsonschema.Draft202012Validator.check_schema(schema)
            self.assertEqual(name + ".json", schema["$id"])

    def test_ready_file(self):
        with open(self.server.ready_file, encoding="utf-8") as file:
            self.check("ready-file", json.load(file))

    def test_ping_and_send(self):
        self.answer("ping", "ping")
        self.assertEqual({"confirmed": 2, "level": "durable"}, self.send("c", "1", "2"))
        self.answer("channel-create", "channel", "create", "m", "--memory")
        self.assertEqual("received", self.send("m", "1")["level"])

    def test_receive(self):
        self.send("c", "größe", "--key", "k", "--header", "a=1", "--header", "a=2", "--header", "b=3", "--content-type",
                  "text/plain", "--id", "i", "--ttl", "1h", "--priority", "3")
        self.expect_exit(0, self.server, "send", "c", "--whole", stdin=b"\xff\x00")
        output = self.expect_exit(0, self.server, "receive", "c", "--until-empty", "--jsonl").stdout
        rows = [self.check("receive", json.loads(row)) for row in output.splitlines()]
        self.assertEqual(["größe", None], [row.get("body") for row in rows])
        self.assertEqual({"a": ["1", "2"], "b": "3"}, rows[0]["headers"])

    def test_channels(self):
        created = self.answer("channel-create", "channel", "create", "q", "--fair-by", "key", "--fair-weight", "vip=3",
                              "--messages-max", "5", "--overflow", "drop-oldest", "--ordered-by-key")
        self.assertTrue(created["created"])
        self.assertFalse(self.answer("channel-create", "channel", "create", "q")["created"])
        self.answer("channel-create", "channel", "create", "s", "--kind", "stream", "--compact", "--age-max", "1h")
        self.answer("channel-create", "channel", "create", "t", "--kind", "topic")
        self.answer("subscription-create", "subscription", "create", "t", "x")
        self.send("t", "1", "2")
        self.send("s", "1", "--key", "k")
        self.send("q", *"1234567")
        receiver = self.command(self.server, "receive", "q", "-n", "100")
        receiver.wait_lines(5)
        sender = self.command(self.server, "send", "q", stdin=-1)
        sender.process.stdin.write(b"8\n")
        sender.process.stdin.flush()
        receiver.wait_lines(6)
        shown = self.answer("channel-show", "channel", "show", "q")
        self.assertEqual({"sender", "receiver"}, {link["role"] for link in shown["links"]})
        self.assertEqual(2, shown["last_dropped"]["count"])
        sender.process.stdin.close()
        self.assertEqual(0, sender.wait())
        receiver.process.terminate()
        receiver.wait()
        self.assertEqual(1, len(self.answer("channel-show", "channel", "show", "t")["subscriptions"]))
        self.assertEqual(1, self.answer("channel-show", "channel", "show", "s")["oldest"]["offset"])
        self.assertEqual(["q", "s", "t"], [channel["name"] for channel in self.rows("channel-list", "channel", "list")])
        self.answer("channel-purge", "channel", "purge", "t")
        self.answer("channel-delete", "channel", "delete", "t")

    def test_subscriptions(self):
        self.answer("channel-create", "channel", "create", "t", "--kind", "topic")
        self.answer("subscription-create", "subscription", "create", "t", "x", "--filter", "a.*", "--backlog-max", "3",
                    "--overflow", "disconnect")
        for arguments, expected in (((), (False, False)), (("--backlog-max", "4"), (False, True))):
            answer = self.answer("subscription-create", "subscription", "create", "t", "x", *arguments)
            self.assertEqual(expected, (answer["created"], answer["changed"]))
        self.send("t", "1", "--key", "a.b")
        self.assertEqual(1, self.rows("subscription-list", "subscription", "list", "t")[0]["ready"])
        self.assertEqual(1, self.answer("subscription-delete", "subscription", "delete", "t", "x")["messages"])

    def test_peek_in_each_state(self):
        self.send("c", "bad", "--key", "k", "--header", "a=1", "--id", "i", "--content-type", "x/y", "--priority", "1")
        self.reject("c")
        self.send("c", "late", "--delay", "1h", "--ttl", "2h")
        self.expect_exit(0, self.server, "send", "c", "--whole", stdin=b"\xff" * 100_000)
        receiver = self.command(self.server, "receive", "c", "--exec", "sleep 60")
        eventually(lambda: self.answer("peek", "peek", "c", "--state", "in-flight"), "it is with the receiver")
        self.send("c", "ready")
        messages = self.rows("peek", "peek", "c")
        self.assertEqual(["quarantined", "delayed", "in-flight", "ready"], [message["state"] for message in messages])
        self.assertTrue(messages[2]["truncated"])
        receiver.process.kill()

    def test_peek_shows_every_property(self):
        self.send("c", "later", "--at", "2100-01-01T00:00:00Z", "--header", "a=1", "--header", "a=2", "--header", "b=3")
        (message,) = self.answer("peek", "peek", "c")
        self.assertEqual({"not_before_us": 4_102_444_800_000_000, "headers": {"a": ["1", "2"], "b": "3"}}, message["properties"])
        self.assertEqual(message["properties"]["not_before_us"], message["due_us"])

    def test_explain(self):
        self.send("c", "1", "2")
        waits = self.answer("explain", "explain", "c")["waits"]
        self.assertEqual(["channel"], [wait["who"] for wait in waits])
        explained = self.answer("explain", "explain", "c", "2")
        self.assertIn("ready", explained["text"])
        self.assertEqual(self.answer("peek", "peek", "c")[1], explained["message"], "the same form as peek shows")
        ended = self.expect_exit(5, self.server, "--output", "json", "explain", "c", "9")
        self.assertNotIn("message", self.check("explain", json.loads(ended.stdout)))
        self.assertEqual("not_found", self.check("error", json.loads(ended.stderr))["error"]["code"])
        receiver = self.command(self.server, "receive", "d")
        eventually(lambda: self.baton(self.server, "explain", "d").returncode == 0, "the receiver is there")
        self.assertEqual("receiver", self.answer("explain", "explain", "d")["waits"][0]["who"])
        receiver.process.terminate()

    def test_messages_of_administrators(self):
        for number in range(3):
            self.send("c", str(number))
            self.reject("c")
        self.assertEqual(1, self.answer("retry", "retry", "c", "1")["messages"])
        self.assertEqual(1, self.answer("drop", "drop", "c", "2")["messages"])
        self.assertEqual(2, self.answer("move", "move", "c", "d", "--all")["messages"])
        self.assertEqual(0, self.answer("retry", "retry", "c", "99", code=5)["messages"])
        self.error(5, "not_found", "retry", "c", "99")

    def test_policies(self):
        settings = os.path.join(self.folder, "batond.json")
        with open(settings, "w", encoding="utf-8") as file:
            json.dump({"policies": [{"match": "p.*", "storage": "durable", "attempts_max": 2}]}, file)
        self.server.stop()
        self.server = self.broker(data_dir=self.directory, arguments=("--config", settings))
        self.send("p.1", "x")
        self.answer("channel-create", "channel", "create", "p.2", "--memory")
        self.answer("policy-set", "policy", "set", "p.*", "--durable", "--attempts-max", "3")
        self.assertIn("hidden", self.rows("policy-list", "policy", "list")[1])
        self.assertEqual(1, self.answer("policy-show", "policy", "show", "p.*")["refused"])
        self.assertEqual("p.2", self.answer("policy-apply", "policy", "apply", "p.*", code=9)["refusals"][0]["name"])
        self.assertIn("changed", self.answer("policy-set", "policy", "set", "r.*", "--ordered-by-key", "--apply", "--first"))
        self.assertEqual("configuration", self.answer("policy-delete", "policy", "delete", "p.*")["policy"]["origin"])
        self.assertNotIn("policy", self.answer("policy-delete", "policy", "delete", "r.*"))

    def test_backup_and_restore(self):
        self.send("c", "1", "2")
        copy = os.path.join(self.folder, "copy")
        self.answer("backup", "backup", copy)
        restored = self.answer("restore", "restore", copy, "--as", "c=again")
        self.assertEqual((1, 2), (restored["channels"], restored["messages"]))

    def test_bench(self):
        self.answer("bench-throughput", "bench", "throughput", "--duration", "100ms", "--warm-up", "0s", "--batch", "10")
        self.answer("bench-latency", "bench", "latency", "--duration", "100ms", "--warm-up", "0s", "--rate", "100")
        self.answer("bench-soak", "bench", "soak", "--duration", "200ms")


class ErrorsTest(JsonTest):
    def test_usage(self):
        for arguments in (("send",), ("frobnicate",), ("receive", "c", "-n", "0"), ("channel",), ("retry", "c"),
                          ("channel", "create", "q", "--fair-by", "tenant"), ("backup", "/"), ("peek", "c", "--state", "odd")):
            with self.subTest(arguments):
                self.assertFalse(self.error(2, "usage", *arguments)["retryable"])

    def test_what_is_not_there(self):
        self.answer("channel-create", "channel", "create", "t", "--kind", "topic")
        for arguments in (("channel", "show", "x"), ("channel", "delete", "x"), ("channel", "purge", "x"), ("peek", "x"),
                          ("explain", "x"), ("retry", "x", "--all"), ("drop", "x", "--all"), ("move", "x", "y", "--all"),
                          ("subscription", "list", "x"), ("subscription", "delete", "t", "x"), ("policy", "show", "x"),
                          ("policy", "apply", "x"), ("policy", "delete", "x")):
            with self.subTest(arguments):
                self.error(5, "not_found", *arguments)

    def test_refusals(self):
        self.answer("channel-create", "channel", "create", "t", "--kind", "topic")
        self.answer("channel-create", "channel", "create", "tiny", "--message-size-max", "10")
        error = self.error(7, "incompatible_options", "channel", "create", "t", "--kind", "queue")
        self.assertEqual({"kind": {"is": "topic", "wanted": "queue"}}, error["diff"])
        error = self.error(7, "incompatible_options", "channel", "create", "t", "--kind", "stream", "--memory")
        self.assertEqual({"kind": {"is": "topic", "wanted": "stream"}, "storage": {"is": "durable", "wanted": "memory"}},
                         error["diff"])
        self.error(7, "message_too_large", "send", "tiny", "12345678901")
        receiver = self.command(self.server, "receive", "t")
        eventually(lambda: self.answer("channel-show", "channel", "show", "t")["receivers"] == 1, "the receiver is there")
        self.error(7, "in_use", "channel", "delete", "t")
        receiver.process.terminate()
        copy = os.path.join(self.folder, "copy")
        self.send("c", "1")
        self.answer("backup", "backup", copy)
        self.error(7, "incompatible_options", "restore", copy)
        self.error(7, "bad_backup", "restore", self.folder)
        self.error(1, "cannot_read", "restore", os.path.join(self.folder, "nowhere"))

    def test_nobody_is_there(self):
        self.assertTrue(self.error(3, "cannot_connect", "--connect-timeout", "100ms", "ping",
                                   server="baton://127.0.0.1:1")["retryable"])
        self.error(3, "cannot_connect", "--connect-timeout", "100ms", "send", "c", "x", server="baton://127.0.0.1:1")

    def test_nothing_came(self):
        ended = self.expect_exit(6, self.server, "--output", "json", "receive", "c", "-n", "1", "--timeout", "10ms")
        self.assertEqual(b"", ended.stdout)
        for row in ended.stderr.splitlines():
            self.check("error" if b'"error"' in row else "notice", json.loads(row))


if __name__ == "__main__":
    unittest.main()
