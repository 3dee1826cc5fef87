"""What Redis holds for a generation, and the server-side functions by which it is written and read."""
