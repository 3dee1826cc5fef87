"""Dead letters over REST: what is asked for, and the bounded reading that answers it."""
