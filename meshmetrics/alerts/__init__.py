"""Alerts: looking at the rules, and delivering what is to be told."""
