"""Events in, one row per customer and as_of out. Imports nothing of ours."""
