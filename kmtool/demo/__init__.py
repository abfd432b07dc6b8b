"""The demo: a whole working day of an invented shop, on the real program, without any network."""
