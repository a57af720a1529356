"""Sums and squared distances to about twice the digits of float64, for judging results.

Error-free transformations: the rounding error of a sum (Knuth) or a product (Dekker, Veltkamp) of
two doubles is a double as well, and five to seventeen operations find it. Nothing here depends on
a long double, which is no wider than a double on some machines. See Ogita, Rump and Oishi,
"Accurate sum and dot product", SIAM Journal on Scientific Computing 26, 2005.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_SPLIT = 2.0**27 + 1


def two_sum(a: Doubles, b: Doubles) -> tuple[Doubles, Doubles]:
    """Return a + b as computed, and the rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def two_product(a: Doubles, b: Doubles) -> tuple[Doubles, Doubles]:
    """Return a · b as computed, and the rounding error; below 10¹⁵⁰ in magnitude."""
    product = a * b
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    return product, a_low * b_low - (
        ((product - a_high * b_high) - a_low * b_high) - a_high * b_low
    )


def _halves(a: Doubles) -> tuple[Doubles, Doubles]:
    shifted = _SPLIT * a
    high = shifted - (shifted - a)
    return high, a - high


def excess(x: Doubles, a: Doubles, b: Doubles) -> Doubles:
    """Return ‖x − a‖² − ‖x − b‖² of each row of three matrices (n, d), correct to its last digits.

    The error is some 10⁻³⁰ of the two distances.
    """
    high_a, low_a = _squares(x, a)
    high_b, low_b = _squares(x, b)
    high, low = np.hstack([high_a, -high_b]), np.hstack([low_a, -low_b])
    while high.shape[1] > 1:  # add neighbours in pairs, then the sums in pairs, …
        if high.shape[1] % 2:
            high, low = (np.pad(it, ((0, 0), (0, 1))) for it in (high, low))
        high, lost = two_sum(high[:, ::2], high[:, 1::2])
        low = low[:, ::2] + low[:, 1::2] + lost
    return np.asarray(high[:, 0] + low[:, 0])


def _squares(x: Doubles, a: Doubles) -> tuple[Doubles, Doubles]:
    diff, lost = two_sum(x, -a)
    square, rest = two_product(diff, diff)
    return square, rest + 2 * diff * lost


def sums_by_label(
    values: Doubles, labels: NDArray[Any], n_clusters: int
) -> tuple[Doubles, Doubles, Doubles]:
    """Return each cluster's sum of values (n_samples,) as two doubles, and the sum of |values|.

    A value is cut at a digit so high that the upper parts add up without any rounding, in whatever
    order; the lower parts are less than 2⁻⁵¹ of the sum of |values|.
    """

    def added(parts: Doubles) -> Doubles:
        return np.asarray(np.bincount(labels, parts, n_clusters), np.float64)

    size = added(np.abs(values))
    step = np.ldexp(1.0, np.frexp(size)[1] + 1)[labels]  # more than twice the sum
    upper = (values + step) - step
    return *two_sum(added(upper), added(values - upper)), size
