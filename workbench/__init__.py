"""Reads along while a language model thinks in vectors, and shows where its thoughts part from its words."""
