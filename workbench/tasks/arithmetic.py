"""Arithmetic: chains of plus, minus and times modulo a prime; the running result is the intermediate value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.errors import ConfigError
from workbench.tasks.base import Problem

OPERATIONS = ("+", "-", "*")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Generator of arithmetic problems."""

    n_operations: int = 4
    modulus: int = 11
    """A prime, so that multiplication loses nothing."""

    def __post_init__(self) -> None:
        if self.n_operations < 1:
            raise ConfigError("a problem has at least one operation", field="n_operations", found=self.n_operations)
        if self.modulus < 2 or any(self.modulus % k == 0 for k in range(2, int(self.modulus**0.5) + 1)):
            raise ConfigError("the modulus must be a prime", field="modulus", found=self.modulus)

    @property
    def values(self) -> tuple[str, ...]:
        """All values a step can take."""
        return tuple(str(number) for number in range(self.modulus))

    def make(self, n: int, *, seed: int, prefix: str = "arithmetic") -> list[Problem]:
        """`n` problems drawn independently; equal seeds give equal problems."""
        generator = np.random.default_rng(seed)
        return [self._one(f"{prefix}-{number:05d}", generator) for number in range(n)]

    def _one(self, problem_id: str, generator: np.random.Generator) -> Problem:
        result = int(generator.integers(self.modulus))
        words = [f"start {result}"]
        chain = []
        for _ in range(self.n_operations):
            operation = OPERATIONS[int(generator.integers(len(OPERATIONS)))]
            operand = int(generator.integers(1, self.modulus))
            result = {"+": result + operand, "-": result - operand, "*": result * operand}[operation] % self.modulus
            words.append(f"{operation} {operand}")
            chain.append(str(result))
        return Problem(id=problem_id, prompt=" ; ".join(words), thoughts=tuple(chain), answer=chain[-1])
