#!/usr/bin/env python3
"""Each rule of source_rules.py finds what it should find, and nothing in a tree that is in order."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import source_rules  # noqa: E402

HEAD = "// What this file is for.\n#pragma once\n"


def findings(rule: str, files: dict[str, str]) -> list[str]:
    source_rules.NOTES.clear()
    return [str(finding) for finding in source_rules.RULES[rule](source_rules.Tree(files))]


class SourceRules(unittest.TestCase):
    def finds(self, rule: str, files: dict[str, str], *expected: str) -> None:
        found = findings(rule, files)
        self.assertEqual(len(found), len(expected), found)
        for part in expected:
            self.assertTrue(any(part in line for line in found), (part, found))

    def test_dependencies_upwards_and_sideways(self):
        self.finds("dependencies", {
            "common/base/a.hpp": HEAD + '#include "common/wire/b.hpp"\n#include <spdlog/spdlog.h>\n',
            "common/wire/b.hpp": HEAD + '#include "common/net/c.hpp"\n#include <thread>\n',
            "server/channel/d.hpp": HEAD + '#include "common/wire/b.hpp"\n#include <asio.hpp>\n#include <mutex>\n',
            "client/src/e.hpp": HEAD + '#include "server/channel/d.hpp"\n#include "e.hpp"\n',
            "server/other/f.hpp": HEAD,
        }, "common/base/a.hpp:3: common/base may not include common/wire", "common/base/a.hpp:4: common/base uses",
            "common/wire/b.hpp:3", "common/wire/b.hpp:4: no I/O", "server/channel/d.hpp:3",
            "server/channel/d.hpp:4: Asio", "server/channel/d.hpp:5: no I/O", "client/src/e.hpp:3",
            "client/src/e.hpp:4: write the include",
            "server/other/f.hpp:1")

    def test_dependencies_in_order(self):
        self.finds("dependencies", {
            "common/base/a.hpp": HEAD + '#include <span>\n// #include "common/wire/b.hpp"\n',
            "server/session/b.hpp": HEAD + '#include "common/wire/x.hpp"\n#include <asio/ip/tcp.hpp>\n',
            "server/main.cpp": '// Main.\n#include "server/app/application.hpp"\n',
            "client/cli/c.cpp": '// Verb.\n#include "client/cli/c.hpp"\n#include <baton/client.hpp>\n',
        })

    def test_link_edges(self):
        self.finds("link_edges", {
            "server/channel/CMakeLists.txt": "baton_library(NAME channel DEPS baton::base baton::wire baton::asio)\n",
            "client/CMakeLists.txt": "baton_library(NAME client DEPS baton::net baton::session) # baton::app\n",
        }, "baton::wire", "may not link Asio", "baton::session")

    def test_banned_calls(self):
        self.finds("banned_calls", {
            "server/session/a.cpp": "// asio::detached\nbool detached = true;\nco_spawn(e, t(), asio::detached);\n"
                                    "auto s = \"async_write(\";\n"
                                    "asio::async_write(socket, buffers, done);\n",
            "tests/unit/b.cpp": "// Test.\nstd::this_thread::sleep_for(1s);\n",
            "server/channel/c.cpp": "// Channel.\nauto now = std::chrono::steady_clock::now();\n",
        }, "a.cpp:3", "a.cpp:5", "b.cpp:2", "c.cpp:2")

    def test_names(self):
        self.finds("names", {
            "server/runtime/string_utils.hpp": HEAD,
            "server/runtime/ShardMap.hpp": HEAD,
            "server/runtime/shard.hpp": HEAD + "class ShardManager;\n",
            "server/runtime/shard.h": "",
            "common/base/utf8.hpp": HEAD + "// A Manager is only mentioned.\n",
        }, "string_utils.hpp:1", "ShardMap.hpp:1", "ShardManager", "shard.h:1")

    def test_form(self):
        self.finds("form", {
            "common/base/a.hpp": "namespace baton {}\n",
            "common/base/a.cpp": '#include "common/base/a.hpp"\n',
            "common/base/c.cpp": "int c;\n",
            "common/base/b.cpp": "// B.\nint x;\t\nint y; \n" + "z" * 133 + "\nend",
            "docs/long.md": "# " + "long " * 40 + "line\n",
        }, "a.hpp:1: the file has no head comment", "a.hpp:1: #pragma once",
            "c.cpp:1: the file has no head comment", "b.cpp:2: a tab",
            "b.cpp:2: trailing space", "b.cpp:3: trailing space", "b.cpp:4: 133 columns", "b.cpp:5: no newline")

    def test_own_header_first(self):
        self.finds("own_header_first", {
            "common/base/a.hpp": HEAD,
            "common/base/a.cpp": '// A.\n#include <span>\n\n#include "common/base/a.hpp"\n',
            "common/base/b.hpp": HEAD,
            "common/base/b.cpp": '// B.\n#include "common/base/b.hpp"\n\n#include <span>\n',
        }, "a.cpp:1")

    def test_todos(self):
        good, bad = "// TODO" + "(perf): avoid the second lookup #12\n", "// TODO" + " later\n"
        self.finds("todos", {"common/base/a.cpp": "// A.\n" + good + bad}, "a.cpp:3")

    def test_machine_paths(self):
        self.finds("machine_paths", {
            "docs/a.md": "# A\nsee /" + "root/notes and https://example.org/work/x and $DIR/home/y\n",
        }, "docs/a.md:2")

    def test_protocol_page(self):
        enum = "// W.\nenum class FrameType : std::uint8_t {\n    hello = 1,  // First.\n    go_away = 0x10,\n};\n"
        unnumbered = "enum class Status { ok,\n};\nenum class Step { need_more };\nenum class Role { receiver = 9 };\n"
        page = "# P\n| number | name |\n| 1 | HELLO |\n"
        self.finds("protocol_page", {"common/wire/f.hpp": enum, "docs/protocol.md": page}, "0x10 and go_away")
        self.finds("protocol_page", {"common/wire/f.hpp": enum, "docs/protocol.md": page + "| `0x10` | **GOAWAY** |\n"})
        self.finds("protocol_page", {"common/wire/f.hpp": HEAD + unnumbered, "docs/protocol.md": page}, "ok is on the")
        self.finds("protocol_page", {"common/wire/f.hpp": enum})
        self.assertEqual(len(source_rules.NOTES), 1)

    def test_path_of_a_message(self):
        files = {
            "server/channel/channel.hpp": HEAD + "class Channel { void publish(Batch batch); };\n",
            "docs/architecture.md": "# A\n| # | where | verb |\n|---|---|---|\n"
                                    "| 1 | `server/channel/channel` | **publish**: decides |\n"
                                    "| 2 | `server/channel/channel.hpp` | `Channel::publish()` stores |\n",
        }
        self.finds("path_of_a_message", files)
        files["docs/architecture.md"] += ("| 3 | `server/channel/chanel` | **publish** |\n"
                                          "| 4 | `server/channel/channel` | **deliver** |\n"
                                          "| 5 | `server/channel/channel` | bytes arrive |\n")
        self.finds("path_of_a_message", files, ":6: there is no file", ":7: there is no function deliver",
                   ":8: the row names no function")

    def test_one_title(self):
        self.finds("one_title", {
            "docs/a.md": "# A\n[b](b.md) [root](../README.md#x) [gone](c.md)\n```\n# not a title\n```\n# Again\n",
            "docs/b.md": "# B\n[folder](adr) [web](https://example.org/z)\n",
            "docs/adr/0001-x.md": "# X\n",
            "README.md": "# Baton\n",
        }, "a.md:6", "c.md")

    def test_every_rule_is_tested(self):
        tested = {name.removeprefix("test_") for name in dir(self)}
        for name in source_rules.RULES:
            self.assertTrue(any(test.startswith(name) for test in tested), name)


if __name__ == "__main__":
    unittest.main()
