"""Linear probes over arrays: estimators, their controls, and how well they did."""
