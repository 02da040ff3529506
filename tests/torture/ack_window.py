#!/usr/bin/env python3
"""How old an ack can be that kill -9 of the broker undoes, on a machine that does nothing else (docs/guarantees.md: 50 ms).

    ack_window.py KILLS [--rate N] [--batond FILE] [--baton FILE]

One sender at a fixed rate and one receiver of a durable channel; the broker is killed at a random moment and started again.
An ack is as old as the moment at which the receiver printed its message, which is just before it acks. Prints, for the kills, the
oldest ack that each undid. Exit 1 if one was older than the documented window; that can also be a busy machine.
"""
import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

WINDOW_MS = 50.0


class Receiver:
    """Remembers when each line was printed."""

    def __init__(self, command: list):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.lines: list[tuple[str, float]] = []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append((line.strip(), time.monotonic()))

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.thread.join()


def start_broker(options, folder: pathlib.Path) -> tuple[subprocess.Popen, str]:
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    process = subprocess.Popen([options.batond, "--listen", f"unix://{folder}/socket", "--data-dir", str(folder / "data"),
                                "--shards", "1", "--ready-file", str(ready)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not ready.exists():
        if process.poll() is not None:
            raise SystemExit(f"the broker ended with {process.returncode}")
        time.sleep(0.005)
    return process, f"baton+unix://{folder}/socket"


def send_steadily(options, url: str, round_number: int, is_over: threading.Event):
    sender = subprocess.Popen([options.baton, "--url", url, "send", "window"], stdin=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    begin, count = time.monotonic(), 0
    try:
        while not is_over.is_set():
            while count < (time.monotonic() - begin) * options.rate:
                os.write(sender.stdin.fileno(), f"{round_number}.{count}\n".encode())
                count += 1
            time.sleep(0.001)
    except BrokenPipeError:
        pass  # It ends when the broker has been away for long; nothing depends on it then.
    sender.kill()
    sender.wait()


def one_kill(options, folder: pathlib.Path, round_number: int, rng: random.Random) -> float:
    """Age in ms of the oldest ack that was undone."""
    process, url = start_broker(options, folder)
    receiver = Receiver([options.baton, "--url", url, "receive", "window"])
    is_over = threading.Event()
    sender = threading.Thread(target=send_steadily, args=(options, url, round_number, is_over))
    sender.start()
    time.sleep(0.5 + rng.random())
    process.kill()
    killed_at = time.monotonic()
    process.wait()
    is_over.set()
    sender.join()
    receiver.process.kill()
    receiver.end()

    process, url = start_broker(options, folder)
    again = Receiver([options.baton, "--url", url, "receive", "window", "--until-empty"])
    again.process.wait()
    again.thread.join()
    process.send_signal(signal.SIGTERM)
    process.wait()
    printed = {line: at for line, at in receiver.lines if at <= killed_at}
    if not printed:
        raise SystemExit("nothing was received before the kill: nothing is measured")
    return max((1000 * (killed_at - printed[line]) for line, _ in again.lines if line in printed), default=0.0)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batond", default=os.environ.get("BATOND", "build/release/server/batond"))
    parser.add_argument("--baton", default=os.environ.get("BATON", "build/release/client/cli/baton"))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    ages = []
    for number in range(options.kills):
        with tempfile.TemporaryDirectory(prefix="baton-ack-window-") as folder:
            ages.append(one_kill(options, pathlib.Path(folder), number, rng))
    ages.sort()
    middle = ages[len(ages) // 2]
    print(f"{len(ages)} kills at {options.rate} messages a second: the oldest ack that a kill undid was {middle:.1f} ms old in the "
          f"middle and {ages[-1]:.1f} ms at most; load {os.getloadavg()[0]:.1f}")
    return 1 if ages[-1] > WINDOW_MS else 0


if __name__ == "__main__":
    sys.exit(main())
