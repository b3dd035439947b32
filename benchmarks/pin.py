"""Run a Python program on so many cores: python benchmarks/pin.py CORES (-m MODULE | SCRIPT) ARGUMENTS."""

import os
import runpy
import sys


def main(cores: str, *program: str) -> None:
    """Keep this process and those it starts to the first cores that it may use, then become the program."""
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    if program[0] == "-m":
        sys.path[0], sys.argv = os.getcwd(), list(program[1:])
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(program)
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
