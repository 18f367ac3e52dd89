"""Where one SQLite file stops: service times that are measured here, and a model of machines with more cores."""
