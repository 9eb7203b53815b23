-- +goose Up
-- With a head, the device key that it was verified with (PKIX DER): whoever audits verifies it again.
ALTER TABLE heads ADD COLUMN key BLOB NOT NULL DEFAULT x'';

-- Up to when IT has seen what is wrong with this cart's ledger.
ALTER TABLE carts ADD COLUMN ledger_seen INTEGER NOT NULL DEFAULT 0;

-- The incarnations of this store, as far as it knows.
CREATE TABLE stores (
    store TEXT PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT;
INSERT INTO stores (store, since) SELECT store, 0 FROM meta;

-- Receipts of this hub that carts kept, of items that are not here: they were, in an earlier life of the store.
CREATE TABLE proofs (
    tenant      TEXT NOT NULL,
    cart        TEXT NOT NULL,
    practice    INTEGER NOT NULL CHECK (practice IN (0, 1)),
    incarnation TEXT NOT NULL,
    number      INTEGER NOT NULL CHECK (number >= 0),
    item        TEXT NOT NULL,
    receipt     BLOB NOT NULL,
    shown       INTEGER NOT NULL, -- by the cart, first
    PRIMARY KEY (tenant, cart, practice, incarnation, number, item)
) STRICT, WITHOUT ROWID;

-- How far somebody has followed the receipts of this store.
CREATE TABLE cursors (
    name     TEXT PRIMARY KEY,
    store    TEXT NOT NULL,
    sequence INTEGER NOT NULL
) STRICT;
