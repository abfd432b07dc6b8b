"""Tests of the house itself: its doors, its shape, its words, its start-up."""
