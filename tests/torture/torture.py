#!/usr/bin/env python3
"""Kills the broker again and again under load and looks whether it has kept its word (docs/guarantees.md).

    torture.py SECONDS [--seed N] [--keep] [--batond FILE] [--baton FILE] [--peer FILE]

Real brokers and clients as processes; several durable channels; small files, so that logs roll, move and are recycled all the
time; kill -9 at random moments, also during the recovery. In the end everything is drained and every line that the
clients wrote is compared. Prints a summary; exit 1 if there is a finding, and then the folder is kept.
"""
import argparse
import bisect
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from churn import Churn

# What a crash may bring back although it was acked: settle_sync_interval, a tick, a sync, and what the machine takes.
ACK_WINDOW_US = 50_000
# A drain takes as long as it takes: what was confirmed may be gigabytes. One that stands still is a finding.
DRAIN_STALL_S = 60


def now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


class Broker:
    def __init__(self, options, folder: pathlib.Path, rng: random.Random):
        self.options, self.folder, self.rng = options, folder, rng
        self.data = folder / "data"
        self.port = rng.randrange(20_000, 32_000)
        self.process = None
        self.starts = 0

    def start(self, wait: bool = True) -> bool:
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        shards = self.rng.choice([1, 1, 2, 3])
        self.starts += 1
        with open(self.folder / "broker.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.options.batond, "--listen", f"tcp://127.0.0.1:{self.port}", "--data-dir", str(self.data),
                 "--ready-file", str(ready), "--shards", str(shards),
                 "--wal-file-size", self.rng.choice(["64k", "256k", "1m", "4m"]),
                 "--segment-size", self.rng.choice(["256k", "1m", "16m"]),
                 "--drain-timeout", "1s", "--limits-message-size-max", "4m",
                 "--limits-memory-max", self.rng.choice(["24m", "48m", "512m"])],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if not wait:
            return True
        deadline = time.monotonic() + 60
        while not ready.exists():
            if self.process.poll() is not None:
                raise SystemExit(f"the broker ended with {self.process.returncode}; see {self.folder}/broker.log")
            if time.monotonic() > deadline:
                raise SystemExit(f"the broker was not ready within 60 s; see {self.folder}/broker.log")
            time.sleep(0.005)
        return True

    def end_in_order(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self) -> int:
        if (code := self.process.poll()) is not None:
            raise SystemExit(f"the broker ended by itself with {code}; see {self.folder}/broker.log")
        self.process.send_signal(signal.SIGKILL)
        at = now_us()
        self.process.wait()
        return at

    @property
    def url(self) -> str:
        return f"baton://127.0.0.1:{self.port}"


class Torture:
    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options.seed)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="torture-"))
        self.broker = Broker(options, self.folder, self.rng)
        self.kills: list[int] = []
        self.peers: list[subprocess.Popen] = []
        self.logs: dict[str, list[pathlib.Path]] = collections.defaultdict(list)
        self.respawn: dict[int, list[str]] = {}
        self.findings: list[str] = []
        self.channels = ["busy", "small", "backlog", "big", "keys", "late", "fail", "news"]
        # What the receivers of one log together get all of: a queue, or a subscription of a topic.
        self.groups = {name: name for name in self.channels if name != "news"} | {"news.a": "news", "news.b": "news"}
        self.numbers = collections.Counter()

    def finding(self, text: str) -> None:
        if len(self.findings) < 40:
            self.findings.append(text)

    def baton(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run([self.options.baton, "--url", self.broker.url, *arguments], capture_output=True, text=True,
                              timeout=120, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise SystemExit(f"baton {' '.join(arguments)}: {done.returncode}: {done.stderr}")
        return done.stdout

    def spawn(self, command: list[str]) -> subprocess.Popen:
        peer = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.peers.append(peer)
        self.respawn[peer.pid] = command
        return peer

    def sender(self, channel: str, size_max: int, window: int, style: str = "plain") -> None:
        self.numbers[channel] += 1
        name = f"{channel}.s{self.numbers[channel]}"
        log = self.folder / f"{name}.log"
        self.logs[channel + " s"].append(log)
        self.spawn([self.options.peer, "send", self.broker.url, channel, name, str(log), str(size_max), str(window),
                    str(self.rng.getrandbits(32)), style])

    def receiver(self, group: str, receipt_percent: int, crash: int) -> None:
        log = self.folder / f"{group}.r{len(self.logs[group + ' r']) + 1}.log"
        self.logs[group + " r"].append(log)
        channel = self.groups[group]
        self.spawn([self.options.peer, "receive", self.broker.url, channel, log.stem, str(log), str(receipt_percent),
                    str(crash), str(self.rng.getrandbits(32)), "fail" if group == "fail" else "plain",
                    "" if group == channel else group])

    def revive_receivers(self) -> None:
        for peer in list(self.peers):
            if peer.poll() is not None:
                self.peers.remove(peer)
                command = self.respawn.pop(peer.pid)
                if command[1] == "receive":
                    self.receiver(command[10] or command[3], int(command[6]), int(command[7]))
                else:
                    self.finding(f"a sender ended by itself with {peer.returncode}: {' '.join(command)}")

    def run(self) -> int:
        print(f"torture: seed {self.options.seed}, folder {self.folder}", flush=True)
        self.broker.start()
        for channel in self.channels:
            # Messages with an order, a time or a quarantine stay in memory: these channels are kept small.
            more = {"keys": ["--ordered-by-key", "--messages-max", "3000"], "late": ["--messages-max", "3000"],
                    "fail": ["--retry-first", "50ms", "--messages-max", "10000"],
                    "news": ["--kind", "topic"]}.get(channel, [])
            self.baton("channel", "create", channel, "--durable", *more)
        for group in ("news.a", "news.b"):
            self.baton("subscription", "create", "news", group)
        for channel, size_max, window, senders, style in (
                ("busy", 2_000, 1000, 2, "plain"), ("small", 10, 1, 2, "plain"), ("backlog", 5_000, 300, 1, "plain"),
                ("big", 1_500_000, 20, 1, "plain"), ("keys", 500, 100, 1, "keys"), ("late", 500, 100, 1, "late"),
                ("fail", 500, 100, 1, "plain"), ("news", 1_000, 100, 1, "plain")):
            for _ in range(senders):
                self.sender(channel, size_max, window, style)
        for group, receipts, crash, receivers in (
                ("busy", 1, 20, 2), ("small", 30, 500, 1), ("big", 20, 2_000, 2), ("keys", 5, 100, 3), ("late", 5, 100, 1),
                ("fail", 5, 100, 2), ("news.a", 5, 50, 1), ("news.b", 5, 50, 2)):
            for _ in range(receivers):
                self.receiver(group, receipts, crash)
        self.churn = Churn(self.options.baton, self.broker.url, self.rng.getrandbits(32))
        self.churn.start()
        end = time.monotonic() + self.options.seconds
        is_backlog_read = False
        while time.monotonic() < end:
            time.sleep(self.rng.choice([0.05, 0.3, 0.8, 1.5, 2.5]) * self.rng.random())
            if not is_backlog_read and time.monotonic() > end - self.options.seconds / 3:
                is_backlog_read = True
                self.receiver("backlog", 2, 20)
            if self.rng.random() < 0.1:
                self.numbers["ends in order"] += 1
                if (code := self.broker.end_in_order()) != 0:
                    self.finding(f"the broker ended with {code} after SIGTERM")
            else:
                self.kills.append(self.broker.kill())
            while self.rng.random() < 0.25:  # Again, in the middle of the start.
                self.broker.start(wait=False)
                time.sleep(self.rng.random() * 0.08)
                self.kills.append(self.broker.kill())
            self.broker.start()
            self.revive_receivers()
        self.drain()
        self.verify()
        return self.report()

    def drain(self) -> None:
        while not self.churn.stop(0.2):  # Its last command may wait for room in memory, and that for receivers.
            self.revive_receivers_only()
        for peer in self.peers:
            if self.respawn[peer.pid][1] == "send":
                peer.send_signal(signal.SIGTERM)
        for peer in self.peers:
            if self.respawn[peer.pid][1] == "send":
                peer.wait(timeout=120)
        fewest, seen_at = None, time.monotonic()
        while True:
            self.revive_receivers_only()
            left = {}
            for channel in json.loads(self.baton("--output", "json", "channel", "list")):
                if channel["name"] in self.channels:
                    shown = json.loads(self.baton("--output", "json", "channel", "show", channel["name"]))
                    left[channel["name"]] = (shown["ready"], shown["in_flight"], shown["delayed"])
                if channel.get("damage"):
                    self.finding(f"{channel['name']} is damaged: {channel['damage']}")
            rest = sum(sum(counts) for counts in left.values())
            if rest == 0:
                break
            if fewest is None or rest < fewest:
                fewest, seen_at = rest, time.monotonic()
            if time.monotonic() - seen_at > DRAIN_STALL_S:
                self.finding(f"no message has left for {DRAIN_STALL_S} s: {left}")
                break
            time.sleep(0.2)
        for peer in self.peers:
            if peer.poll() is None:
                peer.send_signal(signal.SIGTERM)
        for peer in self.peers:
            peer.wait(timeout=60)
        quarantined = self.baton("--output", "jsonl", "peek", "fail", "--state", "quarantined", "-n", "100000")
        self.quarantined = {json.loads(line)["offset"] for line in quarantined.splitlines()}
        for text in self.churn.verify():
            self.finding(text)
        code = self.broker.end_in_order()
        if code != 0:
            self.finding(f"the broker ended with {code} after the drain")

    def revive_receivers_only(self) -> None:
        for peer in list(self.peers):
            if peer.poll() is not None and self.respawn[peer.pid][1] == "receive":
                self.peers.remove(peer)
                command = self.respawn.pop(peer.pid)
                self.receiver(command[10] or command[3], int(command[6]), 0)

    # --- What the logs say ----------------------------------------------------------------------------------------

    def verify(self) -> None:
        self.ack_ages: collections.Counter[int] = collections.Counter()  # Of each kill: the oldest ack that it undid.
        self.again = 0
        for group, channel in self.groups.items():
            self.verify_group(group, channel)

    def verify_group(self, group: str, sent_to: str) -> None:
        channel = group
        received = []  # (time, sender, number, offset, attempt, redelivered)
        acked: dict[int, int] = {}
        sure: dict[int, int] = {}
        rejected: set[int] = set()
        for log in self.logs[channel + " r"]:
            lines = log.read_text().splitlines()
            # What a receiver acked in its last moments may never have left it.
            last = int(lines[-1].split()[-1]) - 50_000 if lines else 0
            for line in lines:
                word = line.split()
                if word[0] == "R":
                    received.append((int(word[6]), word[1], int(word[2]), int(word[3]), int(word[4]), word[5] == "1"))
                elif word[0] == "A" and int(word[2]) < last:
                    acked[int(word[1])] = int(word[2])
                elif word[0] in "SJ":
                    sure[int(word[1])] = int(word[2])
                    if word[0] == "J":
                        rejected.add(int(word[1]))
                elif word[0] == "T":
                    self.numbers["tried again"] += 1
                elif word[0] == "X":
                    self.finding(f"{channel}: {line}")
        received.sort(key=lambda row: row[0])  # Of one receiver the order in its log is what counts.
        self.numbers["received"] += len(received)
        offset_of: dict[tuple[str, int], int] = {}
        message_at: dict[int, tuple[str, int]] = {}
        attempts: dict[int, int] = {}
        newest = 0
        first_at: dict[int, int] = {}  # The delivery before the one with the present attempt: when it was started.
        seen_at: dict[int, list[int]] = collections.defaultdict(list)
        for at, sender, number, offset, attempt, redelivered in received:
            message = (sender, number)
            if message_at.setdefault(offset, message) != message:
                self.finding(f"{channel}: offset {offset} was {message_at[offset]} and is {message}")
            if offset_of.setdefault(message, offset) != offset:
                self.finding(f"{channel}: {message} stored twice, at {offset_of[message]} and {offset}")
            if attempt < attempts.get(offset, 1) and not self.was_killed_after(first_at[offset], at):
                self.finding(f"{channel}: offset {offset} attempt went down from {attempts[offset]} to {attempt}")
            if attempt != attempts.get(offset):
                first_at[offset] = seen_at[offset][-1] if seen_at[offset] else at
            attempts[offset] = attempt
            if seen_at[offset]:
                self.again += 1
                if not redelivered and not self.was_killed_after(seen_at[offset][-1], at):
                    self.finding(f"{channel}: offset {offset} came again and is not marked as redelivered")
            elif channel == "small" and offset < newest:  # It has one receiver at a time.
                self.finding(f"{channel}: offset {offset} came for the first time behind {newest}")
            newest = max(newest, offset)
            seen_at[offset].append(at)
        for offset, at in sure.items():
            if any(again > at for again in seen_at[offset]):
                self.finding(f"{channel}: offset {offset} came back after its receipt was answered")
        for offset, at in acked.items():
            later = [again for again in seen_at[offset] if again > at]
            if later:
                self.check_window(channel, offset, at, min(later))
        self.verify_senders(sent_to, offset_of)
        if missing := rejected - self.quarantined:
            self.finding(f"{channel}: {len(missing)} of {len(rejected)} rejected messages are not in quarantine: "
                         f"{sorted(missing)[:10]}")
        self.numbers["rejected"] += len(rejected)
        if group == "keys":
            self.verify_keys(received)

    def verify_keys(self, received) -> None:
        """At most one message of a key is with receivers, in order: so they come for the first time in order."""
        newest: dict[tuple[str, int], int] = {}
        seen = set()
        for _, sender, number, offset, _, _ in received:
            key = (sender, number % 16)
            if offset not in seen and number < newest.get(key, 0):
                self.finding(f"keys: {sender} {number} came for the first time behind {newest[key]} of the same key")
            seen.add(offset)
            newest[key] = max(newest.get(key, 0), number)

    def was_killed_after(self, started_at: int, again_at: int) -> bool:
        """That it was given and started is on the disk as soon as a settlement would be, and no sooner. The broker may also have
        been dead for a moment when the receiver took it out of what it had received."""
        index = bisect.bisect_left(self.kills, started_at - 10 * ACK_WINDOW_US)
        return index < len(self.kills) and self.kills[index] < again_at and \
            self.kills[index] - started_at < 10 * ACK_WINDOW_US

    def check_window(self, channel: str, offset: int, acked_at: int, again_at: int) -> None:
        index = bisect.bisect_left(self.kills, acked_at)
        if index == len(self.kills) or self.kills[index] > again_at:
            # Without a death of the broker in between: the ack may have been lost with the receiver's connection.
            self.numbers["again without kill"] += 1
            return
        age = self.kills[index] - acked_at
        self.ack_ages[index] = max(self.ack_ages[index], age)

    def verify_senders(self, channel: str, offset_of: dict[tuple[str, int], int]) -> None:
        for log in self.logs[channel + " s"]:
            name = log.stem
            confirmed = 0
            for line in log.read_text().splitlines():
                word = line.split()
                if word[0] == "C":
                    confirmed = int(word[1])
                elif word[0] == "X":
                    self.finding(f"{channel}: {name}: {line}")
            self.numbers["confirmed"] += confirmed
            missing = [number for number in range(1, confirmed + 1) if (name, number) not in offset_of]
            if missing:
                self.finding(f"{channel}: {name}: {len(missing)} of {confirmed} confirmed messages are lost: {missing[:10]}")
            offsets = [offset_of[name, number] for number in range(1, confirmed + 1) if (name, number) in offset_of]
            if offsets != sorted(offsets):
                self.finding(f"{channel}: {name}: order of sending and order in the channel differ")

    def report(self) -> int:
        ages = sorted(self.ack_ages.values()) or [0]
        print(f"torture: {len(self.kills)} kills, {self.numbers['ends in order']} ends in order, {self.churn.commands} commands, "
              f"{self.numbers['confirmed']} messages confirmed, {self.numbers['received']} deliveries, {self.again} of them again "
              f"({self.numbers['tried again']} wanted), {self.numbers['rejected']} rejected; "
              f"age of the oldest ack that a kill undid: {ages[len(ages) // 2] / 1000:.1f} ms in the middle, "
              f"{ages[-1] / 1000:.1f} ms at most (documented: {ACK_WINDOW_US / 1000:.0f} ms on an idle machine)")
        for text in self.findings:
            print(f"finding: {text}")
        if self.findings or self.options.keep:
            (self.folder / "kills").write_text("".join(f"{at}\n" for at in self.kills))
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder)
        print(f"{0 if self.findings else 1} passed, {len(self.findings)} failed")
        return 1 if self.findings else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--batond", default=os.environ.get("BATOND"))
    parser.add_argument("--baton", default=os.environ.get("BATON"))
    parser.add_argument("--peer", default=os.environ.get("TORTURE_PEER"))
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    torture = Torture(options)
    try:
        return torture.run()
    finally:
        for peer in torture.peers:
            if peer.poll() is None:
                peer.kill()
        if torture.broker.process is not None and torture.broker.process.poll() is None:
            torture.broker.process.kill()


if __name__ == "__main__":
    sys.exit(main())
