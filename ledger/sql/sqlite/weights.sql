-- The weights of one audit (`ledger.sqlite.weights`), on one connection.

-- name: hours
-- All hours that anything is kept of.
SELECT DISTINCT hour_ms FROM spend_hours;

-- name: places
-- All that anything is kept of, less the hour.
SELECT DISTINCT deployment, route, key_id, team, basis, outcome FROM spend_hours;

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
