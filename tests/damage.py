"""Damage a file of a warehouse or lake, run a command on it in a child, put the file back, and so on; a line a case.

    python -m tests.damage WHOLE FOLDER CASES COMMAND...

A command is a JSON list of arguments; it runs in the folder, with all libraries imported already. A line is a JSON list
of the case, how the file was damaged, the command, its exit code (or "hangs") and what it said on stderr.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

LIMIT_S = 60
WAYS = ("byte near an end", "bit", "cut", "zeros", "noise")


def damaged(content: bytes, way: str) -> bytes:
    """The content cut, or with a bit, a byte or a part of it replaced."""
    at = random.randrange(len(content))
    if way == "cut":
        return content[:at]
    if way == "byte near an end":  # headers and footers
        at = random.choice((at % min(len(content), 12_288), len(content) - 1 - at % min(len(content), 1_500)))
    part = content[at : at + {"zeros": 4096, "noise": 64}.get(way, 1)]
    other = {
        "bit": bytes([part[0] ^ 1 << random.randrange(8)]),
        "zeros": bytes(len(part)),
        "noise": random.randbytes(len(part)),
    }
    return content[:at] + other.get(way, bytes([part[0] ^ 255])) + content[at + len(part) :]


def run(arguments: list[str], said: Path) -> int | str:
    """The exit code of a command in a child; what it says on stderr goes to a file."""
    pid = os.fork()
    if not pid:
        _become(arguments, said)
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "hangs"


def _become(arguments: list[str], said: Path) -> None:
    from ridgeline import cli

    try:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        sys.argv[1:] = arguments
        cli.main()
    finally:
        os._exit(99)


def main(whole: Path, folder: Path, cases: int, commands: list[list[str]]) -> None:
    """In a round each way to damage, and in the next one each with the next command."""
    import duckdb  # noqa: F401
    import polars  # noqa: F401

    random.seed(3)
    files = sorted(whole.rglob("*.parquet")) if whole.is_dir() else [whole]
    os.chdir(folder)
    said = folder / "stderr.txt"
    for case in range(cases):
        round_, at = divmod(case, len(WAYS))
        file, way, command = random.choice(files), WAYS[at], commands[(at + round_) % len(commands)]
        content = file.read_bytes()
        file.write_bytes(damaged(content, way))
        code = run(command, said)
        file.write_bytes(content)
        for left in folder.glob("*.wal"):
            left.unlink()
        print(json.dumps([case, way, command, code, said.read_text(errors="replace")]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), [json.loads(each) for each in sys.argv[4:]])
