"""Servers: the page in the browser, and the endpoint for programs."""
