"""Who belongs to whom: the matching of the largest total weight.

Here: an exact solver for the sparse, gated matrices of tracking. Not here: what a weight means.

The rule: a weight of zero or less is no edge, and leaving both sides alone costs nothing, so the
result is a maximum-weight matching, not a forced one. Gating leaves mostly lone pairs; what does
not pair off alone falls into small connected parts, each solved by shortest augmenting paths.

Source: R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse
linear assignment problems", Computing 38, 1987. Written here because SciPy is too large a
dependency for a device that needs this one function.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


def assign(weights: Floats) -> tuple[Indices, Indices]:
    """Return the rows and columns of a matching whose total weight no other exceeds.

    Args:
        weights: float64, (n, m). Zero, negative or NaN: this pair must not be matched.

    Returns:
        Row indices, ascending, and the column of each; both (k,).
    """
    usable = weights > 0.0
    rows, columns = np.nonzero(usable)
    if len(rows) == 0:
        return rows, columns
    alone = (usable.sum(axis=1)[rows] == 1) & (usable.sum(axis=0)[columns] == 1)
    matched = list(zip(rows[alone].tolist(), columns[alone].tolist(), strict=True))
    for part_rows, part_columns in _parts(rows[~alone].tolist(), columns[~alone].tolist()):
        part = np.where(usable, weights, 0.0)[np.ix_(part_rows, part_columns)]
        for r, c in _solve(part):
            if part[r, c] > 0.0:
                matched.append((part_rows[r], part_columns[c]))
    matched.sort()
    pairs = np.array(matched, np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _parts(rows: list[int], columns: list[int]) -> list[tuple[list[int], list[int]]]:
    """Return the connected parts of a bipartite graph given by its edges."""
    columns_of: dict[int, list[int]] = {}
    rows_of: dict[int, list[int]] = {}
    for r, c in zip(rows, columns, strict=True):
        columns_of.setdefault(r, []).append(c)
        rows_of.setdefault(c, []).append(r)
    parts: list[tuple[list[int], list[int]]] = []
    seen_rows: set[int] = set()
    for first in columns_of:
        if first in seen_rows:
            continue
        seen_rows.add(first)
        part_rows, part_columns = [first], dict[int, None]()
        for r in part_rows:  # grows while it is walked
            for c in columns_of[r]:
                if c in part_columns:
                    continue
                part_columns[c] = None
                fresh = [other for other in rows_of[c] if other not in seen_rows]
                seen_rows.update(fresh)
                part_rows.extend(fresh)
        parts.append((part_rows, list(part_columns)))
    return parts


def _solve(weights: Floats) -> list[tuple[int, int]]:
    """Return a complete assignment of the shorter side with the largest total weight."""
    if weights.shape[0] > weights.shape[1]:
        return [(r, c) for c, r in _solve(weights.T)]
    if weights.shape[0] == 1:
        return [(0, int(np.argmax(weights[0])))]
    return list(enumerate(_shortest_paths(weights.max() - weights)))


def _shortest_paths(cost: Floats) -> list[int]:
    """Return the column of each row at the least total cost; (n, m) with n <= m, all finite.

    Prices keep every reduced cost `cost - u - v` non-negative and those of matched pairs zero.
    Rows start at their cheapest column where that is free; each other row then finds the shortest
    way, in reduced cost, to a free column, and the pairs along that way change over.
    """
    n, m = cost.shape
    u = cost.min(axis=1)
    v = np.zeros(m)
    row_of = np.full(m, -1, np.intp)
    column_of = [-1] * n
    waiting: list[int] = []
    for r, c in enumerate(np.argmin(cost, axis=1).tolist()):
        if row_of[c] < 0:
            row_of[c], column_of[r] = r, c
        else:
            waiting.append(r)
    for start in waiting:
        _augment(start, cost, u=u, v=v, row_of=row_of, column_of=column_of)
    return column_of


def _augment(
    start: int,
    cost: Floats,
    *,
    u: Floats,
    v: Floats,
    row_of: Indices,
    column_of: list[int],
) -> None:
    """Match row `start` by the shortest augmenting path, changing prices and pairs in place."""
    m = cost.shape[1]
    shortest = np.full(m, np.inf)
    came_from = np.full(m, -1, np.intp)
    done = np.zeros(m, np.bool_)
    walked = [start]
    row, travelled = start, 0.0
    while True:
        reach = travelled + cost[row] - u[row] - v
        better = (reach < shortest) & ~done
        shortest[better] = reach[better]
        came_from[better] = row
        column = int(np.argmin(np.where(done, np.inf, shortest)))
        travelled = float(shortest[column])
        done[column] = True
        row = int(row_of[column])
        if row < 0:
            break
        walked.append(row)
    u[start] += travelled
    for other in walked[1:]:
        u[other] += travelled - shortest[column_of[other]]
    v[done] -= travelled - shortest[done]
    while True:
        row = int(came_from[column])
        row_of[column] = row
        column, column_of[row] = column_of[row], column
        if row == start:
            return
