"""Generators of problems whose intermediate values are known, and the JSON lines that carry them."""

from workbench.tasks.arithmetic import Arithmetic
from workbench.tasks.base import Problem, Value
from workbench.tasks.jsonl import problem_lines, problem_of, read_problems
from workbench.tasks.rooms import Rooms

__all__ = ["Arithmetic", "Problem", "Rooms", "Value", "problem_lines", "problem_of", "read_problems"]
