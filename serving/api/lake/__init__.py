"""Questions to the lake over REST: what is asked, and answering it beside the event loop, within bounds."""
