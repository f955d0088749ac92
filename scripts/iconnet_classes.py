"""The words behind IconNet: each class with the names under which designers file it.

One line per class, `class name: other name|other name`; a drawing belongs to a class when its own name, without style,
size and number, is one of these. Which of the candidates become classes is decided by how many drawings there are
(build_iconnet.py), never by how well anything recognises them.
"""

# Candidates for IconNet: everyday things at the basic level.
ICONNET = """
cat: cat face|kitty|black cat
dog: dog face|puppy|dog side
bird: birdie|dove|bird side
fish: fishes|fish side
horse: horse face|horse head
rabbit: bunny|rabbit face|hare
turtle: tortoise
snail
spider
bee: honeybee|bumblebee
butterfly
bug: beetle|ladybug|insect|ladybird|lady beetle
frog: frog face
owl
pig: pig face|piglet
cow: cow face
elephant
bear: bear face|teddy bear
crab
octopus
snake
paw: paw print|paws|dog paw
feather
bone: dog bone
egg: eggs
leaf: leaf fluttering|leaves
tree: deciduous tree|tree deciduous|evergreen tree|tree evergreen|pine tree|tree alt
flower: flower tulip|tulip|blossom|rose|daisy
mushroom
cactus
clover: four leaf clover|shamrock
carrot
cherry: cherries
banana
lemon
strawberry
grape: grapes
pear
pizza: pizza slice
burger: hamburger
cake: birthday cake|cake slice|cupcake
cookie: cookie bite
bread: bread slice|bread loaf|toast|loaf
cheese: cheese wedge
ice cream: ice cream cone|icecream|soft ice cream|ice cream soft
candy: candy bar|sweet|sweets|lollipop
coffee: coffee cup|cup of coffee|mug hot|coffee mug|hot beverage|coffee to go
tea: tea cup|teacup|teapot
mug: cup|mug alt
bottle: wine bottle|water bottle|baby bottle
wine glass: wine|wineglass|glass wine
cocktail: martini|martini glass|cocktail glass|glass cocktail
beer: beer mug|beer stein|beer glass
fork and knife: cutlery|utensils|fork knife|knife fork|restaurant
spoon
knife: kitchen knife
pot: cooking pot|saucepan|pan|frying pan
chef hat: chef|cook hat|cooking hat|toque
house: home|house chimney|home alt|house simple|home simple
building: office building|office|apartment|buildings|building office
castle: fort
factory: industry
church: chapel
mosque
hospital: clinic
bridge
tent: camping|campground|tent camping|camping tent
lighthouse
windmill: wind turbine
door: door open|door closed|open door
window: windows
bed: single bed|double bed
chair: armchair|office chair
sofa: couch
lamp: desk lamp|floor lamp|table lamp|lamp floor|lamp desk
light bulb: lightbulb|bulb|idea
candle
bathtub: bath|tub
shower: shower head
toilet
key: key alt|old key|house key
lock: padlock|locked|lock closed
bell: notification bell|bell alt|handbell
clock: clock face|wall clock
watch: wristwatch|smartwatch|wrist watch
alarm clock: alarm
hourglass: hourglass done|sandglass
calendar: calendar alt|calendar blank
camera: photo camera|camera alt|camera photo|camera retro
video camera: video|camcorder|camera video|movie camera
television: tv|monitor tv|tv old|tv retro
radio
microphone: mic|studio microphone|microphone alt
headphones: headphone|headset|headphone alt
speaker: loudspeaker|audio speaker
guitar: electric guitar|acoustic guitar
piano: musical keyboard|piano keys
drum: drums
trumpet
violin
telephone: telephone receiver|phone handset|phone call|call
mobile phone: smartphone|cell phone|mobile|cellphone|phone mobile
laptop: laptop computer|notebook computer
computer: desktop|desktop computer|monitor|pc
keyboard: computer keyboard
computer mouse: mouse|mouse alt|mouse simple
printer: print
floppy disk: floppy|save|diskette|device floppy
envelope: mail|email|letter
book: books|book closed|closed book|book alt
open book: book open|reading
newspaper: news
pencil: pen|pencil alt|edit pencil
paint brush: brush|paintbrush|brush alt
palette: artist palette|color palette|paint palette
scissors: scissor|cut
ruler: straight ruler|ruler alt
paper clip: paperclip|clip|attach
pushpin: thumbtack|thumb tack|push pin
magnet
magnifying glass: search|magnify|magnifier|loupe|magnifying glass tilted left
glasses: eyeglasses|sunglasses|eyewear
hammer
wrench: spanner
screwdriver
saw: hand saw|handsaw|chainsaw
axe: battle axe|hatchet
shovel: spade tool
anchor
rocket: rocket launch|spaceship|rocketship
airplane: plane|aeroplane|aircraft|flight|jet
helicopter
car: automobile|car side|car front|sedan|car alt
bus: bus alt|bus front|bus side
truck: lorry|delivery truck|truck side|shipping
train: train front|locomotive|train side
bicycle: bike|cycle
motorcycle: motorbike|scooter|moped|motor scooter
ship: boat|cruise ship|ferry
sailboat: sailing boat|sail boat|sailing|yacht
tractor
ambulance
traffic light: traffic lights|traffic signal|stoplight|traffic lights
fuel pump: gas station|gas pump|fuel|local gas station|fuel station
wheel: tire|steering wheel
compass
map: world map|map alt|folded map
globe: earth|world|globe alt
flag: flag alt|flags|flag triangle
mountain: mountains|snow capped mountain
sun: sunny|sun alt
moon: crescent moon|moon stars|full moon
star: star alt
cloud: clouds|cloudy
umbrella: umbrella alt|closed umbrella
snowflake: snow|snowflake alt
lightning: bolt|lightning bolt|flash|high voltage
fire: flame|fire alt
water drop: drop|droplet|water|raindrop|tint
rainbow
volcano
heart: heart alt|hearts|love
eye: eyes|eye alt
ear
nose
hand: hand palm|raised hand|palm|hands|open hand
tooth: teeth
brain
skull: death skull|skull alt
skeleton
ghost
robot: robot face|bot
alien: alien monster|space invader
snowman
baby: baby face|child
crown: king crown|queen crown|crown alt
diamond: gem|gem stone|gemstone
ring: diamond ring|rings wedding|wedding ring
gift: present|wrapped gift|gift box|gift alt
balloon: balloons
trophy: trophy cup|award cup|trophy alt
medal: sports medal|military medal|award
basketball: basketball ball
dice: die|game die
chess: chess pawn|chess knight|chess queen|chess piece|pawn
puzzle: puzzle piece|jigsaw|puzzle piece alt
game controller: gamepad|video game|controller|game pad|joystick
kite
bomb
sword: swords|crossed swords
shield: shield alt|shield simple
bow: archery|bow and arrow|bow arrow
gun: pistol|water pistol|revolver
target: bullseye|bulls eye|dartboard
t-shirt: tshirt|shirt|t shirt|tee shirt
dress: gown
hat: top hat|cowboy hat|cap|baseball cap
shoe: shoes|running shoe|sneaker|boot|boots
glove: gloves|boxing glove
sock: socks
hanger: clothes hanger|coat hanger
backpack: rucksack|school bag|bag backpack
shopping bag: bag|bag shopping|shopping bags
shopping cart: cart|cart shopping|trolley|shopping trolley
shopping basket: basket|basket shopping
suitcase: briefcase|luggage|baggage|business bag|travel bag
wallet: purse
coin: coins
credit card: card payment|bank card|payment card
piggy bank: savings
trash can: trash|bin|garbage|wastebasket|dustbin|rubbish bin|garbage can|trash bin|trash alt|delete
box: package|parcel|carton|cardboard box
folder: file folder|folder closed|directory
microscope
telescope
test tube: vial|test tube alt
flask: erlenmeyer flask|beaker|conical flask|laboratory|lab
thermometer: temperature|thermometer alt|thermometer half
syringe: injection|needle
pill: pills|capsule|medicine|capsules
stethoscope
bandage: band aid|adhesive bandage|plaster|bandaid
wheelchair: wheelchair alt
atom: atom symbol|atom alt
dna
battery: battery full|battery alt
plug: power plug|electric plug|power cord
calculator: calculator alt
barrel: oil drum|barrel oil|oil barrel
ladder
gear: cog|settings|cogwheel
graduation cap: mortarboard|academic cap|student cap|mortar board|graduation hat
megaphone: bullhorn|loudhailer
satellite: satellite alt
parachute
ufo: flying saucer
lipstick
comb
broom: sweep
bucket: pail|paint bucket
soap
toothbrush
ticket: admission ticket|tickets|ticket alt
gavel: judge gavel|law hammer
tie: necktie|neck tie|business tie
fingerprint
bank
store: shop|shopfront|storefront|convenience store
ruins: classical building|landmark|monument
pyramid
statue
fence
carousel: ferris wheel
roller skate: skateboard|skate
ski: skiing|skier
bowling: bowling ball|bowling pin
dumbbell: barbell|weights|gym|weight lifting
whistle
lantern: oil lamp
wand: magic wand|wand magic|magic
mask: theater masks|face mask|drama masks|domino mask|masks theater
dragon: dragon face
dinosaur: t rex|sauropod|dino
unicorn: unicorn face
penguin
duck: rubber duck
chicken: hen|rooster|chick
sheep: lamb|ewe
monkey: monkey face|gorilla
lion: lion face
tiger
fox: fox face
wolf: wolf head
whale: spouting whale
shark: shark fin
dolphin
bat
shell: spiral shell|seashell
potion: health potion|round bottom flask
acorn
corn: ear of corn|maize
pumpkin: jack o lantern|halloween pumpkin
pepper: hot pepper|chili|chilli|bell pepper
onion: garlic
tomato
pineapple
watermelon
avocado
egg fried: cooking|fried egg
bacon
sausage: hot dog|hotdog
shrimp: prawn
popcorn
donut: doughnut
pie: pie slice
sandwich
taco
sushi
noodles: ramen|steaming bowl|noodle|bowl hot
rice: cooked rice|bowl rice|rice bowl
soup: bowl|soup bowl|bowl food
salad: green salad
milk: milk bottle|glass of milk|milk carton
juice: beverage box|juice box
champagne: bottle with popping cork|champagne glasses|clinking glasses
soccer ball: soccer|ball football|futbol
balance scale: scales|scale balanced|scale balance|balance
desk
fish bone: fishbone
"""

# The ten small tasks, each with the character of one of the paper's data sets.
TASKS = {
    "IconAnimals": """
cat: cat face|kitty|black cat|sitting cat
dog: dog face|puppy|dog side|sitting dog
bird: birdie|dove|bird side|parrot|sparrow
fish: fishes|fish side|tropical fish
horse: horse face|horse head|racehorse
rabbit: bunny|rabbit face|hare
turtle: tortoise
snail
bee: honeybee|bumblebee
butterfly
bug: beetle|ladybug|insect|ladybird|lady beetle
frog: frog face
owl
pig: pig face|piglet
cow: cow face|cattle
elephant
bear: bear face|bear head|polar bear
crab
octopus
snake
sheep: ram|ewe|lamb
chicken: hen|rooster|chick|baby chick
monkey: monkey face|gorilla
whale: spouting whale|sperm whale
duck
penguin
rat: mouse face|rat|hamster
spider
dolphin
lion: lion face
deer
fox
dinosaur: t rex|sauropod|dino
dragon: dragon face|dragon head
shrimp: prawn
bat
unicorn: unicorn face
shell: spiral shell|seashell
ant
shark
""",
    "IconVehicles": """
car: automobile|car side|car front|sedan|car alt
bus: bus alt|bus front|bus side|oncoming bus
truck: lorry|delivery truck|truck side|articulated lorry
bicycle: bike|cycle
motorcycle: motorbike
scooter: motor scooter|moped|kick scooter
train: train front|locomotive|train side
tram: streetcar|tram car|tramway
metro: subway|underground
ship: cruise ship|ferry|passenger ship
sailboat: sailing boat|sail boat|sailing|yacht
boat: motor boat|speedboat|motorboat
airplane: plane|aeroplane|aircraft
helicopter
rocket: rocket launch|spaceship
tractor
ambulance
taxi: taxi front|cab|oncoming taxi
fire truck: fire engine|firetruck
police car: oncoming police car
van: minibus|shuttle van|van shuttle|minivan|camper van|caravan|rv
cable car: aerial tramway|gondola lift|mountain cableway|gondola
ufo: flying saucer
satellite
wheelchair: manual wheelchair
skateboard
submarine
drone
forklift: excavator|bulldozer
canoe: kayak|kayaking
""",
    "IconNature": """
tree: deciduous tree|tree deciduous|tree alt
evergreen tree: pine tree|tree evergreen|pine|fir|tree pine|christmas tree|conifer
palm tree: palm|tree palm
leaf: leaves|fallen leaf
maple leaf
flower: flower alt|blossom|hibiscus
tulip: flower tulip
rose
sunflower
lotus: flower lotus
cactus
mushroom
clover: four leaf clover|shamrock|leaf clover
seedling: sprout|plant seedling|sapling
potted plant: plant|pot plant|house plant|plant pot
wheat: sheaf of rice|grain|wheat awn
grass: herb
acorn: chestnut
mountain: mountains|snow capped mountain
volcano
wave: waves|water wave
fire: flame|fire alt
water drop: drop|droplet|raindrop|tint
sun: sunny
moon: crescent moon
star
feather
bone
egg
paw: paw print|paws
shell: spiral shell|seashell
log: wood|tree stump
planet: ringed planet|saturn
earth: globe showing europe africa|globe
meteor: comet
diamond: gem|gem stone
""",
    "IconFood": """
pizza: pizza slice
burger: hamburger
hot dog: sausage|hotdog
taco: burrito
sandwich
cake: birthday cake|cake slice|shortcake
cupcake: muffin
cookie: cookie bite
donut: doughnut
bread: bread slice|bread loaf|toast|loaf
croissant: baguette bread|baguette
cheese: cheese wedge
ice cream: ice cream cone|icecream|soft ice cream|ice cream soft|popsicle
candy: candy bar|lollipop|candy cane
coffee: coffee cup|cup of coffee|mug hot|hot beverage
tea: teapot|teacup without handle|tea cup
beer: beer mug|beer glass|clinking beer mugs
wine: wine glass|wineglass|glass wine
wine bottle: champagne|bottle with popping cork
cocktail: martini|martini glass|cocktail glass|tropical drink
egg: eggs|fried egg|egg fried|cooking
apple: red apple|green apple|apple whole
banana
cherry: cherries
lemon: lime|orange|tangerine|citrus
strawberry
grapes: grape
pineapple
watermelon
avocado
carrot
corn: ear of corn
pepper: hot pepper|chili|bell pepper
tomato
mushroom
fish: fish cake|fried shrimp|sushi
shrimp: fried shrimp
chicken: chicken leg|poultry leg|drumstick|drumstick bite|meat on bone
steak: meat|cut of meat|bacon
noodles: ramen|steaming bowl|noodle
rice: cooked rice|bowl rice|rice bowl|rice ball
soup: bowl|soup bowl|bowl food|pot of food
salad: green salad
popcorn
french fries: fries
milk: milk bottle|glass of milk|milk carton
juice: cup with straw|beverage box|juice box|soda
""",
    "IconArrows": """
arrow up: up arrow|up
arrow down: down arrow|down
arrow left: left arrow|arrow back|left
arrow right: right arrow|arrow forward|right
arrow up right: up right arrow|arrow top right|arrow ne|arrow outward
arrow up left: up left arrow|arrow top left|arrow nw
arrow down left: down left arrow|arrow bottom left|arrow sw
arrow down right: down right arrow|arrow bottom right|arrow se
chevron up: angle up|arrow up simple|expand less
chevron down: angle down|expand more
chevron left: angle left
chevron right: angle right
double chevron left: chevrons left|angle double left|chevron double left|angles left
double chevron right: chevrons right|angle double right|chevron double right|angles right
double chevron up: chevrons up|angle double up|chevron double up|angles up
double chevron down: chevrons down|angle double down|chevron double down|angles down
triangle up: caret up
triangle down: caret down
triangle left: caret left
triangle right: caret right
circled arrow up: arrow up circle|arrow circle up|circle arrow up
circled arrow down: arrow down circle|arrow circle down|circle arrow down
circled arrow left: arrow left circle|arrow circle left|circle arrow left
circled arrow right: arrow right circle|arrow circle right|circle arrow right
arrow left and right: arrow left right|arrows left right|left right arrow|arrows horizontal|arrow horizontal
arrow up and down: arrow up down|arrows up down|up down arrow|arrows vertical|arrow vertical
refresh: refresh cw|reload|sync|arrows rotate|arrow clockwise
rotate left: rotate ccw|undo|arrow undo|arrow rotate left|arrow counterclockwise
rotate right: rotate cw|redo|arrow redo|arrow rotate right
shuffle: random
repeat: loop
swap: exchange|arrow left arrow right|arrows exchange|switch horizontal
expand: maximize|arrows expand|fullscreen|enlarge
collapse: minimize|arrows collapse|fullscreen exit|shrink
turn left: corner up left|arrow turn left|reply|corner down left
turn right: corner up right|arrow turn right|forward|corner down right
log in: login|sign in|enter
log out: logout|sign out|exit
download: arrow down to line|import
upload: arrow up to line|export
move: arrows move|move arrow|arrows
""",
    "IconPlaces": """
house: home|house simple|home alt
hospital: clinic
church: chapel
mosque
synagogue: temple|shinto shrine|hindu temple
castle: fort|european castle|japanese castle
factory: industry
school: university|college
bank: classical building|museum|landmark|government|institution
hotel: motel
store: shop|storefront|convenience store|shopfront
office building: office|building office|building|skyscraper|apartment
stadium: arena
tent: camping|campground|camp
bridge: bridge at night
lighthouse
gas station: fuel pump|gas pump|fuel|local gas station|fuel station
restaurant: fork knife|utensils|fork and knife|cutlery
cafe: coffee shop
bar: local bar|pub
theater: theatre|circus tent|masks theater
airport: local airport
train station: railway station|station
bus stop: bus station
parking
park
beach: beach with umbrella|umbrella beach
farm: barn|barnyard
warehouse: storehouse|garage
cemetery: headstone|tombstone|grave|gravestone|coffin
fountain
tower: tokyo tower|eiffel tower|watchtower|water tower
monument: statue of liberty|statue|moai
playground: slide|playground slide
ferris wheel: carousel|carousel horse|roller coaster|amusement park
windmill: wind turbine
mountain: mountains|snow capped mountain
desert: island|desert island
city: cityscape|buildings
toilet: restroom|wc
library: books
prison: jail
pharmacy: local pharmacy
police station: police
fire station: local fire department
laundry: washing machine|local laundry service|laundromat
door: open door
elevator
stairs: staircase|escalator
""",
    "IconWeather": """
sun: sunny|day sunny|clear day|sun alt
cloud: cloudy|clouds
partly cloudy: cloud sun|sun cloud|partly cloudy day|sun behind cloud|cloud sunny|cloudy sun|sun behind small cloud|day cloudy
cloudy night: cloud moon|moon cloud|partly cloudy night|night cloudy
rain: rainy|cloud rain|cloud with rain|raining|cloud drizzle|cloud showers|showers
heavy rain: cloud showers heavy|cloud heavy rain|rainy heavy|pouring|weather pouring|cloud rain heavy|rain heavy|heavy showers
drizzle: cloud drizzle|light rain
sun and rain: cloud sun rain|sun behind rain cloud|cloud rain sun
snow: snowy|cloud snow|cloud with snow|snowing|weather snowy
snowflake: snow flake|ac unit
sleet: hail|cloud hail|cloud sleet
thunderstorm: cloud lightning|storm|cloud bolt|thunder|cloud with lightning|lightning cloud|cloud flash
lightning: bolt|lightning bolt|high voltage|flash
fog: foggy|mist|cloud fog|haze
wind: windy|wind face|air
tornado: hurricane|cyclone|typhoon|cloud tornado
rainbow
moon: crescent moon|moon alt
full moon: new moon|moon full
sunrise: sun rise
sunset: sun set|sun horizon
umbrella: umbrella with rain drops|closed umbrella
thermometer: temperature
hot: temperature high|thermometer hot|thermometer sun|temperature hot|thermometer high
cold: temperature low|thermometer cold|temperature cold|thermometer low
humidity: water drop|drop|raindrop|droplet|drops|droplets
star: stars|night
snowman
""",
    "IconActivities": """
running: run|runner|person running|directions run
walking: walk|person walking|directions walk|pedestrian
swimming: swim|person swimming|swimmer|pool
cycling: person biking|bike rider|directions bike|biking|bicycle rider|cyclist
skiing: skier|ski|downhill skiing|person skiing
snowboarding: snowboarder|snowboard
skating: ice skating|skate|ice skate|roller skating|roller skate
skateboarding: skateboard
surfing: surfer|person surfing|surf
climbing: climber|person climbing|rock climbing|mountain climbing
hiking: hiker|trekking|person hiking
yoga: meditation|person in lotus position|self improvement|lotus position|meditate
weightlifting: person lifting weights|weight lifting|dumbbell|gym|weight lifter|barbell|fitness
dancing: dance|dancer|woman dancing|man dancing
boxing: boxing glove|martial arts|karate|kick boxing|kickboxing|martial arts uniform
fencing: person fencing|fencer
rowing: person rowing boat|row|kayaking|canoe
golf: golfing|person golfing|golf course|golfer|flag in hole
basketball: person bouncing ball|basketball player
soccer: soccer ball|football|futbol
tennis: tennis ball|racket|tennis racket
volleyball
baseball: baseball bat
bowling: bowling ball
horse riding: horse racing|equestrian
fishing: fishing pole|fishing rod|phishing
sleeping: sleep|person in bed|hotel|bed
bathing: bath|person taking bath|bathtub|shower
reading: read|book reader|reader
archery: bow and arrow|bow arrow
falling: person falling|slip
sitting: sit|seat
juggling: person juggling
diving: scuba|scuba diving|diving mask|snorkel
parachuting: parachute|paragliding|skydiving
hockey: ice hockey|field hockey|sports hockey
""",
}


def parse(text: str) -> dict[str, list[str]]:
    """{"cat": ["cat", "cat face", ...], ...}"""
    classes = {}
    for line in text.strip().splitlines():
        name, _, others = line.partition(":")
        classes[name.strip()] = [
            name.strip(),
            *(other.strip() for other in others.split("|") if other.strip()),
        ]
    return classes
