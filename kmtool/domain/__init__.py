"""Pure rules: money, ids, states, orders. Standard library only, no clock, no files."""
