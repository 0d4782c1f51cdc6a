"""Plots between people: a new child, a promise, saving up, a quarrel. Notation: engine.py."""

from typing import Final

from gpt_pipeline.dataset.stories.engine import Plot
from gpt_pipeline.dataset.stories.words import (
    CHILDREN,
    COLORS,
    ELDERS,
    GAMES,
    GIFTS,
    OWNERS,
    PROMISED,
    SHARED_TOYS,
)

PLOTS: Final = (
    Plot(
        "the new child",
        {"N": CHILDREN, "F": CHILDREN, "T": SHARED_TOYS, "C": COLORS},
        """
@open <day>, a <kid> {F.girl} named {F} came to the school. {F.He} came from [another town|far
away|a big town|a small town] and did not know anyone. At lunch, {F} sat alone [by the wall|in a
corner|under a tree|on a bench] with some <taste> <food> and looked <sad>.

{N} knew how it feels to be [new|alone|sad|left out]. {He} took a <fine> {C} {T} and <went> over
to {F}. "[Hi|Hello|Hey], I am {N}. Do you want to try my {T}?" {he} asked <softly>.

"<thanks>. At home, I had a {T}, too," <Fsaid> <glumly>. "I [miss it|miss my friends|had to
leave it|gave it away]."

"Then [let's share this one|use mine|it can be ours|we can take turns]!" <Nsaid> <gladly>. They
took the {T} out into the sun. @air They <played> <joy>. {F} showed {N} a <nice> [joke|game|
dance|song].

<soon> <num> <kindof> children came. "Can we play with you?" they asked <softly>. "<sure>!"
<Fsaid> <gladly>. @glad <fromthen>, when someone new came to the school, {N} and {F} <went> over
with the {C} {T} and said hello <softly>.
""",
    ),
    Plot(
        "a promise",
        {"N": CHILDREN, "O": OWNERS, "P": PROMISED},
        """
@open One <fair> <part>, {O} from next door went on a trip. "Can you [take care of|look after|
watch|help with] my {P} for a week?" {O} asked <softly>. "{P.They} need{P.s} water every
[morning|evening|day|night]."

"<sure>, I promise!" <Nsaid> <gladly>. At first, {N} gave {P.them} water every day <care>. But
<day2>, {he} <played> <joy> until it was late and forgot the {P}.

In bed, {N} [sat up|opened {his} eyes|could not sleep|turned over]. The {P}! It was [dark|wet|
windy|cold] outside. "I forgot my promise," {he} said <glumly>. But {he} put on a <soft>, <hue>
coat and <ran> over. The {P} looked [weak|dry|sad|tired]. "I am [sorry|so sorry|very sorry|
really sorry]," {N} [whispered|said] to {P.them} <softly> and gave {P.them} some water.

When {O} came home, the {P} looked <nice>. "Did you keep your promise?" {O} asked <softly>. {N}
told the whole truth. {O} <smiled> <joy>. "You went out in the night for my {P}? [That is a real
promise|I am proud of you|You are a true friend|You have a good heart]," {O} <said> <softly>.
@glad <fromthen>, {N} [remembered|counted] every promise and kept it.
""",
    ),
    Plot(
        "saving up",
        {"N": CHILDREN, "E": ELDERS, "T": GIFTS, "C": COLORS},
        """
@open <day>, {N} saw a <fine> {C} {T} in the window of a [small|corner|tiny|little] shop. "It is
just right for {E.Name}," {he} said <softly>. But it cost ten coins, and {N} had only [one|two|
three|four]. @sad

"I can [work|earn it|save|help people]," {N} thought. So {he} sold <drink> next to a <spot>. The
<kindof> <worker> drank a cup. "[Very good|Sweet and good|Just what I needed|The best in town]!"
said the happy guest <gladly>. {N} also [washed|cleaned] <num> [cars|windows|shoes|boxes]
<care>. Each coin went into a [small|big|brown|clean] [jar|box|bag|cup].

"Let's buy [pudding|candy|cake|balloons]!" {his} friends <called> <gladly>. {N} thought of the
{C} {T}. "No, thank you," {he} <said> <softly>. "I am saving for [something special|a surprise|
someone I love|a gift]."

<soon> {N} had ten coins and <ran> to the shop. The {T} was [still there|still in the window|
waiting|not sold]. {N} bought it and carried it home <care>.

"You [earned|worked for|saved for|bought] this for me?" asked {his} {E} <softly>. "<thanks>!"
{His} {E} <smiled> <joy>. @glad It had taken [many days|many weeks|three weeks|a long time], but
a {T} that is worked for is the best gift.
""",
    ),
    Plot(
        "a quarrel",
        {"N": CHILDREN, "F": CHILDREN, "T": GAMES, "E": ELDERS},
        """
@open @friend <day>, they played {T} [on the rug|on the sofa|in the kitchen|at the table]. @home
"You [looked|took two turns|are not fair]!" {N} <cried>. "I [did not|never did|would never|play
fair]!" {F} <cried>. Then {F} took {F.his} <soft>, <hue> [coat|bag|hat|sweater] and went home.

{N} played {T} alone, but it was [no fun|boring|too quiet|not the same]. @sad

"[What happened|Where is {F}|Why so quiet|Why are you sad]?" <Easked> <softly>. {N} told {E.him}
about the game <glumly>. "Sorry is a [small|short|little|tiny] word," <Esaid> <softly>, "but it
is [heavy|hard to say|not easy|strong]."

{N} made a card with <num> <hue> [cats|stars|suns|hands] on it and <ran> out. At the corner,
{he} met {F}, who had a card, too! "I am [sorry|so sorry|very sorry|really sorry]!" they <cried>
at the same time.

"I did [look|take two turns|get loud]," <Fsaid> <softly>. "And I [was too proud|was too loud|was
rude|did not listen]," <Nsaid> <softly>.

@glad They <went> home and played {T} until [dinner|bedtime|dark|sunset]. <fromthen>, they still
played {T}, but they knew that a friend is [a treasure|a gift|much more].
""",
    ),
)
