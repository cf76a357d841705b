"""Sums of rows by zeros and ones in bytes: exact whole numbers, twice as fast as float32 products. Needs torch.

Each number is written as three balanced digits of base 256, in units of about 2^-23 of its column's largest; products
of digits with zeros and ones are added up in 32 bits without rounding (the error-free splitting of Ozaki et al. 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FEWEST_COLUMNS = 128
"""Columns of zeros and ones below which writing the digits costs more than it saves."""
FAR = 32.0
"""Largest value of a column, in means of the sizes of its values, that leaves digits enough for the others."""
BITS = 23
MOST = 0x7F7F7F / 2**BITS
"""Largest number that three digits from -128 to 127 write, in units of 2^23."""
SMALLEST, LARGEST = 2.0**-100, 2.0**100


@dataclass(frozen=True)
class Digits:
    """Rows in digits."""

    digits: Tensor
    """Lowest, middle and highest digit of each column, and a few columns of ones, int8 [b, 3d + 8]."""
    unit: Tensor
    """Of the lowest digit, float64 [d]."""

    @classmethod
    def of(cls, rows: Tensor) -> Digits | None:
        """Digits of float32 rows [b, d], b at most millions; None where they would be coarser than float32 products.

        That is where a column has values far out, or this machine multiplies bytes no faster.
        """
        if rows.dtype != torch.float32 or rows.device.type != "cpu" or not bytes_are_faster():
            return None
        b, d = rows.shape
        size = rows.abs()
        top, usual = size.amax(0), size.mean(0)
        if ((top > FAR * usual) | ((top > 0) & (top < SMALLEST)) | (top > LARGEST)).any():
            return None
        unit = torch.where(top > 0, torch.exp2(torch.ceil(torch.log2(top / MOST)) - BITS), 1)
        whole = (rows / unit).round_().to(torch.int32)
        whole += 0x808080
        whole ^= 0x808080  # bytes are now digits from -128 to 127
        digits = torch.ones(b, 3 * d + 8, dtype=torch.int8)
        for place in range(3):
            digits[:, place * d : (place + 1) * d] = whole
            whole >>= 8
        return cls(digits, unit.to(torch.float64))

    def sums(self, hot: Tensor) -> tuple[Tensor, Tensor]:
        """How many rows, and their sum, for each line of zeros and ones [c, b]: float64 [c], [c, d]."""
        d = len(self.unit)
        found = torch._int_mm(hot, self.digits)
        total = found[:, 2 * d : 3 * d].to(torch.float64)
        for place in (1, 0):
            total.mul_(256).add_(found[:, place * d : (place + 1) * d])
        return found[:, -1].to(torch.float64), total.mul_(self.unit)


def bytes_are_faster() -> bool:
    """Whether this machine has instructions that multiply and add up bytes, and torch a product that uses them."""
    known = getattr(torch.cpu, "_is_vnni_supported", None)
    return known is not None and hasattr(torch, "_int_mm") and bool(known())
