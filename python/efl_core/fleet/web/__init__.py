"""A fleet over HTTP: the learner as an ASGI application, and replicas that reach it by an address.

Replicas need the standard library only; so does the application, which any ASGI server runs. See
``docs/fleet_serving.md``.
"""
