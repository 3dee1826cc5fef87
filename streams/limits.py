"""How large what the live job writes may be, whoever evaluates it: Spark, or plain Python in a test."""

# A dead letter keeps at most this much of a record that is too large; its source offset names the rest.
EXCERPT_BYTES = 4096
KEY_BYTES = 1024
# Below the 1 MiB of a broker or producer that is not told otherwise, with room for the key and framing.
OUTPUT_BYTES = 1_000_000
