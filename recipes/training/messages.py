"""Messages of Lightning and torch that a user of the commands can do nothing about are left out.

All of them are listed here, by their text; whatever else these libraries say is shown.
"""

import logging
import re
import warnings

LOGGED = (
    r"(GPU|TPU|HPU|IPU) available:",
    r"LOCAL_RANK: \d+ - CUDA_VISIBLE_DEVICES",
    r"\bTip: For seamless cloud",  # advertisements
    r"`weights_only` was not set",
    r"`Trainer\(limit_\w+=.*\)` was configured",
    r"`Trainer\.fit` stopped:|^Time limit reached",  # `RunSummary` says it
    r"^(\[rank: \d+\] )?Seed set to",
    r"To properly utilize them, you should set `torch\.set_float32_matmul_precision",
)
WARNED = (
    # frozen parts are in evaluation mode on purpose
    r"Found \d+ module\(s\) in eval mode",
    # a codec is rebuilt from its hyperparameters when a checkpoint is loaded
    r"Attribute .* is an instance of `nn\.Module`",
    r"\s+.*(JsonargparseDeprecationWarning|deprecated in v4)",
    r".*\btreespec\b",
    r".*does not have many workers",
    r"Total length of `\w+` across ranks is zero",  # `RunSummary` says how many there are
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    r".*`?torch\.(jit|nn\.utils\.weight_norm)\b.* is deprecated",
    r".*deprecated.*lightning",
)


ENDED = re.compile(r"Child process with PID \d+ terminated with code (-?\d+)")


class _Shown(logging.Filter):
    """Whether a record is to be shown; and in which words, if Lightning ends this very process."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if ended := ENDED.search(text):
            record.msg, record.args = (
                f"intaglio: error: a process of the training ended with status {ended[1]}, and the "
                "others with it; the same command with --ckpt_path last goes on from the last "
                "checkpoint",
                None,
            )
        return not re.search("|".join(LOGGED), text)


def quieten() -> None:
    """Leave these messages out from now on."""
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(kept, _Shown) for kept in handler.filters):
                handler.addFilter(_Shown())
    for message in WARNED:
        warnings.filterwarnings("ignore", message)
