"""./run demo prints what it promises: three lines, from three processes that talk to each other."""

import os
import subprocess
import unittest

from broker import DEADLINE, program


class DemoTest(unittest.TestCase):
    def test_output(self):
        program("BATOND"), program("BATON")  # `./run demo` takes these, since they are in the environment.
        demo = subprocess.run([os.path.join(os.environ["BATON_SOURCE"], "run"), "demo"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=10 * DEADLINE, check=False)
        self.assertEqual(0, demo.returncode, demo.stderr[-3000:])
        self.assertEqual("sender is sending: Hello, introduction to distributed computing\n"
                         "Receiver received: Hello, introduction to distributed computing\n"
                         "IPC between processes completed.\n", demo.stdout)


if __name__ == "__main__":
    unittest.main()
