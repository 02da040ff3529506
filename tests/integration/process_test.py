"""batond as a process: configuration, listeners, ready file, signals, drain, exit codes."""

import json
import os
import signal
import socket
import subprocess
import unittest

import wire
from broker import DEADLINE, BrokerTest, clean_environment, each_shard_count, eventually, program
from wire import ATTACH, CREDIT, GOAWAY, encode_attach


class ConfigTest(BrokerTest):
    def batond(self, *arguments, **environment):
        return subprocess.run([program("BATOND"), *arguments], capture_output=True, text=True, timeout=DEADLINE,
                              env=clean_environment(XDG_STATE_HOME=self.folder, **environment), stdin=subprocess.DEVNULL,
                              check=False)

    def file(self, text, name="baton.json"):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def expect_bad(self, ended, *words):
        self.assertEqual(2, ended.returncode, ended)
        self.assertEqual("", ended.stdout)
        self.assertEqual(1, len(ended.stderr.strip().splitlines()), ended.stderr)
        for word in words:
            self.assertIn(word, ended.stderr)

    def test_show_and_check(self):
        shown = self.batond("config", "show")
        self.assertEqual(0, shown.returncode, shown.stderr)
        settings = json.loads(shown.stdout)
        self.assertEqual(["tcp://127.0.0.1:22866"], settings["listen"])
        self.assertIn("memory_max", settings["limits"])
        self.assertEqual(0, self.batond("config", "check").returncode)
        # What is shown is itself a configuration.
        path = self.file(shown.stdout)
        self.assertEqual(shown.stdout, self.batond("--config", path, "config", "show").stdout)

    def test_precedence_flag_environment_file_default(self):
        path = self.file('{ /* comments are allowed */ "shards": 2, "log_level": "warn", "drain_timeout": "7s",\n'
                         '  "limits": {"links_max": 5} // really\n}')
        shown = self.batond("--config", path, "--shards", "4", "config", "show", "--origin",
                            BATON_SHARDS="3", BATON_LOG_LEVEL="error")
        settings = json.loads(shown.stdout)
        self.assertEqual({"value": "4", "origin": "flag"}, settings["shards"])
        self.assertEqual({"value": "error", "origin": "environment"}, settings["log_level"])
        self.assertEqual({"value": "7s", "origin": "file"}, settings["drain_timeout"])
        self.assertEqual({"value": "5", "origin": "file"}, settings["limits"]["links_max"])
        self.assertEqual("default", settings["log_format"]["origin"])

    def test_what_is_wrong_is_named(self):
        self.expect_bad(self.batond("config", "check", "--config", self.file('{"colour": "red"}')), "colour", "unknown")
        self.expect_bad(self.batond("config", "check", "--config", self.file('{"limits": {"colour": 1}}')), "limits.colour")
        self.expect_bad(self.batond("config", "check", "--config", self.file('{"shards": "many"}')), "shards", "many")
        self.expect_bad(self.batond("config", "check", "--config", self.file('{"shards": null}')), "shards", "null")
        self.expect_bad(self.batond("config", "check", "--config", self.file('{"limits": 5}')), "limits is 5", "an object")
        self.expect_bad(self.batond("config", "check", "--config", self.file('{"listen": []}')), "listen is []", "tcp://HOST:PORT")
        self.expect_bad(self.batond("config", "check", "--config", self.file("{")), "JSON")
        self.expect_bad(self.batond("config", "check", "--config", self.folder + "/nothing"), "/nothing")
        self.expect_bad(self.batond("--shards", "1000"), "shards", "1000", "256")
        self.expect_bad(self.batond("--log-level", "loud"), "log_level", "loud", "trace")
        self.expect_bad(self.batond(BATON_LIMITS_MEMORY_MAX="lots"), "BATON_LIMITS_MEMORY_MAX", "lots")
        self.expect_bad(self.batond("--listen", "ftp://x"), "ftp://x")
        self.expect_bad(self.batond("--colour", "red"), "--colour")
        self.expect_bad(self.batond("--data-dir", "", "--default-storage", "durable"), "default_storage", "data_dir")
        self.expect_bad(self.batond("--config", self.file('{"policies": [{"match": "a", "bytes_max": "x"}]}')),
                        "policies[0].bytes_max", "x", "a size")
        self.expect_bad(self.batond("--limits-memory-max", "64m"), "message_size_max", '"64m"', "half of limits.memory_max (64m)")
        self.expect_bad(self.batond("--limits-outbox-max", "1m"), "outbox_high_water", '"4m"', "limits.outbox_max (1m)")
        self.expect_bad(self.batond("--limits-outbox-low-water", "4m"), "outbox_low_water", '"4m"', "less than", "(4m)")

    def test_an_empty_value_is_a_mistake(self):
        """Such as a variable of a script that is not set: the defaults are not what was wanted."""
        for arguments in (("--config", ""), ("--config=",), ("--ready-file", ""), ("--listen", ""), ("--shards", "")):
            for command in ((), ("config", "check")):
                with self.subTest((*arguments, *command)):
                    self.expect_bad(self.batond(*arguments, *command), arguments[0].rstrip("="), 'is ""', "allowed is")
        for name in ("BATON_CONFIG", "BATON_READY_FILE", "BATON_MEMORY"):
            self.expect_bad(self.batond(**{name: ""}), name, 'is ""', "allowed is")
        self.assertEqual([], os.listdir(self.folder), "nothing was touched")
        self.assertEqual(0, self.batond("--data-dir", "", "config", "check").returncode)
        self.assertEqual(0, self.batond("config", "check", BATON_DATA_DIR="").returncode)

    def test_the_environment_can_name_the_file(self):
        first, second = self.file('{"shards": 2}', "first.json"), self.file('{"shards": 3}', "second.json")

        def shards(*arguments, **environment):
            return json.loads(self.batond(*arguments, "config", "show", "--origin", **environment).stdout)["shards"]
        self.assertEqual({"value": "2", "origin": "file"}, shards(BATON_CONFIG=first))
        self.assertEqual({"value": "3", "origin": "file"}, shards("--config", second, BATON_CONFIG=first))
        self.assertEqual({"value": "4", "origin": "environment"}, shards(BATON_CONFIG=first, BATON_SHARDS="4"))
        self.expect_bad(self.batond("config", "check", BATON_CONFIG=self.folder + "/nothing"), "/nothing")

    def test_a_misspelt_variable_is_named(self):
        broker = self.broker(environment={"BATON_MEMORY_MAX": "2g", "BATON_LIMITS_MEMORY_MAX": "1g"})
        self.assertIn("BATON_MEMORY_MAX in the environment is no setting", broker.log())
        self.assertNotIn("BATON_LIMITS_MEMORY_MAX", broker.log())
        checked = self.batond("config", "check", BATON_MEMORY_MAX="2g")
        self.assertEqual(0, checked.returncode)
        self.assertIn("BATON_MEMORY_MAX in the environment is no setting", checked.stderr)

    def test_where_it_listens_twice_is_named(self):
        path = f"unix://{self.folder}/twice.sock"
        self.expect_bad(self.batond("--listen", path, "--listen", path), path, "given twice")

    def test_the_environment_can_say_memory(self):
        path = self.file('{"default_storage": "durable"}')

        def storage(*arguments, **environment):
            shown = self.batond("--data-dir", self.folder, *arguments, "config", "show", "--origin", **environment)
            setting = json.loads(shown.stdout)["default_storage"]
            return setting["value"], setting["origin"]
        for value in ("true", "1"):
            self.assertEqual(("memory", "environment"), storage(BATON_MEMORY=value))
        for value in ("false", "0"):
            self.assertEqual(("durable", "default"), storage(BATON_MEMORY=value))
        self.assertEqual(("memory", "environment"), storage("--config", path, BATON_MEMORY="true"))
        self.assertEqual(("durable", "flag"), storage("--default-storage", "durable", BATON_MEMORY="true"))
        self.assertEqual(("memory", "flag"), storage("--memory", BATON_DEFAULT_STORAGE="durable"))
        self.expect_bad(self.batond(BATON_MEMORY="maybe"), "BATON_MEMORY", '"maybe"', "true")
        self.expect_bad(self.batond(BATON_MEMORY="true", BATON_DEFAULT_STORAGE="memory"), "BATON_MEMORY", "BATON_DEFAULT_STORAGE")

    def test_help_and_version(self):
        self.assertIn("Exit codes", self.batond("--help").stdout)
        self.assertIn("Usage: batond [OPTIONS]", self.batond("--help").stdout)
        self.assertTrue(self.batond("--version").stdout.startswith("batond "))

    def test_what_cannot_be_shown_is_an_error(self):
        for arguments in (("config", "show"), ("--help",), ("config", "--help"), ("--version",), ("manual",)):
            with self.subTest(arguments), open("/dev/full", "wb") as full:
                ended = subprocess.run([program("BATOND"), *arguments], stdout=full, stderr=subprocess.PIPE, timeout=DEADLINE,
                                       env=clean_environment(XDG_STATE_HOME=self.folder), check=False)
                self.assertEqual((1, b"batond: cannot write to stdout: No space left on device\n"),
                                 (ended.returncode, ended.stderr))

    def test_help_with_a_closed_output_is_an_error(self):
        for argument in ("--help", "--version"):
            ended = subprocess.run(["/bin/bash", "-c", 'exec "$0" "$@" >&-', program("BATOND"), argument], capture_output=True,
                                   timeout=DEADLINE, env=clean_environment(), check=False)
            self.assertEqual((1, b"batond: cannot write to stdout: Bad file descriptor\n"), (ended.returncode, ended.stderr))


class ListenTest(BrokerTest):
    def start_second(self, *listen):
        server = self.broker(listen=listen, wait=False)
        self.assertEqual(3, server.wait())
        self.assertFalse(os.path.exists(server.ready_file))
        return server.log()

    def test_errors_and_events_are_one_line(self):
        for arguments in (("--shards", "1\n2", "config", "check"), ("--colour\nred",), ("--listen", "tcp://a\nb:1")):
            ended = subprocess.run([program("BATOND"), *arguments], capture_output=True, timeout=60,
                                   env=clean_environment(), check=False)
            self.assertEqual((2, 1), (ended.returncode, ended.stderr.count(b"\n")), ended.stderr)
        path = os.path.join(self.folder, "two\nlines")
        server = self.broker(listen=(f"unix://{path}",))
        self.assertEqual(0, server.stop())
        for line in server.log().splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT[\d:.]+Z [a-z]+ ")

    def test_a_ready_file_that_cannot_be_written_is_known_before_anything_is_touched(self):
        data = os.path.join(self.folder, "untouched")
        os.mkdir(os.path.join(self.folder, "folder"))
        for path in ("no/such/folder/ready", "folder"):
            ended = subprocess.run([program("BATOND"), "--listen", "tcp://127.0.0.1:0", "--data-dir", data, "--ready-file",
                                    os.path.join(self.folder, path)], capture_output=True, timeout=60,
                                   env=clean_environment(), check=False)
            self.assertEqual(2, ended.returncode, ended.stderr)
            self.assertIn(b"choose another --ready-file", ended.stderr)
            self.assertFalse(os.path.exists(data))
            checked = subprocess.run([program("BATOND"), "config", "check", "--ready-file", os.path.join(self.folder, path)],
                                     capture_output=True, timeout=60, env=clean_environment(), check=False)
            self.assertEqual(2, checked.returncode, checked.stderr)
            self.assertIn(b"choose another --ready-file", checked.stderr)

    def test_a_ready_file_replaces_only_a_regular_file(self):
        data, folder = os.path.join(self.folder, "untouched"), os.path.join(self.folder, "ready")
        os.mkdir(folder)
        os.mkfifo(os.path.join(folder, "FIFO"))
        os.symlink(os.path.join(self.folder, "elsewhere"), os.path.join(folder, "symbolic link"))
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(os.path.join(folder, "socket"))
        before = {name: os.lstat(os.path.join(folder, name)).st_ino for name in os.listdir(folder)}
        for name in before:
            ended = subprocess.run([program("BATOND"), "--listen", "tcp://127.0.0.1:0", "--data-dir", data, "--ready-file",
                                    os.path.join(folder, name)], capture_output=True, text=True, timeout=DEADLINE,
                                   env=clean_environment(), check=False)
            self.assertEqual(2, ended.returncode, ended.stderr)
            self.assertIn(f"/ready/{name}: it exists and is a {name}, not a regular file; choose another", ended.stderr)
        self.assertEqual(before, {name: os.lstat(os.path.join(folder, name)).st_ino for name in os.listdir(folder)})
        self.assertFalse(os.path.exists(data))

    def test_only_the_ready_file_that_was_written_is_removed(self):
        """A FIFO, which also must not be waited for, and a file that says the same, as that of a container with this number."""
        fifo = self.broker()
        os.remove(fifo.ready_file)
        os.mkfifo(fifo.ready_file)
        same = self.broker()
        with open(same.ready_file, "rb") as file, open(same.ready_file + ".new", "wb") as copy:
            copy.write(file.read())
        os.rename(same.ready_file + ".new", same.ready_file)
        for server in (fifo, same):
            self.assertEqual(0, server.stop())
            self.assertTrue(os.path.lexists(server.ready_file))

    def test_a_ready_file_is_there_as_long_as_the_broker_is_ready(self):
        ready = os.path.join(self.folder, "ready")
        with open(ready, "w", encoding="ascii") as file:
            file.write("of another time")
        taken = self.broker()
        ended = subprocess.run([program("BATOND"), "--listen", taken.listen_url, "--data-dir", "", "--ready-file", ready],
                               capture_output=True, timeout=60, env=clean_environment(), check=False)
        self.assertEqual(3, ended.returncode)
        self.assertIn(b"is another broker running there?", ended.stderr)
        self.assertFalse(os.path.exists(ready), "it would have been taken for this one's")
        self.assertEqual(0, taken.stop())
        self.assertFalse(os.path.exists(taken.ready_file))
        server = self.broker()
        with open(server.ready_file, "w", encoding="ascii") as file:
            file.write('{"pid":1}')
        self.assertEqual(0, server.stop())
        self.assertTrue(os.path.exists(server.ready_file), "the next one's")

    def test_ready_file(self):
        server = self.broker(listen=("tcp://127.0.0.1:0", "tcp://[::1]:0", f"unix://{self.folder}/b.sock"))
        self.assertEqual(server.process.pid, server.ready["pid"])
        self.assertEqual({"pid", "listen"}, set(server.ready))
        first, second, third = server.ready["listen"]
        self.assertRegex(first, r"^tcp://127\.0\.0\.1:\d+$")
        self.assertRegex(second, r"^tcp://\[::1\]:\d+$")
        self.assertEqual(f"unix://{self.folder}/b.sock", third)
        for url in server.ready["listen"]:
            self.assertFalse(url.endswith(":0"))
            self.peer(url).ping()
        self.assertEqual([], [name for name in os.listdir(server.folder) if name.endswith(".tmp")])

    def test_standard_streams_that_are_closed(self):
        """Else the first files and sockets that are opened were them, and the log went there."""
        ready = os.path.join(self.folder, "ready")
        process = subprocess.Popen(["/bin/bash", "-c", 'exec "$0" "$@" <&- >&- 2>&-', program("BATOND"), "--listen",
                                    "tcp://127.0.0.1:0", "--data-dir", self.data_dir() + "/data", "--ready-file", ready],
                                   env=clean_environment())
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        eventually(lambda: os.path.exists(ready), "it is ready")
        self.assertEqual({"/dev/null"}, {os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)})
        process.terminate()
        self.assertEqual(0, process.wait(DEADLINE))

    def test_an_occupied_port(self):
        server = self.broker()
        self.assertIn(server.listen_url.rsplit(":", 1)[1], self.start_second(server.listen_url))
        self.peer(server).ping()

    def test_an_occupied_unix_path(self):
        url = f"unix://{self.folder}/b.sock"
        server = self.broker(listen=(url,))
        self.assertIn("b.sock", self.start_second(url))
        self.peer(server).ping()

    def test_a_unix_socket_left_by_a_killed_broker(self):
        url = f"unix://{self.folder}/b.sock"
        self.broker(listen=(url,)).kill()
        self.assertTrue(os.path.exists(f"{self.folder}/b.sock"))
        second = self.broker(listen=(url,))
        peer = self.peer(second)
        peer.ping()
        peer.close()
        self.assertEqual(0, second.stop())
        self.assertFalse(os.path.exists(f"{self.folder}/b.sock"), "an orderly end leaves no socket")

    def test_a_path_that_is_something_else(self):
        path = os.path.join(self.folder, "precious")
        with open(path, "w", encoding="utf-8") as file:
            file.write("not a socket")
        self.start_second(f"unix://{path}")
        with open(path, encoding="utf-8") as file:
            self.assertEqual("not a socket", file.read())

    def test_one_bad_listener_of_two_starts_nothing(self):
        self.start_second("tcp://127.0.0.1:0", f"unix://{self.folder}/no/such/folder/b.sock")


class DataDirectoryTest(BrokerTest):
    def test_what_must_be_a_file_and_is_something_else(self):
        for name in ("LOCK", "MANIFEST", "POLICIES"):
            for make in (os.mkdir, os.mkfifo):
                data = self.data_dir()
                make(os.path.join(data, name))
                server = self.broker(data_dir=data, wait=False)
                self.assertEqual(11, server.wait())
                self.assertIn(f"{data}/{name} must be a file: move away what is there", server.log())
                self.assertNotIn("writable", server.log())
                self.assertTrue(os.path.exists(os.path.join(data, name)))


class ReloadTest(BrokerTest):
    def test_sighup_changes_the_log_level_and_nothing_else(self):
        path = os.path.join(self.folder, "baton.json")

        def write(text):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        write('{"log_level": "info"}')
        server = self.broker(arguments=["--config", path])
        peer = self.peer(server)
        write('{"log_level": "debug", "drain_timeout": "1s"}')
        server.send_signal(signal.SIGHUP)
        eventually(lambda: "log_level is now debug" in server.log(), "the new level is told")
        eventually(lambda: "drain_timeout has changed" in server.log(), "what needs a restart is told")
        self.peer(server).close()
        eventually(lambda: " debug " in server.log(), "there are debug lines")
        write('{"log_level": "loud"}')
        server.send_signal(signal.SIGHUP)
        eventually(lambda: "old settings stay" in server.log() and "loud" in server.log(), "a bad file changes nothing")
        peer.ping()
        peer.close()
        self.assertEqual(0, server.stop())

    def test_json_log(self):
        server = self.broker(log_format="json")
        self.assertEqual(0, server.stop())
        lines = server.log().splitlines()
        self.assertGreater(len(lines), 2)
        for line in lines:
            self.assertIsInstance(json.loads(line), dict)


@each_shard_count()
class DrainTest(BrokerTest):
    def prepare(self, **settings):
        server = self.broker(**settings)
        worker, sender = self.peer(server), self.peer(server)
        sender.attach_sender(1, b"work")
        sender.publish_all(1, 1, [b"one", b"two", b"three"])
        worker.attach_receiver(1, b"work", credit=(2, 1 << 40))
        worker.deliveries(1, 2)
        return server, worker, sender

    def assert_ended(self, server, *peers):
        """The broker closes, the peers close, the broker ends with 0."""
        for peer in peers:
            peer.expect_closed()
            peer.close()
        self.assertEqual(0, server.wait())

    def test_no_new_messages_but_what_is_held_can_be_settled(self):
        server, worker, sender = self.prepare()
        server.send_signal(signal.SIGTERM)
        for peer in (worker, sender):
            goodbye = peer.expect(GOAWAY).json()
            self.assertEqual("draining", goodbye["code"])
            self.assertGreaterEqual(goodbye["reconnect_after_ms"], 0)
        sender.publish(1, 4, b"too late")
        self.assertEqual([(4, 1, "draining")], sender.confirmed(1, 4))
        sender.send(ATTACH, 2, body=encode_attach(wire.SENDER, b"work"))
        self.assertEqual("draining", sender.expect_fault(2).status)
        with self.assertRaises(ConnectionError):
            wire.connect(server.listen_url)
        worker.give_credit(1, 10)
        state = worker.ask(1)
        self.assertEqual((1, 2), (state.ready, state.in_flight), "nothing more is given out")
        self.assertIsNone(server.process.poll())
        self.assertEqual([], worker.settle_and_wait(1, 1, count=2))
        self.assert_ended(server, worker, sender)

    def test_an_idle_broker_ends_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            server = self.broker()
            peer = self.peer(server)
            peer.attach_receiver(1, b"work")
            server.send_signal(number)
            self.assert_ended(server, peer)

    def test_a_second_sigterm_cuts_the_wait_short(self):
        server, worker, _ = self.prepare()
        server.send_signal(signal.SIGTERM)
        worker.expect(GOAWAY)
        self.assertIsNone(server.process.poll())
        server.send_signal(signal.SIGTERM)
        self.assertEqual(0, server.wait())
        self.assertIn("second time", server.log())

    def test_the_drain_timeout(self):
        server, worker, sender = self.prepare(drain_timeout="300ms")
        server.send_signal(signal.SIGTERM)
        worker.expect(GOAWAY)
        self.assert_ended(server, worker, sender)
        self.assertIn("drain timeout", server.log())

    def test_what_was_confirmed_before_goaway_was_told(self):
        """Publish without pause into a draining broker: every message is confirmed, or refused, or unanswered; no gap."""
        server = self.broker()
        sender = self.peer(server)
        sender.attach_sender(1, b"work")
        messages_max, _ = sender.expect(CREDIT, 1).credit()
        for number in range(1, min(messages_max, 500) + 1):
            sender.publish(1, number, b"x")
            if number == 250:
                server.send_signal(signal.SIGTERM)
        confirmed, refused = 0, []
        for frame in sender.unread + sender.expect_closed():
            if frame.kind == wire.CONFIRM:
                self.assertGreaterEqual(frame.sequence, confirmed)
                confirmed = frame.sequence
                refused += frame.exceptions()
        for _, _, status in refused:
            self.assertEqual("draining", status)
        first_refused = min((first for first, _, _ in refused), default=confirmed + 1)
        self.assertEqual(confirmed - first_refused + 1, sum(count for _, count, _ in refused))
        sender.close()
        self.assertEqual(0, server.wait())


if __name__ == "__main__":
    unittest.main()
