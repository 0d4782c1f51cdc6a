"""Plots about children and animals: ill, helpful, hurt, homeless, lost. Notation: engine.py."""

from typing import Final

from gpt_pipeline.dataset.stories.engine import Plot
from gpt_pipeline.dataset.stories.words import (
    CHILDREN,
    COLORS,
    ELDERS,
    GUIDES,
    PET_NAMES,
    PETS,
    STRAYS,
    SWIMMERS,
)

PLOTS: Final = (
    Plot(
        "sick pet",
        {"N": CHILDREN, "A": PETS, "S": PET_NAMES, "E": ELDERS},
        """
@open {He} had a <creature> {A} named {S}.

<inday>, {S} did not [come|get up|eat|play|hop|drink|move|run]. The {A} lay <indoors>. "{S} is
[sick|not well|so weak|very weak|so tired|so cold|very sick|very cold]@N_cry @gloom

{N} and {his} {E} put a <cloth> around the {A} and <ran> to the vet. "{S} needs <drink>, <taste>
<food>, and [rest|sleep|love|quiet]," the vet said <softly>.

{N} [sang|talked|hummed|whispered] to {S} <until>, and {his} {E} brought a <item>.

<later>, {S} was [well|strong|happy|full of life] again! @glad "I will always [take care of you|
watch over you|look after you|be here for you], {S}@N_kind They <played> <joy>.
""",
    ),
    Plot(
        "lost in the woods",
        {"N": CHILDREN, "A": GUIDES, "C": COLORS},
        """
@open <fairday>, {N} put on a <fine> {C} jacket and went into the woods with a <item>, a <item>,
and <taste> <food>.

<soon>, {N} was lost! @sad <where1>, a <creature> {A} was caught in a <hue> [string|root|wire|
rope]. "[Hold still|Poor thing|Let me help|I won't hurt you]@N_kind {He} opened the knot <care>.

The {A} [stopped|waited|looked back|turned around]. "Do you know the way@N_ask They <went> past
<num> <animal>s. Then {N} saw {his} own [house|street|town|garden]!

@glad "<thanks>, little {A}@N_glad <fromthen>, {N} left <taste> <food> in the woods for the {A}.
""",
    ),
    Plot(
        "fallen bird",
        {"N": CHILDREN, "E": ELDERS, "C": COLORS},
        """
@open <fairday>, {N} heard a <small> [cheep|cry|peep|sound]. A <creature> baby bird had fallen out
of its nest and lay <where>! @sad

"Can we [keep it|take it home|have it|help it]@N_ask

"It needs its [family|mother|nest|home]@E_reply {N} made a bed from a <cloth>. Then they got a
ladder from the <worker>, and {his} {E} put the bird back <care>. @glad

<later>, a <fine> {C} bird was <doing> <where>. "[It can fly|It is our bird|It knows me|It is so
big now]@N_glad <fromthen>, the {C} bird sang for {N}. @evening
""",
    ),
    Plot(
        "stray in the rain",
        {"N": CHILDREN, "A": STRAYS, "S": PET_NAMES, "E": ELDERS},
        """
@open One [cold|gray|windy|cloudy|wet|dark|chilly|foggy] [morning|afternoon|Monday|Tuesday|
Wednesday|Thursday|Friday|Saturday], it rained <until>. {N} heard a <small> cry <where>. It was a
<creature> {A}! "[Where is your home|Who left you here|Are you cold|Are you lost]@N_ask {He} put
the {A} under a <wear> and <ran> home. @sad

"Can we [keep it|help it|let it stay|take it in]?" {he} asked {his} {E}.

"A {A} is not a toy. You must [feed it|walk with it|brush it|clean up after it]@E_reply "<sure>, I
[can|will|promise|want to]@N_glad

They gave the {A} <taste> [milk|chicken|fish|meat|bread|rice|eggs|cheese] and a <item>. "I will
call you {S}@N_kind @glad That night, {S} slept <indoors>, and {N} dreamed of <dream>.
""",
    ),
    Plot(
        "back to the pond",
        {"N": CHILDREN, "F": CHILDREN, "A": SWIMMERS, "C": COLORS},
        """
@open @friend <fairday>, they found a <creature> {A} <where>.

"Let's [keep it in the bath|take it home|put it in a jar|race it]@F_glad

"No. [It would be sad|It would miss its home|It is not a toy|It needs a pond]@N_reply They put the
{A} in a <fine> {C} bucket <deco> and <went> to a pond. @sight

The {A} [waited|moved a little|looked out|looked around], and then it was gone [under a leaf|into
the deep|with a splash|past a stone]. "[Goodbye|Take care|Be happy|Swim well], little {A}@N_glad

@glad "The {A} looked <glad>@F_kind {N} and {F} <ate> <meal> <until>.
""",
    ),
    Plot(
        "open gate",
        {"N": CHILDREN, "A": PETS, "S": PET_NAMES, "F": CHILDREN},
        """
@open {He} had a <creature> {A} named {S}. @friend

<inday>, {N} left the gate open, and {S} [ran|got|went|slipped] out! @sad "My {A} is [gone|
lost]@N_cry

"<dontworry>. We will [look everywhere|find {S}|ask everyone|find it]@F_kind They looked <where>
and asked the <worker>. They found only <stuff>.

<sudden>, they saw {S} <where>, [eating|watching|enjoying|chewing] <num> <hue> [flowers|beans|
roses|weeds|leaves|apples|berries|socks]! "<thanks> for helping me, {F}@N_glad @glad

<fromthen>, {N} closed the gate [every time|twice|first|with care]. @evening
""",
    ),
)
