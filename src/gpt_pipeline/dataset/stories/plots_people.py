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
@open One [cold|warm|rainy|sunny|busy|gray|fine|windy] [Monday|Tuesday|Wednesday|Thursday|Friday],
a <kid> {F.girl} named {F} came to the school. {F} sat alone <where> with <stuff> and felt <sad>.

{N} took a <fine> {C} {T} <deco> and <went> over. "<hello>! Do you want to try my {T}@N_ask

"<thanks>. I had a {T}, too. I [miss it|lost it|broke it|gave it away]@F_reply

"Then [let's share this one|use mine|it can be ours|we can take turns]@N_glad They <played>
<until>. @glad

Later, {N} and {F} <ate> <meal>. <fromthen>, they shared the {C} {T}.
""",
    ),
    Plot(
        "a promise",
        {"N": CHILDREN, "O": OWNERS, "P": PROMISED},
        """
@open <fairday>, {O} went on a trip. "Can you [water|watch|mind] my {P} <where>?" {O} asked
<softly>.

"<sure>, I promise@N_glad But then {N} <played> with <stuff> <until> and forgot the {P}.

In bed, {N} [sat up|jumped up|gasped|groaned]. The {P}! @sad {N} put on a <wear> and <ran> over.
"<sorry>!" {N} [whispered|said] to {P.them} and gave {P.them} some water <care>.

<later>, {O} came home. {N} told the whole truth. "[That is a real promise|I am proud of you|You
are a true friend|You have a good heart]," {O} said and gave {N} a <item>. @glad @evening
""",
    ),
    Plot(
        "saving up",
        {"N": CHILDREN, "E": ELDERS, "T": GIFTS, "C": COLORS},
        """
@open <inday>, {N} saw a <fine> {C} {T} in a shop, just right for {his} {E}. But it cost twelve
coins, and {N} had only [one|two|three|four|five|six|seven|eight]. @sad

"I can [work|earn it|save|help people]@N_kind {N} sold <drink> and <stuff> <where>. "<hello>!
[Very good|Sweet and good|Just what I needed|The best in town]!" said the <worker>. {N} also
washed <stuff> <care>.

<later>, {N} had twelve coins and bought the {T}. "For me@E_ask "[Yes, for you|All for you|Just
for you|A gift for you]@N_glad @glad They put the {C} {T} <indoors> and <ate> <meal>.
""",
    ),
    Plot(
        "a quarrel",
        {"N": CHILDREN, "F": CHILDREN, "T": GAMES, "E": ELDERS},
        """
@open @friend <inday>, they played {T} <indoors>. "You [are not fair|always win|play too fast|are
too loud]@N_cross

"[That is not true|You are wrong|No, no, no|It is only a game]@F_cross {F} took a <wear> and went
home. {N} played {T} alone, but it was [no fun|boring|too quiet|sad|dull|lonely|no good|not the
same]. @sad

"<whats>@E_ask {N} told {E.him} about the game. "Sorry is a <fine> word@E_kind

{N} made a card with <num> <hue> [cats|stars|suns|hands|hearts|flowers|birds|trees] and <ran> out.
<where1>, {N} met {F}, who had a <item> and a card, too! "<sorry>!" they both [cried|said|called|
shouted]. @glad They played {T} and <ate> <meal>.
""",
    ),
)
