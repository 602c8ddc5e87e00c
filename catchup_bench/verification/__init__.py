"""Verification of records, of methods and of submissions."""
