"""Phrases and sentences that the plots share, in the notation of engine.py.

PHRASES are pieces of a sentence, written `<name>` in a template. SENTENCES are one or two whole
sentences with several forms, written `@name`; a comment says where each group makes sense.
The sentences that say who speaks are made by speech.py.
"""

from collections.abc import Mapping
from typing import Final

from gpt_pipeline.dataset.stories.speech import TAGS

PHRASES: Final[Mapping[str, str]] = {
    # Who the hero is, and what children like.
    "kid": "[small|little|young|tall|thin|strong|quick|short], <trait>",
    "trait": "[happy|curious|cheerful|lively|silly|playful|sweet|merry|bright|busy|funny|kind|"
    "friendly|polite|lucky|dreamy|quiet|clever|smart|gentle|calm|shy|nice|good|honest|helpful|"
    "loud|sleepy|joyful|jolly|eager|neat|proud|caring|hopeful|peaceful|carefree|sunny|pleasant|"
    "beautiful|lovely|fine|wonderful|lazy|cute|amazing|special|charming]",
    "smallkid": "[small|little|young|tiny|thin|quick|short|light], <trait>",
    "bigkid": "[big|huge|tall|large|strong|young|great|fat], <trait>",
    "love": "[loved|liked]",
    "hobby": "[draw|sing|dance|jump in puddles|look at clouds|listen to music|paint|build towers|"
    "make up games|pick flowers|look for bugs|ask questions|tell jokes|hum old songs|play with "
    "stones|play tag|tell stories|look at books|make soup|chase leaves|wave at birds|play in the "
    "mud|cook|write letters|play with string|jump rope|spin around|make gifts|talk|smile|play "
    "house|read]",
    "hobby2": "[count|whistle|feed the birds|laugh|clap|skip|eat plums|sleep late|talk to cats|"
    "hop|sit in the sun|run in the grass|climb trees|wear funny socks|hum|help in the kitchen]",
    "hobbies": "<hobby> and <hobby2>",
    "likes": "<hue> <thing>s",
    "home": "[In a [small|quiet|pretty|busy] [town|village]|In a [tall|little|cozy|old] house|By "
    "the [river|sea]|Near a [forest|mountain]]",
    "hair": "[long|short|curly|straight|thick|wild|soft|thin|smooth|messy|shiny|neat|pretty|"
    "fluffy|nice|clean] [red|brown|black|light|dark|gold|blond|orange] hair",
    # When.
    "fair": "[sunny|bright|warm|fine|lovely|clear|quiet|mild|still|cool|dry|golden|fresh|"
    "beautiful|pleasant|perfect|sweet|happy|lucky|busy|lazy|windy|breezy|great|wonderful|special|"
    "long|calm|peaceful|cheerful|merry|good]",
    "part": "[morning|afternoon|day|[spring|summer] [morning|afternoon|day]|Monday|Tuesday|"
    "Wednesday|Thursday|Friday|Saturday|Sunday]",
    "fairday": "One <fair> <part>",
    "mood": "[quiet|busy|long|slow|lazy|dull|windy|cloudy|cold|gray|rainy|chilly|calm|strange|"
    "foggy|wet|dark|stormy|misty|snowy|sleepy|peaceful|special|cool|plain|funny|odd|merry|happy|"
    "lucky|boring|fine]",
    "inday": "One <mood> [morning|afternoon|day|Monday|Tuesday|Wednesday|Thursday|Friday|"
    "Saturday|Sunday]",
    "soon": "[Soon|At last|After a while|A little later|Before long|Not long after|In a little "
    "while|After a few minutes|After some time|A bit later|In no time|A short time later|After a "
    "short while|Very soon|Some time later|A few minutes later]",
    "sudden": "[Suddenly|All at once|Just then|All of a sudden|At that [moment|minute|second]|"
    "Right then|A [moment|minute|second] later|Out of nowhere]",
    "later": "[<num2> [days|weeks]|A [day|week|month]] later",
    "num2": "[Two|Three|Four|Five|Six|Seven|Eight|Nine|Ten|Eleven|Twelve]",
    "fromthen": "[From that [day|moment|time|hour] on|After that [day|time]|From then on|After "
    "that|In the [days|weeks|months|years] after that|Every [day|week] after that]",
    "until": "until [lunch|dinner|sunset|dark|noon|bedtime|supper|[one|two|three|four|five|six|"
    "seven|eight|nine|ten|eleven|twelve] o'clock|half past [one|two|three|four|five|six|seven|"
    "eight|nine|ten|eleven|twelve]|it got [late|cold|dark|windy]]",
    # How people feel.
    "very": "[very|so|really|quite|truly|rather|ever so|a bit]",
    "glad": "[very|so|really|quite|truly|ever so|rather|super] [happy|glad|pleased|cheerful|"
    "proud|lucky|joyful|thankful|merry|excited|delighted|content|grateful|hopeful|peaceful|calm|"
    "safe|warm|satisfied|relieved|blessed|thrilled|giddy|jolly|carefree|alive|playful|sunny|"
    "fortunate|amazed|bubbly|brave]",
    "sad": "<very> [sad|upset|worried|unhappy|gloomy|troubled|lost|sorry|lonely|hurt|tearful|"
    "nervous|shaky|helpless|miserable|down|tired|weak|small|alone|glum|let down|uneasy|bad|awful|"
    "shocked|hopeless|empty|scared|cold|unsure|sick]",
    "afraid": "<very> [scared|afraid|frightened|nervous|shaky|worried|uneasy|small|alone|weak|"
    "cold|helpless|lost|tense|timid|jumpy]",
    "joy": "[happily|merrily|again and again|for a long time|for a while|all day|cheerfully|"
    "gladly|with [great|real|pure|true|wild|much|such|full] [joy|delight|glee|pleasure]]",
    "softly": "[softly|gently|kindly|quietly|warmly|sweetly|calmly|slowly]",
    # Noises.
    "crash": "[Bang|Crash|Crack|Snap|Boom|Bump|Thump|Bam|Clunk|Pop|Clang|Smack|Plop|Bonk|Whack|"
    "Thud]",
    # What they do.
    "ran": "[ran|raced|rushed|hurried|dashed|skipped|hopped|jogged]",
    "went": "[went|walked|came|stepped|crept|marched|wandered|strolled|hopped|skipped|hurried|"
    "ran|rushed|raced|jogged|dashed]",
    "played": "[played|danced|jumped|ran|raced|hopped|skipped|sang][| and [laughed|giggled|"
    "clapped|cheered|smiled|talked|whistled|hummed]]",
    "smiled": "[smiled|laughed|grinned|giggled][| and [nodded|winked|clapped|hopped|jumped|"
    "danced|cheered]]",
    "ate": "[ate|had|enjoyed|tasted|tried|finished|nibbled|munched]",
    "care": "[[very|so|quite|really] [carefully|slowly|gently|softly]|carefully|slowly|gently|"
    "softly|with care|with great care|with both hands|with steady hands|bit by bit|little by "
    "little]",
    "crept": "[[very|so|quite|really] [carefully|slowly|quietly|softly]|carefully|slowly|quietly|"
    "softly|with care|with great care|step by step|bit by bit|little by little|on tiptoe]",
    # What people say.
    "ohno": "[Oh no|Oh dear|Oh my|Uh-oh|Oh, no, no|Dear me|Goodness|Oh]",
    "hooray": "[Hooray|Yay|Wow|Hurray|Yes|Look|Oh, wow|Yippee]",
    "hello": "[Good morning|Hello|Hi|Good day|Nice to see you|Have a nice day|Hello, hello|Hi "
    "there]",
    "thanks": "[Thank you|Thank you so much|Thanks|Oh, thank you|Thank you very much|Many thanks|"
    "Thank you, thank you|Thanks a lot]",
    "sure": "[Yes|Of course|Sure|Okay|All right|Yes, of course|Yes, yes|Oh, yes]",
    "whats": "[What is wrong|What happened|Why are you sad|Can I help|Are you all right|What is "
    "the matter|Did something happen|Why the long face]",
    "dontworry": "[Don't worry|Don't cry|Don't be sad|It will be all right|It's okay|Cheer up|Be "
    "brave|Take a deep breath][|, {N}]",
    "sorry": "I am [sorry|so sorry|very sorry|really sorry|truly sorry|sorry, so sorry|terribly "
    "sorry|sorry for this]",
    # Things, and where they are.
    "fine": "[nice|great|lovely|fine|wonderful|special|beautiful|perfect|fancy|splendid|cool|"
    "good|charming|delightful|cute|small|big|new|old|bright|clean|neat|plain|shiny|little|simple|"
    "lucky|odd|funny|strange|pretty|tiny|amazing|superb|marvelous|terrific|excellent|large|"
    "pleasant|cheap]",
    "nice": "[nice|great|pretty|lovely|fine|wonderful|special|beautiful|perfect|fancy|splendid|"
    "cool|good|super|charming|delightful]",
    "deco": "with <hue> [dots|stripes|stars|spots|lines|flowers|hearts|squares|circles|moons|"
    "leaves|suns|clouds|birds|waves|berries|apples|plums|nuts|ants|bees|houses|ships|pigs|whales|"
    "frogs|ghosts|trees|boots|eggs|pears|fish]",
    "hue": "[red|blue|green|yellow|white|brown|gray|pink|orange|purple|black|[light|dark] [blue|"
    "green]|silver]",
    "num": "[two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|a few|many|some|a "
    "lot of]",
    "spot": "[old|big|small|shiny|dusty|wet|new|dry|broken|low|clean|plain|pretty|strong|long|"
    "nice|<hue>] [fence|wall|gate|bench|bridge|post|cart|step|sign|barrel|ladder|shed|table|"
    "crate|pole|box|tent|bin|tub|chair|hut|barn|tire|cabin|stall|birdhouse|well|tower|pump|"
    "statue|trunk|flagpole]",
    "where": "[behind|near|beside|by|next to|in front of|close to|not far from] a <spot>",
    "where1": "[Behind|Near|Beside|By|Next to|In front of|Close to|Not far from] a <spot>",
    "thing": "[pencil|cup|map|comb|sponge|whistle|mitten|towel|book|rope|bottle|basket|ruler|"
    "cork|pan|crayon|magnet|spoon|letter|candle|sock|string|brick|napkin|pen|straw|cap|stone|"
    "stick|sticker|pillow|belt|bell|mat|grape|bag|sack|mushroom|ticket|pin|shirt|sweater|cape|"
    "hammer|cracker|tray|coat|vest|boot|shoe|flower|rock|nut|apple|plum|pear|egg|banana|pot|fork|"
    "lemon|nail|pebble|stool]",
    "thingadj": "[new|old|clean|plain|long|short|little|pretty|small|big|dusty|shiny|nice|thin|"
    "light|bright|fine|lovely|great|simple|funny|strange|odd|cute|fancy|perfect|special|splendid|"
    "wonderful|beautiful|charming|delightful|good|cool|warm|dry|wet|heavy|tiny|large|neat|lucky|"
    "smooth|soft|hard|thick|huge|cheap|amazing|superb|marvelous|terrific|excellent|broken|strong|"
    "fat|wide|pleasant|lost|secret|messy|mighty|giant|round] <hue>",
    "many": "[two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|a few|many|some|"
    "a lot of|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|thirty|forty|fifty|"
    "sixty|seventy|eighty|ninety|a hundred|a dozen]",
    "stuff": "<num> <thingadj> <thing>s",
    "stuffcap": "[<num2>|Twenty|A few|Many|Some|A lot of] <thingadj> <thing>s",
    "cloud": "[White|Small|Soft|Fluffy|Thin|Round|Big|Slow|Little|Long|Gray|Pretty|Light|Quiet|"
    "Lazy|Bright]",
    "indoors": "[behind|near|beside|next to] the [old|big|small|new|brown|white|green|blue|red|"
    "yellow|gray|dusty|clean|wide|low|heavy] [sofa|chair|table|bed|desk|shelf|stove|door|"
    "cupboard|dresser|bookcase|piano|bench|basket|stool|cabinet]",
    "item": "<thingadj> <thing>",
    "soft": "[soft|warm|thick|clean|cozy|old|woolly|fluffy|new|nice|dry|light|big|pretty|plain|"
    "simple|neat|good|fine|lovely|cheap|long|large|heavy|thin|fancy|special|strong|smooth|cute|"
    "perfect|beautiful]",
    "cloth": "<soft>, <hue> [blanket|towel|coat|sweater|jacket|cape|rug|shirt]",
    "wear": "<soft>, <hue> [coat|sweater|jacket|cape|shirt|vest|robe|cloak]",
    "worker": "[kind|friendly|old|young|tall|cheerful|jolly|busy|thin|short|quiet|happy|merry|"
    "clever|gentle|polite] [mailman|baker|painter|doctor|farmer|policeman|gardener|builder|"
    "teacher|driver|cook|singer|nurse|guard|sailor|writer]",
    "creep": "[went|came|walked|stepped|crept|moved|wandered|marched]",
    "small": "[small|little|tiny|thin|soft|weak|short|light]",
    "big": "[big|huge|tall|large|giant|wide|great|mighty]",
    # Food.
    "food": "[toast|sandwiches|apples|pears|grapes|nuts|strawberries|soup|pancakes|corn|crackers|"
    "plums|rice|noodles|eggs|yogurt|cheese|beans|potatoes|salad|berries|cherries|peaches|raisins|"
    "porridge|pasta|pudding|chicken|oranges|bananas|mushrooms|dumplings]",
    "taste": "[fresh|tasty|good|yummy|delicious|lovely|simple|nice|fine|wonderful|great|plain|"
    "healthy|splendid|perfect|super|amazing|excellent|special|cheap|soft|mild|colorful|hearty|"
    "fancy|beautiful|sweet|light|superb|marvelous|delightful|terrific]",
    "drink": "[cold|warm|sweet|fresh|good|cool|tasty|nice|fine|great|lovely|healthy|special|"
    "light|perfect|delicious] [milk|tea|[apple|grape|orange|peach|berry|pear] juice]",
    "meal": "<taste> <food> with <drink>",
    # Animals.
    "creature": "[small|big|fat|young|old|little|tiny|round|thin|strong|quick|quiet|calm|shy|"
    "busy|sleepy|funny|gray|brown|spotted|striped|pretty|lively|happy|friendly|silly|curious|"
    "clever|black|white|cheerful|hungry|kind|gentle|merry|jolly|polite|lazy|loud|lovely|"
    "beautiful|proud|bright|fine|neat|nice|sweet|tired|plain|fast|slow|cute|smart|wild|dusty|wet|"
    "red|blue|yellow|orange|pink|large|strange|lucky]",
    "animal": "<creature> [robin|sparrow|crow|pigeon|blackbird|magpie|lark|dove|gull|stork|heron|"
    "rooster|swan|peacock|hen|bluebird|beetle|snail|caterpillar|spider|worm|ladybug|grasshopper|"
    "ant|cricket|moth|bee|lizard|wasp|slug|pig|cow]",
    "doing": "[resting|sleeping|eating|drinking|waiting|looking around|playing|hiding|sitting "
    "still|getting warm|moving slowly|looking up|having fun|keeping still|looking for food|lying "
    "down]",
    "dream": "<many> [small|big|fat|young|old|busy|quick|sleepy|little|tiny|happy|shy|funny|"
    "silly|lively|cheerful|clever|calm|friendly|curious|gentle|loud|kind|polite|strange|lovely|"
    "proud|lucky|thin|tall|merry|huge] <hue> [whales|clowns|elephants|giants|castles|bubbles|"
    "seals|pigs|monkeys|camels|kings|ships|zebras|fish|trees|snakes|pillows|socks|ghosts|worms|"
    "bees|houses|stars|clouds|robots|apples|shoes|spoons|pirates|pencils|frogs|sharks]",
}  # fmt: skip

_GLOOM: Final = (
    "{N} felt <sad>.",
    "{N} was <sad>. A [big|small|hot|warm|wet|single|slow|tiny|fat|round|sad|little|quick|"
    "heavy|shiny|quiet] tear ran down {his} [cheek|nose|face|chin].",
    "{N} [sighed|sniffed|cried|looked down|sobbed|shook|said nothing|stood still] and felt <sad>.",
)

SENTENCES: Final[Mapping[str, tuple[str, ...]]] = {
    **TAGS,
    # The first sentence of any story with a child.
    "open": (
        "{N} was a <kid> {girl} who <love> to <hobbies>.",
        "Once upon a time, there was a <kid> {girl} named {N}, who <love> <food> and <likes>.",
        "{N}, a <kid> {girl} with <hair>, had <stuff>.",
        "<home> lived {N}, a <kid> {girl} with <stuff>.",
    ),
    # The same for an animal that is the hero, of the kind {K}.
    "wildopen": (
        "Once upon a time, there was a <smallkid> {K} named {N}, who had <stuff>.",
        "{N} was a <smallkid> {K} who <love> <food> and <likes>.",
    ),
    # The hero N gets ready to go out on a fair day: what is worn, eaten or carried.
    "ready": (
        "{He} wore a <hue> [coat|shirt|sweater|vest|cape|dress|belt|cap] and <hue> [shoes|boots|"
        "socks|sandals|pants|gloves|mittens|trousers].",
        "In {his} bag were a <item>, a <item>, and <taste> <food>.",
        "{He} also took a <item> and <taste> <food>.",
    ),
    # Outdoors on a fair day, spring to autumn.
    "air": (
        "A [soft|light|cool|warm|little|gentle|sweet|fresh|mild|quiet|kind|small|slow|calm|lovely|"
        "pleasant] wind [moved|shook|rocked|touched|brushed|bent|cooled|lifted] the [small|"
        "little|thin|long|soft|light|"
        "pretty|quiet|white|round|big|fresh|dry|bright|young|old] [leaves|"
        "grass|bushes|flowers|weeds|clover|ferns|roses].",
        "<cloud> clouds [floated|drifted|sailed|moved|danced|raced|went|came] by, and [red|blue|"
        "yellow|white|pink|orange|purple|tiny] "
        "flowers [grew|bloomed] <where>.",
        "<where1>, a <animal> was <doing>.",
        "<where1> were <many> <animal>s.",
    ),
    # On the way somewhere, outdoors by day; not together with air.
    "sight": (
        "<where1>, a <animal> was <doing>.",
        "They saw <many> <animal>s <where>.",
        "They met the <worker>, who had <stuff>.",
    ),
    # How the hero N feels, in any place; gloom is for behind what the hero just cried.
    "sad": (*_GLOOM, '"<ohno>!" {N} [sighed|cried|said|whispered] and felt <sad>.'),
    "gloom": _GLOOM,
    "glad": (
        "{N} felt <glad>.",
        "{N} <smiled> and felt <glad>.",
        "{N} was <glad>.",
        "{N} <smiled> <joy>.",
    ),
    # The end of a day at home.
    "evening": (
        "Later, they <ate> <meal>.",
        "That night, {N} dreamed of <dream>.",
        "That [evening|night], {N} <ate> <meal> and dreamed of <dream>.",
    ),
    # Two friends, the hero N and F.
    "friend": (
        "{His} [best|good|dear|old] friend was {F}, a <kid> {F.girl}.",
        "{F}, a <kid> {F.girl} with <hair>, was {his} [best|good|dear|old] friend.",
    ),
    # F comes to the hero N, who is alone.
    "comes": (
        "{F}, a <kid> {F.girl}, <went> over.",
        "A <kid> {F.girl} named {F} <went> over with <stuff>.",
        "Then {F} <went> by with a <item> and a <item>.",
    ),
    # In a house, by day or night.
    "home": (
        "The [kitchen|hall|room|house] smelled of <taste> <food>.",
        "There was a <item> <indoors>.",
        "A <item> and a <item> lay <indoors>.",
        "<stuffcap> lay <indoors>.",
    ),
}
