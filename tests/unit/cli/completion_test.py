"""The bash completion as bash sees it: what Tab would offer behind some words. Run by ctest with the program in BATON."""

import os
import subprocess
import tempfile
import unittest

ASK = """
source "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$(($# - 2))
_baton
printf '%s\\n' "${COMPREPLY[@]}"
"""


class CompletionTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.script = os.path.join(cls.folder.name, "baton")
        with open(cls.script, "wb") as file:
            subprocess.run([os.environ["BATON"], "completion", "bash"], stdout=file, check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def offered(self, *words):
        ended = subprocess.run(["bash", "-c", ASK, "bash", self.script, "baton", *words], capture_output=True, check=True)
        self.assertEqual(b"", ended.stderr)
        return ended.stdout.decode().split()

    def test_verbs(self):
        self.assertEqual(["send"], self.offered("se"))
        self.assertEqual(["create"], self.offered("channel", "cr"))
        self.assertEqual(["bash"], self.offered("completion", "b"))

    def test_global_options_stand_before_the_verb(self):
        for before in (("--output", "json"), ("--output", "=", "json"), ("--quiet",), ("--url", "baton://x", "--quiet"),
                       ("--url", "send")):
            self.assertEqual(["receive"], self.offered(*before, "rec"), before)
            self.assertEqual(["--until-empty"], self.offered(*before, "receive", "c", "--until"), before)

    def test_values(self):
        self.assertEqual(["queue", "topic", "stream"], self.offered("channel", "create", "c", "--kind", ""))
        self.assertEqual(["json", "jsonl"], self.offered("--output", "js"))
        self.assertEqual(["json", "jsonl"], self.offered("--output", "=", "js"))
        self.assertEqual(["text", "json", "jsonl"], self.offered("--output", "="))
        self.assertEqual(["quarantined"], self.offered("peek", "c", "--state", "q"))

    def test_each_part_of_a_verb_has_its_own_flags(self):
        self.assertEqual(["--warm-up"], self.offered("bench", "throughput", "--warm"))
        self.assertEqual([], self.offered("bench", "soak", "--warm"))
        self.assertEqual(["--rate"], self.offered("--quiet", "bench", "--url", "baton://x", "soak", "--ra"))
        self.assertEqual(["--force"], self.offered("channel", "delete", "c", "--fo"))
        self.assertEqual([], self.offered("channel", "--fo"))
        words = self.offered("channel", "")
        self.assertEqual(["create", "list", "show", "delete", "purge"], [word for word in words if not word.startswith("-")])
        self.assertEqual({"--help", "--version", "--url", "--quiet", "--output", "--connect-timeout"},
                         {word for word in words if word.startswith("-")})
        self.assertEqual([], self.offered("channel", "frob", ""))

    def test_files_are_left_to_the_shell(self):
        self.assertEqual([], self.offered("send", "c", "--file", "/et"))
        self.assertEqual([], self.offered("backup", "/et"))
        with open(self.script, encoding="ascii") as file:
            self.assertIn("complete -o default -F _baton baton", file.read())


if __name__ == "__main__":
    unittest.main()
