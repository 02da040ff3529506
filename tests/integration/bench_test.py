"""`baton bench`: a short run of each verb, the form of its JSON, and whether soak notices what goes wrong."""

import json
import signal
import subprocess
import unittest

from broker import BrokerTest, eventually, program, clean_environment

NUMBER = (int, float)
HEAD = {"bench": str, "version": str, "broker": {"agent": str, "address": str},
        "settings": {"sizes": list, "channels": int, "senders": int, "receivers": int, "kind": str, "storage": str,
                     "confirm": str, "window": int, "receive_window": int, "batch": (int, type(None)),
                     "rate": (int, type(None)), "duration_s": NUMBER, "warm_up_s": NUMBER},
        "machine": {"cores": int, "cpu": str, "kernel": str},
        "load_before": list, "load_after": list, "interrupted": bool, "results": list}
DURABILITY = {"storage": str, "confirmed": str}
RATE = {"messages": int, "per_second": NUMBER, "mb_per_second": NUMBER}
THROUGHPUT = {"size": int, "durability": DURABILITY, "seconds": NUMBER, "sent": RATE, "received": RATE, "refused": int,
              "disconnects": int, "blocked": list}
TIMES = {"count": int, "min_us": NUMBER, "mean_us": NUMBER, "p50_us": NUMBER, "p90_us": NUMBER, "p99_us": NUMBER,
         "p99.9_us": NUMBER, "p99.99_us": NUMBER, "max_us": NUMBER, "histogram": list}
LATENCY = {"size": int, "durability": DURABILITY, "offered_per_second": int, "received_per_second": NUMBER,
           "latency": TIMES, "send_delay": TIMES, "missing": int, "disconnects": int, "blocked": list}
SOAK = {"sizes": list, "durability": DURABILITY, "seconds": NUMBER, "confirmed": int, "refused": int, "received": int,
        "disconnects": int, "blocked": list, "problems": list, "lost": int, "duplicates": int, "repeated": int,
        "out_of_order": int, "damaged": int}


class BenchTest(BrokerTest):
    def setUp(self):
        super().setUp()
        self.server = self.broker()

    def assert_form(self, form, value, path=""):
        if isinstance(form, dict):
            self.assertEqual(sorted(form), sorted(value), path)
            for key in form:
                self.assert_form(form[key], value[key], f"{path}.{key}")
        else:
            self.assertIsInstance(value, form, path)

    def report(self, ended, form):
        report = json.loads(ended.stdout)
        self.assert_form(HEAD, report)
        for result in report["results"]:
            self.assert_form(form, result)
        return report

    def channels(self, server=None):
        return [channel["name"] for channel in self.peer(server or self.server).admin("channel.list")["channels"]]

    def bench(self, code, *arguments, server=None):
        return self.expect_exit(code, server or self.server, "--output", "json", "bench", *arguments)

    def start(self, *arguments, server=None, channels=1):
        """A bench that runs until it is told to end, and its (first) channel once all of them have been published to."""
        server = server or self.server
        running = self.command(server, "--output", "json", "bench", *arguments)
        watcher = self.peer(server)

        def channel():
            found = [each["name"] for each in watcher.admin("channel.list")["channels"] if each["name"].startswith("bench.")]
            is_in_use = len(found) == channels and all(watcher.show(name.encode())["published"] for name in found)
            return found[0] if is_in_use else None
        return running, eventually(channel, "the bench has its channels")


class ThroughputTest(BenchTest):
    def test_sizes(self):
        ended = self.bench(0, "throughput", "--size", "16,1k", "--duration", "200ms", "--warm-up", "50ms")
        report = self.report(ended, THROUGHPUT)
        self.assertEqual([16, 1024], [result["size"] for result in report["results"]])
        for result in report["results"]:
            self.assertGreater(result["sent"]["messages"], 0)
            self.assertGreater(result["received"]["messages"], 0)
            self.assertEqual({"storage": "memory", "confirmed": "received"}, result["durability"])
        self.assertEqual([], self.channels())

    def test_kinds_and_parties(self):
        for kind in ("queue", "topic", "stream"):
            with self.subTest(kind):
                ended = self.bench(0, "throughput", "--kind", kind, "--channels", "2", "--senders", "2", "--receivers",
                                   "4", "--rate", "2000", "--duration", "500ms", "--warm-up", "100ms")
                result = self.report(ended, THROUGHPUT)["results"][0]
                copies = result["received"]["messages"] / result["sent"]["messages"]
                self.assertAlmostEqual(1 if kind == "queue" else 2, copies, delta=0.5)

    def test_durable(self):
        server = self.broker(data_dir=self.data_dir())
        for confirm in ("durable", "received"):
            with self.subTest(confirm):
                ended = self.bench(0, "throughput", "--durable", "--confirm", confirm, "--duration", "200ms", "--warm-up",
                                   "0", "--receivers", "0", "--window", "64", server=server)
                result = self.report(ended, THROUGHPUT)["results"][0]
                self.assertEqual({"storage": "durable", "confirmed": confirm}, result["durability"])
                self.assertGreater(result["sent"]["messages"], 0)
        self.assertEqual([], self.channels(server))

    def test_a_full_channel_is_said(self):
        server = self.broker(limits_channel_messages_max=5000)
        ended = self.bench(0, "throughput", "--receivers", "0", "--duration", "300ms", "--warm-up", "0", server=server)
        result = self.report(ended, THROUGHPUT)["results"][0]
        self.assertEqual((["full"], 5000), (result["blocked"], result["sent"]["messages"]))

    def test_text_for_people(self):
        ended = self.expect_exit(0, self.server, "bench", "throughput", "--duration", "100ms", "--warm-up", "0")
        lines = ended.stdout.decode().splitlines()
        self.assertTrue(lines[0].startswith("baton "), lines)
        self.assertIn("load average", lines[2])
        self.assertIn("memory, confirmed when received", lines[4])

    def test_interrupted(self):
        running, _ = self.start("throughput", "--duration", "1h")
        running.process.send_signal(signal.SIGINT)
        self.assertEqual(130, running.wait())
        self.assertEqual([], self.channels())

    def test_no_broker(self):
        self.server.stop()
        ended = subprocess.run([program("BATON"), "--url", self.server.url, "--connect-timeout", "100ms", "bench", "soak"],
                               stdin=subprocess.DEVNULL, capture_output=True, env=clean_environment(), check=False)
        self.assertEqual(3, ended.returncode, ended.stderr)


class LatencyTest(BenchTest):
    def test_fixed_rate(self):
        ended = self.bench(0, "latency", "--rate", "500", "--duration", "1s", "--warm-up", "100ms")
        result = self.report(ended, LATENCY)["results"][0]
        self.assertEqual(500, result["latency"]["count"])
        self.assertEqual(500, result["send_delay"]["count"])
        self.assertEqual(0, result["missing"])
        times = [result["latency"][key] for key in ("min_us", "p50_us", "p90_us", "p99_us", "p99.9_us", "p99.99_us", "max_us")]
        self.assertEqual(sorted(times), times)
        self.assertEqual(500, sum(row["count"] for row in result["latency"]["histogram"]))
        self.assertEqual([], self.channels())

    def test_each_subscriber_counts(self):
        ended = self.bench(0, "latency", "--rate", "200", "--duration", "500ms", "--warm-up", "0", "--kind", "topic",
                           "--receivers", "3", "--senders", "2")
        self.assertEqual(300, self.report(ended, LATENCY)["results"][0]["latency"]["count"])

    def test_a_stall_is_not_hidden(self):
        """The broker stands still for half a second: what should have been sent meanwhile counts from then."""
        running, _ = self.start("latency", "--rate", "1000", "--duration", "3s", "--warm-up", "0", "--window", "1")
        self.server.send_signal(signal.SIGSTOP)
        try:
            self.assertRaises(subprocess.TimeoutExpired, running.process.wait, 0.5)
        finally:
            self.server.send_signal(signal.SIGCONT)
        self.assertEqual(0, running.wait())
        latency = json.loads(b"\n".join(running.lines))["results"][0]["latency"]
        self.assertEqual(3000, latency["count"])
        self.assertGreater(latency["max_us"], 400_000)
        self.assertGreater(sum(row["count"] for row in latency["histogram"] if row["up_to_us"] > 100_000), 300)


class SoakTest(BenchTest):
    def test_nothing_is_wrong(self):
        for arguments in ((), ("--senders", "3", "--receivers", "3", "--size", "16,1k,5000"),
                          ("--kind", "topic", "--receivers", "2"),
                          ("--kind", "stream", "--rate", "5000", "--channels", "2")):
            with self.subTest(arguments):
                result = self.report(self.bench(0, "soak", "--duration", "300ms", *arguments), SOAK)["results"][0]
                self.assertEqual([], result["problems"])
                self.assertEqual(0, result["lost"])
                self.assertGreater(result["confirmed"], 0)
                copies = 2 if "topic" in arguments else 1
                self.assertEqual(copies * result["confirmed"], result["received"])
        self.assertEqual([], self.channels())

    def test_a_thief_is_a_loss(self):
        running, channel = self.start("soak", "--duration", "2s", "--rate", "2000")
        stolen = self.expect_exit(0, self.server, "receive", channel, "-n", "3", "--jsonl").stdout
        self.assertEqual(3, stolen.count(b"\n"))
        self.assertEqual(1, running.wait())
        report = json.loads(b"\n".join(running.lines))
        self.assertEqual(3, report["results"][0]["lost"])
        self.assertIn("never received", report["results"][0]["problems"][0])
        self.assertEqual([], self.channels())

    def durable_on_a_socket(self):
        """A broker that can be started again under the same name, and how."""
        data = self.data_dir()
        settings = {"data_dir": data, "listen": (f"unix://{data}.socket",)}
        return self.broker(**settings), lambda: self.broker(**settings)

    def over_a_restart(self, number, *arguments):
        """A soak during which the broker ends and is started again; a thief takes three messages before that."""
        server, start_again = self.durable_on_a_socket()
        running, channel = self.start("soak", "--duration", "2s", "--rate", "1000", "--durable", *arguments, server=server)
        if "queue" in arguments:
            thief = self.peer(server)
            thief.attach_receiver(1, channel.encode(), credit=(3, 1 << 20))
            for message in thief.deliveries(1, 3):
                thief.settle_and_wait(1, message.offset, 1)  # It is on the disk: no crash brings it back.
            thief.close()
        server.stop(number)
        eventually(lambda: any(b"waiting for the broker" in line for line in running.complaints), "it notices")
        server = start_again()
        code = running.wait()
        self.assertEqual(1, sum(b"waiting for the broker" in line for line in running.complaints), running.complaints)
        self.assertEqual([], self.channels(server))
        return code, json.loads(b"\n".join(running.lines))["results"][0], running.complaints[-1].decode()

    def test_a_restart_is_no_loss(self):
        for kind, number in (("topic", signal.SIGTERM), ("topic", signal.SIGKILL), ("stream", signal.SIGKILL)):
            with self.subTest(kind, number=number):
                code, result, _ = self.over_a_restart(number, "--kind", kind, "--receivers", "2", "--senders", "2")
                self.assertEqual((0, []), (code, result["problems"]))
                self.assertGreater(result["disconnects"], 0)
                self.assertEqual(2 * result["confirmed"], result["received"] - result["repeated"])

    def test_what_may_be_lost_depends_on_the_confirm(self):
        for level in ("received", "durable"):
            with self.subTest(level):
                code, result, told = self.over_a_restart(signal.SIGKILL, "--kind", "queue", "--confirm", level)
                self.assertEqual(1, code)
                self.assertGreaterEqual(result["lost"], 3)
                self.assertTrue(level == "received" or result["lost"] == 3, result)
                self.assertIn(f"confirmed as {level} and never received", result["problems"][0])
                self.assertEqual(level == "durable", "did not keep its word: confirmed" in told, told)
                self.assertEqual(level == "received", "if it was killed meanwhile, that is permitted" in told, told)

    def test_an_interruption_does_not_wait_for_a_broker_that_does_not_answer(self):
        for verb, rate in (("soak", ()), ("soak", ("--rate", "1000")), ("throughput", ()), ("latency", ("--rate", "1000"))):
            with self.subTest(verb, rate=rate):
                server = self.broker()  # Another one: the channels are left behind.
                running, _ = self.start(verb, "--duration", "1h", "--channels", "3", *rate, server=server, channels=3)
                server.send_signal(signal.SIGSTOP)
                try:
                    running.process.send_signal(signal.SIGINT)
                    self.assertEqual(130, running.wait())
                finally:
                    server.send_signal(signal.SIGCONT)
                told = b"\n".join(running.complaints)
                self.assertRegex(told, rb"bench\.\S+ and 2 more are left behind: .*no answer")
                if verb == "soak":
                    result = json.loads(b"\n".join(running.lines))["results"][0]
                    self.assertEqual([], result["problems"])
                    # Perhaps nothing was on its way just then.
                    is_judged = b"what was still on its way is not judged" not in told
                    self.assertTrue(not is_judged or result["received"] >= result["confirmed"], (told, result))

    def test_an_interruption_judges_what_a_broker_says_that_it_does_not_have(self):
        running, channel = self.start("soak", "--duration", "1h", "--rate", "2000")
        self.expect_exit(0, self.server, "receive", channel, "-n", "3")
        running.process.send_signal(signal.SIGINT)
        self.assertEqual(1, running.wait())
        self.assertEqual(3, json.loads(b"\n".join(running.lines))["results"][0]["lost"])

    def test_a_stranger_is_noticed(self):
        running, channel = self.start("soak", "--duration", "1s", "--rate", "100")
        self.expect_exit(0, self.server, "send", channel, "not from the bench, but long enough")
        self.assertEqual(1, running.wait())
        self.assertEqual(1, json.loads(b"\n".join(running.lines))["results"][0]["damaged"])

    def test_an_interruption_ends_the_sending_and_checks(self):
        running, _ = self.start("soak", "--duration", "1h", "--rate", "1000")
        running.process.send_signal(signal.SIGINT)
        self.assertEqual(130, running.wait())
        report = json.loads(b"\n".join(running.lines))
        self.assertTrue(report["interrupted"])
        self.assertEqual([], report["results"][0]["problems"])
        self.assertEqual([], self.channels())


if __name__ == "__main__":
    unittest.main()
