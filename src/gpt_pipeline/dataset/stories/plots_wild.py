"""Plots in which animals are the heroes: a race, flying, a net. Notation: engine.py."""

from typing import Final

from gpt_pipeline.dataset.stories.engine import Plot
from gpt_pipeline.dataset.stories.words import (
    BEASTS,
    BIRDS,
    CHILDREN,
    LARGE_BEASTS,
    SMALL_BEASTS,
)

PLOTS: Final = (
    Plot(
        "animal race",
        {"N": CHILDREN, "K": BEASTS, "F": CHILDREN, "L": BEASTS},
        """
@wildopen {N} was [quick|fast|strong|young] and [proud|loud|wild|rude]. "I am the [fastest|best|
strongest|greatest] animal in the woods," {he} said <gladly>. "[No one|Nobody] can beat me!"

"I am slow, but let's [race|have a race|try|run and see]," {F} the {L} <said> <softly>. One
<fair> <part>, they met next to a <big>, [old|round|mossy|gray] rock. @air "One, two, three,
go!" they <called>.

{N} [ran|flew|raced|dashed] ahead [like the wind|very fast|at once|with a laugh]. <soon> {he}
could not see {F} any more. "I have time to rest," {he} said <gladly>. {He} <ate> some <taste>
[berries|plums|nuts|grapes] and fell asleep [in the shade|in the moss|under a bush|in the
clover].

But {F} went [on and on|step by step|slowly but surely|without a stop]. When {N} woke up, {F}
was almost there! {N} <ran> as fast as {he} could, but it was too late. {F} the {L} won the
race! @sad

"You are [slow|steady|patient|quiet], and you won," {he} said <softly>. "I was too [proud|silly|
sure|lazy]." {F} <smiled> <joy>. "Let's [eat|walk|rest|play] together now," <Fsaid> <softly>.
<fromthen>, the {K} never [laughed at|teased|made fun of|ran from] slow animals, and {N}
remembered the race well.
""",
    ),
    Plot(
        "learning to fly",
        {"N": CHILDREN, "K": BIRDS, "F": CHILDREN},
        """
[Once upon a time|Once|Long ago|One time], in a <soft> nest in a <big> tree, there lived a <kid>
{K} named {N}. One <fair> <part>, all {his} brothers and sisters flew away [one by one|into the
sky|over the trees|at once]. But {N} could not fly. @air

{N} looked down. It was [so high|very far down|very high|far too high]! "I [can't|won't|will
fall|am too small]," {he} said <glumly>. {He} felt <afraid>.

{F}, a <kid> {K}, sat down next to {him}. "<dontworry>," <Fsaid> <softly>. "I [fell|was afraid|
cried|shook] the first time, too. Start with a small jump. Open your wings and [feel|trust|wait
for|listen to] the wind."

First, {N} hopped [from twig to twig|to a leaf|to a branch|up and down] <safely>. Then {he}
tried a [bigger|longer|second|better] jump. {He} [slipped|stopped|shook|fell a little], but {F}
stayed near and <smiled>. {N} [counted to three|took a deep breath|closed {his} eyes|thought of
the sky] and let go. The [warm|strong|soft|kind] wind lifted {him} up. {He} was flying! @glad

Far below, {he} saw <num> <creature> <bug>s next to a <spot>. "[Trust your wings|You did it|I
knew it|I told you so]!" <Fcalled> <gladly>. <fromthen>, when a [little|small|young|new] {K} was
afraid to fly, {N} <said> <softly>: "[Start small|Trust your wings|I was afraid, too|Feel the
wind]."
""",
    ),
    Plot(
        "the small helper",
        {"N": CHILDREN, "K": SMALL_BEASTS, "F": CHILDREN, "L": LARGE_BEASTS},
        """
@wildopen "You are too small to [help|play|win|be my friend]," {F} the {L} said <gladly>. @sad

One <fair> <part>, {F} <went> to the river to drink. @air <sudden> {F.he} was caught in a [big|
strong|thick|old] net! {F} [pulled|kicked|rolled|jumped], but the net [held|stayed|did not
break|was too strong]. "[Help me|Is anyone there|I am stuck|Please come]!" {F.he} <cried>
<glumly>. [Two|Three|Four|Five|Six|Seven|Eight|Ten] <creature> <bird>s looked at the net, but
they could not help and [flew away|went away|felt sorry|shook their heads].

Then {N} <ran> up to the {L}. "[I can help|Let me try|I have sharp teeth|Hold still]," {he}
<said> <softly>. {F} did not believe it, but {N} bit the first rope <safely>, and then one more.
It took [an hour|all day|a long time|all morning]. <crash>! The net [opened|broke|fell off|came
off], and {F} was free.

"<thanks>, {N}," <Fsaid> <softly>. "I was [wrong|rude|silly|bad]. You are small, but your heart
is <big>." They <ate> some <taste> [nuts|berries|plums|roots] and <played> together. @glad
<fromthen>, no one in the woods laughed at the small {K}, because everyone [knew|had heard|
talked|sang] about {N} and the net.
""",
    ),
)
