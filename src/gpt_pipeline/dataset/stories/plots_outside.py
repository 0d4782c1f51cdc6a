"""Plots outdoors: swimming, a garden, a bicycle, a castle of sand. Notation: engine.py."""

from typing import Final

from gpt_pipeline.dataset.stories.engine import Plot
from gpt_pipeline.dataset.stories.words import CHILDREN, COLORS, ELDERS, SEEDS

PLOTS: Final = (
    Plot(
        "learning to swim",
        {"N": CHILDREN, "F": CHILDREN, "E": ELDERS, "C": COLORS},
        """
@open @friend {F} could swim like a [fish|frog|duck|seal|whale|turtle|shark|dolphin], but {N}
could not. <fairday>, they went to the [pool|lake|river|sea] with <stuff>. {N} wore a <fine> {C}
swimsuit <deco>.

"Come in! It is [warm|fun|lovely|great|not cold|so clear|not deep|nice]@F_glad {N} felt <afraid>.
"It is too [deep|cold|big|wild|wide|wet|strong|green]@N_glum

"<dontworry>. Just [blow bubbles|sit down|get wet|lie on your back]," said {his} {E}. {N} tried it
<crept>.

<later>, {N} swam <many> strokes all alone! "You can swim@F_glad @glad {N}, {F}, and {his} {E}
<ate> <meal>. The {C} swimsuit hung <where> <until>.
""",
    ),
    Plot(
        "a patient garden",
        {"N": CHILDREN, "E": ELDERS, "T": SEEDS},
        """
@open <fairday>, {his} {E} gave {him} a <small> {T} seed. {N} put it into the earth <where>. @air

<later>, there was [nothing|no leaf|no green|no plant] at all. "My {T} is [lazy|broken|asleep|
gone]@N_cry @gloom

"No. It is [only resting|busy|still asleep|waiting]. [Wait|Be patient|Give it time|Trust
it]@E_reply So {N} waited and [sang|talked|hummed|whispered] to the seed. A <animal> and <num>
<animal>s came to look.

<sudden>, a <small> green leaf came out! "<hooray>@N_glad @glad The {T} grew [longer|higher|
bigger|stronger] every [day|week|morning|night]. @evening
""",
    ),
    Plot(
        "riding a bicycle",
        {"N": CHILDREN, "E": ELDERS, "C": COLORS, "F": CHILDREN},
        """
@open {He} had a <fine> {C} bicycle <deco>, but {he} could not ride it yet.

<fairday>, {his} {E} held the bicycle, but it went [left and right|up and down|this way and that|
from side to side] like a <animal>. <crash>! {N} fell <where>. "I [can't|will never|don't want to|
am too small to] do it@N_cry @gloom

@comes "I fell <many> times, too. Look [far ahead|at a tree|at me|at the sky]@F_kind

{N} tried again <care>. The {C} bicycle went [straight|faster|smoothly|well], past <many>
<animal>s. "[You can do it|You are riding|Look at you|Go, go, go]@F_glad

@glad {N} rode the bicycle to {his} {E} and <ate> <meal>.
""",
    ),
    Plot(
        "sandcastle",
        {"N": CHILDREN, "F": CHILDREN, "C": COLORS},
        """
@open <fairday> at the sea, {N} built a sandcastle with <num> towers and a <fine> {C} flag <deco>.
@air

<sudden>, a <big> wave came. <crash>! The castle was gone. @sad

@comes "<dontworry>. We can build [a new one|another one|it again|a better one]@F_kind

"Far from the waves@N_reply They got <stuff> and built a [thick|strong|high|wide] wall <care>. The
waves came [closer|higher|up|in], and then they [stopped|turned back|went home|gave up]! "We
won@F_glad

@glad The {C} flag [waved|danced|flew|stood] <until>, and they <ate> <meal>.
""",
    ),
)
