"""Who and what the stories are about: the options of every role, with the forms they need.

A role's options are drawn once a story and stay the same to its end. No plot, nor a phrase that it
uses, has a word of its own roles' tables (colors aside), so that the tests can tell from the text
that nothing has changed.
"""

from collections.abc import Mapping
from typing import Final

Table = tuple[Mapping[str, str], ...]

_SHE: Final = {
    "he": "she", "him": "her", "his": "her",
    "He": "She", "His": "Her", "girl": "girl",
}  # fmt: skip
_HE: Final = {
    "he": "he", "him": "him", "his": "his",
    "He": "He", "His": "His", "girl": "boy",
}  # fmt: skip


def nouns(words: str, **forms: str) -> Table:
    """Options by name, separated by commas, with `{a}` and, form by form, words in that order."""
    names = [name.strip() for name in words.split(",")]
    columns = {form: [word.strip() for word in text.split(",")] for form, text in forms.items()}
    for form, column in columns.items():
        if len(column) != len(names):
            raise ValueError(f"{len(names)} nouns ({names[0]}, ...) but {len(column)} of {form}")
    return tuple(
        {
            "": name,
            "a": ("an " if name[0] in "aeiou" else "a ") + name,
            "A": ("An " if name[0] in "aeiou" else "A ") + name,
            **{form: column[idx] for form, column in columns.items()},
        }
        for idx, name in enumerate(names)
    )


GIRLS: Final = "Lily Mia Anna Sue Lucy Ella Zoe Nora Kate Molly".split()
BOYS: Final = "Tim Tom Ben Sam Max Leo Jake Finn Owen Peter".split()

CHILDREN: Final[Table] = (
    *({"": name, **_SHE} for name in GIRLS),
    *({"": name, **_HE} for name in BOYS),
)
ELDERS: Final[Table] = tuple(
    {"": name.lower(), **forms}
    for name, forms in (("Mom", _SHE), ("Dad", _HE), ("Grandma", _SHE), ("Grandpa", _HE))
)
OWNERS: Final[Table] = tuple(
    {"": f"{'Mrs.' if forms is _SHE else 'Mr.'} {name}", **forms}
    for name in ("Hill", "Stone", "Brook", "Wood", "Bell", "Baker", "King", "Field")
    for forms in (_SHE, _HE)
)

COLORS: Final = nouns(
    "red, blue, green, yellow, orange, purple, pink, silver, brown, black, white, gold"
)
PLACES: Final = nouns("park, beach, farm, meadow, playground, lake, square, orchard")

TREASURES: Final = nouns(
    "button, coin, key, marble, ring, shell, bead, ribbon, badge, feather, bracelet, locket"
)
TOYS: Final = nouns(
    "truck, robot, train, doll, puppet, plane, horse, dragon, boat, lion, tractor, wagon",
    part="wheel, arm, wheel, arm, leg, wing, leg, tail, sail, tail, wheel, handle",
)
SHARED_TOYS: Final = nouns("ball, drum, kite, scooter, swing, hoop, trumpet, telescope")
STUCK_THINGS: Final = nouns("kite, ball, hat, scarf, balloon, glider, parachute, ribbon")
LOST_PROPERTY: Final = nouns("purse, wallet, watch, umbrella, glove, scarf, necklace, notebook")
BREAKABLES: Final = nouns("vase, plate, bowl, lamp, teapot, jug, mirror, jar")
TREATS: Final = nouns(
    "cake, pie, muffins, cookies, bread, buns, tarts, scones",
    some="a cake, a pie, muffins, cookies, bread, buns, tarts, scones",
    was="was, was, were, were, was, were, were, were",
)
PETS: Final = nouns("puppy, kitten, rabbit, pony, hamster, goat, lamb, parrot")
PET_NAMES: Final = nouns(
    "Spot, Biscuit, Fluffy, Pepper, Buddy, Coco, Ginger, Patches, Snowball, Rusty, Pickles, Mittens"
)
BEASTS: Final = nouns("mouse, fox, bear, hedgehog, badger, otter, mole, raccoon")
SEEDS: Final = nouns(
    "sunflower, pumpkin, bean, tomato, melon, pea, carrot, radish",
)
GIFTS: Final = nouns("scarf, mug, clock, hat, teapot, blanket, picture, plant")

STRAYS: Final = nouns("puppy, kitten, terrier, poodle, beagle, tabby")
GUIDES: Final = nouns("fox, deer, squirrel, raccoon, badger, wolf, hedgehog, otter")
SWIMMERS: Final = nouns("turtle, frog, newt, toad, duckling, crab, tadpole, minnow")
SMALL_BEASTS: Final = nouns("mouse, mole, hamster, squirrel, hedgehog, rat")
LARGE_BEASTS: Final = nouns("lion, bear, tiger, wolf, deer, bull")
BIRDS: Final = nouns("owl, thrush, swallow, wren, hawk, nightingale, starling, jay")

PROMISED: Final = nouns(
    "fern, roses, cactus, tulips, lemon tree, daisies, orchid, violets",
    them="it, them, it, them, it, them, it, them",
)
GAMES: Final = nouns("cards, checkers, dominoes, marbles, chess, ludo, darts, jacks")
