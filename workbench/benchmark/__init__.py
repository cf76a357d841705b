"""Audit every organism, trained with several seeds, and hold the audits against what was planted."""
