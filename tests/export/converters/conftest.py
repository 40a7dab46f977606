"""What the comparisons with other libraries have in common."""

from collections.abc import Callable

import pytest
from torch import Tensor


@pytest.fixture
def same_codes() -> Callable[[Tensor, Tensor], bool]:
    """Whether ids [batch, positions, groups] are those of another library, but for one rounding.

    Both compute distances in their own order, so a latent in the middle of two codes may get
    either; the levels after it then code another rest, at the same position. A wrong conversion
    changes nearly every position.
    """
    return lambda ours, theirs: (
        ours.shape == theirs.shape and int((ours != theirs).any(-1).sum()) <= 1
    )
