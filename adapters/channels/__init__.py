"""Where orders come from: one file per channel, each with FEATURES and build()."""
