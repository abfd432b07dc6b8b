"""All SQL lives here: the drivers, the migrations, then one file per area."""
