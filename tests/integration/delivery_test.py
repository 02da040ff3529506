"""Many processes and one broker: every message exactly once, whoever comes first, whoever is killed, whoever restarts."""

import json
import os
import signal
import subprocess
import unittest

import wire
from broker import BrokerTest, each_shard_count, eventually

INSTRUMENTED = "BATON_TEST_INSTRUMENTED" in os.environ


@each_shard_count()
class ManyProcessesTest(BrokerTest):
    def test_receiver_first_then_sender(self):
        server = self.broker()
        receiver = self.command(server, "receive", "c", "-n", "2")
        watcher = self.peer(server)
        eventually(lambda: watcher.admin("channel.show", b"c").get("channel", {}).get("receivers") == 1, "it waits")
        self.assertEqual([], receiver.lines)
        self.expect_exit(0, server, "send", "c", "one", "two")
        self.assertEqual(0, receiver.wait())
        self.assertEqual([b"one", b"two"], receiver.lines)

    def test_sender_first_then_receiver(self):
        server = self.broker()
        self.expect_exit(0, server, "send", "c", "one", "two")
        self.assertEqual(b"one\ntwo\n", self.expect_exit(0, server, "receive", "c", "-n", "2").stdout)

    def test_one_sender_and_100_receivers(self):
        server = self.broker()
        watcher = self.peer(server)
        count, receivers_count = 20_000, 25 if INSTRUMENTED else 100
        receivers = [self.command(server, "receive", "c") for _ in range(receivers_count)]
        eventually(lambda: watcher.admin("channel.show", b"c").get("channel", {}).get("receivers") == receivers_count,
                   "all receivers are attached")
        text = b"".join(b"%d\n" % number for number in range(count))
        self.expect_exit(0, server, "send", "c", stdin=text)
        eventually(lambda: watcher.show(b"c")["settled"] == count, "all are settled")
        for receiver in receivers:
            receiver.process.send_signal(signal.SIGINT)
        got = []
        for receiver in receivers:
            self.assertEqual(130, receiver.wait())
            self.assertEqual(sorted(receiver.lines, key=int), receiver.lines, "each sees its share in order")
            got += receiver.lines
        self.assertEqual(count, len(got))
        self.assertEqual(set(range(count)), set(map(int, got)))
        shares = [len(receiver.lines) for receiver in receivers]
        print(f"\n{count} messages over {receivers_count} receivers: {min(shares)} to {max(shares)} each")
        self.assertGreater(min(shares), 0, "nobody starves")
        self.assertEqual(0, watcher.show(b"c")["redelivered"])

    def test_100_senders_and_one_receiver(self):
        server = self.broker()
        senders_count, each = (25 if INSTRUMENTED else 100), 100
        receiver = self.command(server, "receive", "c", "-n", str(senders_count * each))
        senders = []
        for index in range(senders_count):
            sender = self.command(server, "send", "c", stdin=subprocess.PIPE)
            sender.process.stdin.write(b"".join(b"%d %d\n" % (index, number) for number in range(each)))
            sender.process.stdin.close()
            senders.append(sender)
        for sender in senders:
            self.assertEqual(0, sender.wait())
        self.assertEqual(0, receiver.wait())
        by_sender = {}
        for line in receiver.lines:
            index, number = map(int, line.split())
            by_sender.setdefault(index, []).append(number)
        self.assertEqual({index: list(range(each)) for index in range(senders_count)}, by_sender,
                         "each sender's messages once and in order")


@each_shard_count()
class KilledReceiverTest(BrokerTest):
    def test_killed_in_the_middle(self):
        """Nothing lost, nothing acked twice; only what it had begun counts an attempt; what comes back is in order."""
        server = self.broker()
        watcher = self.peer(server)
        count = 2_000
        self.expect_exit(0, server, "send", "c", stdin=b"".join(b"%d\n" % number for number in range(count)))
        # Works on one message after the other; told to hang with the eleventh.
        log = os.path.join(self.folder, "worked")
        script = f'read -r line; echo "$line" >> {log}; [ "$line" != 10 ] || exec sleep 1000'
        receiver = self.command(server, "receive", "c", "--window", "100", "--exec", script)
        eventually(lambda: os.path.exists(log) and open(log, encoding="ascii").read().endswith("10\n"),
                   "it works on number 10")
        eventually(lambda: watcher.show(b"c")["settled"] == 10, "what it had finished is settled")
        eventually(lambda: [link for link in watcher.show(b"c")["links"] if link["started"] == 1],
                   "the broker knows that it has begun with one")
        held = watcher.show(b"c")["in_flight"]
        self.assertGreater(held, 1)
        self.kill_with_children(receiver)
        eventually(lambda: watcher.show(b"c")["in_flight"] == 0, "what it held is back")
        self.assertEqual(count - 10, watcher.show(b"c")["ready"])

        output = self.expect_exit(0, server, "receive", "c", "--until-empty", "--jsonl").stdout
        rows = [json.loads(line) for line in output.splitlines()]
        self.assertEqual([str(number) for number in range(10, count)], [row["body"] for row in rows], "all, and in order")
        self.assertEqual([(11, 2)], [(row["offset"], row["attempt"]) for row in rows if row["attempt"] != 1])
        self.assertEqual(held, sum(row["redelivered"] for row in rows))
        self.assertEqual((count, 0), (watcher.show(b"c")["settled"], watcher.show(b"c")["ready"]))

    @staticmethod
    def kill_with_children(receiver):
        children = open(f"/proc/{receiver.process.pid}/task/{receiver.process.pid}/children", encoding="ascii").read()
        receiver.process.kill()
        for child in children.split():  # The command that it had started, which would outlive it.
            try:
                os.kill(int(child), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def test_killed_under_load_beside_others(self):
        server = self.broker()
        watcher = self.peer(server)
        count = 30_000
        doomed = [self.command(server, "receive", "c") for _ in range(3)]
        survivor = self.command(server, "receive", "c")
        eventually(lambda: watcher.admin("channel.show", b"c").get("channel", {}).get("receivers") == 4, "all are attached")
        sender = self.command(server, "send", "c", stdin=subprocess.PIPE)
        sender.process.stdin.write(b"".join(b"%d\n" % number for number in range(count)))
        for receiver in doomed:
            receiver.wait_lines(100)
            receiver.process.kill()
        sender.process.stdin.close()
        self.assertEqual(0, sender.wait())
        eventually(lambda: watcher.show(b"c")["settled"] == count, "all are settled")
        survivor.process.send_signal(signal.SIGINT)
        survivor.wait()
        printed = list(survivor.lines)
        for receiver in doomed:
            receiver.wait()
            printed += receiver.lines
        # Printed and not yet acked when the kill came: these come again. Nothing else does, and nothing is missing.
        numbers = [int(line) for line in printed if line]
        self.assertEqual(set(range(count)), set(numbers))
        self.assertLessEqual(len(numbers) - count, 3 * 2 * 256, "at most what the killed ones held is there twice")


@each_shard_count()
class RestartTest(BrokerTest):
    """Channels live in memory: what a broker held is gone with it. What was not confirmed is sent again."""

    def restart(self, server, **settings):
        return self.broker(listen=(server.listen_url,), **settings)

    def test_clients_come_back_and_go_on(self):
        for how in (signal.SIGKILL, signal.SIGTERM):
            with self.subTest(how.name):
                server = self.broker()
                receiver = self.command(server, "receive", "c")
                sender = self.command(server, "send", "c", stdin=subprocess.PIPE)
                sender.process.stdin.write(b"before\n")
                sender.process.stdin.flush()
                receiver.wait_lines(1)
                eventually(lambda: self.is_settled(server), "the first is settled")
                server.stop(how)
                again = self.restart(server)
                sender.process.stdin.write(b"after\n")
                sender.process.stdin.close()
                self.assertEqual([b"before", b"after"], receiver.wait_lines(2))
                self.assertEqual(0, sender.wait())
                watcher = self.peer(again)
                eventually(lambda: watcher.show(b"c")["settled"] == 1, "the second is settled")
                receiver.process.send_signal(signal.SIGINT)
                self.assertEqual(130, receiver.wait())

    @staticmethod
    def is_settled(server):
        with wire.Peer(server.listen_url) as watcher:
            return watcher.show(b"c")["settled"] == 1

    def test_unconfirmed_messages_are_sent_again(self):
        """The channel is full of what is confirmed; five wait in the client. Those five, and only they, reach the next broker."""
        server = self.broker(limits_channel_messages_max="5")
        self.expect_exit(0, server, "send", "c", *[str(number) for number in range(5)])
        sender = self.command(server, "send", "c", *[str(number) for number in range(5, 10)])
        watcher = self.peer(server)
        eventually(lambda: self.is_blocked(watcher), "the sender is blocked by the full channel")
        server.kill()
        again = self.restart(server)
        self.assertEqual(0, sender.wait())
        output = self.expect_exit(0, again, "receive", "c", "--until-empty").stdout
        self.assertEqual([b"5", b"6", b"7", b"8", b"9"], output.split(), "0 to 4 were confirmed: in memory, and gone")

    @staticmethod
    def is_blocked(watcher):
        reply = watcher.admin("channel.show", b"c")
        return reply["ok"] and any(link["wait"]["reason"] == "full" for link in reply["channel"]["links"])

    def test_restart_under_load(self):
        server = self.broker()
        count = 20_000
        numbers = self.numbers_over_a_kill(server, lambda: self.restart(server), count, before=5_000, window=200)
        self.assertEqual(set(range(5_000, count)), set(number for number in numbers if number >= 5_000),
                         "nothing sent to the second broker is lost")
        missing = 5_000 - len(set(number for number in numbers if number < 5_000))
        twice = len(numbers) - len(set(numbers))
        print(f"\nbroker killed under load: {missing} confirmed messages gone with its memory, {twice} came twice")
        self.assertLessEqual(twice, 500, "twice at most what was unsettled when the broker was killed")


if __name__ == "__main__":
    unittest.main()
