"""How the owner hears of alerts: one file per way, each with FEATURES and build()."""
