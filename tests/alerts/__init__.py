"""Alerts: what is noticed, what is told of it, and to whom."""
