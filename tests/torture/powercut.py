#!/usr/bin/env python3
"""Cuts the power under a broker at work, again and again, and looks whether it has kept its word.

    powercut.py CUTS --script POWERCUT_SH [--seed N] [--batond FILE] [--baton FILE] [--peer FILE]

Broker and clients run in a guest whose kernel is killed at a random moment (POWERCUT_SH IMAGE LOG SECONDS COMMAND...): its page
cache is gone, what it had synced is in the image. What was confirmed stands in LOG, outside. The same image goes on from cut to
cut, so each start but the first is a recovery. After each cut the image is mounted here, a broker is started on a copy of the data
directory, and everything is received and compared. Needs root, and loop devices.
"""
import argparse
import collections
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

GUEST = """
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
URL=baton://127.0.0.1:22866
{batond} --listen tcp://127.0.0.1:22866 --data-dir data --ready-file /run/ready --shards {shards} \\
    --wal-file-size {wal} --segment-size 1m --limits-message-size-max 4m --limits-memory-max 64m 2>/run/log &
while [ ! -s /run/ready ]; do kill -0 $! || {{ cat /run/log; exit 1; }}; sleep 0.05; done
tail -n 3 /run/log
for channel in one two; do {baton} --url $URL channel create $channel --durable; done
{peer} send $URL one {round}.a - 1000 500 {seed} &
{peer} send $URL two {round}.b - 20000 1 {seed} &
{peer} receive $URL two {round}.r - 30 0 {seed} &
wait
"""


def free_port() -> int:
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PowerCuts:
    def __init__(self, options):
        self.options = options
        self.rng = random.Random(options.seed)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="powercut-"))
        self.image = self.folder / "image"
        self.confirmed: dict[str, int] = {}  # By sender, over all rounds.
        self.settled: set[tuple[str, int]] = set()  # (channel, offset) whose receipt was answered.
        self.acked: set[tuple[str, int]] = set()
        self.received: set[tuple[str, int]] = set()  # An ack may be on the disk before its line is in the log.
        self.findings: list[str] = []
        self.counts = collections.Counter()

    def run(self) -> int:
        print(f"powercut: seed {self.options.seed}, folder {self.folder}", flush=True)
        cuts = 0
        for number in range(1, self.options.cuts + 1):
            log = self.folder / f"log.{number}"
            command = GUEST.format(batond=self.options.batond, baton=self.options.baton, peer=self.options.peer,
                                   shards=self.rng.choice([1, 2]), wal=self.rng.choice(["64k", "1m", "8m"]), round=number,
                                   seed=self.rng.getrandbits(32))
            seconds = 4 + 5 * self.rng.random()
            done = subprocess.run(["bash", self.options.script, str(self.image), str(log), f"{seconds:.2f}", "bash", "-c", command],
                                  env={**os.environ, "SIZE": "1G", "MEM": "768M"}, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                self.findings.append(f"cut {number}: the guest ended by itself; see {log}")
                break
            cuts += 1
            confirmed = self.read_log(log)
            self.check(number)
            print(f"powercut: cut {number}: {confirmed} confirmed in this round, {self.counts['live']} alive after it, "
                  f"{len(self.findings)} findings", flush=True)
            if self.findings:
                break
        print(f"powercut: {cuts} cuts, {self.counts['confirmed']} messages confirmed, {len(self.settled)} receipts answered")
        for text in self.findings:
            print(f"finding: {text}")
        if self.findings:
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder)
        print(f"{cuts - len(self.findings)} passed, {len(self.findings)} failed")
        return 1 if self.findings else 0

    def read_log(self, log: pathlib.Path) -> int:
        """What the guest was told. The last line may be cut, and lines of several processes do not mix."""
        new = 0
        last_received: list[tuple[str, int]] = []
        text = log.read_bytes().decode(errors="replace").replace("\r", "")
        for line in text.split("\n")[:-1]:
            if match := re.fullmatch(r"C (\d+) \d+ (\S+)", line):
                before = self.confirmed.get(match[2], 0)
                self.confirmed[match[2]] = max(before, int(match[1]))
                new += max(0, int(match[1]) - before)
            elif match := re.fullmatch(r"S (\d+) \d+", line):
                self.settled.add(("two", int(match[1])))
            elif match := re.fullmatch(r"A (\d+) \d+", line):
                self.acked.add(("two", int(match[1])))
            elif match := re.fullmatch(r"R \S+ \d+ (\d+) .*", line):
                last_received.append(("two", int(match[1])))
        self.received |= set(last_received) - self.settled - self.acked
        self.counts["confirmed"] += new
        return new

    def check(self, number: int) -> None:
        mount = self.folder / "mount"
        mount.mkdir(exist_ok=True)
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        loop = subprocess.run(["losetup", "-f", "--show", str(self.image)], check=True, capture_output=True,
                              text=True).stdout.strip()
        try:
            subprocess.run(["mount", loop, str(mount)], check=True)
            try:
                shutil.copytree(mount / "data", copy)
            finally:
                subprocess.run(["umount", str(mount)], check=True)
        finally:
            subprocess.run(["losetup", "-d", loop], check=True)
        alive = self.receive_all(copy, number)
        self.counts["live"] = len(alive)
        stored = collections.defaultdict(set)
        for channel, name, message, offset in alive:
            stored[name].add(message)
            if (channel, offset) in self.settled:
                self.findings.append(f"cut {number}: {channel} offset {offset} is back although its receipt was answered")
        settled_of = {offset for channel, offset in self.settled | self.acked | self.received}
        for name, count in self.confirmed.items():
            missing = [message for message in range(1, count + 1) if message not in stored[name]]
            # What is not there must have been settled by the receiver of channel two: compare by number.
            if name.endswith(".b"):
                if len(missing) > len(settled_of):
                    self.findings.append(f"cut {number}: {name}: {len(missing)} of {count} missing, {len(settled_of)} settled")
            elif missing:
                self.findings.append(f"cut {number}: {name}: {len(missing)} of {count} confirmed messages lost: {missing[:5]}")

    def receive_all(self, data: pathlib.Path, number: int) -> list[tuple[str, str, int, int]]:
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        port = free_port()
        with open(self.folder / f"broker.{number}", "wb") as log:
            broker = subprocess.Popen([self.options.batond, "--listen", f"tcp://127.0.0.1:{port}", "--data-dir", str(data),
                                       "--ready-file", str(ready)], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        alive = []
        try:
            deadline = time.monotonic() + 60
            while not ready.exists():
                if broker.poll() is not None or time.monotonic() > deadline:
                    self.findings.append(f"cut {number}: the broker does not start on what is left; see broker.{number}")
                    return alive
                time.sleep(0.01)
            if b"damage" in (self.folder / f"broker.{number}").read_bytes():
                self.findings.append(f"cut {number}: a power cut is reported as damage; see broker.{number}")
            for channel in ("one", "two"):
                done = subprocess.run([self.options.baton, "--url", f"baton://127.0.0.1:{port}", "receive", channel,
                                       "--until-empty", "--jsonl", "--window", "5000"], capture_output=True, timeout=120)
                before = 0
                for line in done.stdout.splitlines():
                    match = re.search(rb'"offset":(\d+).*"body":"(\S+) (\d+) ', line)
                    if match is None:
                        self.findings.append(f"cut {number}: {channel}: not a message of ours: {line[:100]!r}")
                        continue
                    offset = int(match[1])
                    if offset <= before:
                        self.findings.append(f"cut {number}: {channel}: offset {offset} after {before}")
                    before = offset
                    alive.append((channel, match[2].decode(), int(match[3]), offset))
        finally:
            broker.send_signal(signal.SIGTERM)
            broker.wait()
        return alive


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cuts", type=int)
    parser.add_argument("--script", required=True)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--batond", required=True)
    parser.add_argument("--baton", required=True)
    parser.add_argument("--peer", required=True)
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    for name in ("batond", "baton", "peer", "script"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    return PowerCuts(options).run()


if __name__ == "__main__":
    sys.exit(main())
