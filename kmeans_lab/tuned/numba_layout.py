# mypy: disable-error-code="untyped-decorator, no-untyped-call"
"""What the arrays of Numba's tiled kernel hold, and where; what its compiled files share."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

FAST = {"contract"}
PANEL = 4  # centers at a time
GROUP = 4  # features that move together
LONGEST_BLOCK, BLOCK = 16, 4  # features in one piece; features per piece beyond that
WIDEST = 128  # rows of a tile at most: fewer make a smaller ball
LANES = 16  # centers tested together against a ball: the widest vector
MOST_FILTERED, MOST_FEATURES = 1024, 64  # up to which balls are tested
APART = MOST_FILTERED + 8  # from a feature of all centers to the next: not always the same sets
MOST_COPIED = 16  # features of rows whose tiles are kept: to gather them would take too long
UNBOUNDED = 2  # features, up to which all pairs take less time than bounds
ENDED = 2**40  # as the next chunk: no pass will follow, and the one at hand stops
SPINS = 20_000  # longer than the driver's own work between two passes

# Columns of the arrays that describe a chunk and a pass.
SQUARES, INERTIA, MET, LEFT, RESCORED, WIDE, NEXT_WIDE, NOTES = range(8)
# What threads write has a cache line of its own.
NEXT, DONE, STAYING, INSIDE, SHARE, SUMMING, FILTERING = 0, 8, 16, 17, 24, 25, 26
UP, LEAST, FLAT, RATE, LOSS, FARTHEST, SCREENING, SCALE, BACK = range(9)
SCREEN_FLAT, SCREEN_RATE, SCALES = range(9, 12)
U64 = 2.0**-53
MOST_NAMED = 2**24  # centers: float32 holds their numbers
MOST_SUMMED = 2**14  # features, whose roundings are as good as their first order


def _atomic(operation: str) -> Any:
    """Return a function (array, index, value) that changes an element; it returns the old one."""

    def change(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.args[0]
            view = make_array(kind)(context, builder, arguments[0])
            place = cgutils.get_item_pointer(context, builder, kind, view, [arguments[1]])
            return builder.atomic_rmw(operation, place, arguments[2], "seq_cst")

        return types.int64(array, types.int64, types.int64), generate

    return intrinsic(change)


fetch_add, exchange = _atomic("add"), _atomic("xchg")


@intrinsic
def rounded(typing_context: Any, value: Any) -> Any:
    """Return a float64 as it is, out of the optimiser's sight.

    ``fastmath`` reaches what is inlined as well; a product that went through here cannot be
    fused with an addition, so that rescoring rounds as the plain kernel does.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = ir.IntType(64)
        kind = ir.FunctionType(bits, [bits])
        held = builder.asm(kind, "", "=r,0", [builder.bitcast(arguments[0], bits)], False)
        return builder.bitcast(held, ir.DoubleType())

    return types.float64(types.float64), generate


@intrinsic
def borrowed(typing_context: Any, array: Any) -> Any:
    """Return a view that keeps nothing alive.

    A slice of any other array counts references, atomically: dozens of times for each tile, by
    all threads in the same places, which cost more than the tile itself.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = make_array(signature.args[0])(context, builder, arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate
