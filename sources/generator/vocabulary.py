"""The words and weights that the generated shop is made of: what it sells, to whom, where. Data only."""


def _words(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(separator))


# category → subcategory → (lowest price, highest price, nouns)
CATALOGUE: dict[str, dict[str, tuple[float, float, tuple[str, ...]]]] = {
    "Electronics": {
        "Audio": (19, 349, ("Headphones", "Speaker", "Earbuds", "Turntable", "Microphone")),
        "Computing": (15, 1499, ("Keyboard", "Laptop", "Monitor", "Mouse", "Docking Station")),
        "Smart Home": (12, 249, ("Light Bulb", "Thermostat", "Door Sensor", "Plug", "Camera")),
    },
    "Home & Kitchen": {
        "Cookware": (14, 259, ("Frying Pan", "Casserole", "Wok", "Baking Tray", "Saucepan")),
        "Furniture": (39, 899, ("Armchair", "Desk", "Bookcase", "Stool", "Side Table")),
        "Textiles": (8, 149, ("Blanket", "Cushion", "Towel Set", "Curtain", "Bed Linen")),
    },
    "Clothing": {
        "Women": (15, 229, ("Dress", "Blouse", "Cardigan", "Skirt", "Coat")),
        "Men": (15, 249, ("Shirt", "Jacket", "Chinos", "Pullover", "Blazer")),
        "Shoes": (29, 199, ("Sneakers", "Boots", "Sandals", "Loafers", "Running Shoes")),
    },
    "Sports": {
        "Outdoor": (9, 449, ("Tent", "Backpack", "Sleeping Bag", "Head Torch", "Camping Stove")),
        "Fitness": (7, 399, ("Yoga Mat", "Dumbbells", "Resistance Band", "Kettlebell", "Rowing Machine")),
        "Cycling": (6, 189, ("Helmet", "Bike Lock", "Pump", "Saddle", "Bike Light")),
    },
    "Books": {
        "Fiction": (6, 29, ("Novel", "Short Stories", "Thriller", "Classic", "Poems")),
        "Non-fiction": (9, 59, ("Cookbook", "Travel Guide", "Biography", "Handbook", "Atlas")),
    },
    "Toys": {
        "Games": (9, 79, ("Board Game", "Puzzle", "Card Game", "Chess Set")),
        "Building": (12, 199, ("Block Set", "Marble Run", "Model Train", "Robot Kit")),
    },
    "Beauty": {
        "Skin Care": (5, 89, ("Face Cream", "Serum", "Sun Lotion", "Cleanser")),
        "Fragrance": (19, 159, ("Eau de Parfum", "Body Mist", "Scented Candle")),
    },
    "Garden": {
        "Plants": (4, 79, ("Olive Tree", "Herb Set", "Fern", "Rose")),
        "Tools": (8, 329, ("Pruning Shears", "Rake", "Hose", "Watering Can", "Lawn Mower")),
    },
}

ADJECTIVES = _words(
    "Compact Classic Alpine Urban Nordic Everyday Premium Vintage Lightweight Modern Rustic Bold Coastal "
    "Pocket Deluxe Natural Silent Velvet Sturdy Bright"
)
MATERIALS = _words("Oak Steel Cotton Bamboo Linen Copper Graphite Wool Glass Leather Cork Ash")

# country → (weight, hours ahead of UTC, cities with postal codes)
COUNTRIES: dict[str, tuple[float, int, tuple[tuple[str, str], ...]]] = {
    "US": (30, -6, (("Chicago", "60601"), ("Austin", "73301"), ("New York", "10001"), ("Portland", "97201"))),
    "DE": (14, 1, (("Berlin", "10115"), ("Hamburg", "20095"), ("München", "80331"), ("Köln", "50667"))),
    "GB": (13, 0, (("London", "E1 6AN"), ("Leeds", "LS1 4DY"), ("Bristol", "BS1 4ST"))),
    "FR": (9, 1, (("Paris", "75001"), ("Lyon", "69001"), ("Nîmes", "30000"))),
    "JP": (7, 9, (("東京", "100-0001"), ("大阪", "530-0001"))),
    "CA": (6, -5, (("Toronto", "M5H 2N2"), ("Montréal", "H2Y 1C6"))),
    "BR": (5, -3, (("São Paulo", "01000-000"), ("Recife", "50000-000"))),
    "AU": (5, 10, (("Sydney", "2000"), ("Perth", "6000"))),
    "AT": (4, 1, (("Wien", "1010"), ("Graz", "8010"))),
    "ES": (4, 1, (("Madrid", "28001"), ("Málaga", "29001"))),
    "IN": (3, 5, (("Mumbai", "400001"), ("Pune", "411001"))),
}

FIRST_NAMES = _words(
    "Emma Liam Olivia Noah Ava Lukas Mia Ben Sofia Jonas Léa Louis Chloé Hugo Yuki Haruto Sakura Ana João "
    "Beatriz Priya Arjun Isla Jack Ruby Oscar Lucía Mateo Zoë Björn Anaïs Tomás"
)
LAST_NAMES = _words(
    "Smith Müller Johnson Schmidt Brown Martin Garcia Tanaka Silva Dubois Wilson Gruber Patel Santos Taylor "
    "O'Brien Weber Moreau Sato Kim Nguyen Walker Bauer Costa Singh Núñez Hall Wagner Lopez King"
)
STREETS = _words(
    "Main Street,Oak Avenue,Station Road,Lindenweg,High Street,Park Lane,Mill Road,Bergstraße", ","
)
MAIL_HOSTS = ("example.com", "example.org", "example.net", "mail.example.com")

DEVICES = {"mobile": 58.0, "desktop": 34.0, "tablet": 7.0, "other": 1.0}
REFERRERS: dict[str | None, float] = {
    None: 35.0,
    "https://search.example/": 38.0,
    "https://social.example/feed": 14.0,
    "https://news.example/deals": 6.0,
    "https://mail.example/newsletter": 7.0,
}
PAYMENT_METHODS = {
    "card": 52.0,
    "paypal": 27.0,
    "bank_transfer": 10.0,
    "gift_card": 5.0,
    "cash_on_delivery": 5.5,
    "unknown": 0.5,
}
PAGES = ("/", "/deals", "/new", "/help", "/about", "/category")
QUANTITIES = {1: 74.0, 2: 17.0, 3: 5.0, 4: 3.0, 6: 1.0}

RATINGS = {5: 46.0, 4: 27.0, 3: 12.0, 2: 6.0, 1: 9.0}
REVIEW_TITLES = {
    5: ("Love it", "Exactly what I needed", "Perfect – buying again"),
    4: ("Very good", "Nearly perfect", "Good value"),
    3: ("It is all right", "Does its job", "Mixed feelings"),
    2: ("Expected more", "Not convinced"),
    1: ("Broke after a week", "Do not buy", "Sent it back"),
}

# Share of a day's visits by local hour: quiet nights, a lunch-time bump, busy evenings.
HOURS = (12, 7, 4, 3, 3, 5, 11, 21, 33, 41, 46, 50, 56, 52, 48, 48, 52, 60, 71, 84, 92, 82, 56, 28)
