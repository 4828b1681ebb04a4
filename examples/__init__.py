"""Examples: project folders, the agents that work in them, and the demo that runs them."""
