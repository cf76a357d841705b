"""What goes into a store comes out of it: every row, at its address, in order, and nothing else."""

import itertools
import sqlite3
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from store_factory import CONFIG, N_SHARDS, PER_SHARD, STEPS, addresses, capture, chunk, contents, vectors

from workbench.errors import ConfigError, CorruptArtifact, SchemaError
from workbench.store import RunStore, SiteRows, StoreWriter, read_bytes_checked, verify_store

SITE = {"dim": 3, "dtype": "float32", "axes": []}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "run"
    capture(path)
    return RunStore(path)


def test_planted_values_come_back(store):
    everything = store.select("thought")
    np.testing.assert_array_equal(everything.vectors, np.concatenate([vectors(n, 3, "float32") for n in range(3)]))
    np.testing.assert_array_equal(everything.example, np.repeat(np.arange(6), STEPS))
    np.testing.assert_array_equal(everything.pos, 7 + everything.step)
    assert everything.vectors.dtype == np.float32
    assert [problem["id"] for problem in store.problems] == [f"p-{n}" for n in range(6)]
    assert store.config == CONFIG
    assert (store.sites["thought"].rows, store.sites["thought"].axes[-1], store.n_nonfinite) == (
        12,
        "d_model",
        0,
    )


@pytest.mark.parametrize("step", [None, 0, 1])
@pytest.mark.parametrize("examples", [None, [3], [5, 0, 0], []])
def test_select_keeps_what_was_asked(store, step, examples):
    got = store.select("thought", step=step, examples=None if examples is None else np.array(examples))
    wanted = [
        (example, s)
        for example in (range(6) if examples is None else sorted(set(examples)))
        for s in range(STEPS)
        if step in (None, s)
    ]
    assert list(zip(got.example.tolist(), got.step.tolist(), strict=True)) == wanted
    assert got.vectors.shape == (len(wanted), 3)
    assert got.vectors[:, 0].tolist() == [100 * example + 10 * s for example, s in wanted]


def test_select_of_an_absent_step_or_visit_is_empty(store):
    assert store.select("thought", step=9).vectors.shape == (0, 3)
    assert len(store.select("thought", visit=1)) == 0
    assert len(store.select("thought", visit=0)) == 12


def test_blocks_are_the_selection_in_pieces(store):
    blocks = list(store.blocks("thought"))
    assert [len(block) for block in blocks] == [PER_SHARD * STEPS] * N_SHARDS
    for name in ("vectors", "example", "step", "visit", "pos"):
        whole = getattr(store.select("thought"), name)
        np.testing.assert_array_equal(np.concatenate([getattr(block, name) for block in blocks]), whole)


def test_changing_what_was_read_changes_nothing_that_is_read_later(store):
    first = store.select("thought")
    first.vectors[:] = -1
    next(store.blocks("thought")).vectors[:] = -1
    assert store.select("thought").vectors.min() == 0


@pytest.mark.parametrize("cache_bytes", [0, 700, 1 << 20])
def test_a_shard_is_hashed_once_when_it_fits_the_cache(store, monkeypatch, cache_bytes):
    reads = []

    def counted(path, *promise):
        reads.append(path.name)
        return read_bytes_checked(path, *promise)

    fresh = RunStore(store.path, cache_bytes=cache_bytes)
    monkeypatch.setattr("workbench.store.reader.read_bytes_checked", counted)
    for _ in range(3):
        assert len(fresh.select("thought", step=0)) == 6
    assert len(reads) == {0: 9, 700: 9, 1 << 20: 3}[cache_bytes]


def test_fault_062_nonfinite_rows_are_kept_and_counted(tmp_path):
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    table[1, 2], table[3, :] = np.nan, np.inf
    with StoreWriter.open(tmp_path, config={"sites": {"thought": SITE}}, n_shards=1) as writer:
        writer.append(0, {"thought": SiteRows(table, addresses(0))}, [{"id": "a"}, {"id": "b"}])
        writer.seal()
    store = RunStore(tmp_path)
    assert (store.n_nonfinite, store.sites["thought"].n_nonfinite) == (2, 2)
    np.testing.assert_array_equal(store.select("thought").vectors, table)
    assert verify_store(tmp_path).n_nonfinite == 2


def one(tmp_path, rows):
    """Write a store of one site, one shard and one problem."""
    with StoreWriter.open(tmp_path / "run", config={"sites": {"s": SITE}}, n_shards=1) as writer:
        writer.append(0, {"s": rows}, [{"id": "p-0"}])
        writer.seal()


def at(*rows, dtype=np.int32):
    return np.array(rows, dtype)


ROW = at([0, 0, 0, 0])
FINE = np.zeros((1, 3), np.float32)


@pytest.mark.parametrize(
    ("table", "address", "field"),
    [
        (FINE.astype(np.float64), ROW, "s.vectors"),
        (FINE.astype(np.float16), ROW, "s.vectors"),
        (FINE.astype(">f4"), ROW, "s.vectors"),
        (FINE.astype(object), ROW, "s.vectors"),
        (FINE[:, :2], ROW, "s.vectors"),
        (FINE[0], ROW, "s.vectors"),
        (FINE[None], ROW, "s.vectors"),
        (FINE, at([0, 0, 0, 0], dtype=np.int64), "s.address"),
        (FINE, at([0, 0, 0]), "s.address"),
        (FINE, at([0, 0, 0, 0], [0, 1, 0, 0]), "s.address"),
        (FINE, at([-1, 0, 0, 0]), "s.address"),
        (FINE, at([0, -2, 0, 0]), "s.address"),
        (FINE.repeat(2, 0), at([0, 0, 0, 0], [0, 0, 0, 0]), "s.address"),
        (FINE.repeat(2, 0), at([0, 0, 0, 0], [1, 0, 0, 0]), "address.example"),
        (FINE, at([1, 0, 0, 0]), "address.example"),
    ],
)
def test_fault_008_010_wrong_rows_are_refused_and_nothing_is_stored(tmp_path, table, address, field):
    with pytest.raises(SchemaError) as caught:
        one(tmp_path, SiteRows(table, address))
    assert caught.value.field == field
    assert not list((tmp_path / "run" / "shards").iterdir())


def test_fault_010_fortran_order_is_stored_right(tmp_path):
    table = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    address = np.asfortranarray(np.array([[0, 1, 0, 0], [0, 0, 0, 0]], np.int32))
    one(tmp_path, SiteRows(table, address))
    got = RunStore(tmp_path / "run").select("s")
    assert got.vectors.tolist() == [[3, 4, 5], [0, 1, 2]]  # rows sorted by step
    assert got.vectors.flags.writeable


@pytest.mark.parametrize("tables", [{}, {"thought": 0}, {"s": 0, "t": 0}])
def test_missing_and_unknown_sites_are_refused(tmp_path, tables):
    rows = SiteRows(np.zeros((1, 3), np.float32), ROW)
    with StoreWriter.open(tmp_path, config={"sites": {"s": SITE}}, n_shards=1) as writer:
        with pytest.raises(SchemaError, match="every site and no other"):
            writer.append(0, dict.fromkeys(tables, rows), [{}])
        writer.append(0, {"s": rows}, [{}])
        with pytest.raises(ConfigError, match="already stored"):
            writer.append(0, {"s": rows}, [{}])
        for index in (1, -1, True, 0.0):
            with pytest.raises(ConfigError, match="no such shard"):
                writer.append(index, {"s": rows}, [{}])


def test_rows_of_later_problems_are_found_out_when_the_gap_closes(tmp_path):
    with StoreWriter.open(tmp_path, config=CONFIG, n_shards=2) as writer:
        writer.append(1, chunk(2)[0], chunk(2)[1])  # problems 4 and 5: right only if shard 0 has four
        with pytest.raises(SchemaError, match="other shards"):
            writer.append(0, *chunk(0))
        assert writer.done == {1}


@pytest.mark.parametrize("record", [{"x": float("nan")}, {"x": 2**60}, {"x": "\ud800"}])
def test_problems_that_are_no_canonical_json_are_refused(tmp_path, record):
    rows = SiteRows(np.zeros((1, 3), np.float32), ROW)
    with StoreWriter.open(tmp_path, config={"sites": {"s": SITE}}, n_shards=1) as writer:
        with pytest.raises(SchemaError):
            writer.append(0, {"s": rows}, [record])
        assert writer.done == frozenset()


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"sites": {}},
        {"sites": ["thought"]},
        {"sites": {"s": 3}},
        {"sites": {"s": {**SITE, "dim": 0}}},
        {"sites": {"s": {**SITE, "dim": True}}},
        {"sites": {"s": {**SITE, "dim": 1 << 30}}},
        {"sites": {"s": {**SITE, "dtype": "float64"}}},
        {"sites": {"s": {**SITE, "axes": "step"}}},
    ],
)
def test_configs_without_usable_sites_are_refused(tmp_path, config):
    with pytest.raises(ConfigError, match=r"site|width|type|axes"):
        StoreWriter.open(tmp_path / "run", config=config, n_shards=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("n_shards", [0, -1, True, 1.0, 10**9])
def test_numbers_of_shards_that_cannot_be(tmp_path, n_shards):
    with pytest.raises(ConfigError) as caught:
        StoreWriter.open(tmp_path / "run", config=CONFIG, n_shards=n_shards)
    assert caught.value.field == "n_shards"


def test_fault_053_blocks_need_the_memory_of_a_shard_and_not_of_the_store(tmp_path):
    n_shards, rows, dim = 20, 256, 512  # 0.5 MB a shard, 10 MB in all
    site = {"dim": dim, "dtype": "float32"}
    address = np.zeros((rows, 4), np.int32)
    with StoreWriter.open(tmp_path, config={"sites": {"s": site}}, n_shards=n_shards) as writer:
        for index in range(n_shards):
            address[:, 0], address[:, 1] = index, np.arange(rows)
            writer.append(index, {"s": SiteRows(np.full((rows, dim), index, np.float32), address)}, [{"n": index}])
        writer.seal()
    store, total = RunStore(tmp_path), 0.0
    tracemalloc.start()
    try:
        for block in store.blocks("s"):
            total += float(block.vectors[:, 0].sum())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == rows * sum(range(n_shards))
    assert peak < 5 * rows * dim * 4


def test_the_index_can_be_queried_as_a_plain_database(store):
    database = sqlite3.connect(f"{(store.path / 'manifest.sqlite').as_uri()}?mode=ro&immutable=1", uri=True)
    assert database.execute("SELECT sum(bytes), count(*) FROM shards").fetchone()[1] == N_SHARDS
    assert database.execute("SELECT count(*) FROM problems WHERE json_extract(record, '$.id') = 'p-3'").fetchone() == (
        1,
    )
    database.close()


def finite_or_not(dtype):
    return hnp.from_dtype(np.dtype(dtype), allow_nan=True, allow_infinity=True)


@st.composite
def runs(draw):
    """Sites, and per shard the tables of a few problems, with ragged steps and repeated visits."""
    names = draw(st.lists(st.text(max_size=8), min_size=1, max_size=3, unique=True))
    dtypes = {name: draw(st.sampled_from(["float32", "float16"])) for name in names}
    dims = {name: draw(st.integers(1, 4)) for name in names}
    sites = {name: {"dim": dims[name], "dtype": dtypes[name], "axes": ["d"]} for name in names}
    shards, first = [], 0
    for n_problems in draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)):
        tables = {}
        for name in names:
            places = itertools.product(range(first, first + n_problems), [-1, 0, 1], [0, 1], [-1, 5])
            wanted = (
                draw(st.lists(st.sampled_from(list(places) or [()]), unique=True, max_size=6)) if n_problems else []
            )
            address = np.array(wanted, np.int32).reshape(len(wanted), 4)
            shape = (len(wanted), dims[name])
            tables[name] = SiteRows(
                draw(hnp.arrays(dtypes[name], shape, elements=finite_or_not(dtypes[name]))), address
            )
        shards.append((tables, [{"id": draw(st.text(max_size=5))} for _ in range(n_problems)]))
        first += n_problems
    return sites, shards


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(runs())
def test_any_tables_make_the_round_trip(tmp_path_factory, run):
    sites, shards = run
    path = tmp_path_factory.mktemp("any") / "run"
    with StoreWriter.open(path, config={"sites": sites}, n_shards=len(shards)) as writer:
        for index, (tables, problems) in enumerate(shards):
            writer.append(index, tables, problems)
        root = writer.seal()
    store = RunStore(path)
    assert store.root == root == verify_store(path).root
    assert store.problems == [problem for _, problems in shards for problem in problems]
    for name, site in sites.items():
        got = store.select(name)
        planted = {
            tuple(address): vector.tobytes()
            for tables, _ in shards
            for address, vector in zip(tables[name].address.tolist(), tables[name].vectors, strict=True)
        }
        places = list(zip(*(getattr(got, axis).tolist() for axis in ("example", "step", "visit", "pos")), strict=True))
        assert places == sorted(planted)
        assert [vector.tobytes() for vector in got.vectors] == [planted[place] for place in places]
        assert got.vectors.dtype == site["dtype"]
        assert sum(len(block) for block in store.blocks(name)) == store.sites[name].rows == len(planted)


class StoreModel(RuleBasedStateMachine):
    """Any order of opening, appending, dropping without goodbye, losing files and sealing, against a set."""

    folder = None

    def __init__(self):
        super().__init__()
        self.path = self.folder() / "run"
        self.writer, self.done, self.sealed = None, set(), False

    @precondition(lambda self: self.writer is None)
    @rule()
    def open(self):
        self.writer = StoreWriter.open(self.path, config=CONFIG, n_shards=N_SHARDS)

    @precondition(lambda self: self.writer is not None)
    @rule(index=st.integers(0, N_SHARDS - 1))
    def append(self, index):
        if self.sealed or index in self.done:
            with pytest.raises(ConfigError):
                self.writer.append(index, *chunk(index))
        else:
            self.writer.append(index, *chunk(index))
            self.done.add(index)

    @precondition(lambda self: self.writer is not None)
    @rule()
    def leave(self):
        self.writer.close()
        self.writer = None

    @precondition(lambda self: self.writer is None and self.done and not self.sealed)
    @rule(data=st.data())
    def lose_a_shard(self, data):
        index = data.draw(st.sampled_from(sorted(self.done)))
        (self.path / f"shards/shard-{index:05d}.safetensors").unlink()
        self.done.remove(index)

    @precondition(lambda self: self.writer is None and self.path.exists())
    @rule(name=st.sampled_from([".wb-x.tmp", "shards/.wb-y.tmp"]))
    def leave_litter(self, name):
        (self.path / name).write_bytes(b"litter")

    @precondition(lambda self: self.writer is not None and len(self.done) == N_SHARDS)
    @rule()
    def seal(self):
        self.writer.seal()
        self.sealed = True

    @invariant()
    def agrees(self):
        if self.writer is not None:
            assert self.writer.done == self.done
            assert self.writer.sealed == self.sealed
        if self.sealed:
            assert len(RunStore(self.path).select("thought")) == 12
        elif self.path.exists():
            with pytest.raises(CorruptArtifact):
                RunStore(self.path)

    def teardown(self):
        if self.writer is not None:
            self.writer.close()
        if self.sealed:
            for litter in [*self.path.rglob(".wb-*")]:
                litter.unlink()
            assert contents(self.path) == self.whole


def test_any_history_ends_in_the_same_store(tmp_path_factory):
    whole = tmp_path_factory.mktemp("whole") / "run"
    capture(whole)
    StoreModel.whole = contents(whole)
    StoreModel.folder = lambda _self: tmp_path_factory.mktemp("history")
    machine = StoreModel.TestCase
    machine.settings = settings(max_examples=30, stateful_step_count=16, deadline=None, derandomize=True)
    machine().runTest()
