"""Name every column once."""

# Raw interactions, after a reader has parsed them.
USER_ID = "user_id"
ITEM_ID = "item_id"
TIMESTAMP = "timestamp"  # seconds since the epoch, UTC, int64
CONFIDENCE = "confidence"  # strength of a positive before alpha, float32, > 0

# Encoded interactions.
USER = "user"  # dense index, int32, 0-based, in order of user_id
ITEM = "item"  # dense index, int32, 0-based, in order of item_id

# A score of every item by each popularity model; in order: all time, recent window, decayed.
POPULARITY_MODELS = ("popularity", "popularity_recent", "popularity_decayed")

# Provenance of a raw line, kept for the quarantine.
FILE = "file"
LINE = "line"  # 1-based line number where the reader knows it, else the byte offset
RAW = "raw"
REASON = "reason"

# Item metadata.
TITLE = "title"
CATEGORY = "category"
BRAND = "brand"
PRICE = "price"  # in the shop's own currency, float64, >= 0
