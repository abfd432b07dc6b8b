"""Reads payout and transaction statements through the profiles in data/statements/."""
