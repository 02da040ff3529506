#!/usr/bin/env python3
"""Baton beside other brokers, interleaved round by round, with the load generators of a folder of peers.

    run.py --peers FOLDER --batond FILE --generator FILE [bench | table] [arguments of FOLDER/run]

FOLDER has run, peers.py and src/ (load generators and configurations; its README line says how to install the peers).
The generator is built by CMake from FOLDER/src/main.cpp and baton.cpp beside this file (target lg_baton).
"""
import argparse
import importlib.machinery
import importlib.util
import os
import sys


def load(path: str, name: str):
    loader = importlib.machinery.SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


def make_peer(peers, batond: str, generator: str, durable: bool):
    class Baton(peers.Peer):
        name = "baton-durable" if durable else "baton"
        tags = ("durable",) if durable else ("fast", "ack")

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
    options, rest = parser.parse_known_args()
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
    load(os.path.join(folder, "run"), "peers_run")


if __name__ == "__main__":
    main()
