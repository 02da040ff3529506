#!/usr/bin/env python3
"""Keeps the README honest: its examples are compiled, its commands are executed.

  run_docs.py extract README.md DIR                         writes each block under <!-- example: NAME --> to DIR/NAME
  run_docs.py run README.md BATOND BATON EXAMPLE...         executes each block under <!-- executed by ... -->, then the
                                                            examples, against a broker of its own; and each one under
                                                            <!-- executed with a broker of its own by ... -->, which
                                                            starts it itself
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

BLOCK = r"```\w+\n(.*?)^```"


def blocks(readme: str, marker: str) -> list[tuple[str, str]]:
    """(argument of the marker, text of the code block behind it)"""
    return re.findall(rf"(?ms)^<!-- {marker} (.*?) -->\n{BLOCK}", readme)


def extract(readme: str, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in blocks(readme, "example:"):
        (folder / name).write_text(text)


class Broker:
    """A broker on a free port, for as long as the `with` lasts."""

    def __init__(self, batond: str, folder: pathlib.Path):
        self.ready = folder / "ready.json"
        self.process = subprocess.Popen(
            [batond, "--listen", "tcp://127.0.0.1:0", "--data-dir", "", "--ready-file", str(self.ready), "--drain-timeout", "1s"],
            stdin=subprocess.DEVNULL)

    def __enter__(self) -> str:
        deadline = time.monotonic() + 20
        while not self.ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the broker did not start")
            time.sleep(0.02)
        return json.loads(self.ready.read_text())["listen"][0].replace("tcp://", "baton://")

    def __exit__(self, *_) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)


def run_with_own_broker(readme: str, batond: str, baton: str) -> None:
    """The block starts, kills and ends brokers; where they listen is ours to say."""
    texts = blocks(readme, "executed with a broker of its own by")
    assert texts, "the README has no block that starts a broker"
    ending = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"  # A block that fails leaves no broker.
    for _, text in texts:
        with tempfile.TemporaryDirectory() as name:
            folders = [str(pathlib.Path(program).resolve().parent) for program in (batond, baton)]
            environment = {**os.environ, "PATH": ":".join([*folders, os.environ["PATH"]]), "BATON_DRAIN_TIMEOUT": "1s",
                           "BATON_LISTEN": f"unix://{name}/socket", "BATON_URL": f"baton+unix://{name}/socket"}
            block = subprocess.Popen(["bash", "-euo", "pipefail", "-c", ending + text], env=environment,
                                     cwd=name, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
            try:
                output, _ = block.communicate(timeout=60)
            finally:
                try:
                    os.killpg(block.pid, signal.SIGKILL)  # Also where bash was not given the time.
                except ProcessLookupError:
                    pass
            sys.stdout.write(output)
            assert block.returncode == 0, f"a command of the README failed with {block.returncode}"
            assert output.splitlines()[-2:] == ["first", "second"], f"what was sent did not survive: {output!r}"


def run(readme: str, batond: str, baton: str, examples: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with Broker(batond, folder) as url:
            path = f"{pathlib.Path(baton).resolve().parent}:{os.environ['PATH']}"
            environment = {**os.environ, "BATON_URL": url, "PATH": path}
            commands = blocks(readme, "executed by")
            assert commands, "the README has no block of commands"
            for _, text in commands:
                done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], env=environment, cwd=folder, timeout=60,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True)
                sys.stdout.write(done.stdout)
                sys.stderr.write(done.stderr)
                assert done.returncode == 0, f"a command of the README failed with {done.returncode}"
                lines = done.stdout.splitlines()
                for expected in ("one", "two", "three", "1000", "WORK"):
                    assert expected in lines, f"the README's commands did not print {expected!r}"
        with DefaultPortBroker(batond) as is_ours:
            if is_ours:
                for example, expected in zip(examples, ("Hello", "relayed 1000 messages"), strict=True):
                    done = subprocess.run([example], timeout=60, capture_output=True, text=True, check=True)
                    assert done.stdout.strip() == expected, f"{example} printed {done.stdout!r}"
    run_with_own_broker(readme, batond, baton)
    print("the README does what it says")


class DefaultPortBroker:
    """The examples say baton://localhost, so they need a broker on the default port. False if somebody else has it."""

    def __init__(self, batond: str):
        self.batond = batond

    def __enter__(self) -> bool:
        self.process = subprocess.Popen([self.batond, "--data-dir", "", "--drain-timeout", "1s"], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", 22866), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.02)
        print("port 22866 is taken: the examples were compiled but not run", file=sys.stderr)
        return False

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)


def main() -> None:
    readme = pathlib.Path(sys.argv[2]).read_text()
    if sys.argv[1] == "extract":
        extract(readme, pathlib.Path(sys.argv[3]))
    else:
        run(readme, sys.argv[3], sys.argv[4], sys.argv[5:])


main()
