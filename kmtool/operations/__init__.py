"""One file per thing the operator does; opens transactions; where rules meet data."""
