"""Evaluation: which network, which conditions are missing, and measuring them."""
