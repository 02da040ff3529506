#!/usr/bin/env python3
"""Baton beside other brokers, interleaved round by round, with the load generators of a folder of peers.

    run.py --peers FOLDER --batond FILE --generator FILE [--document FILE] [bench | table] [arguments of FOLDER/run]

With --document the table of the results (-o FILE of bench) becomes the section of that page that is marked for it.

FOLDER has run, peers.py and src/ (load generators and configurations; its README line says how to install the peers).
The generator is built by CMake from FOLDER/src/main.cpp and baton.cpp beside this file (target lg_baton).
"""
import argparse
import contextlib
import io
import os
import sys
import time

BEGIN = "<!-- made by ./run bench --peers --document: begin -->"
END = "<!-- made by ./run bench --peers --document: end -->"

MORE_CASES = {
    "w5-128-1000": ("durable", "--work tput --mode durable --size 128 --receivers 0 --window 1000"),
    "w5-1k-1000": ("durable", "--work tput --mode durable --size 1024 --receivers 0 --window 1000"),
}


def make_peer(peers, batond: str, generator: str, durable: bool):
    class Baton(peers.Peer):
        name = "baton-durable" if durable else "baton"
        tags = ("durable",) if durable else ("fast", "ack")
        fill, idle = not durable, not durable

        def cmd(self):
            return [generator, "--host", self.host, "--port", str(self.port)]

        def launch(self):
            storage = ["--data-dir", os.path.join(os.path.abspath(self.dir), "state")] if durable else ["--data-dir", ""]
            self.spawn(batond, "--listen", f"tcp://127.0.0.1:{self.port}", "--shards", "1", *storage)

    return Baton()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--batond", required=True)
    parser.add_argument("--generator", required=True)
    parser.add_argument("--document", default="")
    options, rest = parser.parse_known_args()
    document = os.path.abspath(options.document) if options.document else ""
    folder = os.path.abspath(options.peers)
    batond, generator = os.path.abspath(options.batond), os.path.abspath(options.generator)
    sys.dont_write_bytecode = True
    sys.path.insert(0, folder)
    import peers
    for durable in (False, True):
        peer = make_peer(peers, batond, generator, durable)
        peers.PEERS[peer.name] = peer
    sys.argv = [os.path.join(folder, "run"), *rest]
    os.chdir(folder)
    # The program ends with a call of its main(): more cases have to be there before.
    with open("run", encoding="utf-8") as source:
        text = source.read().removesuffix("main()\n")
    names = {"__name__": "peers_run", "__file__": os.path.join(folder, "run"), "__doc__": ""}
    exec(compile(text, "run", "exec"), names)
    names["CASES"].update(MORE_CASES)
    names["main"]()
    if document:
        results = [rest[rest.index("-o") + 1] if "-o" in rest else "build/results.jsonl"]
        if rest[:1] == ["table"]:
            results = rest[1:]
        write_table(document, names["table"], results)


def write_table(document: str, table, files: list) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        table(files)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    head = (f"{time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores, Linux {os.uname().release}; load average at the"
            f" end {load}. Median of the rounds (lowest-highest).")
    with open(document, encoding="utf-8") as file:
        text = file.read()
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise SystemExit(f"{document} has no section between {BEGIN} and {END}")
    with open(document, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n\n{head}\n{printed.getvalue()}\n{END}{after}")


if __name__ == "__main__":
    main()
