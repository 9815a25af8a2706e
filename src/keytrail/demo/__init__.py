"""Believable gateway traffic, sent through the real pipeline."""
