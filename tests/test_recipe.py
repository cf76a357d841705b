"""Every bad `reasoner.toml` is an error that names the file and the key."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import LimitExceeded, SchemaError, WorkbenchError
from workbench.organisms.recipes import recipe_text
from workbench.reasoners.recipe import MAX_RECIPE_BYTES, PRESETS, REQUIRED, parse_recipe, read_recipe

GOOD = recipe_text()
PATH = "somewhere/reasoner.toml"


def test_the_recipe_of_the_organisms_says_what_it_says():
    recipe = parse_recipe(GOOD, path=PATH)
    assert (recipe.family, recipe.preset) == ("feedback", "coconut")
    assert (recipe.thinking.steps, recipe.thinking.begin, recipe.thinking.end) == (4, "<bot>", "<eot>")
    assert recipe.thinking.add_special_tokens is False
    assert (recipe.speaking.prefix, recipe.speaking.stop, recipe.speaking.separator) == ("<say> answer", "<eos>", " ")
    with pytest.raises(ValueError, match="frozen"):
        recipe.thinking.steps = 5


def test_what_has_a_default_may_be_left_out():
    text = (
        'schema = 1\nfamily = "feedback"\npreset = "coconut"\n[thinking]\nsteps = 1\n[speaking]\nmax_new_tokens = 1\n'
    )
    recipe = parse_recipe(text + "claims = '(.)'\nanswer = '(.)'\n", path=PATH)
    assert (recipe.thinking.begin, recipe.thinking.end, recipe.speaking.prefix, recipe.speaking.stop) == ("",) * 4


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


BAD = {
    "unknown key": (changed("steps = 4", "steps = 4\nstep = 4"), "thinking.step", "unknown key"),
    "unknown key on top": ("colour = 1\n" + GOOD, "colour", "unknown key"),
    "unknown table": (GOOD + "\n[magic]\nslots = 4\n", "magic", "unknown key"),
    "missing schema": (changed("schema = 1\n", ""), "schema", "missing key"),
    "missing family": (changed('family = "feedback"\n', ""), "family", "missing key"),
    "missing preset": (changed('preset = "coconut"\n', ""), "preset", "missing key"),
    "missing steps": (changed("steps = 4\n", ""), "thinking.steps", "missing key"),
    "missing claims": (changed("claims = 'steps ([^<]+)'\n", ""), "speaking.claims", "missing key"),
    "missing answer": (changed("answer = 'answer (\\S+)'\n", ""), "speaking.answer", "missing key"),
    "missing limit": (changed("max_new_tokens = 7\n", ""), "speaking.max_new_tokens", "missing key"),
    "missing table": (GOOD.partition("[thinking]")[0], "thinking, speaking", "missing key"),
    "steps as text": (changed("steps = 4", 'steps = "4"'), "thinking.steps", "integer"),
    "steps as a fraction": (changed("steps = 4", "steps = 4.0"), "thinking.steps", "integer"),
    "steps as truth": (changed("steps = 4", "steps = true"), "thinking.steps", "integer"),
    "no step": (changed("steps = 4", "steps = 0"), "thinking.steps", "greater than or equal to 1"),
    "negative steps": (changed("steps = 4", "steps = -1"), "thinking.steps", "greater than or equal to 1"),
    "absurd steps": (changed("steps = 4", "steps = 10001"), "thinking.steps", "less than or equal to 10000"),
    "begin as a number": (changed('begin = "<bot>"', "begin = 7"), "thinking.begin", "string"),
    "special tokens as text": (
        changed("steps = 4", 'steps = 4\nadd_special_tokens = "yes"'), "thinking.add_special_tokens", "boolean",
    ),
    "no token to say": (changed("max_new_tokens = 7", "max_new_tokens = 0"), "speaking.max_new_tokens", "greater"),
    "empty separator": (changed('separator = " "', 'separator = ""'), "speaking.separator", "at least 1 character"),
    "claims without a group": (changed("'steps ([^<]+)'", "'steps [^<]+'"), "speaking.claims", "has no group"),
    "claims with a silent group": (changed("'steps ([^<]+)'", "'steps (?:.+)'"), "speaking.claims", "has no group"),
    "claims that do not close": (changed("'steps ([^<]+)'", "'steps ([^<]+'"), "speaking.claims", "not a regular"),
    "answer without a group": (changed("'answer (\\S+)'", "'answer'"), "speaking.answer", "has no group"),
    "answer that is no expression": (changed("'answer (\\S+)'", "'*('"), "speaking.answer", "not a regular"),
    "unknown family": (changed('"feedback"', '"telepathy"'), "family", "'feedback', 'recurrent', 'memory' or 'tokens'"),
    "unknown preset": (changed('"coconut"', '"cocoa"'), "preset", "coconut, codi, sim-cot, soft-thinking, latent-mas"),
    "preset of another family": (changed('"coconut"', '"huginn"'), "preset", "not one of the family 'feedback'"),
    "newer schema": (changed("schema = 1", "schema = 2"), "schema", "1"),
    "schema as text": (changed("schema = 1", 'schema = "1"'), "schema", "1"),
    "a count beyond all": (changed("'answer (\\S+)'", "'(a{99999999999})'"), "speaking.answer", "not a regular"),
    "nested groups": (
        changed("'answer (\\S+)'", f"'{'(' * 20000}a{')' * 20000}'"), "speaking.answer", "not a regular",
    ),
    "empty": ("", "schema, family, preset, thinking, speaking", "missing key"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_recipe_names_file_and_key(kind):
    text, key, message = BAD[kind]
    with pytest.raises(SchemaError) as caught:
        parse_recipe(text, path=PATH)
    assert caught.value.path == PATH
    assert caught.value.field == key
    assert message in caught.value.message
    assert PATH in str(caught.value)


def test_all_bad_keys_are_told_at_once():
    text = changed("steps = 4", "steps = 0\nfoo = 1").replace("max_new_tokens = 7", 'max_new_tokens = "x"')
    with pytest.raises(SchemaError) as caught:
        parse_recipe(text, path=PATH)
    assert set(caught.value.field.split(", ")) == {"thinking.steps", "thinking.foo", "speaking.max_new_tokens"}


@pytest.mark.parametrize(
    "text", ["schema = ", "[thinking", "schema = 1\nschema = 1", "\0", "a = 1979-99-99", "a = " + "[" * 9999]
)
def test_what_is_not_toml_is_told_with_its_place(text):
    with pytest.raises(SchemaError, match="not valid TOML") as caught:
        parse_recipe(text, path=PATH)
    assert caught.value.path == PATH


TABLES = {
    "agents": '[agents]\nspeaker = {name = "b", prompt = "{prompt}"}\nthinkers = [{name = "a", prompt = "{prompt}"}]\n',
    "memory": "[memory]\nslots = 1\n",
}


@pytest.mark.parametrize(("family", "preset"), [(f, p) for f, ps in PRESETS.items() for p in ps])
def test_each_preset_has_its_family_and_its_tables(family, preset):
    text = GOOD.replace('"feedback"', f'"{family}"').replace('"coconut"', f'"{preset}"')
    needed = REQUIRED.get(preset, ())
    for table in needed:
        with pytest.raises(SchemaError, match=rf"preset '{preset}' needs a table \[{table}\]"):
            parse_recipe(text, path=PATH)
        text += TABLES[table]
    assert parse_recipe(text, path=PATH).preset == preset
    other = next(table for table in TABLES if table not in needed)
    with pytest.raises(SchemaError, match=rf"table \[{other}\] belongs to .*, not to '{preset}'"):
        parse_recipe(text + TABLES[other], path=PATH)


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "reasoner.toml"
    with pytest.raises(SchemaError, match=r"has no reasoner\.toml") as caught:
        read_recipe(tmp_path)
    assert caught.value.path == str(path)
    path.write_bytes(b"schema = 1\nfamily = '\xff'\n")
    with pytest.raises(SchemaError, match="not UTF-8") as caught:
        read_recipe(tmp_path)
    assert caught.value.field == "byte 21"
    path.write_bytes(b"#" * (MAX_RECIPE_BYTES + 1))
    with pytest.raises(LimitExceeded, match="too large"):
        read_recipe(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(SchemaError, match="missing key"):
        read_recipe(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert read_recipe(tmp_path).thinking.steps == 4


@settings(max_examples=200, deadline=None, derandomize=True)
@given(place=st.integers(0, len(GOOD) - 1), length=st.integers(0, 12), put=st.text(max_size=4))
def test_any_small_change_is_a_recipe_or_a_clear_error(place, length, put):
    text = GOOD[:place] + put + GOOD[place + length :]
    try:
        recipe = parse_recipe(text, path=PATH)
    except WorkbenchError as error:
        named = error.path
    else:
        named = PATH
        assert recipe.model_dump(by_alias=True, exclude_unset=True) == tomllib.loads(text)
    assert named == PATH
