#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets from the golden vectors of the wire and the golden files of the storage.

    make_corpus.py [--check]        with --check: says what is missing or differs, and writes nothing

Run it when tests/golden/wire.txt or tests/golden/storage has grown. It only adds and overwrites its own files (seed.*);
what a fuzzer found is kept beside them under another name.
"""

import argparse
import pathlib
import struct
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
FRAME_HEADER_SIZE = 16
FRAGMENT = 13
PUBLISH = 7
DELIVER = 9
DELIVER_HEAD_SIZE = 8
JSON_TYPES = (1, 2, 18)  # HELLO, WELCOME, GOAWAY


def read_vectors() -> dict[str, bytes]:
    vectors: dict[str, bytes] = {}
    name = ""
    for line in (TESTS / "golden/wire.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if not line.startswith(" "):
            name = line.split(":", 1)[0]
            vectors[name] = b""
        else:
            vectors[name] += bytes.fromhex(line.split(";", 1)[0])
    return vectors


def read_storage_file(name: str) -> bytes:
    lines = (TESTS / "golden/storage" / name).read_text().splitlines()
    return bytes.fromhex("".join(line.split("#", 1)[0].split(";", 1)[0] for line in lines))


def storage_seeds() -> dict[str, bytes]:
    segment, checkpoint = read_storage_file("segment-v1.hex"), read_storage_file("checkpoint-v1.hex")
    return {
        "segment/seed.v1": segment,
        "segment/seed.torn": segment[:-80],
        "segment/seed.zeros": segment + bytes(4096),
        "segment/seed.body": segment[:130] + b"?" + segment[131:],
        "checkpoint/seed.v1": checkpoint,
        "checkpoint/seed.torn": checkpoint[:-8],
        "checkpoint/seed.section": checkpoint[:100] + b"?" + checkpoint[101:],
    }


def seeds() -> dict[str, bytes]:
    """Path below corpus/ -> content."""
    files = storage_seeds()
    frames = []
    for name, content in read_vectors().items():
        if name.startswith("preamble."):
            files[f"handshake/seed.{name}"] = content
            continue
        frames.append(content)
        files[f"frame/seed.{name}"] = content
        kind, body = content[4], content[FRAME_HEADER_SIZE:]
        if kind in JSON_TYPES:
            files[f"handshake/seed.{name}"] = body
        elif kind == PUBLISH:
            files[f"batch/seed.{name}"] = body
        elif kind == DELIVER:
            files[f"batch/seed.{name}"] = body[DELIVER_HEAD_SIZE:]
    # A stream of everything, and one that ends with a frame that is longer than allowed.
    files["frame/seed.stream"] = b"".join(frames)
    files["frame/seed.too_large"] = frames[0] + struct.pack("<IBBHQ", 0xFFFFFFFF, FRAGMENT, 0, 1, 0)
    # A batch of many messages without payloads, and one whose last message is cut.
    files["batch/seed.many"] = struct.pack("<IHHQqII", 100, 0, 0, 0, 0, 0, 400) + bytes(400)
    files["batch/seed.cut"] = files["batch/seed.publish"][:-1]
    # Nested more deeply than anything that is asked for, and an unknown key that is to be skipped.
    files["handshake/seed.deep"] = b'{"later":' + b"[" * 100 + b"]" * 100 + b"}"
    files["handshake/seed.unknown"] = b'{"later":{"a":[1,-2.5e3,null]},"features":["\\u00e9\\n"]}'
    files["handshake/seed.http"] = b"GET / HTTP/1.1\r\n"
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes the seeds of the fuzz targets.")
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    wrong = 0
    for name, content in sorted(seeds().items()):
        path = TESTS / "fuzz/corpus" / name
        if path.exists() and path.read_bytes() == content:
            continue
        wrong += 1
        if arguments.check:
            print(f"{path}: missing or not what the golden files say; run {pathlib.Path(__file__).name}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    print(f"{len(seeds())} seeds, {wrong} {'wrong' if arguments.check else 'written'}")
    return 1 if arguments.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
