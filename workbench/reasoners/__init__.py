"""Models that think in vectors before or while they speak."""
