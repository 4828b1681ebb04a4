"""What enforcement points, starters and workloads use: asking, reporting, and functions that ask before they run.

`api.Remit` is the API; `client.Client` speaks to a running service, `blocking.Blocking` is the same for code without an
event loop, `governed.governed` wraps a function, `grant.TaskGrant` is what a workload is given for one task.
"""
