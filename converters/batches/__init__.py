"""Batches: the conversions that a manifest lists, performed by isolated workers here or on a cluster, and resumable.

Data flows one way: `manifest` -> `tasks` -> `pool` or `cluster` (which call `perform`) -> `results` -> report pages.
"""
