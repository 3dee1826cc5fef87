"""`make bench`: how fast the whole platform is on this machine. Measures and writes down; passes no judgement."""
