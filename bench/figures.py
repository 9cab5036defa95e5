"""Figures, their aims, and the table."""
import dataclasses
import math
import statistics


@dataclasses.dataclass(frozen=True)
class Figure:
    text: str
    unit: str
    below: float = None  # aim: every value of Pons is less
    ratio: float = None  # aim: Consul's median divided by Pons' is at least this, or for rates the reverse
    rate: bool = False  # more is better


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def spread(values):
    """The median; with several values, between the smallest and the largest."""
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}–{number(max(values))})"


def compare(figure, pons, consul):
    """How many times better Pons is, or None; infinity if it needs nothing at all."""
    if not pons or not consul:
        return None
    ours, theirs = statistics.median(pons), statistics.median(consul)
    better, worse = (theirs, ours) if figure.rate else (ours, theirs)
    if better <= 0:
        return math.inf if worse > 0 else None
    return worse / better


def judge(figure, pons, factor):
    """The aim, and whether it is met (None: cannot be said)."""
    if figure.below is not None:
        return f"< {number(figure.below)}", max(pons) < figure.below if pons else None
    if figure.ratio is not None:
        return f"{figure.ratio:g} x", None if factor is None else factor >= figure.ratio
    return "", None


def times(factor):
    if factor is None:
        return "-"
    if factor > 1000:
        return "> 1000 x"
    return f"{factor:.2g} x" if factor < 10 else f"{factor:.0f} x"


def rows(figures, values):
    """For each figure that was measured: its line of the table, and the same for JSON."""
    for name, figure in figures.items():
        pons, consul = (values.get(side, {}).get(name, []) for side in ("pons", "consul"))
        if not pons and not consul:
            continue
        factor = compare(figure, pons, consul)
        aim, met = judge(figure, pons, factor)
        line = [figure.text, figure.unit, spread(pons) if pons else "-", spread(consul) if consul else "-",
                times(factor), aim, {True: "met", False: "MISSED", None: ""}[met]]
        yield line, {"name": name, "text": figure.text, "unit": figure.unit, "pons": pons, "consul": consul,
                     "times_better": times(factor), "aim": aim, "met": met}


def table(lines, with_consul):
    head = ["", "unit", "Pons", "Consul", "better by", "aim", ""]
    if not with_consul:
        head, lines = head[:3] + head[5:], [line[:3] + line[5:] for line in lines]
    lines = [head, *lines]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
