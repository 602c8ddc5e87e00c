"""Leaderboards as pure functions of records."""
