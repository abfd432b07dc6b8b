"""kmtool: run a shop that sells digital goods (卡密) from a terminal."""

__version__ = "0.1.0"
