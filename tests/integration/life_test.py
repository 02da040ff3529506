"""The life of messages as the command `baton` sees it: time to live, delay, priority, retry and quarantine, leases, topics
and streams, and the settings of a channel. First against a broker that is played here and notes what it is asked, then
against the real one."""

import datetime
import json
import os
import signal
import socket
import struct
import threading
import time
import unittest

import wire
from broker import DEADLINE, BrokerTest, each_shard_count, eventually

SETTLE_NOTE = 1
RETRY, REJECT = 3, 4
BACK_OFF = 0xFFFFFFFF


def lines(output):
    return output.split(b"\n")[:-1]


def rows(output):
    return [json.loads(line) for line in lines(output)]


class PlayedBroker:
    """Greets, answers PING, attaches whoever comes, gives a receiver the messages of `bodies`, and ADMIN these `answers`
    by operation, or what they make of its arguments. Keeps what it was told: `asked` (operation, name, arguments),
    `attached` (options), `settled` (offset, outcome, argument, note), `published` (batches)."""

    def __init__(self, answers=None, bodies=(), lease_ms=30_000):
        self.answers, self.bodies = answers or {}, bodies
        self.terms = json.dumps({"kind": "queue", "lease_ms": lease_ms, "lease_max_ms": 60_000}).encode()
        self.asked, self.attached, self.settled, self.published = [], [], [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"baton://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        self.sock, _ = self.listener.accept()
        self.sock.settimeout(DEADLINE)
        self.sock.recv(8, socket.MSG_WAITALL)
        welcome = {"agent": "played", "session": 1, "heartbeat_ms": 10_000, "frame_size_max": 262_144,
                   "fragment_size_max": 65_536, "message_size_max": 1_000, "links_max": 10, "channel_name_size_max": 255,
                   "features": [], "draining": False, "time_us": 1}
        self.sock.sendall(wire.MAGIC + bytes([1, 1, 1, 0]))
        self.send(wire.WELCOME, body=json.dumps(welcome).encode())
        while header := self.sock.recv(wire.HEADER.size, socket.MSG_WAITALL):
            length, kind, flags, link, sequence = wire.HEADER.unpack(header)
            body = self.sock.recv(length, socket.MSG_WAITALL) if length else b""
            self.on_frame(kind, flags, link, sequence, body)
        self.sock.close()

    def send(self, kind, **frame):
        self.sock.sendall(wire.encode_frame(kind, **frame))

    def on_frame(self, kind, flags, link, sequence, body):
        if kind == wire.PING:
            self.send(wire.PONG, sequence=sequence)
        elif kind == wire.ADMIN:
            size = int.from_bytes(body[:2], "little")
            arguments = json.loads(body[4 + size:])
            op = arguments.pop("op")
            self.asked.append((op, body[4:4 + size], arguments))
            reply = self.answers.get(op, {"ok": False, "error": {"code": "unsupported", "text": op, "retryable": False}})
            reply = reply(arguments) if callable(reply) else reply
            self.send(wire.ADMIN_REPLY, sequence=sequence, body=json.dumps(reply).encode())
        elif kind == wire.ATTACH:
            size = int.from_bytes(body[:2], "little")
            self.attached.append(json.loads(body[4 + size:] or b"{}"))
            self.send(wire.ATTACHED, link=link, body=self.terms)
            if body[2] == 1:
                self.send(wire.CREDIT, link=link, body=struct.pack("<QQ", 1 << 30, 1 << 30))
            elif self.bodies:
                batch = bytearray(wire.encode_batch(list(self.bodies)))
                batch[8:16] = struct.pack("<Q", 1)
                self.send(wire.DELIVER, link=link, sequence=1, body=struct.pack("<II", 1, 0) + bytes(batch))
        elif kind == wire.PUBLISH:
            self.published.append(body)
            last = sequence + int.from_bytes(body[:4], "little") - 1
            self.send(wire.CONFIRM, link=link, sequence=last, body=struct.pack("<BBHI", 1, 0, 0, 0))
        elif kind == wire.SETTLE:
            note = b""
            if flags & SETTLE_NOTE:
                size = int.from_bytes(body[:2], "little")
                note, body = body[2:2 + size], body[2 + size:]
            for first, count, _, outcome, _, _, argument in struct.iter_unpack("<QIIBBHI", body):
                self.settled += [(offset, outcome, argument, note.decode())
                                 for offset in range(first, first + count) if outcome != 6]
        elif kind == wire.DETACH:
            self.send(wire.DETACHED, link=link)


class PlayedTest(BrokerTest):
    def play(self, code, *arguments, answers=None, bodies=(), lease_ms=30_000, **options):
        played = PlayedBroker(answers, bodies, lease_ms)
        self.addCleanup(played.listener.close)
        played.ended = self.expect_exit(code, played.url, *arguments, **options)
        return played

    def asked(self, *arguments, code=0, answers=None):
        """The one request of a command."""
        (request,) = self.play(code, *arguments, answers=answers).asked
        return request

    def test_every_setting_has_a_flag(self):
        channel = {"name": "c", "kind": "stream", "storage": "memory", "messages_max": 5, "bytes_max": 6,
                   "message_size_max": 7}
        answers = {"channel.create": {"ok": True, "created": True, "channel": channel}}
        request = self.asked("channel", "create", "c", "--kind", "stream", "--durable", "--messages-max", "1000", "--bytes-max",
                             "1m", "--message-size-max", "1k", "--max-age", "1h", "--overflow", "drop-oldest", "--lease",
                             "5s", "--lease-max", "1m", "--attempts-max", "3", "--retry-first", "100ms", "--retry-max", "1s",
                             "--retry-factor", "1.5", "--retry-jitter", "0", "--expired", "quarantine", "--late", "drop",
                             "--ordered-by-key", "--exclusive", "--fair-by", "key", "--fair-weight", "a=3",
                             "--dedupe-window", "1m", "--compact", "--tombstone-age", "2h", answers=answers)
        self.assertEqual(("channel.create", b"c", {
            "kind": "stream", "storage": "durable", "messages_max": 1000, "bytes_max": 1 << 20, "message_size_max": 1024,
            "age_max_ms": 3_600_000, "overflow": "drop-oldest", "lease_ms": 5000, "lease_max_ms": 60_000, "attempts_max": 3,
            "retry_first_ms": 100, "retry_max_ms": 1000, "retry_factor_percent": 150, "retry_jitter_percent": 0,
            "expired": "quarantine", "late": "drop", "ordered_by_key": True, "exclusive": True, "fair_by": "key",
            "fair_weights": {"a": 3}, "dedupe_window_ms": 60_000, "compact": True, "tombstone_age_ms": 7_200_000}),
            request)
        self.assertEqual({}, self.asked("channel", "create", "c", answers=answers)[2], "what is not given stays as it is")
        self.assertEqual({"compact": False, "exclusive": False, "ordered_by_key": False, "fair_by": ""},
                         self.asked("channel", "create", "c", "--no-compact", "--no-exclusive", "--no-ordered-by-key",
                                    "--fair-by", "none", answers=answers)[2])

    def test_a_conflict_prints_the_difference(self):
        error = {"code": "incompatible_options", "text": "the channel exists", "retryable": False,
                 "diff": {"kind": {"is": "queue", "wanted": "topic"}}}
        answers = {"channel.create": {"ok": False, "error": error}}
        told = self.play(7, "channel", "create", "c", "--kind", "topic", answers=answers).ended.stderr
        self.assertIn(b"kind is queue, wanted topic", told)
        self.assertEqual(1, len(lines(told)))
        told = self.play(7, "--output", "json", "channel", "create", "c", "--kind", "topic", answers=answers).ended.stderr
        self.assertEqual(error["diff"], json.loads(told)["error"]["diff"])

    def test_requests_about_messages(self):
        answers = {op: {"ok": True, "messages": 2} for op in ("channel.retry", "channel.drop", "channel.move")}
        for arguments, request in (
                (("retry", "c", "--all"), ("channel.retry", b"c", {"all": True})),
                (("retry", "c", "7", "--subscription", "s"), ("channel.retry", b"c", {"offsets": [7], "subscription": "s"})),
                (("drop", "c", "7"), ("channel.drop", b"c", {"offsets": [7]})),
                (("drop", "c", "--all", "--state", "delayed"), ("channel.drop", b"c", {"all": True, "state": "delayed"})),
                (("move", "a", "b%FF"), ("channel.move", b"a", {"all": True, "to": "b%FF"})),
                (("move", "a", "b", "7", "--state", "ready"),
                 ("channel.move", b"a", {"offsets": [7], "to": "b", "state": "ready"}))):
            with self.subTest(arguments):
                self.assertEqual(request, self.asked(*arguments, answers=answers))
        self.assertEqual(b'{"messages":2}\n',
                         self.play(0, "--output", "json", "retry", "c", "--all", answers=answers).ended.stdout)

    def test_many_offsets_are_several_requests(self):
        answers = {"channel.drop": {"ok": True, "messages": 1250}}
        played = self.play(0, "drop", "c", *map(str, range(2500)), answers=answers)
        self.assertEqual([1000, 1000, 500], [len(arguments["offsets"]) for _, _, arguments in played.asked])

    def test_few_offsets_are_asked_for_one_by_one(self):
        """So that it is known which of them are not there."""
        for there, code, told in (((), 5, b'offsets 7, 8 of "c" are not there'), ((7,), 9, b'offset 8 of "c" is not there'),
                                  ((7, 8), 0, b"")):
            def retried(arguments, there=there):
                return {"ok": True, "messages": len(set(arguments["offsets"]) & set(there))}
            played = self.play(code, "retry", "c", "8", "7", answers={"channel.retry": retried})
            self.assertEqual([{"offsets": [7]}, {"offsets": [8]}], [arguments for _, _, arguments in played.asked])
            self.assertIn(told, played.ended.stderr)
            self.assertEqual(code == 0, played.ended.stderr == b"")

    def test_requests_about_subscriptions(self):
        one = {"name": "s", "filter": "a.>", "ready": 1, "delayed": 2, "in_flight": 3, "quarantined": 4, "next_offset": 5,
               "dropped": 6, "receivers": 7}
        answers = {"subscription.create": {"ok": True, "created": True, "subscription": one},
                   "subscription.list": {"ok": True, "subscriptions": [one]},
                   "subscription.delete": {"ok": True, "messages": 3}}
        self.assertEqual(("subscription.create", b"c", {"subscription": "s", "from": {"offset": 7}, "filter": "a.>",
                                                        "overflow": "disconnect", "backlog_max": 9}),
                         self.asked("subscription", "create", "c", "s", "--from", "7", "--filter", "a.>", "--overflow",
                                    "disconnect", "--backlog-max", "9", answers=answers))
        self.assertEqual(("subscription.delete", b"c", {"subscription": "s", "force": True}),
                         self.asked("subscription", "delete", "c", "s", "--force", answers=answers))
        self.assertEqual([one], rows(self.play(0, "--output", "jsonl", "subscription", "list", "c",
                                               answers=answers).ended.stdout))
        text = self.play(0, "subscription", "list", "c", answers=answers).ended.stdout
        self.assertRegex(text, rb"NAME .*\ns +1 +2 +3 +4 +6 +5 +7  a\.>\n$")

    def test_explain_and_peek(self):
        message = {"offset": 7, "attempt": 3, "state": "quarantined", "time_us": 1, "size": 1, "body_base64": "eA==",
                   "properties": {}, "reason": "rejected", "note": "no such user", "receiver": "worker",
                   "quarantined_us": 1_500_000}
        answers = {"channel.explain": {"ok": True, "waits": [{"who": "message", "reason": "delayed", "for_ms": 1500,
                                                              "text": "the next one is due in 3s"}], "message": message},
                   "channel.peek": {"ok": True, "messages": [message], "more": False, "next": 8}}
        played = self.play(0, "explain", "c", "7", answers=answers)
        self.assertEqual([("channel.explain", b"c", {"offset": 7})], played.asked)
        about = (b"offset 7: quarantined at 1970-01-01T00:00:01.500000Z, attempt 3, reason rejected, receiver worker, "
                 b"note no such user\n")
        self.assertEqual(about + b"message: the next one is due in 3s (delayed for 1.5s)\n", played.ended.stdout)
        played = self.play(0, "peek", "c", "--state", "quarantined", "--subscription", "s", answers=answers)
        self.assertEqual("quarantined", played.asked[0][2]["state"])
        self.assertEqual("s", played.asked[0][2]["subscription"])
        self.assertEqual((b"x\n", b"baton: " + about), (played.ended.stdout, played.ended.stderr))
        (row,) = rows(self.play(0, "--output", "jsonl", "peek", "c", answers=answers).ended.stdout)
        self.assertEqual(("x", "no such user", "rejected", "worker"),
                         (row["body"], row["note"], row["reason"], row["receiver"]))

    def test_delete_with_force(self):
        answers = {"channel.delete": {"ok": True, "messages": 3}}
        self.assertEqual({}, self.asked("channel", "delete", "c", answers=answers)[2])
        self.assertEqual({"force": True}, self.asked("channel", "delete", "c", "--force", answers=answers)[2])
        in_use = {"code": "in_use", "text": "2 links are attached", "retryable": False}
        self.assertIn(b"--force", self.play(7, "channel", "delete", "c",
                                            answers={"channel.delete": {"ok": False, "error": in_use}}).ended.stderr)

    def test_a_receiver_says_what_it_wants(self):
        played = self.play(0, "receive", "c", "-n", "1", "--subscription", "billing", "--from", "2026-01-31T12:00:00Z",
                           "--filter", "order.*", "--exclusive", "--lease", "5s", bodies=[b"x"])
        self.assertEqual([{"subscription": "billing", "from": {"time_us": 1_769_860_800_000_000}, "filter": "order.*",
                           "exclusive": True, "lease_ms": 5000}], played.attached)
        self.assertEqual(b"x\n", played.ended.stdout)
        before = time.time()
        played = self.play(0, "receive", "c", "-n", "1", "--from", "5m", bodies=[b"x"])
        wanted = played.attached[0]["from"]["time_us"] / 1e6
        self.assertTrue(before - 301 < wanted < time.time() - 299)

    def test_exit_codes_of_a_command_are_decisions(self):
        script = 'read -r code; echo "first $code" >&2; echo "because $code" >&2; exit "$code"'
        played = self.play(0, "receive", "c", "-n", "4", "--exec", script, bodies=[b"0\n", b"75\n", b"65\n", b"3\n"])
        self.assertEqual([(1, wire.DONE, 0, ""), (2, RETRY, BACK_OFF, "because 75"), (3, REJECT, 0, "because 65"),
                          (4, RETRY, BACK_OFF, "because 3")], sorted(played.settled))
        self.assertIn(b"first 75\nbecause 75\n", played.ended.stderr, "what a command complains about is seen")
        played = self.play(0, "receive", "c", "-n", "2", "--exec", 'exit "$(cat)"', bodies=[b"65", b"9"])
        self.assertEqual([(1, REJECT, 0, "the command exited with 65"), (2, RETRY, BACK_OFF, "the command exited with 9")],
                         sorted(played.settled))

    def test_leases_are_extended_while_a_command_works(self):
        played = self.play(0, "receive", "c", "-n", "1", "--window", "3", "--exec", "sleep 1", bodies=[b"1", b"2", b"3"],
                           lease_ms=200)
        extended = [offset for offset, outcome, argument, _ in played.settled if (outcome, argument) == (wire.EXTEND, 0)]
        for offset in (1, 2, 3):
            self.assertGreaterEqual(extended.count(offset), 3, "handed out or waiting: it stays ours")
        self.assertEqual((1, wire.DONE), played.settled[-1][:2])
        played = self.play(0, "receive", "c", "-n", "1", "--exec", "true", bodies=[b"1"], lease_ms=200)
        self.assertEqual([(1, wire.DONE, 0, "")], played.settled, "what is done at once needs no more")

    def test_a_command_may_leave_something_running(self):
        began = time.monotonic()
        self.play(0, "receive", "c", "-n", "1", "--exec", "sleep 20 >/dev/null & exit 0", bodies=[b"x"])
        self.assertLess(time.monotonic() - began, 15)

    def test_properties_of_what_is_sent(self):
        played = self.play(0, "send", "c", "x", "--ttl", "5s", "--delay", "250ms", "--at", "1.5", "--priority", "9")
        (batch,) = played.published
        for part in (b"\x02\x01\x00\x09", b"\x03\x08\x00" + struct.pack("<Q", 5_000_000),
                     b"\x04\x08\x00" + struct.pack("<Q", 250_000), b"\x0b\x08\x00" + struct.pack("<q", 1_500_000)):
            self.assertIn(part, batch)
        line = json.dumps({"body": "y", "ttl": "1m", "priority": 3}).encode() + b"\n"
        (batch,) = self.play(0, "send", "c", "--jsonl", "--priority", "1", "--delay", "1s", stdin=line).published
        for part in (b"\x02\x01\x00\x03", b"\x03\x08\x00" + struct.pack("<Q", 60_000_000),
                     b"\x04\x08\x00" + struct.pack("<Q", 1_000_000)):
            self.assertIn(part, batch)

    def test_usage(self):
        for arguments in (("send", "c", "x", "--priority", "10"), ("send", "c", "x", "--at", "soon"),
                          ("send", "c", "x", "--ttl", "-5s"), ("receive", "c", "--from", "yesterday"),
                          ("receive", "c", "--lease", "1ms"), ("peek", "c", "--state", "gone"), ("retry", "c"),
                          ("retry", "c", "x"), ("drop", "c", "1", "--all"), ("channel", "create", "c", "--lease", "1s1"),
                          ("channel", "create", "c", "--retry-factor", "0.1"), ("subscription", "create", "c")):
            with self.subTest(arguments):
                ended = self.baton("baton://127.0.0.1:1", *arguments)
                self.assertEqual((2, b"", 1), (ended.returncode, ended.stdout, len(lines(ended.stderr))))
        self.assertRegex(self.baton("baton://127.0.0.1:1", "send", "c", "x", "--priority", "10").stderr,
                         rb'priority.*"10".*0 to 9')


class LifeTest(BrokerTest):
    """Against the real broker."""

    def setUp(self):
        super().setUp()
        self.server = self.broker()
        probe = self.peer(self.server).admin("channel.create", b"probe", kind="topic")
        if not probe["ok"]:
            self.skipTest(f"this broker has no topics: {probe['error']}")

    def run_baton(self, code, *arguments, **options):
        return self.expect_exit(code, self.server, *arguments, **options)

    def create(self, name, *flags):
        return self.run_baton(0, "channel", "create", name, *flags)

    def show(self, name):
        return json.loads(self.run_baton(0, "--output", "json", "channel", "show", name).stdout)

    def peek(self, name, *flags):
        return rows(self.run_baton(0, "--output", "jsonl", "peek", name, *flags).stdout)

    def received(self, *arguments, code=0):
        return lines(self.run_baton(code, "receive", *arguments).stdout)


@each_shard_count()
class TimeTest(LifeTest):
    def test_ttl(self):
        self.create("q", "--expired", "quarantine")
        self.run_baton(0, "send", "q", "old", "--ttl", "50ms")
        self.run_baton(0, "send", "q", "young", "--ttl", "1h")
        (row,) = eventually(lambda: self.peek("q", "--state", "quarantined"), "it is expired")
        self.assertEqual(("old", "expired"), (row["body"], row["reason"]))
        self.assertEqual([b"young"], self.received("q", "--until-empty"))
        self.run_baton(0, "send", "d", "old", "--ttl", "50ms")
        eventually(lambda: self.show("d")["ready"] == 0, "it is dropped")
        self.assertEqual([], self.peek("d"))

    def test_delay(self):
        began = time.monotonic()
        self.run_baton(0, "send", "c", "later", "--delay", "700ms")
        self.run_baton(0, "send", "c", "now")
        (row,) = self.peek("c", "--state", "delayed")
        self.assertEqual("later", row["body"])
        self.assertGreater(row["due_us"], row["time_us"])
        self.assertEqual(1, self.show("c")["delayed"])
        self.assertEqual([b"now", b"later"], self.received("c", "--until-empty"))
        self.assertGreater(time.monotonic() - began, 0.69)

    def test_at(self):
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
        self.run_baton(0, "send", "c", "later", "--at", at.isoformat())
        self.run_baton(0, "send", "c", "past", "--at", "1")
        self.assertEqual([b"past"], self.received("c", "-n", "1"))
        self.assertEqual([b"later"], self.received("c", "-n", "1"))
        self.assertGreaterEqual(time.time() + 0.01, at.timestamp())

    def test_priority(self):
        for priority in (0, 5, 9, 5):
            self.run_baton(0, "send", "c", f"p{priority}", "--priority", str(priority))
        self.assertEqual([b"p9", b"p5", b"p5", b"p0"], self.received("c", "--until-empty"))

    def test_jsonl_there_and_back(self):
        row = {"body": "x", "ttl": "1h", "priority": 7, "key": "k"}
        self.run_baton(0, "send", "a", "--jsonl", stdin=json.dumps(row).encode())
        output = self.run_baton(0, "receive", "a", "-n", "1", "--jsonl").stdout
        self.run_baton(0, "send", "b", "--jsonl", stdin=output)
        (again,) = rows(self.run_baton(0, "receive", "b", "-n", "1", "--jsonl").stdout)
        self.assertEqual(row, {key: again[key] for key in row})


@each_shard_count()
class FailureTest(LifeTest):
    def quarantine(self, name, *bodies):
        self.run_baton(0, "send", name, *bodies)
        self.run_baton(0, "receive", name, "-n", str(len(bodies)), "--exec", "echo no good >&2; exit 65")

    def test_reject_look_and_retry(self):
        self.quarantine("c", "one", "two")
        seen = self.peek("c", "--state", "quarantined")
        self.assertEqual([("one", "rejected", "no good")] + [("two", "rejected", "no good")],
                         [(row["body"], row["reason"], row["note"]) for row in seen])
        self.assertEqual(2, self.show("c")["quarantined"])
        self.run_baton(6, "receive", "c", "-n", "1", "--timeout", "50ms")
        self.run_baton(0, "retry", "c", str(seen[1]["offset"]))
        (row,) = rows(self.run_baton(0, "receive", "c", "-n", "1", "--jsonl").stdout)
        self.assertEqual(("two", 1), (row["body"], row["attempt"]))
        self.assertEqual(b"1 message ready again\n", self.run_baton(0, "retry", "c", "--all").stdout)
        self.assertEqual([b"one"], self.received("c", "--until-empty"))
        self.run_baton(5, "retry", "c", "12345")

    def test_a_command_that_always_fails(self):
        self.create("c", "--attempts-max", "3", "--retry-first", "50ms", "--retry-factor", "1", "--retry-jitter", "0")
        self.run_baton(0, "send", "c", "x")
        began = time.monotonic()
        log = os.path.join(self.folder, "log")
        self.run_baton(0, "receive", "c", "--until-empty", "--exec", f"echo $BATON_ATTEMPT >> {log}; exit 1")
        self.assertGreater(time.monotonic() - began, 0.09)
        with open(log, encoding="utf-8") as file:
            self.assertEqual(["1", "2", "3"], file.read().split())
        (row,) = self.peek("c", "--state", "quarantined")
        self.assertEqual(("attempts", "the command exited with 1"), (row["reason"], row["note"]))

    def test_move_and_drop(self):
        self.quarantine("a", "bad", "worse")
        self.run_baton(0, "send", "a", "good")
        self.run_baton(0, "send", "a", "later", "--delay", "1h")
        offsets = {row["body"]: str(row["offset"]) for row in self.peek("a")}
        self.run_baton(0, "drop", "a", offsets["worse"])
        self.run_baton(0, "move", "a", "b", "--state", "quarantined")
        self.assertEqual([b"bad"], self.received("b", "--until-empty"))
        self.run_baton(0, "drop", "a", "--all", "--state", "delayed")
        self.run_baton(0, "move", "a", "c")
        self.assertEqual([b"good"], self.received("c", "--until-empty"))
        self.assertEqual([], self.peek("a"))

    def test_a_lease_is_kept_as_long_as_the_command_works(self):
        self.run_baton(0, "send", "c", "x")
        log = os.path.join(self.folder, "log")
        self.run_baton(0, "receive", "c", "-n", "1", "--lease", "150ms", "--exec", f"echo $BATON_ATTEMPT >> {log}; sleep 1")
        with open(log, encoding="utf-8") as file:
            self.assertEqual("1\n", file.read())
        self.assertEqual(1, self.show("c")["settled"])

    def test_a_receiver_that_hangs_loses_its_messages(self):
        self.run_baton(0, "send", "c", "x")
        hanging = self.command(self.server, "receive", "c", "--lease", "300ms", "--exec", "sleep 2 >/dev/null")
        eventually(lambda: self.show("c")["in_flight"] == 1, "it is with the receiver")
        hanging.process.send_signal(signal.SIGSTOP)
        try:
            self.assertEqual([b"x"], self.received("c", "-n", "1"))
        finally:
            hanging.process.send_signal(signal.SIGCONT)

    def test_explain(self):
        self.run_baton(0, "send", "c", "x", "--delay", "1h")
        text = self.run_baton(0, "explain", "c").stdout
        self.assertIn(b"delayed", text)
        (row,) = self.peek("c")
        shown = json.loads(self.run_baton(0, "--output", "json", "explain", "c", str(row["offset"])).stdout)
        self.assertEqual("delayed", shown["message"]["state"])
        self.run_baton(5, "explain", "nothing")


@each_shard_count()
class KindsTest(LifeTest):
    def test_topic(self):
        self.create("t", "--kind", "topic")
        for name in ("a", "b"):
            self.run_baton(0, "subscription", "create", "t", name)
        self.run_baton(0, "send", "t", "1", "2")
        for name in ("a", "b"):
            self.assertEqual([b"1", b"2"], self.received("t", "--subscription", name, "--until-empty"))
        self.assertEqual(["a", "b"], sorted(row["name"] for row in rows(
            self.run_baton(0, "--output", "jsonl", "subscription", "list", "t").stdout)))
        self.assertRegex(self.run_baton(0, "channel", "show", "t").stdout, rb"^t: topic, .*\n(.*\n)*subscriptions:\n")
        self.run_baton(0, "subscription", "delete", "t", "a")
        self.run_baton(5, "subscription", "delete", "t", "a")

    def test_stream_from(self):
        self.create("s", "--kind", "stream")
        self.run_baton(0, "send", "s", "1", "2")
        between = datetime.datetime.now(datetime.timezone.utc).isoformat()
        self.run_baton(0, "send", "s", "3", "4")
        for start, expected in (("first", [b"1", b"2", b"3", b"4"]), ("last", [b"4"]), (between, [b"3", b"4"]),
                                ("1h", [b"1", b"2", b"3", b"4"]), ("new", [])):
            with self.subTest(start):
                self.assertEqual(expected, self.received("s", "--until-empty", "--from", start))
        offset = self.peek("s")[2]["offset"]
        self.assertEqual([b"3", b"4"], self.received("s", "--until-empty", "--from", str(offset)))
        self.assertEqual([b"1"], self.received("s", "-n", "1", "--subscription", "x", "--window", "1"))
        self.assertEqual([b"2", b"3", b"4"], self.received("s", "--subscription", "x", "--until-empty"))

    def test_retention_keeps_the_newest_of_what_is_sent_together(self):
        for number, flags in enumerate((("--messages-max", "5"), ("--bytes-max", "40"))):
            with self.subTest(flags):
                self.create(f"s{number}", "--kind", "stream", *flags)
                self.run_baton(0, "send", f"s{number}", stdin=b"".join(b"%d\n" % line for line in range(100, 1_000)))
                self.assertEqual([b"995", b"996", b"997", b"998", b"999"], self.received(f"s{number}", "--until-empty"))

    def test_why_a_subscription_that_nobody_reads_waits(self):
        self.create("t", "--kind", "topic")
        self.run_baton(0, "subscription", "create", "t", "s")
        self.run_baton(0, "send", "t", "1", "2")
        self.assertEqual([b"1"], self.received("t", "--subscription", "s", "-n", "1"))
        self.run_baton(0, "send", "t", "3")
        for arguments in (("explain", "t"), ("channel", "show", "t")):
            eventually(lambda told=arguments: b"no_receiver" in self.run_baton(0, *told).stdout, "it says so")

    def test_explain_a_message_of_a_subscription(self):
        self.create("t", "--kind", "topic")
        for name in ("a", "b"):
            self.run_baton(0, "subscription", "create", "t", name)
        self.run_baton(0, "send", "t", "x")
        self.run_baton(0, "receive", "t", "--subscription", "a", "-n", "1", "--exec", "exit 65")
        (row,) = self.peek("t")
        offset = str(row["offset"])
        for name, words in (("a", b"is quarantined"), ("b", b"is ready: nobody is attached")):
            eventually(lambda words=words, name=name: words in
                       self.run_baton(0, "explain", "t", offset, "--subscription", name).stdout, "it says so")
        text = self.run_baton(0, "explain", "t", offset).stdout
        self.assertIn(b"name one", text)
        self.assertNotIn(f"message {offset} is ready".encode(), text)
        self.run_baton(2, "explain", "t", "--subscription", "a")
        self.run_baton(5, "explain", "t", offset, "--subscription", "nobody")

    def test_filter(self):
        self.create("s", "--kind", "stream")
        for key in ("order.paid", "order.sent", "user.new", "order.paid.late"):
            self.run_baton(0, "send", "s", key, "--key", key)
        for pattern, expected in (("order.*", [b"order.paid", b"order.sent"]), ("order.paid.>", [b"order.paid.late"]),
                                  (">", [b"order.paid", b"order.sent", b"user.new", b"order.paid.late"])):
            self.assertEqual(expected, self.received("s", "--until-empty", "--filter", pattern))
        self.run_baton(0, "subscription", "create", "s", "x", "--filter", "a.*")
        self.assertEqual(7, self.baton(self.server, "receive", "s", "--subscription", "x", "--filter", "b.*").returncode)

    def test_exclusive(self):
        first = self.command(self.server, "receive", "c", "--exclusive")
        eventually(lambda: self.baton(self.server, "channel", "show", "c").returncode == 0, "the first is attached")
        second = self.command(self.server, "receive", "c", "--exclusive")
        eventually(lambda: self.show("c")["receivers"] == 2, "the second is attached")
        self.run_baton(0, "send", "c", *map(str, range(10)))
        eventually(lambda: len(first.lines) == 10 or len(second.lines) == 10, "one of them gets everything")
        holder, standby = (first, second) if first.lines else (second, first)
        self.assertEqual([], standby.lines)
        holder.process.send_signal(signal.SIGINT)
        holder.wait()
        self.run_baton(0, "send", "c", "next")
        standby.wait_lines(1)

    def test_what_a_queue_refuses(self):
        self.create("q")
        self.run_baton(7, "receive", "q", "--subscription", "s")
        self.run_baton(7, "receive", "q", "--from", "first")
        self.run_baton(7, "subscription", "create", "q", "s")


@each_shard_count()
class SettingsTest(LifeTest):
    def test_shown_as_they_are(self):
        self.create("c", "--messages-max", "10", "--overflow", "reject", "--lease", "5s", "--lease-max", "1m", "--attempts-max",
                    "3", "--retry-first", "100ms", "--retry-max", "1s", "--retry-factor", "1.5", "--retry-jitter", "0",
                    "--late", "drop", "--ordered-by-key", "--dedupe-window", "1m", "--fair-by", "key", "--fair-weight",
                    "a=3")
        shown = self.show("c")
        for key, value in {"kind": "queue", "messages_max": 10, "overflow": "reject", "lease_ms": 5000, "lease_max_ms": 60_000,
                           "attempts_max": 3, "retry_first_ms": 100, "retry_max_ms": 1000, "retry_factor_percent": 150,
                           "retry_jitter_percent": 0, "late": "drop", "ordered_by_key": True, "dedupe_window_ms": 60_000,
                           "fair_by": "key", "fair_weights": {"a": 3}}.items():
            self.assertEqual(value, shown[key], key)
        text = self.run_baton(0, "channel", "show", "c").stdout
        self.assertIn(b"lease 5s, at most 1m; attempts 3, retry after 100ms to 1s", text)
        self.create("c", "--attempts-max", "4")
        shown = self.show("c")
        self.assertEqual((4, 5000, "reject"), (shown["attempts_max"], shown["lease_ms"], shown["overflow"]))

    def test_conflict(self):
        self.create("c")
        self.assertRegex(self.run_baton(7, "channel", "create", "c", "--kind", "topic").stderr, rb"queue.*topic")

    def test_reject_when_full(self):
        self.create("c", "--messages-max", "2", "--overflow", "reject")
        self.run_baton(9, "send", "c", "1", "2", "3")
        error = json.loads(self.run_baton(7, "--output", "json", "send", "c", "4").stderr)["error"]
        self.assertEqual(("full", True), (error["code"], error["retryable"]))

    def test_drop_oldest(self):
        self.create("c", "--messages-max", "2", "--overflow", "drop-oldest")
        self.run_baton(0, "send", "c", "1", "2", "3")
        self.assertEqual([b"2", b"3"], self.received("c", "--until-empty"))
        self.assertEqual(1, self.show("c")["dropped"])

    def test_duplicates_by_id(self):
        self.create("c", "--dedupe-window", "1m")
        for _ in range(2):
            self.run_baton(0, "send", "c", "x", "--id", "7")
        self.assertEqual([b"x"], self.received("c", "--until-empty"))

    def test_delete_while_in_use(self):
        receiver = self.command(self.server, "receive", "c")
        eventually(lambda: self.baton(self.server, "channel", "show", "c").returncode == 0, "it is attached")
        self.assertIn(b"--force", self.run_baton(7, "channel", "delete", "c").stderr)
        self.run_baton(0, "channel", "delete", "c", "--force")
        self.assertNotEqual(0, receiver.wait())


if __name__ == "__main__":
    unittest.main()
