"""The capture store: safetensors shards, a journal while writing, a sealed manifest after."""

from workbench.store.files import read_bytes_checked, sweep_temps, write_file
from workbench.store.reader import RunStore
from workbench.store.selection import Selection, SiteInfo, joined_visits
from workbench.store.tables import SiteRows
from workbench.store.verify import StoreReport, verify_store
from workbench.store.writer import StoreWriter

__all__ = [
    "RunStore",
    "Selection",
    "SiteInfo",
    "SiteRows",
    "StoreReport",
    "StoreWriter",
    "joined_visits",
    "read_bytes_checked",
    "sweep_temps",
    "verify_store",
    "write_file",
]
