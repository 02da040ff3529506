#!/usr/bin/env python3
"""Writes the seeds of the fuzz target wal: lists of steps (see wal.cpp) for logs that are whole, torn and damaged, and
the golden file as it is.

    make_wal_corpus.py [--check]        with --check: says what is missing or differs, and writes nothing
"""

import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
FILE, LOST_FILE, GROUP, ANYTHING, FLIP, CUT, INDEX, AGAIN = 8 * 2, 8 * 2 + 8, 1, 3, 4, 5, 6, 7
WRONG_RECORD, OTHER_FILE, UNPROVEN, LARGER, MORE_RECORDS = 1, 2, 4, 8, 16


def golden() -> bytes:
    content, position = bytearray(20480), 0
    for line in (TESTS / "golden/storage/wal-v1.hex").read_text().splitlines():
        line = line.split("#", 1)[0].split(";", 1)[0].strip()
        if line.startswith("@"):
            position = int(line[1:])
            continue
        part = bytes.fromhex(line)
        content[position : position + len(part)] = part
        position += len(part)
    return bytes(content)


def group(*sizes: int, kind: int = 0) -> list[int]:
    return [GROUP, kind, len(sizes), *sizes]


def seeds() -> dict[str, bytes]:
    whole = [*group(1, 2, 3), *group(200), *group(0, 0)]
    steps = {
        "whole": [*whole, FILE, 1, *whole],
        "file_missing": [*whole, FILE, 2, *whole],
        "header_wrong": [*whole, LOST_FILE, 1, *whole],
        "hole": [*group(1, 2), INDEX, 105, *group(3)],
        "unproven": [*group(1, 2), INDEX, 105, *group(3, kind=UNPROVEN)],
        "wrong_record": [GROUP, WRONG_RECORD, 2, 5, 1, 6, *group(3)],
        "wrong_at_end": [*group(1), GROUP, WRONG_RECORD, 1, 5, 1],
        "other_file": [*group(1), *group(2, kind=OTHER_FILE), INDEX, 99, *group(2)],
        "too_large": [*group(1), GROUP, LARGER, 1, 9, 255, 40, *group(2)],
        "too_many": [*group(1), GROUP, MORE_RECORDS, 1, 9, 255, *group(2)],
        "flipped": [*whole, FLIP, 16, 3, 255],
        "torn": [*whole, CUT, 193],
        "twice": [*whole, AGAIN, 8, 8, *group(7)],
        "zeros": [*group(1, 2, 3), ANYTHING, 64, 0, *group(4)],
    }
    files = {f"seed.{name}": bytes(content) for name, content in steps.items()}
    files["seed.golden"] = b"\0" + golden()
    return files


def main() -> int:
    wrong = 0
    for name, content in sorted(seeds().items()):
        path = TESTS / "fuzz/corpus/wal" / name
        if path.exists() and path.read_bytes() == content:
            continue
        wrong += 1
        if "--check" in sys.argv:
            print(f"{path}: missing or different; run {pathlib.Path(__file__).name}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return 1 if "--check" in sys.argv and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
