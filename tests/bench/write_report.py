#!/usr/bin/env python3
"""Measures and writes the section of docs/performance.md between two marks: `./run bench --write`. Never edit it by hand.

    write_report.py --micro FILE --batond FILE --baton FILE --document FILE [--duration 5s]

Starts a broker of its own with one shard, runs `baton bench` against it, then the microbenchmarks, and writes nothing
unless all of it went well.
"""
import argparse
import datetime
import json
import os
import subprocess
import tempfile
import time

BEGIN = "<!-- made by ./run bench --write: begin -->"
END = "<!-- made by ./run bench --write: end -->"
START_TIMEOUT = 20

THROUGHPUT = (
    ("window 1,000", ("--size", "128,1k,16k")),
    ("window 65,536", ("--size", "128,1k", "--window", "65536")),
    ("4 senders, 4 receivers", ("--senders", "4", "--receivers", "4")),
    ("topic, 10 subscribers", ("--kind", "topic", "--receivers", "10")),
    ("window 1", ("--durable", "--receivers", "0", "--window", "1")),
    ("window 64", ("--durable", "--receivers", "0", "--window", "64")),
    ("window 1,000", ("--durable", "--receivers", "0", "--size", "128,1k")),
    ("window 1,000, received and acked", ("--durable", "--size", "128,1k")),
)
LATENCY = (("--rate", "1000"), ("--rate", "10000"), ("--rate", "50000"), ("--rate", "1000", "--durable"))


class Broker:
    def __init__(self, batond: str, folder: str):
        ready = os.path.join(folder, "ready.json")
        with open(os.path.join(folder, "log"), "wb") as log:
            self.process = subprocess.Popen(
                [batond, "--listen", "tcp://127.0.0.1:0", "--shards", "1", "--data-dir", os.path.join(folder, "state"),
                 "--ready-file", ready], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT
        while not os.path.exists(ready):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SystemExit("write_report: the broker did not start")
            time.sleep(0.02)
        with open(ready, encoding="utf-8") as file:
            self.url = json.load(file)["listen"][0].replace("tcp://", "baton://")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()


def measured(options, url: str, *arguments: str) -> dict:
    command = [options.baton, "--url", url, "--output", "json", "bench", *arguments]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"write_report: {' '.join(command)} ended with {ended.returncode}: {ended.stderr.strip()}")
    return json.loads(ended.stdout)


def level(durability: dict) -> str:
    return f"{durability['storage']}, confirmed when {'on the disk' if durability['confirmed'] == 'durable' else 'received'}"


def time_text(us: float) -> str:
    return f"{us:,.0f} us" if us < 10_000 else f"{us / 1000:,.1f} ms"


def throughput_lines(reports) -> list:
    lines = ["| bytes | work | sent/s | received/s | MB/s sent | durability |", "|---|---|---|---|---|---|"]
    for work, report in reports:
        for result in report["results"]:
            received = result["received"]["per_second"]
            lines.append(f"| {result['size']:,} | {work} | {result['sent']['per_second']:,.0f} | "
                         f"{f'{received:,.0f}' if report['settings']['receivers'] else '–'} | "
                         f"{result['sent']['mb_per_second']:,.1f} | {level(result['durability'])} |")
    return lines


def latency_lines(reports) -> list:
    lines = ["| offered/s | p50 | p90 | p99 | p99.9 | p99.99 | max | of it, late in leaving the bench: p50, p99 | durability |",
             "|---|---|---|---|---|---|---|---|---|"]
    for report in reports:
        for result in report["results"]:
            times = [time_text(result["latency"][f"{key}_us"]) for key in ("p50", "p90", "p99", "p99.9", "p99.99", "max")]
            late = ", ".join(time_text(result["send_delay"][f"{key}_us"]) for key in ("p50", "p99"))
            lines.append(f"| {result['offered_per_second']:,} | {' | '.join(times)} | {late} | {level(result['durability'])} |")
    return lines


def micro_lines(micro: str) -> list:
    ended = subprocess.run([micro, "--benchmark_format=json", "--benchmark_min_time=0.2"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, check=True)
    lines = ["| microbenchmark | ns of processor time for each item | items/s |", "|---|---|---|"]
    for each in json.loads(ended.stdout)["benchmarks"]:
        rate = each["items_per_second"]
        lines.append(f"| {each['name']} | {1e9 / rate:,.2f} | {rate:,.0f} |")
    return lines


def section(options) -> str:
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        broker = Broker(options.batond, folder)
        try:
            common = ("--duration", options.duration)
            speeds = [(work, measured(options, broker.url, "throughput", *common, *arguments))
                      for work, arguments in THROUGHPUT]
            latencies = [measured(options, broker.url, "latency", *common, *arguments) for arguments in LATENCY]
        finally:
            broker.stop()
    micro = micro_lines(options.micro)
    first, last = speeds[0][1], latencies[-1]
    machine = first["machine"]
    loads = [" ".join(f"{load:.2f}" for load in loads) for loads in (first["load_before"], last["load_after"])]
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return "\n".join([
        BEGIN, "", "## This version", "",
        f"Baton {first['version']} on {today}: {machine['cores']} cores, {machine['cpu']}, {machine['kernel']}; load average",
        f"{loads[0]} before, {loads[1]} after. One shard; senders, broker and receivers share the cores. Each line is one run of",
        f"{first['settings']['duration_s']:g} s after {first['settings']['warm_up_s']:g} s, with `baton bench`.", "",
        *throughput_lines(speeds), "", "One way, 128 bytes, from the time at which a message should have been sent:", "",
        *latency_lines(latencies), "", "Steps inside the broker, without sockets (`./run bench`):", "", *micro, "", END])


def written(document: str, text: str) -> str:
    """The document with the section in place of the old one, or at its end."""
    if BEGIN in document and END in document:
        return document[:document.index(BEGIN)] + text + document[document.index(END) + len(END):]
    return document.rstrip("\n") + "\n\n" + text + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("micro", "batond", "baton", "document"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--duration", default="5s")
    options = parser.parse_args()
    text = section(options)
    with open(options.document, encoding="utf-8") as file:
        document = file.read()
    with open(options.document, "w", encoding="utf-8") as file:
        file.write(written(document, text))
    print(text)


if __name__ == "__main__":
    main()
