"""The command `baton`: what it prints, where, in which form, and with which exit code. People script against this."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import unittest

import wire
from broker import DEADLINE, BrokerTest, clean_environment, each_shard_count, eventually, program


def lines(output):
    return output.split(b"\n")[:-1]


class CommandTest(BrokerTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker()

    def run_baton(self, code, *arguments, **options):
        return self.expect_exit(code, self.server, *arguments, **options)

    def received(self, channel="c"):
        """Everything that is in a channel."""
        output = self.run_baton(0, "receive", channel, "--until-empty", "--null").stdout
        return output.split(b"\0")[:-1]


class SendTest(CommandTest):
    def test_arguments_are_messages(self):
        ended = self.run_baton(0, "send", "c", "one", "two words", "")
        self.assertEqual((b"", b""), (ended.stdout, ended.stderr))
        self.assertEqual([b"one", b"two words", b""], self.received())

    def test_lines_of_stdin(self):
        self.run_baton(0, "send", "c", stdin=b"one\n\nthree\nwithout end")
        self.assertEqual([b"one", b"", b"three", b"without end"], self.received())

    def test_whole_stdin(self):
        body = bytes(range(1, 256)) * 5000
        self.run_baton(0, "send", "c", "--whole", stdin=body)
        self.run_baton(0, "send", "c", "--whole", stdin=b"")
        self.assertEqual([body, b""], self.received())

    def test_null_separated(self):
        self.run_baton(0, "send", "c", "--null", stdin=b"one\ntwo\0\0three\0")
        self.assertEqual([b"one\ntwo", b"", b"three"], self.received())

    def test_files_and_count(self):
        for name, text in (("a", b"file a"), ("b", bytes(range(256)))):
            with open(os.path.join(self.folder, name), "wb") as file:
                file.write(text)
        self.run_baton(0, "send", "c", "--file", self.folder + "/a", "--file", self.folder + "/b")
        self.assertEqual(b"file a\n" + bytes(range(256)) + b"\n", self.run_baton(0, "receive", "c", "-n", "2").stdout)
        self.run_baton(0, "send", "c", "again", "--count", "3")
        self.assertEqual([b"again"] * 3, self.received())
        missing = self.expect_exit(1, self.server, "send", "c", "--file", self.folder + "/missing")
        self.assertIn(b"/missing", missing.stderr)

    def test_jsonl(self):
        rows = [{"body": "plain"}, {"body": "größe", "key": "k", "headers": {"a": "b", "c": "d"}}, {"body": ""}]
        self.run_baton(0, "send", "c", "--jsonl", stdin="".join(json.dumps(row) + "\n" for row in rows).encode())
        output = self.run_baton(0, "receive", "c", "--until-empty", "--jsonl").stdout
        got = [json.loads(line) for line in lines(output)]
        self.assertEqual(["plain", "größe", ""], [row["body"] for row in got])
        self.assertEqual(("k", {"a": "b", "c": "d"}), (got[1]["key"], got[1]["headers"]))
        self.assertEqual([1, 2, 3], [row["offset"] for row in got])
        for row in got:
            self.assertEqual((1, False), (row["attempt"], row["redelivered"]))
            self.assertRegex(row["time"], r"^\d{4}-\d\d-\d\dT[\d:]+\.\d{6}Z$")
        self.expect_exit(2, self.server, "send", "c", "--jsonl", stdin=b"not json\n")

    def test_what_comes_before_bad_input_is_sent_and_counted(self):
        key = "k" * 70_000
        for bad, words in ((b"not json", b"line 3"), (json.dumps({"body": "x", "key": key}).encode(), b"more than 65535 bytes")):
            with self.subTest(words):
                ended = self.run_baton(9, "send", "c", "--jsonl", stdin=b'{"body":"1"}\n{"body":"2"}\n' + bad + b'\n{"body":"3"}\n')
                self.assertIn(words, ended.stderr)
                self.assertIn(b"; 2 messages before it were sent, nothing behind it", ended.stderr)
                self.assertEqual([b"1", b"2"], self.received())
        self.assertIn(b"more than 65535 bytes", self.run_baton(2, "send", "c", "x", "--key", key).stderr)

    def test_properties(self):
        self.run_baton(0, "send", "c", "x", "--key", "k1", "--header", "a=1", "--header", "b=x=y", "--content-type",
                       "text/plain", "--id", "id-7")
        (line,) = lines(self.run_baton(0, "receive", "c", "-n", "1", "--jsonl").stdout)
        row = json.loads(line)
        self.assertEqual(("k1", {"a": "1", "b": "x=y"}, "text/plain", "id-7"),
                         (row["key"], row["headers"], row["content_type"], row["id"]))

    def test_many_and_large_through_a_small_window(self):
        numbers = b"".join(b"%d\n" % number for number in range(20_000))
        self.run_baton(0, "send", "c", "--window", "10", stdin=numbers[:4_890])
        self.assertEqual(lines(numbers[:4_890]), self.received())
        self.run_baton(0, "send", "c", stdin=numbers)
        self.assertEqual(lines(numbers), self.received())
        large = os.urandom(5_000_000)
        self.run_baton(0, "send", "c", "--whole", stdin=large)
        self.assertEqual(large + b"\n", self.run_baton(0, "receive", "c", "-n", "1").stdout)

    def test_refused_messages(self):
        self.run_baton(0, "channel", "create", "tiny", "--max-message-size", "10")
        told = self.run_baton(7, "send", "tiny", "12345678901").stderr
        self.assertRegex(told, rb"1 of 1 message was refused: .*; see `baton channel create --max-message-size`, and "
                               rb"limits\.message_size_max of the broker \(--limits-message-size-max\)\n$")
        told = self.run_baton(2, "channel", "create", "huge", "--max-message-size", "1t").stderr
        self.assertIn(b"the most is limits.message_size_max of the broker", told)
        partly = self.run_baton(9, "--output", "json", "send", "tiny", "short", "12345678901")
        self.assertEqual("message_too_large", json.loads(partly.stderr)["error"]["code"])
        self.assertEqual([b"short"], self.received("tiny"))

    def test_blocked_by_a_full_channel_and_goes_on(self):
        self.run_baton(0, "channel", "create", "small", "--max-messages", "5")
        sender = self.command(self.server, "send", "small", *[str(number) for number in range(12)])
        watcher = self.peer(self.server)
        eventually(lambda: self.sender_wait(watcher) == "full", "the sender is blocked")
        self.assertEqual(5, watcher.show(b"small")["ready"])
        self.assertIsNone(sender.process.poll())
        text = self.run_baton(0, "channel", "show", "small").stdout
        self.assertRegex(text, rb"blocked: full for ")
        output = self.run_baton(0, "receive", "small", "-n", "12").stdout
        self.assertEqual([b"%d" % number for number in range(12)], lines(output))
        self.assertEqual(0, sender.wait())

    def sender_wait(self, watcher):
        reasons = [link["wait"]["reason"] for link in watcher.show(b"small")["links"] if link["role"] == "sender"]
        return reasons[0] if reasons else None

    def test_interrupted(self):
        self.run_baton(0, "channel", "create", "small", "--max-messages", "1")
        sender = self.command(self.server, "send", "small", "1", "2", "3")
        watcher = self.peer(self.server)
        eventually(lambda: self.sender_wait(watcher) == "full", "the sender is blocked")
        sender.process.send_signal(signal.SIGINT)
        self.assertIn(sender.wait(), (9, 130))

    def test_usage_errors(self):
        for arguments in ((), ("send",), ("frobnicate",), ("receive", "c", "-n", "0"), ("receive", "c", "-n", "x"),
                          ("receive", "c", "--timeout", "soon"), ("send", "c", "--window", "0"), ("send", "", "x"),
                          ("frobnicate", "--help"),
                          ("receive", "c", "--colour"), ("--output", "xml", "ping"), ("--url", "ftp://x", "ping"),
                          ("send", "c", "x", "--header", "novalue")):
            with self.subTest(arguments):
                ended = self.run_baton(2, *arguments)
                self.assertEqual(b"", ended.stdout)
                self.assertEqual(1, len(lines(ended.stderr)), ended.stderr)
                error = json.loads(self.run_baton(2, "--output", "json", *arguments).stderr)["error"] \
                    if "--output" not in arguments else {"code": "usage", "text": "x", "retryable": False}
                self.assertEqual({"code", "text", "retryable"}, set(error))
                self.assertFalse(error["retryable"])

    def test_a_password_in_a_url_is_not_shown(self):
        for url in ("baton://user:secret@host", "tcp://user:se@cret@host:1", "user:secret@host"):
            for arguments in (("ping",), ("channel", "list"), ("send", "c", "x"), ("receive", "c")):
                told = self.expect_exit(2, url, *arguments).stderr
                self.assertIn(b"user names and passwords in URLs are not supported", told)
                self.assertNotIn(b"cret", told)

    def test_a_list_is_no_line(self):
        self.run_baton(0, "send", "c", "1", "2")
        listed = self.run_baton(0, "--output", "json", "peek", "c").stdout
        self.assertIn(b"it is a JSON array, not an object: --output jsonl prints a message a line",
                      self.run_baton(2, "send", "d", "--jsonl", stdin=listed).stderr)

    def test_help_of_a_verb_names_the_global_options(self):
        for arguments in (("send",), ("channel",), ("channel", "create"), ("bench", "soak")):
            self.assertEqual(1, self.run_baton(0, *arguments, "--help").stdout.count(b"Global options (--url, --output, ...)"))
        self.assertNotIn(b"Global options (", self.run_baton(0, "manual").stdout)

    def test_errors_name_the_value_and_the_next_step(self):
        self.run_baton(0, "channel", "create", "t", "--kind", "topic")
        self.run_baton(0, "send", "q", "x")
        for code, words, arguments in (
                (2, (b"xml", b"text", b"json", b"jsonl"), ("--output", "xml", "ping")),
                (2, (b'"" is no name',), ("subscription", "create", "t", "")),
                (2, (b'"" is no name',), ("policy", "set", "", "--memory")),
                (5, (b'"s"', b"baton subscription list"), ("subscription", "delete", "t", "s")),
                (5, (b'"s"', b"baton subscription list"), ("peek", "t", "--subscription", "s")),
                (5, (b'"a*"', b"baton policy list"), ("policy", "delete", "a*")),
                (5, (b'"nope"', b"baton channel list"), ("peek", "nope")),
                (2, (b'--connect-timeout: "0s" leaves no time', b"1ms"), ("--connect-timeout", "0s", "ping")),
                (2, (b'--connect-timeout: "0s" leaves no time', b"1ms"), ("send", "q", "x", "--connect-timeout", "0")),
                (2, (b'"100000000000h" is too long', b"106751d"), ("--connect-timeout", "100000000000h", "ping")),
                (2, (b'"99999999999999999999s" is too long', b"106751d"), ("send", "q", "x", "--ttl", "99999999999999999999s")),
                (2, (b'--file: "" is no path: it is empty',), ("send", "q", "--file", "")),
                (2, (b'DIR: "" is no path: it is empty',), ("backup", "")),
                (2, (b'DIR: "" is no path: it is empty',), ("restore", "")),
                (2, (b"--as a=c", b'"a" is to be called "b" already'), ("restore", "/nowhere", "--as", "a=b", "--as", "a=c")),
                (2, (b'--duration "0s"', b"such as 5s"), ("bench", "soak", "--duration", "0s")),
                (7, (b"topics and streams",), ("receive", "q", "--subscription", "s")),
                (7, (b'begins at "new"',), ("receive", "t", "--from", "first"))):
            with self.subTest(arguments):
                text = self.run_baton(code, *arguments).stderr
                self.assertNotIn(b"\x01", text)
                for word in words:
                    self.assertIn(word, text)


class RefusedTest(CommandTest):
    """What would be a surprise later is refused before anything is taken."""

    def test_nothing_is_forwarded_or_moved_to_where_nobody_would_get_it(self):
        self.run_baton(0, "channel", "create", "t", "--kind", "topic")
        self.run_baton(0, "policy", "set", "made.*", "--kind", "topic", "--memory")
        self.run_baton(0, "send", "in", "1")
        for arguments in (("receive", "in", "-n", "1", "--forward", "t"), ("move", "in", "t"),
                          ("receive", "in", "-n", "1", "--forward", "made.here"),
                          ("receive", "in", "-n", "1", "--exec", "cat", "--forward", "t")):
            with self.subTest(arguments):
                self.assertRegex(self.run_baton(7, *arguments).stderr,
                                 rb"topic without subscriptions.*`baton subscription create")
                (row,) = json.loads(self.run_baton(0, "--output", "json", "peek", "in").stdout)
                self.assertEqual(("ready", 1), (row["state"], row["attempt"]))
        self.run_baton(0, "subscription", "create", "t", "s")
        self.run_baton(0, "receive", "in", "-n", "1", "--forward", "t")
        self.assertEqual(b"1\n", self.run_baton(0, "receive", "t", "--subscription", "s", "-n", "1").stdout)


    def test_what_has_no_effect_is_said(self):
        self.run_baton(0, "channel", "create", "t", "--kind", "stream")
        create = ("subscription", "create", "t", "s")
        self.assertEqual(b"", self.run_baton(0, *create, "--from", "first").stderr)
        self.assertEqual(b"", self.run_baton(0, *create).stderr)
        for arguments in ((*create, "--from", "new"),
                          ("receive", "t", "--subscription", "s", "--from", "first", "--until-empty")):
            told = self.run_baton(0, *arguments).stderr
            self.assertEqual(b'baton: the subscription "s" exists: it goes on where it is, --from has no effect\n', told)
        self.assertEqual(b"", self.run_baton(0, "receive", "t", "--subscription", "new", "--from", "first",
                                             "--until-empty").stderr)
        self.assertIn(b"--backlog-max", self.run_baton(0, *create, "--overflow", "drop-oldest").stderr)
        self.assertEqual(b"", self.run_baton(0, *create, "--overflow", "drop-oldest", "--backlog-max", "5").stderr)
        self.assertEqual(b"", self.run_baton(0, *create, "--overflow", "drop-newest").stderr)


    def test_words_that_help(self):
        self.run_baton(0, "send", "c", *[str(number) for number in range(11)])
        self.assertEqual(b"baton: there are more than 10: -n shows them\n", self.run_baton(0, "peek", "c").stderr)
        self.assertEqual(b"", self.run_baton(0, "peek", "c", "-n", "5").stderr)
        self.run_baton(0, "receive", "c", "-n", "1")
        self.assertEqual(b"", self.run_baton(0, "peek", "c").stderr)
        for arguments, told in ((("e", "-n", "2", "--timeout", "50ms"), b"0 of 2 messages came, and none for 50ms"),
                                (("e", "--timeout", "50ms"), b"no message came, and none for 50ms"),
                                (("e", "-n", "1", "--until-empty"), b'0 of 1 message came: "e" is empty')):
            self.assertEqual(b"baton: " + told + b"\n", self.run_baton(6, "receive", *arguments).stderr)
        self.assertIn(b'--messages-max (--max-messages): "0" is not a number of at least 1',
                      self.run_baton(2, "channel", "create", "c", "--max-messages", "0").stderr)
        self.run_baton(0, "channel", "create", "t", "--kind", "topic")
        receiver = self.command(self.server, "receive", "t", "--subscription", "s")
        watcher = self.peer(self.server)
        eventually(lambda: watcher.show(b"t")["receivers"] == 1, "it is attached")
        for arguments in (("channel", "delete", "t"), ("subscription", "delete", "t", "s")):
            self.assertEqual(1, self.run_baton(7, *arguments).stderr.count(b"force)"))
            self.assertEqual(2, self.run_baton(7, *arguments).stderr.count(b"force"))
        receiver.kill()


class ReceiveTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.watcher = self.peer(self.server)

    def send(self, *messages, channel="c"):
        self.run_baton(0, "send", channel, "--null", stdin=b"".join(message + b"\0" for message in messages))

    def test_blocks_until_something_comes(self):
        receiver = self.command(self.server, "receive", "c")
        eventually(lambda: self.has_receiver(), "the receiver is attached")
        self.send(b"one")
        self.assertEqual([b"one"], receiver.wait_lines(1))
        self.send(b"two")
        self.assertEqual([b"one", b"two"], receiver.wait_lines(2))
        eventually(lambda: self.watcher.show(b"c")["settled"] == 2, "both are acked")
        receiver.process.send_signal(signal.SIGINT)
        self.assertEqual(130, receiver.wait())

    def has_receiver(self, channel=b"c"):
        reply = self.watcher.admin("channel.show", channel)
        return reply["ok"] and reply["channel"]["receivers"] > 0

    def test_count_takes_no_more_than_it_prints(self):
        self.send(*[b"%d" % number for number in range(10)])
        self.assertEqual(b"0\n1\n2\n", self.run_baton(0, "receive", "c", "-n", "3").stdout)
        shown = self.watcher.show(b"c")
        self.assertEqual((7, 0, 3), (shown["ready"], shown["in_flight"], shown["settled"]))
        self.assertEqual(1, self.watcher.admin("channel.peek", b"c")["messages"][0]["attempt"])

    def test_timeout(self):
        self.assertEqual(b"", self.run_baton(6, "receive", "c", "--timeout", "50ms").stdout)
        self.send(b"one")
        self.assertEqual(b"one\n", self.run_baton(6, "receive", "c", "-n", "2", "--timeout", "100ms").stdout)
        self.send(b"two")
        self.assertEqual(b"two\n", self.run_baton(0, "receive", "c", "--timeout", "100ms").stdout)

    def test_until_empty(self):
        self.assertEqual(b"", self.run_baton(0, "receive", "c", "--until-empty").stdout)
        self.send(*[b"%d" % number for number in range(3000)])
        output = self.run_baton(0, "receive", "c", "--until-empty").stdout
        self.assertEqual([b"%d" % number for number in range(3000)], lines(output))
        self.assertEqual(3000, self.watcher.show(b"c")["settled"])

    def test_jsonl_of_bodies_that_are_not_text(self):
        self.send(b"\xff\xfe")
        (line,) = lines(self.run_baton(0, "receive", "c", "-n", "1", "--jsonl").stdout)
        self.assertEqual("//4=", json.loads(line)["body_base64"])

    def test_jsonl_of_durations_that_are_longer_than_ours(self):
        peer = self.peer(self.server)
        peer.attach_sender(1, b"c")
        peer.publish(1, 1, b"x", properties=b"\x03\x08\x00" + (2 ** 63 - 1).to_bytes(8, "little"))
        peer.confirmed(1, 1)
        line = self.run_baton(0, "receive", "c", "-n", "1", "--jsonl").stdout
        self.assertEqual("9223372036854775us", json.loads(line)["ttl"])
        self.run_baton(0, "send", "c", "--jsonl", stdin=line)

    def test_what_is_printed_as_json_is_the_same_message_when_it_is_sent_again(self):
        def text(number, value):
            return bytes([number]) + len(value).to_bytes(2, "little") + value
        header = (2).to_bytes(2, "little") + b"h\xff" + b"\xfe\x00"
        block = b"".join([text(1, b"k\xff"), text(5, b"\xfd"), text(6, b"r%\xfc"), text(7, b"\xfb"), text(8, b"00-\xfa"),
                          text(9, header), text(9, (1).to_bytes(2, "little") + b"a" + "größe".encode()), text(10, b"\xf9")])
        peer = self.peer(self.server)
        peer.attach_sender(1, b"c")
        peer.publish(1, 1, b"x", properties=block)
        peer.confirmed(1, 1)
        peeked = self.run_baton(0, "--output", "jsonl", "peek", "c").stdout
        received = self.run_baton(0, "receive", "c", "-n", "1", "--jsonl").stdout
        for line, properties in ((peeked, json.loads(peeked)["properties"]), (received, json.loads(received))):
            self.assertEqual(("k%FF", "a/8="), (properties["key"], properties["key_base64"]))
            self.assertEqual({"h%FF": "%FE%00", "a": "größe"}, properties["headers"])
            self.run_baton(0, "send", "again", "--jsonl", stdin=line)
            got = json.loads(self.run_baton(0, "receive", "again", "-n", "1", "--jsonl").stdout)
            for key in ("key", "content_type", "reply_to", "correlation_id", "trace_context", "id"):
                self.assertEqual(properties[key + "_base64"], got[key + "_base64"], key)
            self.assertEqual(properties["headers_base64"], got["headers_base64"])

    def test_head_takes_one(self):
        """`baton receive | head -1`: what was not written is not acked."""
        self.send(*[b"line %d " % number + b"x" * 10_000 for number in range(200)])
        pipeline = subprocess.run(["/bin/sh", "-c", '"$0" --url "$1" receive c | head -1', program("BATON"), self.server.url],
                                  capture_output=True, timeout=DEADLINE, env=clean_environment(), check=False)
        self.assertTrue(pipeline.stdout.startswith(b"line 0 "))
        self.assertEqual((0, b""), (pipeline.returncode, pipeline.stderr), "it ends quietly")
        shown = eventually(lambda: (channel := self.watcher.show(b"c"))["in_flight"] == 0 and channel, "the rest is back")
        self.assertEqual(200, shown["ready"] + shown["settled"])
        self.assertGreaterEqual(shown["settled"], 1)
        self.assertLess(shown["settled"], 20, "at most what the pipe holds was written")
        # The next receiver continues, with nothing in between lost.
        first = self.run_baton(0, "receive", "c", "-n", "1").stdout
        self.assertTrue(first.startswith(b"line %d " % shown["settled"]), first[:20])

    def test_ends_when_the_reader_of_its_output_is_gone_and_nothing_comes(self):
        receiver = self.command(self.server, "receive", "c", stdout=subprocess.PIPE)
        self.send(b"one")
        receiver.wait_lines(1)
        pipeline = subprocess.Popen([program("BATON"), "--url", self.server.url, "receive", "idle"],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment())
        self.addCleanup(pipeline.kill)
        eventually(lambda: self.has_receiver(b"idle"), "it is attached")
        pipeline.stdout.close()
        self.assertEqual(0, pipeline.wait(DEADLINE))

    def test_standard_streams_that_are_closed(self):
        """What is opened next takes their numbers: it must not be taken for them."""
        def run(redirection, *arguments):
            script = f'exec "$0" --url "$1" "${{@:2}}" {redirection}'
            return subprocess.run(["/bin/bash", "-c", script, program("BATON"), self.server.url, *arguments],
                                  capture_output=True, timeout=DEADLINE, env=clean_environment(), check=False)

        self.send(b"one")
        for redirection, arguments in (("<&-", ("send", "c")), (">&-", ("ping",)), (">&-", ("receive", "c", "-n", "1"))):
            with self.subTest(redirection, arguments=arguments):
                ended = run(redirection, *arguments)
                self.assertEqual((1, b""), (ended.returncode, ended.stdout))
                self.assertRegex(ended.stderr, rb"Bad file descriptor\n$")
        self.assertEqual(0, run("<&- >&- 2>&-", "send", "c", "two").returncode, "it needs none of them")
        shown = self.watcher.show(b"c")
        self.assertEqual((2, 0), (shown["stored"], shown["settled"]))

    def test_help_that_cannot_be_written_is_no_success(self):
        for words in (("--help",), ("--version",), ("send", "--help"), ("channel", "create", "--help"),
                      ("--help", "--output", "json")):
            with self.subTest(words):
                with open("/dev/full", "wb") as full:
                    ended = subprocess.run([program("BATON"), *words], stdout=full, stderr=subprocess.PIPE,
                                           env=clean_environment(), check=False)
                self.assertEqual(1, ended.returncode)
                self.assertIn(b"cannot write to stdout: No space left on device", ended.stderr)
                ended = subprocess.run(["/bin/bash", "-c", 'exec "$0" "$@" >&-', program("BATON"), *words],
                                       capture_output=True, env=clean_environment(), check=False)
                self.assertEqual(1, ended.returncode)
                self.assertIn(b"cannot write to stdout: Bad file descriptor", ended.stderr)

    def test_a_reader_that_has_seen_enough(self):
        self.send(*[b"%d" % number for number in range(30_000)])
        for form in ("text", "json", "jsonl"):
            pipeline = subprocess.run(["/bin/bash", "-c", '"$0" --url "$1" --output "$2" peek c -n 30000 | head -c 1; '
                                       'exit ${PIPESTATUS[0]}', program("BATON"), self.server.url, form],
                                      capture_output=True, timeout=DEADLINE, env=clean_environment(), check=False)
            self.assertEqual((0, b""), (pipeline.returncode, pipeline.stderr), form)

    def test_exec(self):
        self.send(b"good", b"bad", b"good too")
        log = os.path.join(self.folder, "log")
        script = f'read -r line; echo "$line" >> {log}; [ "$line" != bad ] || [ "$(grep -c bad {log})" -ge 2 ]'
        self.run_baton(0, "receive", "c", "-n", "4", "--exec", script)
        with open(log, encoding="utf-8") as file:
            attempts = file.read().split("\n")[:-1]
        self.assertEqual(["good", "bad", "good too", "bad"], attempts, "what fails waits for the back-off")
        shown = self.watcher.show(b"c")
        self.assertEqual((0, 3), (shown["ready"], shown["settled"]))

    def start_exec(self, command, channel="c", has_reader=True):
        """`receive --exec` into a pipe, and the end of it that reads."""
        reader, writer = os.pipe()
        if not has_reader:
            os.close(reader)
        receiver = subprocess.Popen([program("BATON"), "--url", self.server.url, "receive", channel, "--exec", command],
                                    stdout=writer, stderr=subprocess.PIPE, env=clean_environment())
        os.close(writer)

        def end():
            receiver.terminate()  # Not killed: it ends its command first.
            receiver.communicate(timeout=DEADLINE)
        self.addCleanup(end)
        return receiver, reader

    def assert_untouched(self, count, first_attempt):
        shown = eventually(lambda: (channel := self.watcher.show(b"c"))["in_flight"] == 0 and channel, "all are back")
        self.assertEqual((count, 0, 0, 0), tuple(shown[key] for key in ("ready", "delayed", "quarantined", "settled")))
        messages = self.watcher.admin("channel.peek", b"c")["messages"]
        self.assertEqual([first_attempt] + [1] * (count - 1), [message["attempt"] for message in messages])

    def test_exec_ends_when_nobody_reads_what_the_command_writes(self):
        """It would die of SIGPIPE, message after message, until all of them are quarantined."""
        self.run_baton(0, "channel", "create", "c", "--attempts-max", "2", "--retry-first", "0")
        self.send(b"1", b"2", b"3")
        receiver, _ = self.start_exec("cat", has_reader=False)
        self.assertEqual((0, b""), (receiver.wait(DEADLINE), receiver.stderr.read()), "it ends quietly")
        self.assert_untouched(3, first_attempt=1)
        closed = subprocess.run(["/bin/sh", "-c", '"$0" --url "$1" receive c --exec cat --until-empty >&-', program("BATON"),
                                 self.server.url], capture_output=True, timeout=DEADLINE, env=clean_environment(), check=False)
        self.assertEqual((1, b"baton: cannot write to stdout: Bad file descriptor\n"), (closed.returncode, closed.stderr))
        self.assert_untouched(3, first_attempt=1)

    def test_what_a_command_cannot_write_is_not_its_fault(self):
        """The reader leaves while the command runs."""
        self.run_baton(0, "channel", "create", "c", "--attempts-max", "2", "--retry-first", "0")
        self.send(b"1", b"2", b"3")
        gate = os.path.join(self.folder, "gate")
        os.mkfifo(gate)
        receiver, reader = self.start_exec(f"read -r go < {gate}; cat")
        with open(gate, "wb") as command:  # It runs now.
            os.close(reader)
            command.write(b"\n")
        self.assertEqual((0, b""), (receiver.wait(DEADLINE), receiver.stderr.read()))
        self.assert_untouched(3, first_attempt=2)

    def test_exec_ends_when_the_reader_leaves_and_nothing_comes(self):
        receiver, reader = self.start_exec("cat", channel="idle")
        eventually(lambda: self.has_receiver(b"idle"), "it is attached")
        os.close(reader)
        self.assertEqual((0, b""), (receiver.wait(DEADLINE), receiver.stderr.read()))

    def test_a_command_that_runs_outlives_the_reader(self):
        self.send(b"1")
        gate = os.path.join(self.folder, "gate")
        os.mkfifo(gate)
        receiver, reader = self.start_exec(f"read -r go < {gate}")
        with open(gate, "wb") as command:
            os.close(reader)
            command.write(b"\n")
        self.assertEqual((0, b""), (receiver.wait(DEADLINE), receiver.stderr.read()))
        self.assertEqual(1, self.watcher.show(b"c")["settled"], "it wrote nothing, and its work is done")

    def test_interrupted_while_the_broker_does_not_answer(self):
        """Only who has acked something has anything to be told."""
        self.send(b"one")
        idle = self.command(self.server, "receive", "idle")
        busy = self.command(self.server, "receive", "c")
        busy.wait_lines(1)
        eventually(lambda: self.has_receiver(b"idle"), "it is attached")
        self.server.send_signal(signal.SIGSTOP)
        self.addCleanup(self.server.send_signal, signal.SIGCONT)
        for receiver in (idle, busy):
            receiver.process.send_signal(signal.SIGINT)
        self.assertEqual((130, []), (idle.wait(), idle.complaints))
        self.assertEqual(130, busy.wait())
        self.assertEqual([b"baton: the broker did not confirm the last acks: these messages may come again"], busy.complaints)

    def test_a_terminal_that_is_closed_ends_the_command_and_gives_the_message_back(self):
        self.send(b"one")
        pid_file = os.path.join(self.folder, "pid")
        receiver = self.command(self.server, "receive", "c", "--exec", f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; "
                                "exec sleep 600")
        eventually(lambda: os.path.exists(pid_file), "the command runs")
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
        receiver.process.send_signal(signal.SIGHUP)
        receiver.process.send_signal(signal.SIGHUP)
        self.assertEqual(130, receiver.wait())
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)
        self.assertEqual(1, self.watcher.show(b"c")["ready"])

    def test_progress_of_slow_work(self):
        self.send(*[b"%d" % number for number in range(4)])
        ours, theirs = pty.openpty()
        receiver = subprocess.Popen([program("BATON"), "--url", self.server.url, "receive", "c", "-n", "4", "--exec", "sleep 0.5"],
                                    stdout=subprocess.DEVNULL, stderr=theirs, env=clean_environment())
        os.close(theirs)
        self.addCleanup(receiver.kill)
        told = b""
        try:
            while piece := os.read(ours, 4096):
                told += piece
        except OSError:  # The other end is closed.
            pass
        os.close(ours)
        self.assertEqual(0, receiver.wait(DEADLINE))
        self.assertRegex(told, rb"[23] received, \d+/s, [57][05]%")

    def test_a_full_disk_takes_no_attempt_of_what_was_not_tried(self):
        self.send(*[b"%d" % number for number in range(5)])
        for _ in range(2):
            with open("/dev/full", "wb") as full:
                receiver = self.command(self.server, "receive", "c", "--until-empty", stdout=full)
                self.assertEqual(1, receiver.wait())
                self.assertEqual([b"baton: cannot write to stdout: No space left on device"], receiver.complaints)
        eventually(lambda: self.watcher.show(b"c")["ready"] == 5, "all are back, without a back-off")
        messages = self.watcher.admin("channel.peek", b"c")["messages"]
        self.assertEqual([3, 1, 1, 1, 1], [message["attempt"] for message in messages])

    def test_nohup(self):
        receiver = subprocess.Popen(["/bin/sh", "-c", "trap '' HUP; exec \"$0\" --url \"$1\" receive c -n 1", program("BATON"),
                                     self.server.url], stdout=subprocess.PIPE, env=clean_environment())
        self.addCleanup(receiver.kill)
        eventually(lambda: self.has_receiver(), "the receiver is attached")
        receiver.send_signal(signal.SIGHUP)
        self.send(b"one")
        self.assertEqual(b"one\n", receiver.communicate(timeout=DEADLINE)[0])
        self.assertEqual(0, receiver.returncode)

    def test_ack_none(self):
        self.send(b"one")
        self.assertEqual(b"one\n", self.run_baton(0, "receive", "c", "-n", "1", "--ack", "none").stdout)
        self.assertEqual(1, self.watcher.show(b"c")["settled"])

    def test_deleted_while_receiving(self):
        receiver = self.command(self.server, "receive", "c")
        eventually(lambda: self.has_receiver(), "the receiver is attached")
        self.assertIn(b"--force", self.run_baton(7, "channel", "delete", "c").stderr)
        self.run_baton(0, "channel", "delete", "c", "--force")
        self.assertNotEqual(0, receiver.wait())
        self.assertIn(b"deleted", b"".join(receiver.complaints))


@each_shard_count()
class ChannelTest(CommandTest):
    def output(self, *arguments):
        return json.loads(self.run_baton(0, "--output", "json", *arguments).stdout)

    def test_create_is_make_it_so(self):
        self.assertTrue(self.output("channel", "create", "c", "--max-messages", "7")["created"])
        again = self.output("channel", "create", "c", "--max-messages", "9", "--max-bytes", "1m", "--memory")
        self.assertEqual((False, True), (again["created"], again["changed"]))
        self.assertEqual(b"c: exists, queue, memory, at most 9 messages, 1m in all, 64m each\n",
                         self.run_baton(0, "channel", "create", "c", "--max-messages", "9").stdout)
        self.assertEqual(b"c: changed, queue, memory, at most 9 messages, 1m in all, 64m each; overflow reject, lease 5s\n",
                         self.run_baton(0, "channel", "create", "c", "--lease", "5s", "--overflow", "reject").stdout)
        for arguments in (("channel", "create", "c"), ("policy", "set", "x")):
            self.assertIn(b'"1h" is longer than --retry-max "1s"',
                          self.run_baton(2, *arguments, "--retry-first", "1h", "--retry-max", "1s").stderr)
        self.assertEqual("bad_request", self.peer(self.server).admin("channel.create", b"c", retry_first_ms=2,
                                                                     retry_max_ms=1)["error"]["code"])
        self.assertEqual(3_600_000, self.output("channel", "create", "c", "--retry-first", "1h")["channel"]["retry_max_ms"])
        shown = self.output("channel", "show", "c")
        self.assertEqual((9, 1 << 20), (shown["messages_max"], shown["bytes_max"]))
        self.assertIn(b"at most 9 messages", self.run_baton(0, "channel", "show", "c").stdout)

    def test_list_is_ordered(self):
        names = ["b", "a", "with space", "größe", "z%FF"]
        for name in names:
            self.run_baton(0, "channel", "create", name)
        listed = [channel["name"] for channel in self.output("channel", "list")]
        self.assertEqual(sorted(names, key=lambda name: name.encode()), listed)
        text = self.run_baton(0, "channel", "list").stdout.decode()
        self.assertEqual(1, len({row.index(" memory ") for row in text.splitlines()[1:]}), "a column is a column")
        for name in names:
            self.assertIn(name, text)
        each = lines(self.run_baton(0, "--output", "jsonl", "channel", "list").stdout)
        self.assertEqual(listed, [json.loads(line)["name"] for line in each])

    def test_names_of_any_bytes_have_a_text_form(self):
        self.run_baton(0, "send", "%00%FF%0A", "strange")
        peer = self.peer(self.server)
        peer.attach_receiver(1, b"\x00\xff\n")
        self.assertEqual(b"strange", peer.deliveries(1, 1)[0].body)

    def test_purge_and_delete(self):
        self.run_baton(0, "send", "c", "1", "2", "3")
        self.assertEqual(3, self.output("channel", "purge", "c")["messages"])
        self.run_baton(0, "send", "c", "4")
        self.assertEqual(1, self.output("channel", "delete", "c")["messages"])
        for verb in ("show", "purge", "delete"):
            self.assertIn(b'"c"', self.run_baton(5, "channel", verb, "c").stderr)
        error = json.loads(self.run_baton(5, "--output", "json", "channel", "show", "c").stderr)["error"]
        self.assertEqual(("not_found", False), (error["code"], error["retryable"]))

    def test_peek_has_no_side_effect(self):
        self.run_baton(5, "peek", "c")
        self.run_baton(0, "send", "c", "one", "two", "three")
        before = self.output("channel", "show", "c")
        for _ in range(2):
            self.assertEqual(b"one\ntwo\n", self.run_baton(0, "peek", "c", "-n", "2").stdout)
        self.assertEqual(["one", "two", "three"], [message["body"] for message in self.output("peek", "c")])
        after = self.output("channel", "show", "c")
        for key in ("ready", "in_flight", "delivered", "settled", "redelivered", "receivers"):
            self.assertEqual(before[key], after[key], key)
        holder = self.peer(self.server)
        holder.attach_receiver(1, b"c", credit=(1, 1000))
        holder.deliveries(1, 1)
        self.assertEqual(b"one\n", self.run_baton(0, "peek", "c", "--state", "in-flight").stdout)
        self.assertEqual(b"two\nthree\n", self.run_baton(0, "peek", "c", "--state", "ready").stdout)

    def test_what_is_quarantined_is_explained(self):
        self.run_baton(0, "send", "c", "x")
        self.run_baton(0, "receive", "c", "-n", "1", "--exec", "exit 65")
        text = self.run_baton(0, "explain", "c").stdout
        self.assertRegex(text, rb"^1 message is quarantined: `baton peek c --state quarantined`")
        self.assertNotIn(b"nobody waits", text)
        (row,) = self.output("channel", "list")
        self.assertEqual((0, 0, 1), (row["ready"], row["delayed"], row["quarantined"]))
        self.run_baton(0, "drop", "c", "1")
        self.assertEqual(b"nobody waits\n", self.run_baton(0, "explain", "c").stdout)
        for arguments in (("c", "1"), ("c", "2")):
            self.assertIn(b"there is no message", self.run_baton(5, "explain", *arguments).stderr)
        self.run_baton(0, "channel", "create", "t", "--kind", "topic")
        self.run_baton(0, "subscription", "create", "t", "50%25")
        self.run_baton(0, "send", "t", "x")
        self.assertIn(b"message 1 is ready", self.run_baton(0, "explain", "t", "1", "--subscription", "50%25").stdout)
        self.assertIn(b"message 1 is ready", self.run_baton(0, "explain", "t", "1", "--subscription", "50%").stdout)

    def test_it_is_explained_what_a_message_behind_a_busy_key_waits_for(self):
        self.run_baton(0, "channel", "create", "c", "--ordered-by-key")
        holder = self.peer(self.server)
        holder.attach_receiver(1, b"c", credit=(5, 1000))
        self.run_baton(0, "send", "c", "--key", "k", "one", "two")
        holder.deliveries(1, 1)
        self.assertIn(b"message 2 is ready: an earlier message with the same key has to be settled first",
                      self.run_baton(0, "explain", "c", "2").stdout)
        holder.detach(1)
        self.assertRegex(self.run_baton(0, "explain", "c", "1").stdout,
                         rb"message 1 is ready: nobody is attached: start a receiver \(for \d+\.\d s\)")

    def test_it_is_explained_which_subscription_holds_up_a_sender(self):
        self.run_baton(0, "channel", "create", "t", "--kind", "topic")
        self.run_baton(0, "subscription", "create", "t", "slow", "--backlog-max", "1")
        self.run_baton(0, "send", "t", "one", "two")
        sender = self.peer(self.server)
        sender.attach_sender(1, b"t")
        waiting = rb"sender \(session \d+, link 1\) subscription \"slow\" has as many ready messages as its backlog_max allows"
        eventually(lambda: re.search(waiting, self.run_baton(0, "explain", "t").stdout), "it is named")

    def test_name_too_long(self):
        self.run_baton(0, "channel", "create", "n" * 255)
        for arguments in (("channel", "create", "n" * 256), ("send", "n" * 256, "x")):
            self.assertIn(self.baton(self.server, *arguments).returncode, (2, 7))


class ConnectTest(BrokerTest):
    def unused_url(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return f"baton://127.0.0.1:{sock.getsockname()[1]}"

    def test_nobody_there(self):
        url = self.unused_url()
        for arguments in (("send", "c", "x"), ("receive", "c"), ("ping",), ("channel", "list"), ("peek", "c")):
            with self.subTest(arguments):
                ended = self.expect_exit(3, url, "--connect-timeout", "200ms", *arguments)
                self.assertIn(url.encode(), ended.stderr)
                error = json.loads(lines(self.expect_exit(3, url, "--connect-timeout", "200ms", "--output", "json",
                                                          *arguments).stderr)[-1])["error"]
                self.assertEqual("cannot_connect", error["code"])
        ended = self.expect_exit(3, f"baton+unix://{self.folder}/none.sock", "--connect-timeout", "200ms", "ping")
        self.assertIn(b"none.sock", ended.stderr)

    def test_says_once_that_it_waits(self):
        ended = self.expect_exit(3, self.unused_url(), "--connect-timeout", "1s", "send", "c", "x")
        self.assertEqual(1, ended.stderr.count(b"waiting for the broker"))
        ended = self.expect_exit(3, self.unused_url(), "--quiet", "--connect-timeout", "200ms", "send", "c", "x")
        self.assertNotIn(b"waiting", ended.stderr)

    def test_started_before_the_broker(self):
        path = f"{self.folder}/late.sock"
        sender = self.command(f"baton+unix://{path}", "send", "c", "early")
        receiver = self.command(f"baton+unix://{path}", "receive", "c", "-n", "1")
        eventually(lambda: sender.complaints and receiver.complaints, "both say that they wait")
        self.broker(listen=(f"unix://{path}",))
        self.assertEqual((0, 0), (sender.wait(), receiver.wait()))
        self.assertEqual([b"early"], receiver.lines)

    def test_a_broker_that_has_enough_connections(self):
        server = self.broker(limits_connections_max=1)
        peer = self.peer(server)
        for arguments in (("ping",), ("channel", "list"), ("send", "c", "x")):
            told = self.expect_exit(3, server, "--connect-timeout", "200ms", *arguments).stderr
            self.assertRegex(told, rb"; close some of them, or raise limits\.connections_max of the broker .*\n$")
            self.assertNotIn(b"is batond running there", told)
        peer.ping()

    def test_ping(self):
        server = self.broker()
        self.assertRegex(self.expect_exit(0, server, "ping").stdout, rb"answered in [\d.]+ ms")
        self.assertIn("round_trip_us", json.loads(self.expect_exit(0, server, "--output", "json", "ping").stdout))

    def test_interrupted_while_waiting(self):
        command = self.command(self.unused_url(), "send", "c", "x")
        eventually(lambda: command.complaints, "it says that it waits")
        command.process.send_signal(signal.SIGINT)
        self.assertEqual(130, command.wait())
        self.assertRegex(command.complaints[-1], rb"interrupted: nothing was sent, baton://[\d.:]+ was not reached$")

    def test_a_broker_that_accepts_and_does_not_answer(self):
        server = self.broker()
        server.send_signal(signal.SIGSTOP)
        self.addCleanup(server.send_signal, signal.SIGCONT)
        for arguments in (("ping",), ("send", "c", "x"), ("receive", "c"), ("channel", "list")):
            with self.subTest(arguments):
                told = self.expect_exit(3, server, "--connect-timeout", "300ms", *arguments).stderr
                self.assertIn(b"it accepts connections but does not answer; is it stopped or overloaded?", told)
                self.assertEqual(1, len(lines(told)), told)

    def test_something_else_listens_there(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        url = f"baton://127.0.0.1:{listener.getsockname()[1]}"
        command = self.command(url, "--connect-timeout", "500ms", "ping")
        sock, _ = listener.accept()
        sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.addCleanup(sock.close)
        self.assertIn(command.wait(), (1, 3, 10))
        self.assertTrue(command.complaints)

    def listener(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        return listener, f"baton://127.0.0.1:{listener.getsockname()[1]}"

    def played(self, arguments, draining=False, answers=None):
        """A command that talks to a broker which is played. The command when it has ended."""
        listener, url = self.listener()
        command = self.command(url, *arguments)
        self.play(listener, {op: lambda sequence, reply=reply: [(sequence, reply)] for op, reply in (answers or {}).items()},
                  draining)
        command.wait()
        return command

    def play(self, listener, answers, draining=False):
        """A broker for one connection: it greets, answers PING, and ADMIN with what these say of its sequence by its operation (a
        list of sequences and replies), and takes no more."""
        sock, _ = listener.accept()
        self.addCleanup(sock.close)
        sock.settimeout(DEADLINE)
        self.assertEqual(wire.MAGIC + bytes([1, 1, 0, 0]), sock.recv(8, socket.MSG_WAITALL))
        welcome = {"agent": "played", "session": 1, "heartbeat_ms": 10_000, "frame_size_max": 262_144,
                   "fragment_size_max": 65_536, "message_size_max": 1_000, "links_max": 10, "channel_name_size_max": 255,
                   "features": [], "draining": draining, "time_us": 1}
        sock.sendall(wire.MAGIC + bytes([1, 1, 1, 0]) + wire.encode_frame(wire.WELCOME, body=json.dumps(welcome).encode()))
        while header := sock.recv(wire.HEADER.size, socket.MSG_WAITALL):
            length, kind, _, _, sequence = wire.HEADER.unpack(header)
            body = sock.recv(length, socket.MSG_WAITALL) if length else b""
            if kind == wire.PING:
                sock.sendall(wire.encode_frame(wire.PONG, sequence=sequence))
            elif kind == wire.ADMIN:
                answer = answers[json.loads(body[4 + int.from_bytes(body[:2], "little"):])["op"]]
                for asked, reply in answer(sequence):
                    sock.sendall(wire.encode_frame(wire.ADMIN_REPLY, sequence=asked, body=json.dumps(reply).encode()))

    def test_a_long_move_says_on_a_terminal_how_far_it_is(self):
        """The broker answers it when it is done; meanwhile its counter is looked at."""
        moving, shown = [], []

        def move(sequence):
            moving.append(sequence)
            return []

        def show(sequence):
            shown.append(sequence)
            channel = {"ready": 3000, "delayed": 500, "quarantined": 500, "moved": 7 + 1000 * (len(shown) - 1)}
            done = [(moving[0], {"ok": True, "messages": 4000})] if len(shown) == 5 else []
            return [(sequence, {"ok": True, "channel": channel})] + done

        listener, url = self.listener()
        ours, theirs = pty.openpty()
        mover = subprocess.Popen([program("BATON"), "--url", url, "move", "a", "b"], stdout=subprocess.PIPE, stderr=theirs,
                                 env=clean_environment())
        os.close(theirs)
        self.addCleanup(mover.kill)
        broker = threading.Thread(target=self.play, args=(listener, {"channel.show": show, "channel.move": move}), daemon=True)
        broker.start()
        self.assertEqual((b"4000 messages moved\n", None), mover.communicate(timeout=DEADLINE))
        told = os.read(ours, 4096)
        os.close(ours)
        self.assertRegex(told, rb"[23]000 moved, \d+/s, (50|75)%, ")

    def test_a_draining_broker_is_unhealthy(self):
        """A real one takes no new connections by then; one behind a proxy may. So this one is played."""
        command = self.played(("--output", "json", "ping"), draining=True)
        self.assertEqual(10, command.wait())
        error = json.loads(command.complaints[-1])["error"]
        self.assertIn(error["code"], ("not_ready", "draining"))
        self.assertTrue(error["retryable"])

    def test_a_degraded_broker_is_unhealthy_and_says_why(self):
        shown = {"ok": True, "health": "degraded", "problems": ["the disk is full", "channel jobs is damaged"]}
        command = self.played(("ping",), answers={"broker.show": shown})
        self.assertEqual((10, []), (command.wait(), command.lines))
        self.assertRegex(b"".join(command.complaints), rb"is degraded: the disk is full; channel jobs is damaged$")
        command = self.played(("ping", "--output", "json"), answers={"broker.show": shown})
        self.assertEqual("degraded", json.loads(command.complaints[-1])["error"]["code"])

    def test_a_broker_that_says_nothing_of_its_health_is_in_health(self):
        for shown in ({"ok": True}, {"ok": True, "health": "ok", "problems": []}):
            command = self.played(("ping",), answers={"broker.show": shown})
            self.assertEqual((0, []), (command.wait(), command.complaints))
            self.assertRegex(command.lines[0], rb"answered in [\d.]+ ms$")
        error = {"code": "internal", "text": "no idea", "retryable": True}
        command = self.played(("ping",), answers={"broker.show": {"ok": False, "error": error}})
        self.assertEqual(10, command.wait())


if __name__ == "__main__":
    unittest.main()
