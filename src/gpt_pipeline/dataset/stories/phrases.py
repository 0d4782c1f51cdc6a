"""Phrases and sentences that the plots share, in the notation of engine.py.

PHRASES are pieces of a sentence, written `<name>` in a template. SENTENCES are one or two whole
sentences with several forms, written `@name`; a comment says where each group makes sense.
"""

from collections.abc import Mapping
from typing import Final

PHRASES: Final[Mapping[str, str]] = {
    # Who the hero is, and what children like.
    "kid": "[little|small|young|tall|thin|strong|quick|quiet|clever|smart|good|nice|healthy|"
    "gentle|calm|shy], [happy|curious|cheerful|lively|silly|playful|sweet|merry|bright|busy|"
    "funny|kind|friendly|polite|lucky|dreamy]",
    "hobby": "[draw|sing|dance|jump in puddles|look at clouds|listen to music|paint|build towers|"
    "make up games|pick flowers|look for bugs|ask questions|tell jokes|hum old songs|play with "
    "blocks|play tag|tell stories|look at books|make soup|chase leaves|wave at buses|play in the "
    "mud|cook|write letters|play with clay|jump rope|spin around|make gifts|talk|smile|play "
    "house|read]",
    "hobby2": "[help in the kitchen|collect stones|hop on one foot|wear funny socks|learn new "
    "words|count|whistle|feed the birds|laugh|make silly faces|play hide and seek|chase the ants|"
    "clap|skip|roll on the rug|run in the grass|eat plums|sleep late|take naps|talk to cats|blow "
    "bubbles|visit neighbors|water plants|play catch|try new food|look for worms|giggle|march|"
    "sit in the sun|smell flowers|listen|hum]",
    "wildhobby": "[chase leaves|roll down hills|dig tunnels|splash in the creek|collect twigs"
    "|listen to the wind|play hide and seek|hum old songs|jump over logs|look at the stars"
    "|sleep late|run in the grass|make silly faces|learn new words|whistle|clap]",
    "house": "[small|big|tall|cozy|old|pretty|neat|warm] [brick|wooden|stone|white|yellow|gray"
    "|green|brown] house",
    # When.
    "fair": "[sunny|bright|warm|fine|lovely|clear|quiet|mild|still|cool|dry|soft|sweet|good|"
    "great|nice], [fresh|golden|beautiful|pretty|calm|cheerful|gentle|pleasant|wonderful|perfect|"
    "happy|lazy|merry|easy|peaceful|simple]",
    "part": "[morning|afternoon|day|[spring|summer] [morning|afternoon|day]|early morning|late "
    "afternoon|Monday|Tuesday|Friday|Saturday|Sunday]",
    "day": "[One day|One morning|One afternoon|The next day|One Monday|One Tuesday|One Friday"
    "|One Saturday|One Sunday|A few days later|One quiet day|One long, slow day|One busy day"
    "|Early one day|Late one day|One fine day]",
    "day2": "[one day|one morning|one afternoon|the next day|one Monday|one Tuesday|one Friday|"
    "one Saturday|one Sunday|one busy day|one long day|one fine day|a few days later|one quiet "
    "day|early one day|late one day]",
    "day3": "[Two days later|Three days later|A week later|A few days later|On Monday|On Tuesday"
    "|On Friday|On Saturday]",
    "soon": "[Soon|At last|After a while|A little later|Before long|Not long after"
    "|In a little while|After a few minutes|After some time|A bit later|In no time"
    "|A short time later|After a short while|Very soon|Some time later|A few minutes later]",
    "sudden": "[Suddenly|All at once|Just then|All of a sudden|At that [moment|minute|second]|"
    "Right then|A [moment|minute|second] later|Out of nowhere]",
    "fromthen": "[From that [day|moment|time|hour] on|After that [day|time]|From then on|After "
    "that|In the [days|weeks|months|years] after that|Every day after that]",
    "fine": "[nice|great|lovely|fine|wonderful|special|beautiful|perfect|fancy|splendid|cool|"
    "good|super|charming|delightful|cute], [small|big|new|old|bright|clean|neat|plain|shiny|"
    "little|simple|lucky|dusty|funny|strange|pretty]",
    "mild": "[soft|light|cool|warm|little|gentle|sweet|fresh|mild|quiet|kind|small|slow|calm|"
    "lovely|pleasant]",
    "mild2": "[small|little|thin|long|soft|light|pretty|quiet|white|round|big|fresh|dry|bright|"
    "young|old]",
    "Nsaid": "[{N} [said|replied|answered]|[said|replied|answered] {N}]",
    "Fsaid": "[{F} [said|replied|answered]|[said|replied|answered] {F}]",
    "Esaid": "[{his} {E} [said|replied|answered]|[said|replied|answered] {his} {E}]",
    "Nasked": "[{N} asked|asked {N}]",
    "Fasked": "[{F} asked|asked {F}]",
    "Easked": "[{his} {E} asked|asked {his} {E}]",
    "Ncalled": "[{N} <called>|<called> {N}]",
    "Fcalled": "[{F} <called>|<called> {F}]",
    "safely": "[very carefully|carefully|slowly|very slowly|quite slowly|so carefully|really "
    "slowly|with care]",
    "cried": "[called|cried|yelled|shouted]",
    # How people feel.
    "glad": "[very|so|really|quite|truly|super|very, very|so very] [happy|glad|pleased|cheerful|"
    "proud|lucky|joyful|thankful|merry|excited|delighted|content|grateful|warm inside|hopeful|"
    "peaceful][| and [safe|calm|free|strong|brave]]",
    "sad": "[very|so|really|quite|truly|a little|a bit|rather] [sad|upset|worried|unhappy|gloomy|"
    "troubled|lost|sorry|lonely|hurt|tearful|nervous|shaky|helpless|miserable|down][| and [cold|"
    "tired|alone|weak|small]]",
    "afraid": "[very|so|really|quite|truly|a little|a bit|rather] [scared|afraid|frightened|"
    "nervous|shaky|worried|uneasy|small][| and [alone|weak|cold|tired|helpless|lost]]",
    "warmly": "[happy|light|calm|safe|brave|free|strong|big] [and warm|and glad|and proud|and "
    "full of joy|all over|inside|again|at last]",
    "joy": "[happily|merrily|again and again|for a long time|for a while|a little|cheerfully|"
    "gladly|with [great|real|pure|true|wild|much|such|full] [joy|delight|glee|pleasure]]",
    # How people speak; none of these needs a pronoun.
    "said": "[said|replied|answered]",
    "softly": "[softly|gently|kindly|quietly|warmly|sweetly|calmly|slowly|with a [kind|warm|"
    "small|soft|gentle|little|sweet|shy|calm|friendly|quiet|slow|lovely|nice|sunny|wise] [smile|"
    "nod|look|wink]|in a [soft|kind|warm|gentle|quiet|calm|sweet|low|friendly|clear|slow|steady|"
    "deep|pleasant|light|mild] [voice|tone]|after a [moment|while|minute|little while]]",
    "gladly": "[happily|loudly|cheerfully|proudly|merrily|brightly|gladly|warmly|with a [big|"
    "wide|bright|happy|merry|sunny|proud|jolly|great|funny|silly|cheerful|quick|warm|nice|"
    "lovely] [smile|laugh|grin|giggle]|in a [happy|loud|clear|bright|merry|proud|strong|cheerful|"
    "high|excited|lively|joyful|big|jolly|quick|glad] [voice|tone]|with [bright|shining|happy|"
    "big|wide|merry|warm|proud] eyes]",
    "glumly": "[sadly|quietly|softly|slowly|with a [deep|long|little|small|sad|big|tired|shaky|"
    "slow|heavy|soft|quiet] [sigh|sniff|frown|sob]|in a [small|low|shaky|sad|weak|tiny|thin|dull|"
    "slow|tired|flat|soft|quiet|gloomy|worried|nervous] [voice|tone]|with [wet|sad|big|tired|red|"
    "worried|wide|unhappy] eyes]",
    "called": "[called|shouted|cried|yelled|cheered|sang|laughed|said]",
    "smiled": "[smiled|laughed|grinned|giggled][| and [nodded|winked|clapped|hopped|jumped|"
    "danced|cheered]]",
    # Noises.
    "crash": "[Bang|Crash|Crack|Snap|Boom|Bump|Thump|Bam]",
    "swish": "[Whoosh|Splash|Swoosh|Swish]",
    # What they do.
    "ran": "[ran|raced|rushed|hurried|dashed|skipped|hopped|jogged]",
    "went": "[went|walked|came|stepped|crept|marched|wandered|strolled|hopped|skipped|hurried|"
    "ran|rushed|raced|jogged|dashed]",
    "played": "[played|danced|jumped|ran|raced|hopped|skipped|sang][| and [laughed|giggled|"
    "clapped|cheered|smiled|talked|whistled|hummed]]",
    "took": "[took|got|brought|found|fetched|carried|grabbed|picked up]",
    "ate": "[ate|had|enjoyed|tasted|tried|finished|nibbled|munched]",
    "care": "[[very|so|quite|really] [carefully|slowly|gently|softly]|carefully|slowly|gently|"
    "softly|with care|with great care|with both hands|with steady hands|bit by bit|little by "
    "little]",
    # What people say.
    "ohno": "[Oh no|Oh dear|Oh my|Uh-oh|Oh, no, no|Dear me|Goodness|Oh]",
    "hooray": "[Hooray|Yay|Wow|Hurray|Yes|Look|Oh, wow|Yippee]",
    "thanks": "[Thank you|Thank you so much|Thanks|Oh, thank you|Thank you very much|Many thanks"
    "|Thank you, thank you|Thanks a lot]",
    "sure": "[Yes|Of course|Sure|Okay|All right|Yes, of course|Good idea|Oh, yes]",
    "dontworry": "[Don't worry|Don't cry|Don't be sad|It will be all right|It's okay|Cheer up|Be "
    "brave|Take a deep breath][|, {N}]",
    # Adjectives and nouns; lists that are joined share no word.
    "nice": "[nice|great|pretty|lovely|fine|wonderful|special|beautiful|perfect|fancy|splendid|"
    "cool|good|super|charming|delightful]",
    "big": "[big|huge|tall|large|giant|wide|great|mighty|fine|strong|very big|very tall|rather "
    "big|rather tall|really big|really tall]",
    "small": "[small|little|tiny|thin|soft|weak|short|light]",
    "soft": "[soft|warm|thick|clean|cozy|old|woolly|fluffy|new|nice|dry|light|big|pretty|plain|"
    "simple]",
    "hue": "[red|blue|green|yellow|white|brown|gray|pink|orange|purple|black|[light|dark|pale|"
    "bright|deep] [blue|green|pink|red]]",
    "num": "[two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|a few|many|some|a "
    "lot of]",
    "food": "[toast|sandwiches|apples|pears|grapes|nuts|strawberries|soup|pancakes|corn|crackers|"
    "plums|rice|noodles|eggs|yogurt|cheese|beans|potatoes|salad|berries|cherries|peaches|raisins|"
    "porridge|pasta|pudding|chicken|oranges|bananas|mushrooms|dumplings]",
    "taste": "[fresh|tasty|good|yummy|delicious|lovely|simple|nice|fine|wonderful|great|plain|"
    "healthy|splendid|perfect|super]",
    "drink": "[cold|warm|sweet|fresh|good|cool|tasty|nice] [milk|tea|[apple|grape|orange|peach|"
    "berry|pear] juice]",
    "creature": "[small|big|fat|young|old|little|tiny|round|thin|strong|quick|quiet|calm|shy|"
    "busy|sleepy], [funny|gray|brown|spotted|striped|pretty|lively|happy|friendly|silly|curious|"
    "clever|black|white|cheerful|hungry]",
    "csize": "[small|big|fat|young|old|busy|quick|sleepy|little|tiny|happy|shy|funny|silly|"
    "lively|cheerful]",
    "bird": "[robin|sparrow|crow|pigeon|blackbird|magpie|lark|dove|gull|stork|heron|rooster|swan|"
    "peacock|hen|bluebird]",
    "bug": "[beetle|snail|caterpillar|spider|worm|ladybug|grasshopper|ant|cricket|moth|bee|"
    "lizard|wasp]",
    "birddo": "[singing|hopping|resting|sleeping|dancing|eating seeds|fixing its nest"
    "|cleaning its wings|drinking|calling|looking around|looking for worms|watching the clouds"
    "|carrying a twig|stretching|waiting]",
    "spot": "[big|old|tall|low|wide|mossy|dusty|wooden|gray|brown|new|white|green|small|long|"
    "broken] [fence|wall|tree|gate|post|log|bench|hedge|bridge|pole|cart|barrel|ladder|step|sign|"
    "shed]",
    "item": "[new|old|clean|plain|long|short|little|pretty|small|big|dusty|shiny|nice|thin|light|"
    "bright] [pencil|cup|map|comb|sponge|whistle|mitten|towel|book|box|rope|bottle|basket|ruler|"
    "cork|pan]",
    "item2": "<hue> [crayon|magnet|spoon|letter|candle|brush|sock|string|card|napkin|pen|straw|"
    "cap|stone|stick|sticker]",
    "worker": "[mailman|baker|painter|doctor|farmer|policeman|gardener|builder]",
    "kindof": "[kind|friendly|old|young|tall|cheerful|jolly|busy]",
}

_SIGHTS: Final = (
    "[On the way|Along the way|By the road|Near a tree|At the corner|After a few steps|Far away"
    "|Next to the path], {he} saw a <creature> <bird> <birddo> on a <spot>.",
    "[On the way|Along the way|By the road|Near a tree|At the corner|After a few steps|Far away"
    "|Next to the path], {he} saw <num> <creature> <bug>s and a <creature> <bird> <birddo>.",
    "Then {he} met the <kindof> <worker>, who had a <item> and a <item2>. \"[Good morning|Hello|Hi"
    "|Good day|Nice to see you|Have a nice day|Hello, hello|Hi there]!\" {he} said <gladly>.",
    "Then {he} <went> past a <spot> and saw a <csize> <hue> <bird> [sleeping|eating|resting"
    "|waiting|looking around|walking|drinking|stretching] [in the sun|in the shade|on the path"
    "|in the grass|on a stone|under a bush|all alone|near some flowers].",
)  # fmt: skip

SENTENCES: Final[Mapping[str, tuple[str, ...]]] = {
    # The first sentences of any story with a child.
    "open": (
        "[Once upon a time|Once|Long ago|One time], there was a <kid> {girl} named {N}. {He}"
        " [loved|liked] to <hobby> and <hobby2>.",
        "{N} was a <kid> {girl} who [loved|liked] to <hobby> and <hobby2>.",
        "There once was a <kid> {girl} named {N}. {He} lived in a <house> and [loved|liked] to"
        " <hobby>.",
        "In a <house>, there lived a <kid> {girl} named {N}. {He} [loved|liked] to <hobby2>.",
    ),
    # The same for an animal that is the hero, of the kind {K}.
    "wildopen": (
        "[Once upon a time|Once|Long ago|One time], there was a <kid> {K} named {N}. {He}"
        " [loved|liked] to <wildhobby>.",
        "{N} was a <kid> {K} who [loved|liked] to <wildhobby>. {He} lived in a [small|cozy|deep"
        "|warm|dry|neat|round|snug] home under a [tall|old|mossy|big|low|green|quiet|wide] [oak"
        "|tree|bush|hill|rock|hedge|log|wall].",
    ),
    # A child gets ready: what is worn, eaten or carried, on a day that is not cold.
    "ready": (
        "{He} put on a <soft>, <hue> [coat|shirt|sweater"
        "|jacket|vest|cape|scarf|hat] and [funny|dry|big|shiny|bright|dusty|striped|spotted"
        "|new|old|clean|plain|pretty|nice|cute|simple], <hue> [shoes|boots|socks|sandals|pants"
        "|gloves|mittens|trousers].",
        "In {his} bag, {he} had a <item>, a <item2>, and some <taste> <food>.",
        "First, {he} <ate> some <taste> <food> with <drink> and put a <item> in {his} bag.",
    ),
    # Outdoors on a fair day, spring to autumn.
    "air": (
        "The sky was [blue|clear|bright|wide|high|light|soft|open|deep|pale"
        "|warm|quiet|calm|golden|lovely|beautiful], and <num> <creature> <bird>s"
        " were [singing|calling|playing|hopping|resting|sleeping|dancing|drinking] in the [trees"
        "|bushes|leaves|tall grass|branches|warm air|sun|shade].",
        "The sun was [warm|bright|high|shining|out|up|golden|strong], and a <mild> wind [moved"
        "|shook|rocked|touched|brushed|bent|cooled|lifted]"
        " the <mild2> [leaves|grass|branches|flowers|weeds"
        "|clover|ferns|roses].",
        "The air smelled of [grass|flowers|mint|hay|pine|roses|clover|rain] and [earth|paint|honey"
        "|plums|wood|soap|lemons|leaves], and [white|small|soft|fluffy|thin|round|big|slow"
        "|little|long|gray|pretty|light|quiet|lazy|bright]"
        " clouds"
        " [floated|drifted|sailed|moved|danced|raced|went|came] by.",
    ),
    # On the way somewhere, outdoors by day: the hero alone, or two of them.
    "sight": _SIGHTS,
    "sights": tuple(text.replace("{he}", "they").replace("{He}", "They") for text in _SIGHTS),
    # How the hero feels, in any place.
    "sad": (
        "{N} felt <sad>. A [big|small|hot|warm|wet|single|slow|tiny|fat|round|sad|little"
        "|quick|heavy|shiny|quiet] tear ran down {his} [cheek"
        "|nose|face|chin].",
        "{N} was <sad>, and {his} [heart felt heavy|lip began to shake|eyes filled with tears"
        "|shoulders sank|chin went down|throat felt tight|hands shook|eyes stung].",
        '"<ohno>!" {he} said <glumly>. {N} felt <sad>.',
        "{N} [sighed|sniffed|cried|looked down|bit {his} lip|shook {his} head|said nothing"
        "|stood very still] and felt <sad>.",
    ),
    "glad": (
        "{N} felt <glad>. {His} heart was <warmly>.",
        "{N} <smiled> <joy>, and {he} felt <glad>.",
        '"<hooray>!" {he} said <gladly>. {N} was <glad>.',
        "{N} felt <warmly>. {He} <smiled> <joy>.",
    ),
    # The end of a day at home.
    "evening": (
        "That [evening|night], they <ate> some <taste> <food> with <drink>, and everyone was"
        " <glad>.",
        "That [evening|night], {N} <ate> some <taste> <food> and told {his} family about it"
        " <gladly>.",
        "That night, {N} slept [well|deeply|soundly|like a baby|long|late|quietly|happily] and"
        " dreamed of <num> <csize> <hue> [whales|clowns|elephants|giants|castles|bubbles|seals"
        "|pigs].",
    ),
    # Two friends, the hero N and F.
    "friend": (
        "{His} [best|good|dear|old] friend was a <kid> {F.girl} named {F}.",
        "{He} had a [best|good|dear|old] friend named {F}, a <kid> {F.girl} with [big|bright|kind"
        "|brown|green|blue|gray|merry] eyes and [long|short|curly|straight|red|brown|black"
        "|light] hair.",
        "{F}, a <kid> {F.girl} from [next door|the same street|school|across the road], was {his}"
        " [best|good|dear|old] friend.",
    ),
    # A quiet house, by day or night.
    "home": (
        "The house was [quiet|still|calm|warm|sleepy|silent|cozy|peaceful]. Only the [old|big"
        "|small|tall|round|wooden|brown|gray] [clock|pipe|fan|stove|radio|door|window|roof] made"
        " a [soft|low|gentle|funny|steady|tiny|slow|odd] sound.",
        "The [kitchen|hall|room|house] smelled of [soup|soap|paint|lemons|wood|honey|mint|tea],"
        " and the [floor|rug|sofa|chair|table|bed|wall|door] was [warm|soft|cool|clean|bright|neat"
        "|dusty|new].",
        "There was a <item> on the [table|floor|chair|sofa], and a <item2> lay [next to it|under"
        " it|by the door|near the wall].",
    ),
}
