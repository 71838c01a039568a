"""A drift for people. Pure."""

from healthcheck.text import clean
from operations.drift.comparing import Difference, Drift


def human(drift: Drift) -> str:
    """One line where nothing drifted; else a line for each difference."""
    if not drift.differences:
        return f"{drift.stack}: no drift"
    return "\n".join(_line(difference) for difference in drift.differences)


def _line(difference: Difference) -> str:
    said = " ".join(text for text in (difference.item, difference.change) if text)
    values = f": {difference.recorded} -> {difference.found}" if difference.recorded is not None else ""
    # Whoever named a variable or a label may have had a terminal in mind.
    return clean(f"{difference.kind} {difference.name}: {said}{values}")
