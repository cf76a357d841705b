"""The apply verb: what reads a run (probes of a fit, the lenses of its model), and how each did."""
