-- name: record_price
INSERT INTO prices (deployment, price_version, price)
VALUES (:deployment, :price_version, :price)
    ON CONFLICT (deployment, price_version) DO NOTHING;

-- name: all_prices
SELECT deployment, price FROM prices;

-- name: find_price
-- No row: this version was never used there.
SELECT price FROM prices WHERE deployment = :deployment AND price_version = :price_version;
