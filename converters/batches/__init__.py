"""Whole zoos: a manifest of conversions, done by crash-isolated workers here or on a cluster, and resumed.

Data flows one way: `manifest` -> `tasks` -> `pool` or `cluster` (which call `work`) -> `results` -> `page`.
"""
