"""How sure a share is that was counted: confidence intervals of a proportion.

Pure arithmetic, no SciPy: the device that commissions a camera has none. The rule: too little
evidence gives a wide interval, never a narrow one; no trials at all give none.
"""

import math
from typing import Final

_HALVINGS: Final = 60


def clopper_pearson(
    successes: int, trials: int, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return the exact two-sided interval of a proportion, 0 to 1; None without any trial.

    Args:
        successes: 0 to `trials`.
        trials: Independent trials, up to 100,000.
        confidence: Least probability with which the interval holds the true share.

    Raises:
        ValueError: A count or confidence that cannot be.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case
    of the binomial", Biometrika 26, 1934: the shares at which the tail is half of what is left.
    """
    if not 0 <= successes <= trials or trials > 100_000 or not 0 < confidence < 1:
        raise ValueError(f"no proportion: {successes} of {trials} at {confidence}")
    if trials == 0:
        return None
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else _solve(successes, trials, tail, upper=False)
    high = 1.0 if successes == trials else _solve(successes, trials, tail, upper=True)
    return low, high


def _solve(successes: int, trials: int, tail: float, *, upper: bool) -> float:
    """Return the share at which the tail beyond what was seen has just probability `tail`."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if upper:
            above = _at_most(successes, trials, middle) > tail
        else:
            above = 1 - _at_most(successes - 1, trials, middle) < tail
        low, high = (middle, high) if above else (low, middle)
    return (low + high) / 2


def _at_most(successes: int, trials: int, share: float) -> float:
    """Return the probability of at most so many successes."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return 1.0 if successes >= trials else 0.0
    log_share, log_rest = math.log(share), math.log1p(-share)
    whole = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(
            whole
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * log_share
            + (trials - k) * log_rest
        )
        for k in range(successes + 1)
    )
