"""The real programs under test: batond as a process, baton as a command, and the frame of a test case.

Programs come from the environment: BATOND and BATON (set by CMakeLists.txt). Only processes started here are ever
signalled, by their own handle. What the broker logged is shown when a test fails. Next file: wire.py.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import wire

# Instrumented programs are slow: deadlines are generous, and never waited for in the good case.
DEADLINE = float(os.environ.get("BATON_TEST_DEADLINE", "30"))


def program(name):
    path = os.environ.get(name)
    if not path or not os.path.exists(path):
        raise unittest.SkipTest(f"{name} does not name a program: {path!r}")
    return path


def eventually(condition, what, timeout=None):
    """Polls until the condition gives something true, and returns that."""
    deadline = time.monotonic() + (timeout or DEADLINE)
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen in time: {what}; last seen: {result!r}")
        time.sleep(0.005)


def clean_environment(**extra):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BATON")}
    return {**environment, **extra}


class Broker:
    """A batond process. Settings are flags: limits_memory_max="64m" becomes --limits-memory-max 64m.

    Without data_dir it keeps what it may keep in a folder of its own, never in the home of the user, and its channels are
    in memory. With data_dir=PATH they are durable; a second broker with the same path finds them again.
    """

    def __init__(self, folder, shards=1, listen=("tcp://127.0.0.1:0",), arguments=(), environment=None,
                 open_files=None, wait=True, **settings):
        self.folder = tempfile.mkdtemp(prefix="broker-", dir=folder)
        self.ready_file = os.path.join(self.folder, "ready.json")
        settings.setdefault("limits_heartbeat_interval", "1h")
        command = [program("BATOND"), "--shards", str(shards), "--ready-file", self.ready_file]
        for url in listen:
            command += ["--listen", url]
        for key, value in settings.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        self.log_path = os.path.join(self.folder, "log")
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))) if open_files else None
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command + list(arguments), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=clean_environment(XDG_STATE_HOME=os.path.join(self.folder, "state"),
                                                                  **(environment or {})),
                                            preexec_fn=limit)
        if wait:
            self.wait_ready()

    def wait_ready(self):
        eventually(lambda: os.path.exists(self.ready_file) or self.process.poll() is not None, "batond is ready")
        if self.process.poll() is not None:
            raise AssertionError(f"batond ended with {self.process.returncode}:\n{self.log()}")
        with open(self.ready_file, encoding="utf-8") as file:
            self.ready = json.load(file)
        return self

    @property
    def listen_url(self):
        return self.ready["listen"][0]

    @property
    def url(self):
        """For clients."""
        return self.listen_url.replace("tcp://", "baton://")

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def send_signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=None):
        return self.process.wait(timeout or DEADLINE)

    def stop(self, number=signal.SIGTERM):
        """Ends it in order; the exit code."""
        if self.process.poll() is None:
            self.send_signal(number)
        return self.wait()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Command:
    """A running baton command; its output arrives line by line, its exit is waited for with a deadline."""

    def __init__(self, url, *arguments, stdin=None, stdout=subprocess.PIPE, environment=None):
        self.arguments = arguments
        self.process = subprocess.Popen(
            [program("BATON"), "--url", url, *arguments],
            stdin=subprocess.PIPE if stdin == subprocess.PIPE else subprocess.DEVNULL,
            stdout=stdout, stderr=subprocess.PIPE, env=clean_environment(**(environment or {})))
        self.lines, self.complaints = [], []
        self.threads = [self.collect(self.process.stderr, self.complaints)]
        if stdout == subprocess.PIPE:
            self.threads.append(self.collect(self.process.stdout, self.lines))

    @staticmethod
    def collect(stream, lines):
        def run():
            for line in stream:
                lines.append(line.rstrip(b"\n"))
            stream.close()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def wait_lines(self, count):
        eventually(lambda: len(self.lines) >= count or self.process.poll() is not None,
                   f"{count} lines of {self.arguments}, there are {len(self.lines)}")
        if len(self.lines) < count and self.process.poll() is not None:
            self.wait()
            if len(self.lines) < count:
                raise AssertionError(f"{self.arguments} ended with {self.process.returncode} after "
                                     f"{len(self.lines)} lines: {self.complaints}")
        return self.lines[:]

    def wait(self, timeout=None):
        """The exit code, once all its output has been read."""
        code = self.process.wait(timeout or DEADLINE)
        for thread in self.threads:
            thread.join(DEADLINE)
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        if self.process.stdin:
            self.process.stdin.close()


class BrokerTest(unittest.TestCase):
    """Gives brokers, peers and commands that end with the test."""

    shards = 1

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="baton-test-")
        self.brokers = []
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def run(self, result=None):
        result = result or self.defaultTestResult()
        before = len(result.failures) + len(result.errors)
        self.logs = []
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            for log in self.logs:
                lines = log.splitlines()
                sys.stderr.write("--- log of batond:\n" + "\n".join(lines[-40:]) + "\n")
        return result

    def broker(self, **settings):
        settings.setdefault("shards", self.shards)
        broker = Broker(self.folder, **settings)
        self.addCleanup(self.end_broker, broker)
        return broker

    def data_dir(self):
        """A new folder for broker(data_dir=...)."""
        return tempfile.mkdtemp(prefix="data-", dir=self.folder)

    def end_broker(self, broker):
        """In order, which also shows leaks; a crash is a failure even where the test did not look."""
        if broker.process.poll() is None:
            broker.send_signal(signal.SIGTERM)  # Peers and commands have ended before: nothing to wait for.
            try:
                broker.wait()
            except subprocess.TimeoutExpired:
                broker.kill()
                self.logs.append(broker.log())
                self.fail("batond did not end after SIGTERM")
        self.logs.append(broker.log())
        self.assertIn(broker.process.returncode, (0, 2, 3, 11, -signal.SIGKILL))
        self.assertNotIn("Sanitizer", broker.log())
        self.assertNotIn("runtime error:", broker.log())

    def peer(self, broker, **options):
        options.setdefault("timeout", DEADLINE)
        peer = wire.Peer(broker if isinstance(broker, str) else broker.listen_url, **options)
        self.addCleanup(peer.close)
        return peer

    def command(self, broker, *arguments, **options):
        command = Command(broker if isinstance(broker, str) else broker.url, *arguments, **options)
        self.addCleanup(command.kill)
        return command

    def baton(self, broker, *arguments, stdin=b"", timeout=None):
        """Runs a command to its end."""
        url = broker if isinstance(broker, str) else broker.url
        return subprocess.run([program("BATON"), "--url", url, *arguments], input=stdin, capture_output=True,
                              timeout=timeout or DEADLINE, env=clean_environment(), check=False)

    def numbers_over_a_kill(self, server, start_again, count, before, window):
        """`baton send` and `baton receive` go on over a kill: the numbers below `count` that came through channel c, as they
        came. Those below `before` are sent to the first broker."""
        receiver = self.command(server, "receive", "c")
        sender = self.command(server, "send", "c", "--window", str(window), stdin=subprocess.PIPE)
        text = [b"%d\n" % number for number in range(count)]
        sender.process.stdin.write(b"".join(text[:before]))
        sender.process.stdin.flush()
        receiver.wait_lines(1_000)
        server.kill()
        again = start_again()
        sender.process.stdin.write(b"".join(text[before:]))
        sender.process.stdin.close()
        self.assertEqual(0, sender.wait())
        watcher = self.peer(again)
        eventually(lambda: (channel := watcher.show(b"c"))["ready"] + channel["in_flight"] == 0, "all is settled")
        receiver.process.send_signal(signal.SIGINT)
        receiver.wait()
        return [int(line) for line in receiver.lines]

    def expect_exit(self, code, broker, *arguments, **options):
        ended = self.baton(broker, *arguments, **options)
        self.assertEqual(code, ended.returncode, (arguments, ended.stdout[-500:], ended.stderr[-500:]))
        return ended


def each_shard_count(*counts):
    """Class decorator: the tests of the class with each of these numbers of shards."""
    def decorate(cls):
        module = sys.modules[cls.__module__]
        for count in counts or (1, 4):
            name = f"{cls.__name__}With{count}Shard{'s' if count > 1 else ''}"
            setattr(module, name, type(name, (cls,), {"shards": count, "__module__": cls.__module__}))
        return None
    return decorate
