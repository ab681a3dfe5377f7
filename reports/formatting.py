"""Format numbers for reading: three significant digits and an SI prefix."""

PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def digits(value: float) -> str:
    """Format a value with three significant digits, without an exponent where possible.

    >>> digits(801.08), digits(4.462), digits(0.01234), digits(0)
    ('801', '4.46', '0.0123', '0')
    """
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.1e}"


def si(value: float, unit: str) -> str:
    """Format a value of ``unit`` with an SI prefix.

    >>> si(801.08e12, "FLOP/s"), si(4.462e12, "B/s"), si(12, "B"), si(999.7e9, "B")
    ('801 TFLOP/s', '4.46 TB/s', '12 B', '1 TB')
    """
    power = 0
    # From 999.5 on, three digits round to 1000.
    while abs(value) >= 999.5 and power < len(PREFIXES) - 1:
        value /= 1000
        power += 1
    return f"{digits(value)} {PREFIXES[power]}{unit}"


def duration(ns: float) -> str:
    """Format nanoseconds in the unit that keeps three digits.

    >>> duration(1760), duration(12_851_525), duration(9_350_187_000), duration(512)
    ('1.76 µs', '12.9 ms', '9.35 s', '512 ns')
    """
    for unit in ("ns", "µs", "ms"):
        if abs(ns) < 999.5:
            return f"{digits(ns)} {unit}"
        ns /= 1000
    return f"{digits(ns)} s"


def percent(share: float) -> str:
    """Format a share as a percentage with at most two decimals.

    >>> percent(0.4567), percent(0.0312), percent(0.00027), percent(1), percent(0.0000004)
    ('45.7 %', '3.12 %', '0.03 %', '100 %', '<0.01 %')
    """
    if 0 < share < 0.00005:
        return "<0.01 %"
    return f"{digits(round(share * 100, 2))} %"
