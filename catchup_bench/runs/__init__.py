"""Runs: what one is, its folder, its network and its weights."""
