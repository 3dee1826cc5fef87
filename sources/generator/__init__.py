"""A seeded, believable shop that emits records for the source topics, with its own ground truth.

`ShopSimulator` is the generator, `Dials` how untidy it is, `GroundTruth` what the platform must show afterwards.
Pure throughout: nothing here reads a clock, the network or a file.
"""

from sources.generator.dials import MIXES, Dials
from sources.generator.emission import Emission, Intent
from sources.generator.rhythm import moments
from sources.generator.simulator import ShopSimulator
from sources.generator.truth import GroundTruth

__all__ = ["MIXES", "Dials", "Emission", "GroundTruth", "Intent", "ShopSimulator", "moments"]
