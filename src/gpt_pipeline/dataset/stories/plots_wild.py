"""Plots in which animals are the heroes: a race, flying, a net. Notation: engine.py."""

from typing import Final

from gpt_pipeline.dataset.stories.engine import Plot
from gpt_pipeline.dataset.stories.words import BEASTS, BIRDS, CHILDREN, LARGE_BEASTS, SMALL_BEASTS

PLOTS: Final = (
    Plot(
        "animal race",
        {"N": CHILDREN, "K": BEASTS, "F": CHILDREN, "L": BEASTS},
        """
@wildopen "I am the [fastest|best|strongest|greatest] animal in the woods@N_glad

"I am slow, but let's [race|have a race|try|run and see]," said {F}, a <kid> {L}. <fairday>, they
met <where>. @air

{N} <ran> ahead, past <many> <animal>s. "I have time to rest@N_kind {He} <ate> <meal> and fell
asleep <where>.

But {F} went [on and on|step by step|slowly but surely|without a stop]. {F} the {L} won the race!
@sad

"You are [slow|steady|patient|quiet], and you won. <sorry>@N_kind {F} <smiled> <joy> and gave the
{K} <stuff>. "Let's [eat|walk|rest|play] together now@F_kind
""",
    ),
    Plot(
        "learning to fly",
        {"N": CHILDREN, "K": BIRDS, "F": CHILDREN},
        """
@wildopen <fairday>, all {his} brothers and sisters flew away [one by one|into the sky|over the
trees|at once]. But {N} could not fly. @air

{N} looked down and felt <afraid>. "I [can't|won't|will fall|am too small]@N_cry

{F}, a <kid> {K} with <stuff>, sat down <where>. "<dontworry>. I [fell|was afraid|cried|shook],
too. [Feel|Trust|Wait for|Listen to] the wind@F_kind

{N} hopped [from twig to twig|to a leaf|to a branch|up and down] <crept>, jumped, and flew!
"[Trust your wings|You did it|I knew it|I told you so]@F_glad @glad

Far below, {N} saw <many> <animal>s and a <animal> <where>. Then {N} and {F} <ate> <meal>.
""",
    ),
    Plot(
        "the small helper",
        {"N": CHILDREN, "K": SMALL_BEASTS, "F": CHILDREN, "L": LARGE_BEASTS},
        """
@wildopen "You are too small to [help|play|win|be my friend]," said {F}, a <bigkid> {L}. @sad

<fairday>, {F} was caught in a [big|strong|thick|old] <hue> net <where>! "[Help me|Come back|Oh,
help|Come here]@F_cry A <animal> and <many> <animal>s [flew|went|ran|walked] away.

But {N} <ran> up to the {L}. "[I can help|Let me try|I have sharp teeth|Hold still]@N_kind {N} bit
the ropes <care> <until>. <crash>! The net [opened|broke|fell off|came off].

"<thanks>, {N}! I was [wrong|rude|silly|bad]@F_glad @glad {F} gave the small {K} <stuff>, and they
<ate> <meal>.
""",
    ),
)
