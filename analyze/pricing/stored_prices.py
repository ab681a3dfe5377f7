"""Prices of signatures stored in the warehouse, and new ones from the pricer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import duckdb

from ridgeline.analyze.pricing import RULES_VERSION
from ridgeline.analyze.pricing.families import family
from ridgeline.analyze.pricing.outside import source
from ridgeline.analyze.pricing.pricer import MISSING, UNASKED, Pricer
from ridgeline.analyze.pricing.signature import signature_id
from ridgeline.analyze.reading.columns import Signature

Record = dict[str, Any]
"""A row of the table ``signatures``."""

RECORDED = ("shapes", "dtypes", "strides", "concrete")
"""Columns of ``signatures`` that hold the profiler's text, in the order of a signature."""

WARNS = "pricing"
"""The source of these warnings in the table ``warnings``."""
_BEFORE = "gave no answer before"
_LONGEST_NAME = 200


class Priced(NamedTuple):
    """A record for each requested signature, in order; the records that are new; and warnings, a line each.

    A price is cut short if PyTorch ended before it answered. Its ``rules_version`` is negative, so that runs which use
    it carry a warning and repricing asks again.
    """

    records: list[Record]
    new: list[Record]
    warnings: list[str]


def price_signatures(
    connection: duckdb.DuckDBPyConnection,
    signatures: Sequence[Signature],
    pricer: Pricer,
    priced: Iterable[Record] = (),
) -> Priced:
    """Records of ``signatures``: from this run's ``priced`` ones, else from the warehouse, else from the pricer.

    A stored price by a rule from outside holds until the rule's text changes, or other rules are applied; where no rule
    for its operator is loaded it stays, with a warning.
    """
    ids = [signature_id(signature) for signature in signatures]
    earlier = {record["signature_id"]: record for record in priced}
    query = "SELECT * FROM signatures WHERE list_contains(?, signature_id) AND abs(rules_version) = ?"
    cursor = connection.execute(query, [ids, RULES_VERSION])
    columns = [column[0] for column in cursor.description or []]
    rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    current = [row for row in rows if source(row["operator"]) in (None, row["outside_rules"])]
    records = {row["signature_id"]: row for row in current} | earlier
    missing = {i: s for i, s in zip(ids, signatures, strict=True) if i not in records}
    new, ends = price_records(missing, pricer) if missing else ([], {})
    records.update((record["signature_id"], record) for record in new)
    used = [records[i] for i in ids if i not in earlier]
    return Priced([records[i] for i in ids], new, warnings(used, ends) + unloaded(used))


def unloaded(records: Iterable[Record]) -> list[str]:
    """A line for each source of rules from outside that priced some of the records and is not loaded."""
    sources = [record["outside_rules"] for record in records if not source(record["operator"])]
    return [
        f"{count:,} signature{'s' * (count > 1)} priced by rules from outside that are not loaded ({name}): --rules"
        " FILE loads them, `ridgeline reprice` without them returns to Ridgeline's own"
        for name, count in Counter(filter(None, sources)).items()
    ]


def warnings(records: Iterable[Record], ends: dict[str, str]) -> list[str]:
    """A line for each operator whose price was cut short, and one for all signatures that were not asked.

    ``ends`` says by signature id how PyTorch ended; a record without an entry was cut short by an earlier command.
    """
    cut_short = {record["signature_id"]: record["operator"] for record in records if record["rules_version"] < 0}
    operators: dict[str, list[str]] = {}
    for identifier, operator in cut_short.items():
        operators.setdefault(ends.get(identifier, _BEFORE), []).append(operator[:_LONGEST_NAME])
    lines = []
    for end, named in sorted(operators.items(), key=lambda item: item[0] == UNASKED):  # the rest is last
        if end in (MISSING, UNASKED) or (end == _BEFORE and len({*named}) > 1):
            more = " more" if end == UNASKED else ""
            subjects = [f"{len(named):,}{more} signature{'s' * (len(named) > 1)}"]
        else:
            subjects = list(dict.fromkeys(named))
        how = f"{end}: priced from recorded inputs, with low confidence: "
        remedy = "`ridgeline reprice` asks again"
        if end == MISSING:
            remedy = f"after pip install 'ridgeline[capture]' {remedy}"
        lines += [f"{subject}: PyTorch {how}{remedy}" for subject in subjects]
    return lines


def price_records(missing: dict[str, Signature], pricer: Pricer) -> tuple[list[Record], dict[str, str]]:
    """A record for each signature by id, and for each price that was cut short how PyTorch ended, by id."""
    records, ends = [], {}
    for (identifier, signature), answer in zip(missing.items(), pricer.price(missing.values()), strict=True):
        if answer.cut_short:
            ends[identifier] = answer.cut_short
        texts = (text.decode(errors="replace") or None for text in signature[1:])
        record = {
            "signature_id": identifier,
            "operator": signature[0],
            "family": family(signature[0], "", "kernel"),
            **dict(zip(RECORDED, texts, strict=True)),
            **answer.price._asdict(),
            "rules_version": -RULES_VERSION if answer.cut_short else RULES_VERSION,
            "outside_rules": source(signature[0]),
        }
        records.append(record)
    return records, ends
