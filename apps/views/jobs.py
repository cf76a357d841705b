"""Jobs: start a command, watch it, cancel and resume it; it goes on without the browser and without this server."""

from __future__ import annotations

from apps import data, jobs

root = data.working_root()
jobs.overview(root)
jobs.form(root)
