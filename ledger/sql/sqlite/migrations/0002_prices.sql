-- The prices that holds and postings name: JSON of `ledger.prices.Price`. A version never changes its meaning.
CREATE TABLE prices (
    deployment TEXT NOT NULL,
    price_version TEXT NOT NULL,
    price TEXT NOT NULL,
    PRIMARY KEY (deployment, price_version)
) STRICT, WITHOUT ROWID;
