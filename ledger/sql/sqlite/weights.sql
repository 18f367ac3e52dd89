-- The weights of one audit (`ledger.sqlite.weights`), on one connection.

-- name: hours
-- All hours that anything is kept of, in an order: each connection gives them the same weights.
SELECT DISTINCT hour_ms FROM spend_hours ORDER BY hour_ms;

-- name: places
-- All that anything is kept of, less the hour.
SELECT DISTINCT deployment, route, key_id, team, basis, outcome
  FROM spend_hours
 ORDER BY deployment, route, key_id, team, basis, outcome;

-- name: make_hour_weights
-- weight NULL: some of its detail is gone.
CREATE TEMP TABLE hour_weights (hour_ms INTEGER PRIMARY KEY, weight INTEGER, day_weight INTEGER NOT NULL) STRICT;

-- name: add_hour_weight
INSERT INTO temp.hour_weights (hour_ms, weight, day_weight) VALUES (?, ?, ?);

-- name: make_day_weights
CREATE TEMP TABLE day_weights (day_ms INTEGER PRIMARY KEY, weight INTEGER NOT NULL) STRICT;

-- name: add_day_weight
INSERT INTO temp.day_weights (day_ms, weight) VALUES (?, ?);

-- name: make_place_weights
CREATE TEMP TABLE place_weights (
    deployment TEXT NOT NULL,
    route TEXT NOT NULL,
    key_id TEXT NOT NULL,
    team TEXT NOT NULL,
    basis TEXT NOT NULL,
    outcome TEXT NOT NULL,
    weight INTEGER NOT NULL,
    PRIMARY KEY (deployment, route, key_id, team, basis, outcome)
) STRICT, WITHOUT ROWID;

-- name: add_place_weight
INSERT INTO temp.place_weights (deployment, route, key_id, team, basis, outcome, weight) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: make_window_weights
-- amount: of what a window counts. inside: of a hold in it whose moment and deployment it is for (ends_at_ms, and the
-- deployments between two, both included); outside: of any other hold in it.
CREATE TEMP TABLE window_weights (
    ceiling_id TEXT NOT NULL,
    starts_at_ms INTEGER NOT NULL,
    ends_at_ms INTEGER NOT NULL,
    first_deployment TEXT NOT NULL,
    last_deployment TEXT NOT NULL,
    counts TEXT NOT NULL,
    amount INTEGER NOT NULL,
    inside INTEGER NOT NULL,
    outside INTEGER NOT NULL,
    PRIMARY KEY (ceiling_id, starts_at_ms)
) STRICT, WITHOUT ROWID;

-- name: add_window_weight
INSERT INTO temp.window_weights (ceiling_id, starts_at_ms, ends_at_ms, first_deployment, last_deployment, counts, amount,
                                 inside, outside)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);
