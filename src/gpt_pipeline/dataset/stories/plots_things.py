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
@open {He} had a <fine> {C} {T}. One <fair> <part>, {N} took it to the {P}. @ready @air

{N} <played> <joy>. But when {he} looked for the {T}, it was gone! @sad

<sudden> {his} friend {F} came to the {P}. "[What is wrong|What happened|Why are you sad|Can I
help]?" <Fasked> <softly>.

"I [lost|can't find|dropped|miss] my {C} {T}," <Nsaid> <glumly>.

"<dontworry>. [We will find it|Let's look together|I will help you|Two can look better than
one]," <Fsaid> <softly>. They looked [under|behind|near|around] a <spot>. Then they looked [in
the tall grass|under the leaves|between the stones|beside the path]. <soon> {F} saw something
shine [in a small hole|by a weed|under a leaf|behind a stick|on the ground|in the clover|near a
root|in the sand]. It was the {C} {T}!

"<thanks>, {F}!" <Ncalled> <gladly>. @glad @evening <fromthen>, {N} kept the {T} [in a small
box|on a string|in a safe place|in a warm bag], and {F} [could look at it any time|came to see
it every day|helped to take care of it|always asked about it].
""",
    ),
    Plot(
        "broken toy",
        {"N": CHILDREN, "T": TOYS, "C": COLORS, "E": ELDERS},
        """
@open {His} favorite toy was a <fine> {C} {T}. @home

<day>, {N} [played|jumped|danced|raced] too [wildly|fast|hard|roughly] with it. <crash>! The {T}
[fell off the table|hit the wall|dropped on the floor|bumped into a chair], and its {T.part}
[came off|broke off|fell off|snapped off]. @sad

{N} <took> a <item> and a <item2>, but they were no help. So {he} <went> to {his} {E}. "The
{T.part} of my {T} is off," [{N} said|said {N}] <glumly>. "Can you [fix|mend] it?"

"<sure>," <Esaid> <softly>. "But you must help me. [Get|Find|Bring] the [tape|paper|wire|
string]." They sat at a [big|clean|long|small] table. {N} held the {C} {T} [still|tight|up high|
with both hands], and {his} {E} put the {T.part} back <care>.

<soon> the {T} was [whole|fixed|as good as new|ready to play] again. "<thanks>!" <Ncalled>
<gladly>. @glad @evening <fromthen>, {N} played with the {T} [gently|with care|more softly|
slowly] and never [dropped|threw|kicked|broke] it again.
""",
    ),
    Plot(
        "sharing",
        {"N": CHILDREN, "T": SHARED_TOYS, "C": COLORS, "P": PLACES, "F": CHILDREN},
        """
@open {He} had a <fine> {C} {T}. One <fair> <part>, {he} brought it to the {P}. @air

A <kid> {F.girl} named {F} <went> over to {him}. "What a <nice> {T}! May I [try it|have a turn|
use it|see it]?" <Fasked> <softly>.

"No! It is [mine|my {T}|all mine|only for me]," {N} <said> and [held it tight|turned away|walked
off|shook {his} head]. {F} felt <sad>. {N} went on with the {T}, but [it was no fun alone|soon
it was boring|nobody laughed|something was wrong]. Then {he} looked at {F} and felt <sad>.

<soon> {N} <went> back to {F}. "I am [sorry|so sorry|very sorry|really sorry]," {he} <said>
<glumly>. "[We can take turns|Let's share it|You may go first|Come and try it]."

"<thanks>!" <Fcalled> <gladly>. They <played> together with the {T} at the {P} until [lunch|
dinner|sunset|dark|late|evening|bedtime|noon]. Then {F} gave {N} some <taste> <food> and a
<item>. @glad <fromthen>, the {C} {T} was for both of them, because {N} knew that sharing [makes
a toy more fun|makes two people happy|is better than keeping|is how friends are made].
""",
    ),
    Plot(
        "stuck in a tree",
        {"N": CHILDREN, "T": STUCK_THINGS, "C": COLORS, "P": PLACES, "E": ELDERS},
        """
@open One <fair> <part>, {N} went to the {P} with {his} {E}. {He} had a <fine> {C} {T} with
{him}. @air

<sudden> a [strong|big|wild|sharp] wind took the {T} out of {his} hands. It [flew|went|rose|
sailed] [up, up, up|high in the air|over {his} head|higher and higher] and got stuck in a <big>
tree. @sad {N} [jumped|reached|hopped|climbed] as high as {he} could, but the {T} was too [high|
far|far up|far away].

"<dontworry>," <Esaid> <softly>. "[Let's think|We need a plan|We will find a way|Think first]."

{N} thought [hard|for a while|for a minute|again]. "[I know|I have an idea|I have it|Listen]!"
{he} <called> <gladly>. "We need a [long stick|long pole|tall ladder|good rope]!" @sight They
<took> one from the <kindof> <worker>. Then {N} [pushed|moved|touched|hit] the {T} <care>.

<swish>! Down came the {C} {T}. @glad "A good idea is [better than tears|as good as long arms|
worth a lot|better than a jump]," <Esaid> <softly>. <fromthen>, {N} held the {T} [tight|with
both hands|close|firmly] when the wind blew at the {P}.
""",
    ),
    Plot(
        "lost property",
        {"N": CHILDREN, "T": LOST_PROPERTY, "C": COLORS, "F": CHILDREN},
        """
@open @friend One <fair> <part>, the two friends went for a walk. @air

<sudden> {N} saw a <fine> {C} {T} next to a <spot>. "[Keep it|Take it home|Now it is yours|You
are lucky]!" <Fsaid> <gladly>. {N} wanted the {T} [very much|a lot|badly|so much]. But then {he}
thought of the person who had lost it.

"No," <Nsaid> <softly>. "Someone is [sad|worried|looking for it|missing it] now. It [is not
ours|is not mine|is not yours|belongs to someone]." @sights They asked the <kindof> <worker>,
but the answer was no.

<soon> they met an old woman with a <item>. She looked <sad>. "Is this your {T}?" <Nasked>
<softly>.

"<thanks>!" the old woman <said> <gladly>. "My [sister|mother|brother|friend] gave me this {T}.
You are [good|kind|fine|dear] children." She gave them some <taste> <food>. @glad "You were
right," <Fsaid> <softly>. "Giving the {T} back [feels good|was right|is better|was good]."
""",
    ),
    Plot(
        "messy room",
        {"N": CHILDREN, "T": TOYS, "C": COLORS, "E": ELDERS},
        """
@open But {his} room was a mess. There was a <item> on the [bed|chair|sofa|desk], a <item2> on
the [floor|rug|sofa|table], and even some <taste> <food> under the [pillow|blanket|carpet|bed].

<day>, {N} wanted to show a <fine> {C} {T} to {his} {E}. {He} looked [in the box|under the
blanket|in the drawer|behind the door] and [in a basket|under a coat|behind the sofa|on the
shelf], but the {T} was [not there|nowhere|gone|lost]. @sad

"I can't find my {C} {T}!" [{N} <cried>|<cried> {N}] <glumly>.

{His} {E} looked around the room. "[A thing needs a home|It is under all this|No wonder|I know
why]," <Esaid> <softly>. "Let's [clean up|clean it|put things away|work together]." @home They
cleaned the room <care> and [sang|hummed|whistled|joked] <joy>.

<soon> {N} found the {C} {T} under a <big>, <soft> pile of [socks|towels|books|paper]. @glad
@evening {He} put the {T} [on a shelf|in a box|next to the bed|on the desk]. <fromthen>, {N}
cleaned {his} room [every evening|each night|before bed|every Saturday], and the {T} was never
lost again.
""",
    ),
)
