"""The sentences that say who speaks and how: `"Hello@N_glad` becomes `"Hello!" said Tim.`

A group's name is the speaker's role and the kind of speech; its forms end the quotation. Only the
answers know `replied`; half of the forms are plain or let the speaker do something instead.
"""

from collections.abc import Iterator, Mapping
from typing import Final

_KIND_BEATS: Final = (
    "smiled|nodded|winked|came closer|sat down|bent down|waited|looked up|leaned closer|blinked|"
    "nodded gently|gave a nod|thought a little|stood up|took a breath|listened|came over|smiled "
    "kindly|looked closely|leaned in|looked around|smiled a little|smiled and nodded|nodded slowly"
)
_GLAD_BEATS: Final = (
    "laughed|jumped|danced|hopped|grinned|giggled|spun around|smiled|waved|beamed|jumped up and "
    "down|skipped in a circle|ran in a circle|jumped high|shook with joy|danced a little|smiled "
    "and nodded|laughed and waved|laughed and danced|jumped and laughed|danced and sang|clapped|"
    "clapped and laughed|hummed"
)
_GLUM_BEATS: Final = (
    "sighed|sniffed|looked down|trembled|sobbed|frowned|looked away|shook a little|swallowed|"
    "groaned|gulped|shivered|blinked|stood still|wiped away a tear|sat down|sighed softly|looked "
    "at the sky|sat still|turned away|said nothing more|looked around|shook and sobbed|hid a tear"
)
_KINDLY: Final = (
    "softly|gently|kindly|quietly|warmly|sweetly|calmly|slowly|nicely|at once|politely|brightly|"
    "with a smile|with a nod|in a low voice|in a kind voice"
)
_GLADLY: Final = (
    "happily|loudly|cheerfully|proudly|merrily|brightly|gladly|warmly|joyfully|quickly|with a "
    "smile|at once|in delight|with joy|with glee|with a laugh"
)
_GLUMLY: Final = (
    "sadly|quietly|softly|slowly|weakly|glumly|in a sad voice|nervously|with a sigh|with a sniff|"
    "with a sob|with a frown|in a sad, low voice|in a low voice|in a small voice|in a shaky voice"
)
_CRYING: Final = (
    "sadly|loudly|nervously|wildly|quickly|at once|sharply|glumly|with a sob|with a sniff|with a "
    "frown|in a shaky voice|in a sad voice|in a loud voice|in a high voice|in fear"
)
_CROSSLY: Final = "angrily|loudly|sharply|quickly|coldly|wildly|at once|with a frown"
_CROSS_BEATS: Final = (
    "frowned|turned red|stood up|looked away|groaned|shook|jumped up|turned around"
)
_CURIOUSLY: Final = (
    "softly|gently|kindly|quietly|warmly|sweetly|calmly|slowly|politely|at once|quickly|curiously|"
    "with a smile|with a nod|in a low voice|in a kind voice"
)

_KINDS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    # How the quotation ends, the verbs, the adverbs, and what the speaker does.
    "kind": (",", "said", _KINDLY, _KIND_BEATS),
    "reply": (",", "said|answered|replied", _KINDLY, _KIND_BEATS),
    "ask": ("?", "asked", _CURIOUSLY, _KIND_BEATS),
    "glad": ("!", "called|cried|shouted|cheered|said|yelled|whooped|sang", _GLADLY, _GLAD_BEATS),
    "glum": (",", "said", _GLUMLY, _GLUM_BEATS),
    "cross": ("!", "shouted|cried|said|yelled", _CROSSLY, _CROSS_BEATS),
    "cry": ("!", "cried|called|said|yelled|shouted|wailed|gasped|moaned", _CRYING, _GLUM_BEATS),
}


def _forms(kind: str, speaker: str, begin: str) -> Iterator[str]:
    mark, verbs, adverbs, beats = _KINDS[kind]
    said = "|".join(
        order for verb in verbs.split("|") for order in (f"{speaker} {verb}", f"{verb} {speaker}")
    )
    yield f'{mark}" [{said}].'
    yield f'{mark}" [{said}] [{adverbs}].'
    short = "|".join(beat for beat in beats.split("|") if " and " not in beat)
    yield f'{mark}" {verbs.split("|")[0]} {speaker} and [{short}].'
    yield f'{mark.replace(",", ".")}" {begin} [{beats}].'


TAGS: Final[Mapping[str, tuple[str, ...]]] = {
    f"{role}_{kind}": tuple(_forms(kind, speaker, begin))
    for role, speaker, begin in (
        ("N", "{N}", "{N}"),
        ("F", "{F}", "{F}"),
        ("E", "{his} {E}", "{His} {E}"),
    )
    for kind in _KINDS
}
