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
    rows, columns = np.nonzero(weights > 0.0)
    chosen = assign_edges(rows, columns, weights[rows, columns])
    return rows[chosen], columns[chosen]


def assign_edges(rows: Indices, columns: Indices, weights: Floats) -> Indices:
    """Return which edges make a matching whose total weight no other exceeds, by row.

    Args:
        rows: (k,), from 0: one end of each edge. No edge is given twice.
        columns: (k,), from 0: the other end.
        weights: float64, (k,), all above zero.

    Returns:
        Indices of edges, (j,).
    """
    if len(rows) == 0:
        return np.zeros(0, np.intp)
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    crowded = np.flatnonzero(~alone)
    if len(crowded) == 0:
        return np.argsort(rows)
    chosen = np.flatnonzero(alone).tolist()
    row_of, column_of = rows.tolist(), columns.tolist()
    for edges in _parts(row_of, column_of, crowded.tolist()):
        chosen += _solve_part(edges, row_of, column_of, weights)
    chosen.sort(key=row_of.__getitem__)
    return np.array(chosen, np.intp)


def _parts(row_of: list[int], column_of: list[int], edges: list[int]) -> list[list[int]]:
    """Return `edges` by connected part of the graph that they make."""
    at_row: dict[int, list[int]] = {}
    at_column: dict[int, list[int]] = {}
    for edge in edges:
        at_row.setdefault(row_of[edge], []).append(edge)
        at_column.setdefault(column_of[edge], []).append(edge)
    parts: list[list[int]] = []
    seen: set[int] = set()
    seen_columns: set[int] = set()
    for first in at_row:
        if first in seen:
            continue
        seen.add(first)
        walk, part = [first], list[int]()
        for r in walk:  # grows while it is walked
            part += at_row[r]
            for edge in at_row[r]:
                c = column_of[edge]
                if c not in seen_columns:
                    seen_columns.add(c)
                    fresh = [o for e in at_column[c] if (o := row_of[e]) not in seen]
                    seen.update(fresh)
                    walk += fresh
        parts.append(part)
    return parts


def _solve_part(
    edges: list[int], row_of: list[int], column_of: list[int], weights: Floats
) -> list[int]:
    """Return the best edges of one connected part."""
    part_rows = {r: n for n, r in enumerate(dict.fromkeys(row_of[e] for e in edges))}
    part_columns = {c: n for n, c in enumerate(dict.fromkeys(column_of[e] for e in edges))}
    if len(part_rows) == 1 or len(part_columns) == 1:
        return [max(edges, key=weights.__getitem__)]
    r = [part_rows[row_of[e]] for e in edges]
    c = [part_columns[column_of[e]] for e in edges]
    dense = np.zeros((len(part_rows), len(part_columns)))
    edge_at = np.full(dense.shape, -1, np.intp)
    dense[r, c] = weights[edges]
    edge_at[r, c] = edges
    return [e for pair in _solve(dense) if (e := int(edge_at[pair])) >= 0]


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
