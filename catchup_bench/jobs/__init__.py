"""A board's jobs, and what executes them."""
