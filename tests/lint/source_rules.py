#!/usr/bin/env python3
"""The rules of the source tree that are rules and not taste, as a test.

    source_rules.py --root DIR RULE...      RULE: one of the functions registered with @rule below, or 'all'

Each rule yields findings "file:line: what is wrong"; any finding fails. A rule says in its docstring why it is there.
tests/lint/source_rules_test.py shows for each rule that it finds what it should find.
"""

import argparse
import dataclasses
import functools
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

LINE_LENGTH_MAX = 132
SOURCE_SUFFIXES = (".hpp", ".cpp")
SOURCE_FOLDERS = ("common", "server", "client", "tests")

# Which folder may include which. A folder may always include itself.
COMMON = {"common/base", "common/wire", "common/net"}
SERVER = {f"server/{name}" for name in ("storage", "commit", "channel", "runtime", "session", "admin", "app", "inspect")}
MAY_INCLUDE = {
    "common/base": set(),
    "common/wire": {"common/base"},
    "common/net": {"common/base"},
    "server/storage": {"common/base"},
    "server/commit": {"common/base", "server/storage"},
    "server/channel": {"common/base", "server/commit"},
    "server/runtime": {"common/base", "common/net", "server/channel", "server/commit", "server/storage"},
    "server/session": {"common/base", "common/wire", "common/net", "server/channel", "server/runtime"},
    "server/admin": {"common/base", "common/net", "server/channel", "server/runtime", "server/session"},
    "server/app": COMMON | (SERVER - {"server/inspect"}),
    "server/inspect": {"common/base", "server/channel", "server/commit", "server/runtime", "server/storage"},
    "server": COMMON | SERVER,
    "client": COMMON,
    "client/cli": COMMON | {"client"},
}
MAY_INCLUDE_ASIO = ("common/net", "server/runtime", "server/session", "server/admin", "server/app", "client")
# Folders whose meaning does not depend on time, threads, sockets or chance: these come in through ports.
WITHOUT_IO = ("common/wire", "server/channel")
IO_HEADERS = re.compile(
    r"<(thread|mutex|shared_mutex|condition_variable|future|stop_token|fstream|filesystem|random"
    r"|sys/socket\.h|netinet/.*|arpa/.*|sys/epoll\.h|unistd\.h|fcntl\.h)>")
THIRD_PARTY = re.compile(r"<(asio|spdlog|fmt|nlohmann|CLI)\b")


@dataclasses.dataclass(frozen=True)
class Finding:
    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


class Tree:
    """The files of a source tree, read once. Paths are relative to the root, with forward slashes."""

    def __init__(self, texts: dict[str, str]):
        self.texts = texts

    @staticmethod
    def read(root: pathlib.Path) -> "Tree":
        texts = {}
        for name in listed_files(root):
            try:
                texts[name] = (root / name).read_bytes().decode()
            except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
                continue  # Binary (a fuzz corpus), or deleted and not yet committed.
        return Tree(texts)

    def sources(self, *folders: str) -> Iterator[tuple[str, str]]:
        for path, text in sorted(self.texts.items()):
            if path.endswith(SOURCE_SUFFIXES) and is_below(path, folders or SOURCE_FOLDERS):
                yield path, text


def listed_files(root: pathlib.Path) -> list[str]:
    """What git knows or would add; without git (an exported tree), everything but build folders."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [name for name in output.split("\0") if name]
    except (subprocess.CalledProcessError, FileNotFoundError):
        files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return [path.as_posix() for path in files if path.parts[0] not in ("build", ".git")]


def is_below(path: str, folders) -> bool:
    return any(path.startswith(folder + "/") for folder in folders)


def numbered(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(text.split("\n"), start=1)


@functools.lru_cache(maxsize=None)
def code_of(text: str) -> str:
    """The text with comments and the insides of literals blanked; lines keep their numbers."""
    pattern = re.compile(
        r'R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)"' r'|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'", re.DOTALL)

    def blank(match: re.Match) -> str:
        token = match.group(0)
        if token.startswith('"') and is_include_line(text, match.start()):
            return token
        return re.sub(r"[^\n]", " ", token)

    return pattern.sub(blank, text)


def is_include_line(text: str, position: int) -> bool:
    return text[text.rfind("\n", 0, position) + 1:position].strip().replace(" ", "") == "#include"


def includes_of(text: str) -> Iterator[tuple[int, str]]:
    for number, line in numbered(code_of(text)):
        match = re.match(r'\s*#\s*include\s+(<[^>]+>|"[^"]+")', line)
        if match:
            yield number, match.group(1)


def folder_of(path: str) -> str | None:
    """The row of the dependency table that a file belongs to."""
    if path.startswith("client/"):
        return "client/cli" if path.startswith("client/cli/") else "client"
    parts = path.split("/")
    if len(parts) == 2 and parts[0] == "server":
        return "server"
    return "/".join(parts[:2]) if parts[0] in ("common", "server") and len(parts) > 2 else None


# --- The rules ----------------------------------------------------------------------------------------------------

RULES: dict[str, Callable[[Tree], Iterator[Finding]]] = {}
NOTES: list[str] = []


def rule(function):
    RULES[function.__name__] = function
    return function


@rule
def dependencies(tree: Tree) -> Iterator[Finding]:
    """base < {wire, net, storage} < commit < channel < runtime < session < app; client never sees server."""
    for path, text in tree.sources("common", "server", "client"):
        folder = folder_of(path)
        if folder is None or folder not in MAY_INCLUDE:
            yield Finding(path, 1, "this folder is not in the dependency table")
            continue
        allowed = MAY_INCLUDE[folder] | {folder}
        for number, include in includes_of(text):
            name = include[1:-1]
            if include.startswith('"'):
                target = folder_of(name)
                if target is None:
                    yield Finding(path, number, f"write the include from the repository root: {include}")
                elif target not in allowed:
                    yield Finding(path, number, f"{folder} may not include {target}")
            elif name.startswith("baton/") and folder not in ("client", "client/cli"):
                yield Finding(path, number, f"{folder} may not include the client")
            yield from forbidden_library(path, number, include)


def forbidden_library(path: str, number: int, include: str) -> Iterator[Finding]:
    if re.match(r'["<]asio\b', include) and not is_below(path, MAY_INCLUDE_ASIO):
        yield Finding(path, number, "Asio is not to be seen here")
    if is_below(path, WITHOUT_IO) and IO_HEADERS.match(include):
        yield Finding(path, number, f"no I/O, threads or chance here, they come in through ports: {include}")
    if is_below(path, ("common/base",)) and THIRD_PARTY.match(include):
        yield Finding(path, number, f"common/base uses the standard library only: {include}")


@rule
def link_edges(tree: Tree) -> Iterator[Finding]:
    """The libraries that a folder links are those that it may include."""
    library_folder = {folder.split("/")[-1]: folder for folder in MAY_INCLUDE if folder != "server"}
    for path, text in sorted(tree.texts.items()):
        folder = path.removesuffix("/CMakeLists.txt")
        if folder == path or folder not in MAY_INCLUDE:
            continue
        for number, line in numbered(text):
            for name in re.findall(r"\bbaton::(\w+)", line.split("#")[0]):
                if name == "asio":
                    if folder not in MAY_INCLUDE_ASIO:
                        yield Finding(path, number, f"{folder} may not link Asio")
                elif library_folder.get(name) not in MAY_INCLUDE[folder] | {folder}:
                    yield Finding(path, number, f"{folder} may not link baton::{name}")


@rule
def banned_calls(tree: Tree) -> Iterator[Finding]:
    """Calls that lose errors or bytes, hide who owns what, or make a test depend on the speed of the machine."""
    everywhere = ("common", "server", "client")
    banned = [
        (r"\basio::detached\b|\(.*,\s*detached\s*\)", everywhere, "a detached coroutine swallows exceptions: use TaskGroup::spawn"),
        (r"\basync_write\s*\(", everywhere, "async_write writes at most 64 KiB a step: use ConnectionIo"),
        (r"\basync_read(_until)?\s*\(", everywhere, "reschedules although bytes are there: use ConnectionIo"),
        (r"\b(enable_)?shared_from_this\b", everywhere, "one owner: no shared_from_this"),
        (r"\bsleep_(for|until)\b", ("common", "server"), "waiting is a deadline in the wheel"),
        (r"\b(u?sleep|nanosleep|sleep_(for|until))\s*\(", ("tests/unit", "tests/sim", "tests/golden",
         "tests/conformance", "tests/model"), "tests do not sleep: use ManualClock"),
        (r"\b(system|steady|high_resolution)_clock::now\b", ("common/wire", "server/channel", "server/session"),
         "time comes in through the Clock port"),
        (r"\busing\s+namespace\s+std\b", SOURCE_FOLDERS, "no using namespace std"),
    ]
    for pattern, folders, reason in banned:
        expression = re.compile(pattern)
        for path, text in tree.sources(*folders):
            for number, line in numbered(code_of(text)):
                if expression.search(line):
                    yield Finding(path, number, f"{reason}: {line.strip()}")


@rule
def names(tree: Tree) -> Iterator[Finding]:
    """A name says what a thing is. Manager, Helper and Util say nothing."""
    empty_words = re.compile(r"Manager|Helper|Util")
    for path, text in tree.sources():
        file_name = path.rsplit("/", 1)[-1]
        if not re.fullmatch(r"[a-z][a-z0-9_]*\.(hpp|cpp)", file_name):
            yield Finding(path, 1, "file names are snake_case")
        if re.search(r"manager|helper|(^|_)utils?(_|\.)", file_name):
            yield Finding(path, 1, "the file name has an empty word (manager, helper, util)")
        for number, line in numbered(code_of(text)):
            match = re.match(r"\s*(?:class|struct|enum(?:\s+class)?|union|concept|using)\s+(\w+)", line)
            if match and empty_words.search(match.group(1)):
                yield Finding(path, number, f"the name {match.group(1)} has an empty word")
    for path, text in sorted(tree.texts.items()):
        if is_below(path, SOURCE_FOLDERS) and re.search(r"\.(h|cc|cxx|hh|hxx|ipp|inl)$", path):
            yield Finding(path, 1, "sources are .hpp and .cpp")


@rule
def form(tree: Tree) -> Iterator[Finding]:
    """What every file looks like: a head comment, #pragma once, no tabs, no trailing space, 132 columns."""
    for path, text in tree.sources():
        has_header = path.endswith(".cpp") and path.removesuffix(".cpp") + ".hpp" in tree.texts
        if not text.startswith("//") and not has_header:  # The header speaks for both.
            yield Finding(path, 1, "the file has no head comment (what it is for, and what not)")
        if path.endswith(".hpp") and not re.search(r"^#pragma once$", text, re.MULTILINE):
            yield Finding(path, 1, "#pragma once is missing")
    suffixes = SOURCE_SUFFIXES + (".py", ".cmake", ".md", ".txt", ".json", ".yml", ".sh", "/run", "Dockerfile")
    for path, text in sorted(tree.texts.items()):
        if not ("/" + path).endswith(suffixes) or is_below(path, ("tests/fuzz/corpus",)):
            continue
        if text and not text.endswith("\n"):
            yield Finding(path, text.count("\n") + 1, "no newline at the end of the file")
        for number, line in numbered(text):
            if "\t" in line:
                yield Finding(path, number, "a tab")
            if line != line.rstrip():
                yield Finding(path, number, "trailing space")
            is_prose = path.endswith((".md", ".txt", ".json")) and not path.endswith("CMakeLists.txt")
            if len(line) > LINE_LENGTH_MAX and not is_prose:
                yield Finding(path, number, f"{len(line)} columns, {LINE_LENGTH_MAX} are allowed")


@rule
def own_header_first(tree: Tree) -> Iterator[Finding]:
    """x.cpp includes x.hpp before anything else, which proves that the header compiles alone.

    The headers without such a source are compiled by the target lint_headers.
    """
    for path, text in tree.sources():
        header = path.removesuffix(".cpp") + ".hpp"
        if not path.endswith(".cpp") or header not in tree.texts:
            continue
        first = next((include for _, include in includes_of(text)), "")
        if first[1:-1] != header:
            yield Finding(path, 1, f'the first include must be "{header}"')


@rule
def todos(tree: Tree) -> Iterator[Finding]:
    """TODO(perf|test|cleanup|someday): text #issue. Whatever must be done now is done now."""
    for path, text in tree.sources():
        for number, line in numbered(text):
            if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line) and not re.search(
                    r"\bTODO\((perf|test|cleanup|someday)\): \S.*#\d+", line):
                yield Finding(path, number, "write TODO(perf|test|cleanup|someday): text #issue")


@rule
def machine_paths(tree: Tree) -> Iterator[Finding]:
    """The repository knows nothing of the machines it was written on."""
    pattern = re.compile(r"(?<![\w.~$}*-])/(" + "|".join(("work", "root", "home", "Users")) + r")/\w")
    for path, text in sorted(tree.texts.items()):
        for number, line in numbered(text):
            if pattern.search(line) and not path.startswith("tests/fuzz/corpus/"):
                yield Finding(path, number, f"a path of one machine: {line.strip()[:80]}")


ENUM = re.compile(
    r"\benum\s+class\s+(FrameType|Status|Outcome|SettleOutcome|WaitReason|Reason)\b[^{;]*\{(.*?)\}", re.DOTALL)
ENUMS_WITH_NUMBERS = ("FrameType", "Status")


@rule
def protocol_page(tree: Tree) -> Iterator[Finding]:
    """docs/protocol.md is normative: it lists each frame type, status, outcome and reason with its number."""
    page = tree.texts.get("docs/protocol.md")
    if page is None:
        NOTES.append("protocol_page: skipped, docs/protocol.md is not there yet")
        return
    rows = [line for line in page.split("\n") if line.lstrip().startswith("|")]
    for path, text in tree.sources("common/wire"):
        code = code_of(text)
        for match in ENUM.finditer(code):
            first_line = code.count("\n", 0, match.start(2)) + 1
            for offset, line in enumerate(match.group(2).split("\n")):
                for name, number in re.findall(r"\b([a-z]\w*)\s*(?:=\s*(0[xX][0-9a-fA-F]+|\d+))?\s*(?:,|$)", line):
                    if number and not any(row_has(row, name, int(number, 0)) for row in rows):
                        yield Finding(path, first_line + offset,
                                      f"docs/protocol.md has no table row with {number} and {name}")
                    if not number and match.group(1) in ENUMS_WITH_NUMBERS:
                        yield Finding(path, first_line + offset, f"{name} is on the wire: write its number")


def row_has(row: str, name: str, number: int) -> bool:
    """GOAWAY, GO_AWAY and go_away are the same name; 16, 0x10 and 0X10 the same number."""
    def plain(word: str) -> str:
        return word.replace("_", "").replace("-", "").lower()

    words = re.findall(r"[A-Za-z][\w-]*", row)
    numbers = re.findall(r"(?<![\w.])(0[xX][0-9a-fA-F]+|\d+)(?![\w])", row)
    return plain(name) in map(plain, words) and number in (int(text, 0) if text.lower().startswith("0x") else int(text)
                                                           for text in numbers)


@rule
def path_of_a_message(tree: Tree) -> Iterator[Finding]:
    """The map in docs/architecture.md cannot rot: each row | n | `file` | `function` ... | names both truly."""
    page_path = "docs/architecture.md"
    page = tree.texts.get(page_path)
    if page is None:
        NOTES.append("path_of_a_message: skipped, docs/architecture.md is not there yet")
        return
    rows = 0
    for number, line in numbered(page):
        match = re.match(r"\s*\|\s*\d+\s*\|\s*`((?:common|server|client)/[^`]+)`\s*\|(.*)\|\s*$", line)
        if not match:
            continue
        rows += 1
        stem = re.sub(r"\.(hpp|cpp)$", "", match.group(1))
        texts = [tree.texts[stem + suffix] for suffix in SOURCE_SUFFIXES if stem + suffix in tree.texts]
        if not texts:
            yield Finding(page_path, number, f"there is no file {match.group(1)}")
            continue
        functions = re.findall(r"(?:`|\*\*)(?:\w+(?:::|\.))*(\w+)(?:\(\S*\))?(?:`|\*\*)", match.group(2))
        if not functions:
            yield Finding(page_path, number, "the row names no function (`function` or **function**)")
        elif not any(re.search(rf"\b{functions[0]}\s*\(", code_of(text)) for text in texts):
            yield Finding(page_path, number, f"there is no function {functions[0]} in {match.group(1)}")
    if rows == 0:
        yield Finding(page_path, 1, "the table of the path of a message is missing: | n | `file` | `function` ... |")


@rule
def one_title(tree: Tree) -> Iterator[Finding]:
    """Each page has one title, on its first line, and local links lead somewhere."""
    for path, text in sorted(tree.texts.items()):
        if not path.endswith(".md"):
            continue
        prose = re.sub(r"(?ms)^```.*?^```", lambda block: "\n" * block.group(0).count("\n"), text)
        titles = [number for number, line in numbered(prose) if line.startswith("# ")]
        if titles != [1] and path != "docs/adr/0000-template.md":
            yield Finding(path, (titles or [1])[-1], f"one title, on the first line; there are {len(titles)}")
        for number, line in numbered(prose):
            for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", line):
                target = (pathlib.PurePosixPath(path).parent / link).as_posix()
                if "://" not in link and not link.startswith("mailto:") and not leads_somewhere(tree, target):
                    yield Finding(path, number, f"the link leads nowhere: {link}")


def leads_somewhere(tree: Tree, target: str) -> bool:
    parts: list[str] = []
    for part in target.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    name = "/".join(parts)
    return name == "" or name in tree.texts or any(path.startswith(name + "/") for path in tree.texts)


# --- Command line -------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks the rules of the source tree.")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--list", action="store_true", help="print the names of the rules")
    parser.add_argument("rules", nargs="*", metavar="RULE", help="the rules to check, or 'all'")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(RULES))
        return 0
    chosen = list(RULES) if arguments.rules in ([], ["all"]) else arguments.rules
    unknown = [name for name in chosen if name not in RULES]
    if unknown:
        parser.error(f"no such rule: {', '.join(unknown)} (there are: {', '.join(RULES)})")

    tree = Tree.read(arguments.root)
    findings = [(name, finding) for name in chosen for finding in RULES[name](tree)]
    for name, finding in findings:
        print(f"{finding}  [{name}]")
    for note in NOTES:
        print(f"note: {note}")
    print(f"{len(chosen)} rules, {len(tree.texts)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
