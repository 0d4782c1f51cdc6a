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
@open But {N} was afraid of the dark. {He} never went to bed without a <fine> {C} toy {T}.

<day>, after some <taste> <food> with <drink>, {N} lay in bed. @home <sudden> {he} saw a [big|
tall|dark|long] shape [in the corner|by the door|near the window|on the wall]. It had [long
arms|a round head|two horns|a big back]. {N} held the {T} [tight|close|with both hands|in the
air] and felt <afraid>.

"There is a [monster|ghost|giant|wolf] in my room!" {he} <cried> <glumly>.

{His} {E} <ran> into the room. "<dontworry>. [Let's look at it|We will see what it is|Let's say
hello to it|Come with me]," <Esaid> <softly>. {N} <took> a [small|little|tiny|bright] lamp and
[went|walked|stepped|crept] to the shape <safely>. It was only a <soft>, <hue> [coat|towel|
blanket|sweater] and a [big|old|long|new] [hat|bag|scarf|cap] on a [chair|hook|box|shelf]!

@glad "The dark [hides things|plays tricks|makes things look big|only looks bad]," <Esaid>
<softly>. "But your room is [the same|just the same|still your room|as safe as before]."
<fromthen>, {N} told the {C} {T} <gladly>: "[There is no monster|It is only the dark|We are
safe|I am not afraid]!" And {he} was not afraid of the dark any more.
""",
    ),
    Plot(
        "storm at night",
        {"N": CHILDREN, "E": ELDERS, "T": TOYS, "C": COLORS},
        """
@open {He} took a <fine> {C} toy {T} everywhere. <day>, the sky turned [gray|black|dark|brown],
and [heavy|cold|hard|loud] rain fell on the [roof|windows|walls|door]. @home

<crash>! The thunder was [loud|near|wild|strong]. {N} took the {T} and <ran> to {his} {E}.
"[Make it stop|I don't like it|The sky is angry|It is too loud]!" {he} said <glumly>. {He} felt
<afraid>.

"<dontworry>. A storm is [only loud|just noise and water|a drink for the flowers|busy washing
the trees]," <Esaid> <softly>. "Let's make our own thunder!" They <took> a <hue> [box|spoon|
book|cup], a [big|small|clean|old] [pot|pan|bucket|bowl], and a [wooden|long|short|new] stick.
{N} made a [loud|happy|wild|merry|big|great|funny|silly] noise <joy>, and the {T} sat on the
[rug|sofa|shelf|chair] and listened. {N} was louder than the thunder!

<soon> the rain [stopped|grew soft|went away|became quiet], and a <big> rainbow stood over the
[hill|roofs|trees|street]. @glad "The storm was [our friend|not so bad|only a game|a bit of
fun]!" {he} told the {T} <gladly>. @evening <fromthen>, when thunder came, {N} [got a stick|
counted|whistled|made music] and was not afraid.
""",
    ),
    Plot(
        "baking",
        {"N": CHILDREN, "E": ELDERS, "T": TREATS},
        """
@open <day>, {N} and {his} {E} wanted to make {T.some}. @home

"We need [flour|butter|cream|milk], [eggs|cheese|yogurt|water], [sugar|honey], and some <taste>
[lemons|raisins|nuts|plums|grapes|apples|pears|berries]," [{his} {E} said|said {his} {E}]
<softly>. {N} <took> a <hue> [spoon|bowl|cup|box] and mixed it all <care>. {He} had flour on
{his} [nose|chin|ears|hair|shirt|socks|hands|knees]. Then they put the {T} into the [hot|big|
old|warm] oven.

<soon> the {T} {T.was} [done|ready|brown|golden]. {N} took a [small|big|little|careful] bite.
"It tastes [bad|odd|wrong|strange]," {he} said <glumly>. "We forgot the [salt|last line|last
step|best part]!" {N} felt <sad>.

"<dontworry>. [Everyone can forget things|It is not so bad|Now we know|It happened to me, too],"
<Esaid> <softly>. "What can we do?"

"We can [try again|start over|make more|do it once more]!" <Nsaid> <gladly>. This time, {he}
[read each line|checked the list|counted out loud|said each step]. The whole house smelled
<nice>.

They <ate> the new {T} with <drink>. @glad "It is best to [try twice|try again|take time|work
together] with {T}," <Esaid> <softly>.
""",
    ),
    Plot(
        "telling the truth",
        {"N": CHILDREN, "E": ELDERS, "T": BREAKABLES, "C": COLORS},
        """
@open {His} {E} had a <fine> {C} {T}. It stood [on a shelf|on the table|by the window|near the
door]. @home

<day>, {N} <played> <joy> in the room. {His} [foot|arm|hand|leg] hit the {T}. <crash>! It broke
into <num> [big|small|sharp|tiny] pieces. @sad {N} could [hide the pieces|say nothing|run away|
keep quiet]. But that would be a lie, and it [felt|was|seemed|sounded] wrong.

{N} <went> to {his} {E} with [red|hot|pale|wet] cheeks. "I broke your {C} {T}," {he} said
<glumly>. "I was [running|wild|not careful|playing]. I am [sorry|so sorry|very sorry|really
sorry]."

{His} {E} was quiet for [a moment|a while|some time|a minute]. "I am [very|so|a little|a bit]
[sad|upset|sorry|unhappy] about the {T}," <Esaid> <softly>. "But I am [very|so|really|truly]
[glad|happy|proud|thankful] that you told me. The truth is worth more than [every {T}|any {T}|
ten of them|gold]."

They picked up the pieces <care> and put them into a [box|bag|bin|bucket]. @glad @evening
<fromthen>, when {N} saw a {T}, {he} remembered to tell the truth, even when it was [hard|scary|
not easy|no fun].
""",
    ),
    Plot(
        "new baby",
        {"N": CHILDREN, "B": CHILDREN, "E": ELDERS},
        """
@open <day>, a new baby came to the house. {B.His} name was {B}. {B} was [small|tiny|round|soft]
and [pink|loud|sleepy|warm], with [little|round|big|soft] [hands|ears|cheeks|feet]. Everyone
[looked|smiled|waved|laughed] at {B}, and no one had time for {N}. "[Nobody plays with me|The
baby gets everything|I am alone now|Babies are no fun]," {he} said <glumly>. @sad

@home Then {B} began to cry and would not stop. {His} {E} <took> a <item>, a <item2>, and some
<drink>, but {B} cried [louder|more|on|for a long time].

{N} [went|walked|stepped|crept] to the bed <safely>. {He} [danced|clapped|sang|sat|hopped|
hummed|walked|jumped] like a [duck|seal|bird|frog|goat|bee|bear|hen] <joy>. <sudden> {B} was
[quiet|calm|silent|still]. Then the baby smiled at {N}!

"<hooray>! {B} [likes you|smiled at you|knows you|loves you] best!" <Esaid> <softly>. @glad

"Hello, {B}. I will teach you to <hobby>," <Nsaid> <softly>. @evening <fromthen>, {N} was <glad>
to have a baby {B.kin} like {B}, and when {B} cried, everyone [called|asked for|needed|looked
for] {N}.
""",
    ),
    Plot(
        "loose tooth",
        {"N": CHILDREN, "F": CHILDREN, "E": ELDERS},
        """
@open @friend <day>, {N} <ate> some <taste> <food> and felt something [odd|strange|funny|new].
One tooth was loose! It moved [back and forth|from side to side|in and out|up and down]. "Will
it [hurt|fall out|break|come back]?" {he} asked <glumly>. {He} felt <afraid>.

{F} smiled and showed a [big|small|dark|neat] gap. "[Mine fell out, too|I lost one last week|
Look at me|It happened to me]," <Fsaid> <softly>. "It only [felt odd|felt funny|hurt a bit|took
a minute]."

{N} pushed the tooth <care> [all day|at lunch|in the bath|in bed]. It did not fall out. "When
will it be ready?" {he} asked {his} {E} <glumly>.

"[Be patient|Give it time|Wait and see|It knows when]," <Esaid> <softly>. @home

<day3>, {N} was [singing|eating|drinking|running|dancing|hopping|resting|waiting] when [pop|
crack|crash|snap]! The tooth fell [into {his} hand|on the table|on the floor|into a cup]. It was
[tiny|white|small|clean] and [shiny|smooth|pretty|light]. @glad

"Look, {F}! Now [we are the same|I have a gap, too|we both have a gap|it is my turn]!" <Ncalled>
<gladly>. That night, {he} put the tooth [under the pillow|in a cup|in a little box|in a sock]
and smiled a <nice> smile with a gap in it.
""",
    ),
    Plot(
        "birthday secret",
        {"N": CHILDREN, "F": CHILDREN, "E": ELDERS, "T": GIFTS, "C": COLORS},
        """
@open @friend The birthday of {his} {E} was near, and {N} wanted to give {E.him} a <fine> {C}
{T}. "[Don't tell anyone|It is a secret|Not a word|Keep it quiet]," {he} told {F} <softly>.

They counted their coins and <went> to a [small|tiny|big|quiet] shop. @sights They bought the
{T} and hid it [under the bed|in a drawer|behind the sofa|in a basket|under the stairs|in the
shed|in a box|behind a door].

But keeping a secret was hard! "What is [in that bag|behind your back|so funny|going on]?"
<Easked> <softly>. {N} [bit {his} lip|turned red|shook {his} head|looked away]. "[Nothing|Oh,
nothing|I can't say|You will see]," {he} <said> <gladly>.

<soon> the big day came. They had some <taste> <food> with <drink>. "[Surprise|Happy birthday|
Close your eyes|Open it]!" the two friends <called> <gladly>.

{His} {E} opened the [box|bag|paper|basket] <care> and saw the {C} {T}. "It is <nice>!
<thanks>!" <Esaid> <softly>. @glad {N} told {F}: "A secret is <nice> when it [makes you smile|
makes someone smile|is for someone you love|is a gift]."
""",
    ),
)
