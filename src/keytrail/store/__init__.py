"""The store: the engine, its tables, and what is written to them."""
