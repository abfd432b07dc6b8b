"""The door people use: parse, open the shop, call one operation, show its result."""
