"""Channels that come and go while the broker is killed: made, filled, purged, deleted by the command line client.

What a command that succeeded has said must be so in the end; after one that failed the outcome is unknown, and the channel is
left alone. One thread. Used by torture.py.
"""
import json
import random
import subprocess
import threading


class Churn:
    def __init__(self, baton: str, url: str, seed: int):
        self.baton, self.url = baton, url
        self.rng = random.Random(seed)
        self.expected: dict[str, int | None] = {}  # Messages of each channel; None: deleted.
        self.commands = 0
        self.made = 0
        self.is_stopping = False
        self.thread = threading.Thread(target=self.run)

    def start(self) -> None:
        self.thread.start()

    def stop(self, timeout: float) -> bool:
        """Whether it has ended by then."""
        self.is_stopping = True
        self.thread.join(timeout)
        return not self.thread.is_alive()

    def command(self, *arguments: str, text: str = "") -> bool:
        done = subprocess.run([self.baton, "--url", self.url, *arguments], input=text, capture_output=True, text=True,
                              check=False)
        self.commands += 1
        return done.returncode == 0

    def run(self) -> None:
        while not self.is_stopping:
            there = [name for name, count in self.expected.items() if count is not None]
            dice = self.rng.random()
            if not there or (dice < 0.2 and len(there) < 40):
                self.make(f"churn-{self.made}")
                self.made += 1
            elif dice < 0.25:  # The name of one that was deleted, again.
                gone = [name for name, count in self.expected.items() if count is None]
                if gone:
                    self.make(self.rng.choice(gone))
            else:
                self.change(self.rng.choice(there), dice)

    def make(self, name: str) -> None:
        self.expected.pop(name, None)
        if self.command("channel", "create", name, "--durable"):
            self.expected[name] = 0

    def change(self, name: str, dice: float) -> None:
        before = self.expected.pop(name)
        if dice < 0.35:
            if self.command("channel", "delete", name):
                self.expected[name] = None
        elif dice < 0.45:
            if self.command("channel", "purge", name):
                self.expected[name] = 0
        else:
            count = self.rng.choice([1, 10, 1000])
            line = "." * self.rng.choice([1, 100, 1000])
            if self.command("send", name, text=f"{line}\n" * count):
                self.expected[name] = before + count

    def verify(self) -> list[str]:
        """To be called while the broker runs and nothing else uses these channels."""
        listed = subprocess.run([self.baton, "--url", self.url, "--output", "json", "channel", "list"], capture_output=True,
                                text=True, check=True)
        ready = {channel["name"]: channel["ready"] for channel in json.loads(listed.stdout)}
        findings = []
        for name, count in self.expected.items():
            if ready.get(name) != count:
                findings.append(f"{name}: has {ready.get(name)} messages, and must have {count}")
        return findings
