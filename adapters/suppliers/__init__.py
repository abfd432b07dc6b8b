"""Suppliers with an interface: one module each, found by name (kmtool/registry.py)."""
