import ast
import pickle
import random
import re
import subprocess
import sys
from collections import Counter
from math import isclose, log2
from pathlib import Path

import pytest
from story_checks import NAMES, WORD, draw, faults, parses

from gpt_pipeline.dataset import stories
from gpt_pipeline.dataset.stories import StoryGenerator, engine
from gpt_pipeline.dataset.stories.engine import Plot, compile_plot
from gpt_pipeline.dataset.stories.generator import PLOTS, compiled_plots

PLOT_IDXS = range(len(PLOTS))


@pytest.fixture(scope="module")
def drawn():
    return [draw(number % len(PLOTS), number) for number in range(10_000)]


def test_there_are_at_least_thirty_plots_and_each_is_drawn():
    assert len({plot.name for plot in PLOTS}) == len(PLOTS) >= 30


def test_a_story_depends_on_seed_split_and_index_only():
    generator = pickle.loads(pickle.dumps(StoryGenerator(7, "train")))
    assert generator.story(12) == StoryGenerator(7, "train").story(12)
    texts = {
        StoryGenerator(seed, split).story(index).text
        for seed in (7, 8)
        for split in ("train", "val")
        for index in (0, 1, 2**40)
    }
    assert len(texts) == 12


def test_no_validation_story_is_a_training_story():
    train = {StoryGenerator(1, "train").story(index).text for index in range(20_000)}
    val = {StoryGenerator(1, "val").story(index).text for index in range(1_000)}
    assert len(train) == 20_000
    assert len(val) == 1_000
    assert not train & val


def test_every_story_has_100_to_200_words_and_dialogue(drawn):
    for story, _, _ in drawn:
        assert 100 <= len(story.text.split()) <= 200, story.text
        assert story.text.count('"') >= 4
        assert story.text.count("\n\n") >= 2


def test_only_what_follows_another_speech_is_an_answer(drawn):
    answers = 0
    for story, _, _ in drawn:
        for match in re.finditer(r"\b(?:replied|answered)\b", story.text):
            answers += 1
            assert story.text[: match.start()].count('"') >= 4, story.text
    assert answers > 1_000


def test_no_story_has_a_fault_of_language_or_consistency(drawn):
    wrong = [(PLOTS[choices[0]].name, faults(story.text, choices)) for story, choices, _ in drawn]
    assert Counter((name, fault) for name, found in wrong for fault in found).most_common(30) == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [(" and ", " and  "), (". ", ". a "), (" a ", " an "), (" the ", " the Zoe and Max ")],
)
def test_the_checker_sees_a_planted_fault(good, bad):
    story, choices, _ = draw(0, 3)
    assert good in story.text
    assert faults(story.text.replace(good, bad, 1), choices)


def test_the_checker_sees_a_thing_that_changes():
    story, choices, _ = draw(0, 3)
    thing = PLOTS[0].roles["T"][choices[2]][""]
    other = PLOTS[0].roles["T"][choices[2] - 1][""]
    head, found, tail = story.text.rpartition(thing)
    assert found
    assert faults(head + other + tail, choices)


def test_the_vocabulary_has_1000_to_1500_words_and_every_name_is_met(drawn):
    seen = {word for story, _, _ in drawn for word in WORD.findall(story.text)}
    generator = StoryGenerator(2, "train")
    seen |= {word for i in range(10_000) for word in WORD.findall(generator.story(i).text)}
    assert seen >= NAMES
    assert 1_000 <= len({word.lower() for word in seen}) <= 1_500


def test_bits_are_the_sum_of_log2_of_the_options(drawn):
    for story, _, counts in drawn[::50]:
        assert isclose(story.bits, sum(map(log2, counts)), rel_tol=1e-12)
        assert min(counts) >= 2


@pytest.mark.parametrize("plot_idx", PLOT_IDXS)
def test_changing_any_one_choice_changes_the_text(plot_idx):
    rand = random.Random(plot_idx)
    for seed in range(3):
        story, choices, counts = draw(plot_idx, seed)
        for position, count in enumerate(counts):
            other = (choices[position] + 1 + rand.randrange(count - 1)) % count
            changed = [*choices[:position], other, *choices[position + 1 :]]
            assert engine.replay(compiled_plots(), changed)[0].text != story.text, position


@pytest.mark.parametrize("plot_idx", PLOT_IDXS)
def test_the_choices_can_be_read_back_from_the_text_in_one_way_only(plot_idx):
    for seed in range(3):
        story, _, _ = draw(plot_idx, 100 + seed)
        assert parses(story.text, plot_idx) == 1
        assert not any(parses(story.text, other) for other in PLOT_IDXS if other != plot_idx)


def test_every_role_of_every_plot_shows_in_the_text():
    for plot_idx in PLOT_IDXS:
        _, choices, counts = draw(plot_idx, 5)
        for position in range(1, len(PLOTS[plot_idx].roles) + 1):
            texts = {
                engine.replay(
                    compiled_plots(), [*choices[:position], option, *choices[position + 1 :]]
                )[0].text
                for option in range(counts[position])
            }
            assert len(texts) == counts[position]


def test_options_are_drawn_evenly():
    generator = StoryGenerator(3, "train")
    names = Counter(WORD.findall(generator.story(i).text)[0] for i in range(4_000))
    assert len(names) > 20
    plots = Counter(round(generator.story(i).bits, 6) for i in range(100))
    assert len(plots) > 50


def test_the_entropy_is_about_three_tenths_of_a_bit_per_byte(drawn):
    bits = sum(story.bits for story, _, _ in drawn)
    assert 0.28 <= bits / sum(len(story.text) for story, _, _ in drawn) <= 0.40


def test_the_stories_need_only_the_standard_library():
    for path in Path(stories.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                part = node.module.split(".")[0]
                assert part in sys.stdlib_module_names or "dataset.stories" in node.module
            if isinstance(node, ast.Import):
                assert {name.name for name in node.names} <= sys.stdlib_module_names


def test_importing_the_stories_compiles_nothing():
    code = (
        "from gpt_pipeline.dataset.stories import generator;"
        "assert generator.compiled_plots.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="got 'test'"):
        StoryGenerator(1, "test")


def test_a_negative_index_is_refused():
    with pytest.raises(ValueError, match="got -1"):
        StoryGenerator(1, "val").story(-1)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{N} ran [fast|fast].", "different options"),
        ("{N} saw a [big |]{T.part}.", "no word follows"),
        ("{Q} ran.", "no such role"),
    ],
)
def test_a_template_that_cannot_work_is_refused(template, message):
    plot = Plot("bad", {"N": ({"": "Tim"},), "T": ({"": "cat", "part": "ear"},)}, template)
    with pytest.raises(ValueError, match=message):
        compile_plot(plot, {}, {})


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("a [old|big] cat", {"an old cat", "a big cat"}),
        ("[a [red|old] cat|{N}]", {"a red cat", "an old cat", "Tim"}),
        ("one\ntwo\n\nthree [x|\ny]", {"one two\n\nthree x", "one two\n\nthree y"}),
    ],
)
def test_a_template_is_written_out_as_its_notation_says(template, texts):
    plot = compile_plot(Plot("p", {"N": ({"": "Tim"}, {"": "Tim"})}, template), {}, {})
    drawn = {engine.replay([plot], [0, 0, idx])[0].text for idx in range(len(texts))}
    assert drawn == texts
