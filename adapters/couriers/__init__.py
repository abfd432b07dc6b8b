"""How keys reach buyers: one file per route, each with FEATURES and build()."""
