"""The counters of Lightning's loops, as a resumed training needs them in a checkpoint.

Lightning stores them as they stand when it saves, which is in the middle of a loop. Here they are
changed to what they are where the training goes on.
"""

import enum
from typing import Any


class SavePoint(enum.Enum):
    """Where in the training a checkpoint is saved."""

    BETWEEN_BATCHES = "between two batches"
    VALIDATION = "during a validation"
    END = "at the end"


def correct_counters(counts: dict[str, Any], point: SavePoint, num_batches: float) -> None:
    """Change stored counters to those of a training that goes on at ``point``.

    Args:
        counts: state of Lightning's fit loop, changed in place.
        point: where the checkpoint is saved.
        num_batches: training batches of an epoch.
    """
    batches, epochs = counts["epoch_loop.batch_progress"], counts["epoch_progress"]
    for count in (batches["total"], batches["current"]):  # the next batch has not begun
        count["ready"] = count["started"] = count["completed"]
    validation = counts["epoch_loop.val_loop.batch_progress"]
    if point is SavePoint.VALIDATION:  # it has begun, but no batch of it is done
        validation["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
        validation["current"] = dict.fromkeys(validation["total"], 0)
    elif point is SavePoint.END and batches["current"]["completed"] == num_batches:
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False
        validation["total"] = dict.fromkeys(validation["total"], 0)
    elif point is SavePoint.END:  # Lightning counts the epoch as finished, but it is not
        for count in (epochs["total"], epochs["current"]):
            count["processed"] = count["completed"] = count["ready"] - 1


def check_counters(checkpoint: dict[str, Any], counts: dict[str, Any]) -> None:
    """Refuse counters with which Lightning would begin elsewhere, without a word.

    Args:
        checkpoint: of a training.
        counts: state of Lightning's fit loop as it is now.

    Raises:
        ValueError: counters are missing, are no numbers, or contradict the steps of the checkpoint.
    """
    found = checkpoint.get("loops", {}).get("fit_loop")
    if not isinstance(found, dict):
        raise ValueError("it does not say how far the training was")
    for name, expected in counts.items():
        if name.endswith("progress") and not _counts(found.get(name), expected):
            raise ValueError(f"its counters {name} are missing or are no numbers")
    step = checkpoint["global_step"]
    automatic = found["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
    manual = found["epoch_loop.manual_optimization.optim_step_progress"]
    done = automatic["total"]["completed"] + manual["total"]["completed"]
    if step != done:
        raise ValueError(f"it is of step {step}, and its counters are of step {done}")


def _counts(found: Any, expected: Any) -> bool:
    """Whether there are numbers, at least 0, wherever they are expected."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(
            _counts(found.get(name), value) for name, value in expected.items()
        )
    return type(found) is type(expected) and found >= 0
