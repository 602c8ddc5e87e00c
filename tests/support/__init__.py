"""Helpers of the tests, and what is run by hand."""
