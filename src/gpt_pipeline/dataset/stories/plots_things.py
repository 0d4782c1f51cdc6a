"""Plots about things: lost, broken, shared, stuck, found, mislaid. Notation: engine.py."""

from typing import Final

from gpt_pipeline.dataset.stories.engine import Plot
from gpt_pipeline.dataset.stories.words import (
    CHILDREN,
    COLORS,
    ELDERS,
    LOST_PROPERTY,
    PLACES,
    SHARED_TOYS,
    STUCK_THINGS,
    TOYS,
    TREASURES,
)

PLOTS: Final = (
    Plot(
        "lost treasure",
        {"N": CHILDREN, "T": TREASURES, "C": COLORS, "P": PLACES, "F": CHILDREN},
        """
@open <fairday>, {N} took a <fine> {C} {T} to the {P}. @ready

[Soon|Then|Later|Suddenly], the {T} was gone! @sad @comes "<whats>@F_ask

"I [lost|can't find|dropped|miss] my {T}@N_reply They looked <where>, but found only <stuff>.

Then {F} saw something [shine|glow|sparkle|glitter] <where>. It was the {C} {T}! "<thanks>,
{F}@N_glad @glad {N} [never lost|always kept|took care of|held on to] the {T} after that day at
the {P}.
""",
    ),
    Plot(
        "broken toy",
        {"N": CHILDREN, "T": TOYS, "C": COLORS, "E": ELDERS},
        """
@open {His} favorite toy was a <fine> {C} {T} <deco>.

<inday>, {N} played too [wildly|fast|hard|roughly|loudly|quickly|happily|merrily]. <crash>! The
{T} fell <indoors>, and its {T.part} [came|broke|fell|snapped] off. @sad

"Can you [fix|mend] it?" {he} asked {his} {E}.

"<sure>. [Find|Get|Bring] me [tape|paper|wire|string|glue|tools|cloth|thread]@E_reply {N} got a
<item>, too. They worked <until>.

The {T} was [whole|fixed|like new|ready to play] again! "<thanks>@N_glad @glad <fromthen>, {N}
played <softly> with the {T}. @evening
""",
    ),
    Plot(
        "sharing",
        {"N": CHILDREN, "T": SHARED_TOYS, "C": COLORS, "P": PLACES, "F": CHILDREN},
        """
@open <fairday>, {N} took a <fine> {C} {T} <deco> to the {P}. @air

@comes "What a <nice> {T}! May I [try it|have a turn|use it|see it]@F_ask

"No! It is [mine|my {T}|all mine|only for me]," {N} [said|answered|replied]. {F} felt <sad>.

<soon>, {N} <went> back. "<sorry>. [We can take turns|Let's share it|You may go first|Come and try
it]@N_kind

"<thanks>@F_glad They <played> at the {P} <until>, and {F} gave {N} <stuff>. @glad Now the {T} was
for both of them.
""",
    ),
    Plot(
        "stuck in a tree",
        {"N": CHILDREN, "T": STUCK_THINGS, "C": COLORS, "P": PLACES, "E": ELDERS},
        """
@open <fairday>, {N} went to the {P} with {his} {E} and a <fine> {C} {T} <deco>. @air

<sudden>, a [strong|big|wild|sharp] wind took the {T} up into a <big> tree. @sad

"<dontworry>. [We need a plan|We will find a way|Let's think|Think first]@E_kind

"[I know|I have an idea|I have it|Listen]! We need a <thingadj> [stick|pole|ladder|rope]@N_glad
The <worker> gave them one, and {N} [pushed|moved|touched|hit] the {T} <care>.

Down came the {T}! @glad <fromthen>, {N} held the {T} [tight|with both hands|close|firmly] at the
{P}. @evening
""",
    ),
    Plot(
        "lost property",
        {"N": CHILDREN, "T": LOST_PROPERTY, "C": COLORS, "F": CHILDREN},
        """
@open @friend <fairday>, they saw a <fine> {C} {T} <where>.

"[Keep it|Take it home|Now it is yours|You are lucky]@F_glad

"No. Someone is [sad|worried|looking for it|missing it] now@N_reply @sight

<soon>, they met an old woman with <hair>. She looked <very> [sad|upset|worried|unhappy|gloomy|
troubled|lonely|nervous]. "Is this your {T}@N_ask

"<thanks>!" the woman said <softly>. She gave them <taste> <food> and a <item>. @glad "Giving the
{T} back [feels good|was right|is better|was good]@F_kind
""",
    ),
    Plot(
        "messy room",
        {"N": CHILDREN, "T": TOYS, "C": COLORS, "E": ELDERS},
        """
@open But {his} room was a mess. <stuffcap> lay <indoors>.

<inday>, {N} looked for a <fine> {C} {T} <deco>. There was only a <item>. "I can't find my
{T}@N_cry @gloom

"[A thing needs a home|It is under all this|No wonder|I know why]. Let's [clean up|clean it|put
things away|work together]," said {his} {E}. They cleaned <until> and found <stuff>.

Then {N} saw the {C} {T} <indoors>! "<hooray>@N_glad @glad {N} and {his} {E} <ate> <meal>.
<fromthen>, the room was [clean|neat|tidy|in order].
""",
    ),
)
