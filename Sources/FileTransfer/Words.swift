extension TransferCode {
  /// 256 words of codes. Any two differ in three letters or more: slips of a letter are found before they count.
  package static let words: [String] = """
    acorn agent album alpine amber anchor angel apple apron armor aspen atlas attic autumn avocado badge baker
    balloon bamboo banana banjo barley basil beacon bicycle biscuit blanket blossom bonfire border bottle branch
    bread breeze brother bubble bucket buffalo butter cabin cactus camel candle canyon captain cargo carpet cedar
    cello cement chalk charcoal cheese cherry chimney chisel church cinema circus clarinet clover cluster cobalt
    coconut coffee compass copper cotton cougar cousin crater cricket crystal cupboard cushion cypress daisy dancer
    delta denim desert diamond dolphin donkey dragon dynamo eagle eclipse elbow elephant emerald engine envelope
    evening fabric falcon feather fender fiddle filter flamingo flannel flute forest fossil fountain freight galaxy
    garage garden garlic gazelle ginger giraffe glacier globe goblet granite gravel grotto guitar hammock harvest
    hedgehog helmet herring hickory horizon hotel iceberg igloo indigo insect island ivory jaguar jasmine jigsaw
    journal jungle juniper kangaroo kayak kitchen kiwi koala ladder lagoon lantern laurel lava lemon leopard
    library lilac lizard lobster lotus magnet marble meadow mercury meteor midnight mirror mitten mosaic muffin
    mustard napkin nectar needle nephew nickel nugget ocean octopus olive onion orbit orchid oxygen palace panda
    panther papaya parrot pasture peanut pelican pencil penguin piano picnic pigeon pillow pirate pony poplar
    potato prairie pretzel prism pudding puppet puzzle pyramid quartz quiver rabbit raccoon radish ribbon rubber
    saffron saturn scarf shuttle siren skillet snorkel sofa spider spinach spruce squash stadium statue summer
    sunset swallow teapot temple thimble throne thunder topaz tornado trumpet tulip tundra tunnel turtle unicorn
    vanilla village violin volcano walnut weasel whistle window wombat yogurt zebra zigzag
    """.split(whereSeparator: \.isWhitespace).map(String.init)
}
