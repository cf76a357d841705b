"""Findings: what a reviewer pins of an audit, says of it, and hands on; the history only grows."""

from workbench.findings.agreement import Agreement, agreements
from workbench.findings.history import FOLDER, append, findings, read_history
from workbench.findings.records import Event, Finding, Labels

__all__ = ["FOLDER", "Agreement", "Event", "Finding", "Labels", "agreements", "append", "findings", "read_history"]
