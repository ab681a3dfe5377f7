"""Compile ``l2.c`` to ``l2.wasm``, for whoever changes it: ``make cache-model``, which installs ziglang.

The SHA-256 of the source is in the module's last section, so that a test finds a module that was not built again.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("l2.c")
MOST_MEMORY_BYTES = 256 << 20
_TARGET = ("--target=wasm32-freestanding", "-mbulk-memory", "-nostdlib", "-Os", "-Wall", "-Wextra", "-Werror")
_LINKER = ("-Wl,--no-entry", "-Wl,--strip-all", f"-Wl,--max-memory={MOST_MEMORY_BYTES}")


def build(target: Path) -> None:
    """Write the module with the digest of its source. Raises ``CalledProcessError`` if the source has an error."""
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder) / "l2.wasm"
        command = [sys.executable, "-m", "ziglang", "cc", *_TARGET, *_LINKER, "-o", str(module), str(SOURCE)]
        subprocess.run(command, check=True)
        # A custom section: its number 0, its length, the length of its name, its name, its content.
        content = b"\6source" + hashlib.sha256(SOURCE.read_bytes()).hexdigest().encode()
        target.write_bytes(module.read_bytes() + bytes([0, len(content)]) + content)


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE.with_suffix(".wasm"))
