"""Alerts: evaluating the rules, and delivering notices."""
