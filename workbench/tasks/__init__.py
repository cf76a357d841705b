"""Generators of problems whose intermediate values are known, and the JSON lines that carry them."""

from workbench.tasks.arithmetic import Arithmetic
from workbench.tasks.base import Problem, Value
from workbench.tasks.graphs import PROSQA_LIKE, Graph, Graphs, graph_of
from workbench.tasks.jsonl import problem_lines, problem_of, read_problems
from workbench.tasks.prosqa import read_prosqa, read_prosqa_graphs
from workbench.tasks.rooms import Rooms

__all__ = [
    "PROSQA_LIKE",
    "Arithmetic",
    "Graph",
    "Graphs",
    "Problem",
    "Rooms",
    "Value",
    "graph_of",
    "problem_lines",
    "problem_of",
    "read_problems",
    "read_prosqa",
    "read_prosqa_graphs",
]
