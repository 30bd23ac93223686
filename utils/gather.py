"""Rows of a table, taken many times each."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import embedding


def gather_rows(table: Tensor, rows: Tensor) -> Tensor:
    """(*R, D) the rows (*R) int64 of a table (M, D).

    The gradient is added up in one order, for any number of threads: on a CPU by `index_select`,
    which is the faster; on a GPU that one's order changes from run to run, and `embedding` sorts.
    """
    if table.is_cuda:
        return embedding(rows, table)
    return table.index_select(0, rows.flatten()).unflatten(0, rows.shape)
