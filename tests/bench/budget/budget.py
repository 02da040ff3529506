#!/usr/bin/env python3
"""Instructions that each step of a message's path costs, counted by callgrind: the same number in every run, whatever
else the machine does. Fails when a step costs more than 10 % more than budget.json says.

    budget.py --program FILE --compiler "GNU 12" check STEP...
    budget.py --program FILE --compiler "GNU 12" write        budget.json becomes what is counted now

After a change that is worth its instructions, or that saves some: write, and say why in the commit. Another compiler makes
other code, so that with another than the one of budget.json nothing is checked (exit 77).
"""
import argparse
import json
import os
import re
import subprocess
import sys

STEPS = ("decode", "publish", "dispatch", "deliver", "settle")
FIGURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "budget.json")
TURNS = 400
ALLOWED = 1.10
SKIPPED = 77


def count(program: str, step: str) -> float:
    """Instructions for each message."""
    ended = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                            f"--toggle-collect=budget_{step}", program, str(TURNS)],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    collected = re.search(r"Collected\s*:\s*(\d+)", ended.stderr)
    if ended.returncode != 0 or not collected or int(collected[1]) == 0:
        raise SystemExit(f"budget: valgrind or {program} failed ({ended.returncode}):\n{ended.stderr[-2000:]}")
    return int(collected[1]) / int(ended.stdout)


def check(program: str, figures: dict, steps) -> int:
    failed = False
    for step in steps:
        known, counted = figures["instructions_per_message"][step], count(program, step)
        text = f"{step}: {counted:.2f} instructions a message, the budget is {known:.2f} + 10 %"
        if counted > known * ALLOWED:
            failed = True
            text += ": TOO MANY. What has become more expensive? (tests/bench/budget/budget.py)"
        elif counted < known / ALLOWED:
            text += ": cheaper now; write it down, or the next regression goes unnoticed"
        print(text)
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("what", choices=("check", "write"))
    parser.add_argument("step", nargs="*", default=[])
    options = parser.parse_args()
    if options.what == "write":
        figures = {"compiler": options.compiler,
                   "instructions_per_message": {step: round(count(options.program, step), 2) for step in STEPS}}
        with open(FIGURES, "w", encoding="utf-8") as file:
            file.write(json.dumps(figures, indent=2) + "\n")
        print(json.dumps(figures["instructions_per_message"]))
        return 0
    with open(FIGURES, encoding="utf-8") as file:
        figures = json.load(file)
    if figures["compiler"] != options.compiler:
        print(f"skipped: the budget is for {figures['compiler']}, this is {options.compiler}")
        return SKIPPED
    return check(options.program, figures, options.step or STEPS)


if __name__ == "__main__":
    sys.exit(main())
