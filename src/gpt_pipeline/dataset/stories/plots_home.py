"""Plots at home: the dark, a storm, baking, the truth, a baby, a tooth. Notation: engine.py."""

from typing import Final

from gpt_pipeline.dataset.stories.engine import Plot
from gpt_pipeline.dataset.stories.words import (
    BREAKABLES,
    CHILDREN,
    COLORS,
    ELDERS,
    GIFTS,
    TOYS,
    TREATS,
)

PLOTS: Final = (
    Plot(
        "fear of the dark",
        {"N": CHILDREN, "E": ELDERS, "T": TOYS, "C": COLORS},
        """
@open But {N} was afraid of the dark and slept next to a <fine> {C} toy {T}.

One <mood> [evening|night], {N} went to bed. @home Then {he} saw a [big|tall|dark|long|black|thin|
fat|strange] shape <indoors> and felt <afraid>. "There is a [monster|ghost|giant|wolf|pirate|
snake|king|shark] in my room@N_cry

"<dontworry>. [Let's look at it|We will see what it is|Let's say hello to it|Come with me]@E_kind
{N} took the {T} and a <item> and <creep> closer <crept>. It was only a <cloth>!

@glad "The dark is [only dark|not bad|kind|our friend]@E_kind {N} and the {C} {T} slept well and
dreamed of <dream>.
""",
    ),
    Plot(
        "storm at night",
        {"N": CHILDREN, "E": ELDERS, "T": TOYS, "C": COLORS},
        """
@open {He} took a <fine> {C} toy {T} everywhere. One [cold|gray|windy|cloudy|wet|dark|chilly|wild]
[evening|night], rain fell on the [house|windows|walls|door]. @home

<crash>! It was thunder. {N} felt <afraid>. "[Make it stop|I don't like it|The sky is angry|It is
too loud]@N_cry

"<dontworry>. A storm is [only loud|just noise and water|a drink for the flowers|busy washing the
trees]," said {his} {E}. They made thunder with <num> <thingadj> [pots|pans|cups|spoons|hammers|
bells|sticks|bottles]. <crash>! <crash>! Even the {T} danced.

<soon>, the rain [stopped|grew soft|went away|became quiet]. @glad "The storm was [our friend|not
so bad|only a game|a bit of fun]@N_kind {His} {E} and {N} <ate> <meal>.
""",
    ),
    Plot(
        "baking",
        {"N": CHILDREN, "E": ELDERS, "T": TREATS},
        """
@open <inday>, {N} and {his} {E} made {T.some}. @home

They mixed [flour|corn|rice|milk], [eggs|butter|yogurt|water], and <taste> [raisins|nuts|plums|
grapes|apples|pears|berries|cherries|oranges|bananas|peaches|strawberries] with a <thingadj> spoon
<care>. <soon>, {N} took a bite. "It tastes [bad|odd|wrong|strange]! We forgot the [salt|sugar|
honey|best part]@N_cry @gloom

"<dontworry>. Let's [try again|start over|make more|do it once more]@E_kind This time, {N} read
each line <care>.

The new {T} {T.was} <nice>. "<hooray>@N_glad @glad They <ate> the {T} with <drink> <until>, and
{N} gave some to the <worker>.
""",
    ),
    Plot(
        "telling the truth",
        {"N": CHILDREN, "E": ELDERS, "T": BREAKABLES, "C": COLORS},
        """
@open {His} {E} had a <fine> {C} {T} <deco>. It stood <indoors>.

<inday>, {N} <played> in the room. <crash>! The {T} broke into <num> <hue> pieces. @sad {N} could
[hide them|say nothing|run away|keep quiet]. But that would be a lie.

"I broke your {T}. <sorry>@N_glum

"I am [very|so|a little|a bit] [sad|upset|troubled|unhappy]. But I am [very|so|really|truly]
[glad|happy|proud|thankful] that you told the truth@E_reply

They put the pieces of the {T} into a <thingadj> box <care>. @glad @evening
""",
    ),
    Plot(
        "new baby",
        {"N": CHILDREN, "B": CHILDREN, "E": ELDERS},
        """
@open <inday>, a new baby named {B} came. @home {B} had [little|round|big|soft] [hands|ears|
cheeks|feet], and no one had time for {N}. "[Nobody plays with me|The baby gets everything|I am
alone now|Babies are no fun]@N_glum @gloom

Then {B} began to cry. {His} {E} brought <stuff>, a <item>, and <drink>, but {B} cried [louder|
more|on|for a long time].

{N} <creep> closer <crept> and [danced|clapped|sang|sat|hopped|hummed|walked|jumped] like a
<animal>. <sudden>, the baby smiled! "<hooray>! {B} [likes you|smiled at you|knows you|loves
you]@E_glad

@glad "Hello, {B}. I will teach you to <hobbies>@N_kind
""",
    ),
    Plot(
        "loose tooth",
        {"N": CHILDREN, "F": CHILDREN, "E": ELDERS},
        """
@open @friend <inday>, {N} <ate> <meal>. One tooth was loose! {N} felt <afraid>. "Will it [hurt|
fall out|break|come back]@N_ask

"[Mine fell out, too|I lost one last week|Look at me|It happened to me]. It only [felt odd|felt
funny|hurt a bit|took a minute]@F_reply

{N} pushed the tooth <care> <until>. "[Be patient|Give it time|Wait and see|It knows when]," said
{his} {E}.

<later>, the tooth fell <indoors>. "<hooray>! Now [we are the same|I have a gap, too|we both have
a gap|it is my turn], {F}@N_glad @glad {N} put the tooth in a <thingadj> box, and {his} {E} left
<stuff> for it.
""",
    ),
    Plot(
        "birthday secret",
        {"N": CHILDREN, "F": CHILDREN, "E": ELDERS, "T": GIFTS, "C": COLORS},
        """
@open @friend For the birthday of {his} {E}, {N} got a <fine> {C} {T}. "It is a [big|real|true|
nice|great|small|special|happy] secret@N_kind

They hid the {T} <indoors>, under <stuff>. "What is so [funny|strange|odd|special|great|new|sweet|
nice] here@E_ask

"[Nothing|Oh, nothing|I can't say|You will see]@N_reply

<later>, the big day came. They <ate> <meal>. "[Surprise|Happy birthday|Close your eyes|Open
it]@F_glad {His} {E} saw the {C} {T}. "It is <nice>! <thanks>@E_glad @glad {N} and {F} had kept
the secret.
""",
    ),
)
