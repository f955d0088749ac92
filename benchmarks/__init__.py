"""How fast, how much memory, and what is left to gain: `make bench` (see __main__.py)."""
