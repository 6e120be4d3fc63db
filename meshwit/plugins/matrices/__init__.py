"""Matrices and vectors, dense and sparse: numpy and scipy behind the types of the language."""

from meshwit.plugins.matrices.controller import Matrices
from meshwit.plugins.matrices.sparse import SparseMatrix, SparseVector

__all__ = ["Matrices", "SparseMatrix", "SparseVector"]
