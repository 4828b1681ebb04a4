"""The HTTP service: AuthZEN evaluation and Remit's own operations on a unix socket and on loopback.

`app.build_app` makes the application over `port.ServicePort`; `listener.serve` runs it. `routes.OPERATIONS` is the one
table from which routing and `/openapi.json` come.
"""
