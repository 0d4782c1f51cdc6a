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
@open {He} had a {A} named {S}. Every day, {N} and {S} <played> <joy>.

<day>, {S} did not [come|get up|eat|want to play]. The {A} lay in a corner with [dull|sad|tired|
wet] eyes. "{S} is [sick|not well|so weak|very weak]!" [{N} said|said {N}] <glumly>. @sad

{N} and {his} {E} put a <soft>, <hue> [blanket|towel|coat|rug] around the {A} and <ran> to the
vet. The vet looked at the [eyes|mouth|feet|ears] of {S} <safely>. "[What did {S} eat|When did
this start|Is {S} sleeping|How old is {S}]?" she asked <softly>.

"<dontworry>. {S} needs this <nice> medicine, [rest|sleep|a warm bed|quiet], and [love|you|a
good friend|your care]," the vet <said> <softly>. {N} and {his} {E} sat next to {S} and gave the
medicine <care>, [twice a day|every morning|every night|with a spoon]. Then {N} [sang|talked|
hummed|whispered] [softly|gently|sweetly|quietly|slowly|for a while|for hours|again and again].

<soon> the {A} stood up and <ate> some <taste> food. {S} was [well|strong|happy|full of life]
again! @glad "I will always [take care of you|watch over you|look after you|be here for you],
{S}," <Nsaid> <softly>, and the {A} [came closer|looked happy|closed its eyes|listened].
""",
    ),
    Plot(
        "lost in the woods",
        {"N": CHILDREN, "A": GUIDES, "C": COLORS},
        """
@open One <fair> <part>, {N} put on a <fine> {C} jacket and went to pick [berries|mushrooms|
nuts|flowers] in the woods. @air {He} went [on and on|up a hill|over a creek|farther and
farther] and did not look back. <soon> all the trees looked [the same|strange|dark|tall]. {He}
was lost! @sad

<sudden> a <creature> {A} came out from [behind a tree|under a bush|behind a log|the ferns]. Its
foot was caught in a [string|root|wire|weed]. "[Hold still|Poor thing|Let me help|I won't hurt
you]," <Nsaid> <softly>. {He} opened the knot <care>, and the {A} was free!

The {A} looked at {N} and ran a few steps. Then it [stopped|waited|looked back|turned around].
"Do you want me to come with you?" <Nasked> <softly>. They went [past|around|over|along] a [big|
old|low|mossy] [log|rock|hill|wall].

<soon> {N} saw [smoke|a roof|a road|lights]. It was {his} own [house|street|town|garden]! @glad
"<thanks>, little {A}!" {he} <called> <gladly>. "I helped you, and you helped me." <fromthen>,
{N} left some <taste> <food> near the woods for the {A} and never [went too far|left the path|
went alone|got lost] again.
""",
    ),
    Plot(
        "fallen bird",
        {"N": CHILDREN, "E": ELDERS, "C": COLORS},
        """
@open One <fair> <part>, {N} heard a <small> [cheep|cry|peep|sound] in the garden. @air A baby
bird had fallen out of its nest! It had {C} feathers, and it lay [in the grass|under a bush|on
the path|next to a stone]. @sad

"Can I [keep it|take it inside|have it|put it in my room]?" <Nasked> <softly>.

"No," <Esaid> <softly>. "[It needs its family|Its mother will miss it|A bird must be free|It
belongs in the nest]. But we can help." {N} <took> a <soft> [towel|sock|mitten|shirt] and some
[straw|grass|leaves|paper] and made a bed in a [small|clean|deep|big] box. {He} gave the baby
bird some [water|seeds|soft bread|egg] <care>.

Then they <took> a <big> ladder. {N} held it [tight|still|firmly|with both hands], and {his} {E}
put the baby bird back in the nest <care>. The mother bird sang <joy>. @glad

<day3>, a <fine> {C} bird [sat|landed|hopped|sang] [on the fence|at the window|on the roof|in
the tree]. "[It can fly|It is our baby bird|It knows me|It is so big now]!" <Ncalled> <gladly>.
<fromthen>, {he} [fed|watched|listened to|waved to] the birds and [thought of|remembered|looked
for|told everyone about] the baby bird with the {C} feathers.
""",
    ),
    Plot(
        "stray in the rain",
        {"N": CHILDREN, "A": STRAYS, "S": PET_NAMES, "E": ELDERS},
        """
@open <day>, it [rained|poured|was wet|was stormy] [all day|for hours|until noon|again and
again]. On the way home, {N} heard a <small> cry. It came from a wet, [broken|dirty|brown|old]
box [by the road|next to a wall|near a tree|under a bench].

Inside was a {A}! It was [cold|wet|thin|dirty] and [hungry|scared|alone|tired]. "[You poor
thing|Who left you here|Don't be afraid|Hello, little one]," <Nsaid> <softly>. {He} put the {A}
under {his} <soft>, <hue> [coat|sweater|jacket|cape] and <ran> home.

"Can we [keep it|help it|let it stay|take it in]?" {N} asked {his} {E} <softly>. @home

"A {A} is not a toy. You must [feed it|walk with it|brush it|clean up after it] [every day|in
sun and rain|when you are tired|early in the morning]," <Esaid> <softly>. "Can you do that?"

"<sure>, I [can|will|promise|want to]!" <Nsaid> <gladly>. They dried the {A} <care> with a [new|
old|clean|soft] <hue> towel and gave it some [warm milk|chicken|fish|meat]. "I will call you
{S}," <Nsaid> <softly>.

@glad @evening <fromthen>, when it rained, {N} and {S} sat [by the window|under a blanket|on the
sofa|on the rug], [warm and dry|safe and warm|side by side|close together], and the {A} never
had to sleep in a wet box again.
""",
    ),
    Plot(
        "back to the pond",
        {"N": CHILDREN, "F": CHILDREN, "A": SWIMMERS, "C": COLORS},
        """
@open @friend One <fair> <part>, after a night of rain, the two friends found a [small|young|
sleepy|shy|tired|pretty|funny|spotted] {A} [on the road|in the yard|on the steps|in the garden].
It was [far from water|lost|all dry|very slow]. @air

"Let's [keep it in the bath|take it home|put it in a jar|race it]!" <Fsaid> <gladly>.

{N} shook {his} head. "[It would be sad|It would miss its home|It is not a toy|It needs a
pond]," {he} <said> <softly>. "The rain took it away, so we must take it back." {F} felt <sad>,
but then {F.he} nodded.

They <took> a <fine> {C} bucket and put the {A} in [cool|clean|fresh|clear] water <care>.
@sights

<soon> they came to a pond with <num> <creature> [ducks|herons|swans|gulls]. {N} put the bucket
into the water <care>. The {A} [stayed still|waited|moved a little|looked out] for a moment, and
then it was gone [under a leaf|into the deep|with a splash|past a stone]. "[Goodbye|Take care|Be
happy|Swim well], little {A}!" they <called> <gladly>.

@glad "The {A} looked [happy|at home|fast|bigger] in the water," <Fsaid> <softly>. "[Wild things
need wild places|A pond is better than a bucket|Home is best|It was not ours to keep]."
""",
    ),
    Plot(
        "open gate",
        {"N": CHILDREN, "A": PETS, "S": PET_NAMES, "F": CHILDREN},
        """
@open {He} had a {A} named {S}. @friend <day>, {N} was [in a hurry|late|singing|busy] and left
the gate open. When {he} came back, {S} was gone! @sad

{N} <ran> to {F}. "{S} [ran away|is lost|is gone|got out]! I [forgot|didn't close] the gate,"
{he} said <glumly>.

"<dontworry>," <Fsaid> <softly>. "We will [look everywhere|find the {A}|ask everyone|find it]."
They looked behind a <spot>. @sights They called "{S}! {S}!" [up and down the street|in every
yard|behind every house|until it was late].

<soon> they heard a <small>, [happy|odd|funny|low] sound behind a [hedge|wall|fence|shed]. There
was {S}, [eating|watching|enjoying|finishing] the [salad|beans|roses|flowers] of the <kindof>
<worker>! "<thanks> for finding my {A}!" <Nsaid> <gladly>. {S} looked [glad|ready|proud|happy]
to go home.

@glad @evening <fromthen>, {N} [closed|looked at|shut|remembered] the gate [every time|twice|
first|with care], and {S} was never [lost|alone|gone|missed] again.
""",
    ),
)
