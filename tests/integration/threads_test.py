"""One client of the library under many threads at once, and clients that are alone with one."""

import os
import subprocess
import unittest

from broker import BrokerTest


class ThreadsTest(BrokerTest):
    def test_many_threads_share_a_client(self):
        server = self.broker()
        seconds = 3 if "BATON_TEST_INSTRUMENTED" not in os.environ else 8
        done = subprocess.run([os.environ["THREADS_PEER"], server.url, str(seconds)], timeout=120,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("WARNING: ThreadSanitizer", done.stderr)
        print(done.stdout, end="")


if __name__ == "__main__":
    unittest.main()
