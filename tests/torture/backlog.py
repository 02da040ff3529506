#!/usr/bin/env python3
"""A backlog that is far larger than the broker's memory: how fast it is written, how fast it is drained, what it costs.

    backlog.py GIGABYTES [--memory 256m] [--shards 1] [--folder DIR] [--batond FILE] [--baton FILE] [--peer FILE]

Run by hand (./run backlog GIGABYTES). Messages of 1 KiB with their number, one sender, one channel; then a restart, which must not
read all of it; then one receiver that checks that each number comes once and in order. The resident memory of the broker is
looked at ten times a second. Exit 1 if it was above 512 MiB, or anything was missing.
"""
import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

RSS_MAX = 512 << 20


class Broker:
    def __init__(self, options, folder: pathlib.Path):
        self.peak = 0
        self.ready = folder / "ready"
        self.ready.unlink(missing_ok=True)
        began = time.monotonic()
        self.log = open(folder / "broker.log", "ab")
        self.process = subprocess.Popen(
            [options.batond, "--listen", "tcp://127.0.0.1:0", "--data-dir", str(folder / "data"), "--ready-file", str(self.ready),
             "--shards", str(options.shards), "--limits-memory-max", options.memory],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        while not self.ready.exists():
            if self.process.poll() is not None:
                raise SystemExit(f"the broker ended with {self.process.returncode}; see {folder}/broker.log")
            time.sleep(0.005)
        self.start_seconds = time.monotonic() - began
        text = self.ready.read_text()
        self.url = "baton://" + text[text.index("tcp://") + 6:].split('"')[0]
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        while self.process.poll() is None:
            try:
                for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                    if line.startswith("VmRSS:"):
                        self.peak = max(self.peak, int(line.split()[1]) << 10)
            except OSError:
                return
            time.sleep(0.1)

    def stop(self, number=signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=120)


def timed(what: str, command: list[str], gigabytes: float, broker: Broker) -> None:
    broker.peak = 0
    began = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise SystemExit(f"{what}: exit {done.returncode}")
    count = int(gigabytes * (1 << 20))
    print(f"backlog: {what}: {seconds:.1f} s, {gigabytes * 1024 / seconds:.0f} MiB/s, {count / seconds:.0f} messages/s, "
          f"resident at most {broker.peak >> 20} MiB", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gigabytes", type=float)
    parser.add_argument("--memory", default="256m")
    parser.add_argument("--shards", default="1")
    parser.add_argument("--folder", default=None, help="where the data directory is made (default: the folder for temporary files)")
    parser.add_argument("--batond", default=os.environ.get("BATOND"))
    parser.add_argument("--baton", default=os.environ.get("BATON"))
    parser.add_argument("--peer", default=os.environ.get("TORTURE_PEER"))
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="backlog-", dir=options.folder))
    free = shutil.disk_usage(folder).free
    if free < options.gigabytes * 1.15 * (1 << 30) + (3 << 30):
        raise SystemExit(f"{folder}: {free >> 30} GiB are free, too little")
    count = str(int(options.gigabytes * (1 << 20)))
    broker = None
    peaks = []
    try:
        broker = Broker(options, folder)
        subprocess.run([options.baton, "--url", broker.url, "channel", "create", "b", "--durable"], check=True)
        timed("written", [options.peer, "fill", broker.url, "b", count], options.gigabytes, broker)
        peaks.append(broker.peak)
        used = sum(file.stat().st_blocks * 512 for file in (folder / "data").rglob("*") if file.is_file())
        print(f"backlog: on the disk: {used / (1 << 30):.2f} GiB", flush=True)
        broker.stop(signal.SIGKILL)
        broker = Broker(options, folder)
        print(f"backlog: start after a kill: {broker.start_seconds:.2f} s", flush=True)
        timed("drained in order", [options.peer, "drain", broker.url, "b", count], options.gigabytes, broker)
        peaks.append(broker.peak)
        time.sleep(12)  # Dead files go with the next checkpoints.
        used = sum(file.stat().st_blocks * 512 for file in (folder / "data").rglob("*") if file.is_file())
        print(f"backlog: on the disk afterwards: {used / (1 << 20):.0f} MiB", flush=True)
        broker.stop()
    finally:
        if broker is not None:
            broker.stop(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    good = max(peaks) <= RSS_MAX
    print(f"{1 if good else 0} passed, {0 if good else 1} failed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
