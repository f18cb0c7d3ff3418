"""Explained updates: every term of what a step did to one weight, and algorithms shown whole."""
