"""Any value for any key is a config that reads back equal, or lines that name the key."""

import copy
import tracemalloc

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_pipeline.config import Config, keys
from gpt_pipeline.config.compose import as_yaml, compose
from gpt_pipeline.errors import ConfigError

DEFAULTS = compose([]).config.model_dump()
NAMES = [key.name for key in keys(Config)]
LONGEST = 400

TEXT = st.one_of(
    st.text(max_size=40),
    st.text("\"'\\\n\r\t\x00\x1b\x7f\x9b\u2028\u202e,:=[]{}()#$ ab1.", max_size=30),
    st.sampled_from(
        ["x" * 5000, "null", "~", "???", "a\x1b[2Jb", "${foo}", "\\${oc.env:HOME}", ""]
    ),
    st.characters(categories=["Cs"]),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.sampled_from([10**400, -(10**400), 2**63 - 1, 2**63]),
    st.floats(),
    TEXT,
    st.binary(max_size=5),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.integers(), inner, max_size=4)
    ),
    max_leaves=8,
)
WORDS = st.one_of(
    TEXT,
    st.integers(-(10**30), 10**30).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["choice(1,2)", "range(3)", "glob(*)", "int('x')", "str(1)", "1,2", "[[1", "{a:1}",
         "9" * 5000, "[" * 2000, "${model.embed_dim}", "${model.top_p}", "${oc.env:X}"]
    ),
)  # fmt: skip


def lines_are_fit(error: ConfigError, *names: str):
    text = str(error)
    for line in error.problems:
        assert line.isprintable(), line
        assert len(line) <= LONGEST, line
    for name in names:
        assert name in text, text


def reads_back_equal(config: Config):
    assert Config.parse(config.model_dump()) == config
    assert Config.parse(yaml.safe_load(as_yaml(config))) == config
    assert Config.parse(yaml.safe_load(yaml.safe_dump(config.model_dump()))) == config


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(NAMES), VALUES)
def test_any_value_in_any_place_is_taken_or_named(name, value):
    values = copy.deepcopy(DEFAULTS)
    *groups, leaf = name.split(".")
    node = values
    for group in groups:
        node = node[group]
    node[leaf] = value
    try:
        config = Config.parse(values)
    except ConfigError as error:
        lines_are_fit(error, leaf)
        return
    got = config.model_dump()
    for part in name.split("."):
        got = got[part]
    assert got == (float(value) if isinstance(got, float) else value)  # a whole number is one too
    reads_back_equal(config)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(NAMES), WORDS)
def test_any_word_of_the_command_line_is_taken_or_named(name, text):
    try:
        config = compose([f"{name}={text}"]).config
    except ConfigError as error:
        lines_are_fit(error, name)
        return
    reads_back_equal(config)


@settings(max_examples=40, deadline=None)
@given(TEXT)
def test_any_prompt_that_is_not_in_quotes_is_taken_as_it_is_typed(text):
    if text != "null" and text[:1] not in ("'", '"'):
        assert compose([f"model.prompt={text}"]).config.model.prompt == text


@settings(max_examples=40, deadline=None)
@given(TEXT, TEXT)
def test_any_word_of_another_name_is_refused_in_fit_lines(name, value):
    if name in (*NAMES, *DEFAULTS, "experiment") or name.startswith("hydra."):
        return
    with pytest.raises(ConfigError) as caught:
        compose([f"{name}={value}"])
    lines_are_fit(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.one_of(VALUES, st.dictionaries(st.sampled_from([*DEFAULTS]), VALUES)))
def test_anything_in_place_of_a_config_is_refused_in_fit_lines(values):
    with pytest.raises(ConfigError) as caught:
        Config.parse(values)
    lines_are_fit(caught.value)


def test_a_bomb_of_yaml_aliases_is_refused_in_little_memory():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 30):
        before, name = f"a{level - 1}" if level > 1 else "a", f"a{level}"
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    bomb = yaml.safe_load("\n".join(lines))  # 10**30 entries, were they written out
    values = copy.deepcopy(DEFAULTS) | {"tokenizer": bomb["a29"]} | bomb
    values["model"]["prompt"] = bomb["a29"]
    values["dataset"]["name"] = {"a": bomb["a29"]}
    tracemalloc.start()
    with pytest.raises(ConfigError) as caught:
        Config.parse(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    lines_are_fit(caught.value, "tokenizer", "model.prompt", "dataset.name", "a29")
    assert peak < 20e6


def test_a_list_that_holds_itself_is_refused():
    values = copy.deepcopy(DEFAULTS)
    values["model"]["top_k"] = values["model"]["stop"] = loop = []
    loop.append(loop)
    with pytest.raises(ConfigError) as caught:
        Config.parse(values)
    lines_are_fit(caught.value, "model.top_k", "model.stop")


def test_a_flood_of_unknown_keys_is_refused_in_a_few_lines():
    with pytest.raises(ConfigError) as caught:
        Config.parse(copy.deepcopy(DEFAULTS) | {f"key{i}" * 50: i for i in range(5000)})
    lines_are_fit(caught.value, "the config has 4,950 more problems")
    assert len(caught.value.problems) == 51


UNPRINTABLE = [10**5000, [10**5000], {"a": -(10**5000)}, {10**5000: 1}]


@pytest.mark.parametrize("value", UNPRINTABLE, ids=["plain", "in a list", "in a dict", "as a key"])
@pytest.mark.parametrize("name", ["top_k", "prompt", "learning_rate", "embed_dim"])
def test_a_number_that_python_refuses_to_print_is_refused(name, value):
    values = copy.deepcopy(DEFAULTS)
    values["model"][name] = value
    with pytest.raises(ConfigError) as caught:
        Config.parse(values)
    lines_are_fit(caught.value, f"model.{name}")


@pytest.mark.parametrize("name", ["runtime.seed", "model.embed_dim", "num_samples"])
def test_a_number_that_no_tensor_can_have_is_refused(name):
    with pytest.raises(ConfigError) as caught:
        compose([f"{name}={2**63}"])
    lines_are_fit(caught.value, f"{name} must be at most {2**63 - 1}; got {2**63}")


def test_a_huge_width_is_refused_at_once():
    words = ["model.embed_dim=1000000000000000007", "model.num_heads=10"]
    with pytest.raises(ConfigError, match="num_heads must divide"):
        compose(words)


def test_several_values_for_a_key_are_refused_with_what_to_do():
    with pytest.raises(ConfigError) as caught:
        compose(["model.num_heads=1,2"])
    (line,) = caught.value.problems
    assert line == "model.num_heads must have one value; got 1,2; run the command once for each"
