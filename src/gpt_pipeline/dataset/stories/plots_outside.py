"""Plots outdoors: swimming, a garden, a bicycle, a castle of sand. Notation: engine.py."""

from typing import Final

from gpt_pipeline.dataset.stories.engine import Plot
from gpt_pipeline.dataset.stories.words import CHILDREN, COLORS, ELDERS, SEEDS

PLOTS: Final = (
    Plot(
        "learning to swim",
        {"N": CHILDREN, "F": CHILDREN, "E": ELDERS, "C": COLORS},
        """
@open @friend {F} could swim like a [fish|frog|duck|seal], but {N} could not swim at all. One
<fair> <part>, they went to the [pool|lake|river|sea] with {his} {E}. {N} wore a <fine> {C}
swimsuit. @air

"Come in! It is [warm|fun|lovely|great|not cold|so clear|not deep|nice]!" <Fcalled> <gladly>.
{N} put one foot into the water and felt <afraid>. "It is too [deep|cold|big|wild]," {he} <said>
<glumly>.

"<dontworry>," <Esaid> <softly>. "Today, just [blow bubbles|sit down|get wet|lie on your back]."
So {N} tried it <safely>. "The water [loves you|is kind|is your friend|is like a bed]," <Esaid>
<softly>.

They came back [every day|each morning|all week|again and again]. {N} [fell|sank|went under|gave
up] [once|twice|three times|a few times], but then {he} tried again. <soon> {his} {E} let go,
and {N} swam <num> strokes all alone! "You can swim!" <Fcalled> <gladly>.

@glad They all <ate> some <taste> <food> in the sun. <fromthen>, {N} and {F} swam together every
[day|week|Saturday|summer], and the {C} swimsuit was [never dry|always wet].
""",
    ),
    Plot(
        "a patient garden",
        {"N": CHILDREN, "E": ELDERS, "T": SEEDS},
        """
@open One <fair> <part>, {his} {E} gave {him} a <small> {T} seed. "[Plant it|Put it in the
ground|Take care of it|Be good to it], and it will [thank you|grow|wake up|love you]," <Esaid>
<softly>. @ready @air

{N} put the {T} seed into the earth near a <spot> and gave it some water <care>. The next
[morning|day], there was [nothing|no leaf|no green|no plant] at all. @sad

"My {T} is [lazy|broken|asleep|gone]!" {he} <said> <glumly>. "Can I [look|check|wake it up|dig
it up]?"

"No," <Esaid> <softly>. "It is [only resting|busy|still asleep|waiting] in the dark. [Wait|Be
patient|Give it time|Trust it]." So {N} waited. {He} pulled weeds, gave it water, and [sang|
talked|hummed|whispered] to the seed [softly|gently|sweetly|quietly|slowly|for a while|for
hours|again and again]. It [rained|was hot|was windy|was cold] for <num> days.

<soon> a <small> green leaf came out of the earth! @glad The {T} plant grew [longer|higher|
bigger|stronger] every [day|week|morning|night]. <fromthen>, when something took a long time,
{N} [thought of|remembered|smiled about|told everyone about] the {T} seed and [waited|was
patient|did not hurry|took a deep breath].
""",
    ),
    Plot(
        "riding a bicycle",
        {"N": CHILDREN, "E": ELDERS, "C": COLORS, "F": CHILDREN},
        """
@open {He} had a <fine> {C} bicycle, but {he} could not ride it yet. One <fair> <part>, {his}
{E} took {him} to a [quiet|wide|long|flat] road. @air

{His} {E} held the bicycle and ran behind {him}. It went [left and right|up and down|this way
and that|from side to side] like a [duck|sleepy bee|big bird|boat]. <crash>! {N} fell on the
[grass|road|ground|sand] and [hurt|bumped] {his} [foot|arm|hand|leg]. "I [can't|will never|don't
want to|am too small to] do it," {he} said <glumly>. @sad

A <kid> {F.girl} named {F} <went> over to {him}. "I fell <num> times," <Fsaid> <softly>. "Don't
look at the [stones|road|ground|path]. Look [far ahead|at a tree|at me|at the sky]."

{N} got up and tried again <safely>. {He} looked far ahead and [sang|hummed|counted|whistled]
[softly|gently|sweetly|quietly]. The {C} bicycle went [straight|faster|smoothly|well]. {His} {E}
let go, and {N} was riding all alone past a <spot> and <num> <creature> <bird>s!

"You can do it!" <Fcalled> <gladly>. @glad <fromthen>, the {C} bicycle took {him} to [the store|
the lake|the park|the library] and back, and when {N} fell, {he} [got up|laughed|tried again|
looked far ahead].
""",
    ),
    Plot(
        "sandcastle",
        {"N": CHILDREN, "F": CHILDREN, "C": COLORS},
        """
@open One <fair> <part> at the sea, {N} built a <nice> sandcastle. It had <num> towers and <num>
[doors|windows|walls|roofs], and on top was a {C} flag. @air

"This is the [best|greatest] sandcastle of all!" {he} <called> <gladly>. <sudden> a <big> wave
came. <swish>! When the water was gone, there was only a [wet|flat|round|sad] [hill|pile]. @sad

A <kid> {F.girl} named {F} had seen it all. "The sea takes mine, too, every [day|time|summer|
year]," <Fsaid> <softly>. "<dontworry>. A sandcastle is like a [song|dance|game|joke]: it is fun
to make."

"I have an idea," <Nsaid> <softly>. "Let's build one [far from the waves|higher up|behind the
rocks|farther back], and then see who wins, we or the sea."

They <took> <num> [stones|sticks|boxes|rocks] and built a [thick|strong|high|wide] wall <care>.
The waves came [closer|higher|up|in], and then they [stopped|turned back|went home|gave up]! "We
won!" <Fcalled> <gladly>.

@glad The {C} flag [waved|danced|flew|stood] over the new sandcastle until [sunset|evening|dark|
dinner]. "If it falls, we will build another one [together|tomorrow|even bigger|right here],"
<Nsaid> <softly>.
""",
    ),
)
