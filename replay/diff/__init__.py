"""The difference of two generations: each is extracted by its own code, and the two extracts are compared.

What they exchange are files (see `replay.diff.index`), so the code of one generation never meets that of the other.
"""
