"""Spans, metrics and logs, made from plain facts. Imports none of the other packages."""
