-- Every row names its tenant. Times are nanoseconds since 1970 UTC, 0 for "never". Hashes and ids are hexadecimal.

-- +goose Up
CREATE TABLE meta (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    store     TEXT NOT NULL,    -- this store's incarnation
    sequence  INTEGER NOT NULL, -- of the last receipt
    watermark INTEGER NOT NULL, -- receipts up to and including this one are backed up
    token     TEXT NOT NULL     -- see incarnation.go; '' in a backup
) STRICT;

CREATE TABLE carts (
    tenant      TEXT NOT NULL,
    cart        TEXT NOT NULL,
    site        TEXT NOT NULL DEFAULT '',
    key         TEXT NOT NULL DEFAULT '',  -- SHA-256 of the device public key, PKIX DER
    serial      TEXT NOT NULL DEFAULT '',  -- of its newest certificate
    revoked     INTEGER NOT NULL DEFAULT 0, -- certificates and claims issued up to then are void
    enrolled_at INTEGER NOT NULL DEFAULT 0,
    last_seen   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, cart)
) STRICT;

CREATE TABLE certificates (
    tenant  TEXT NOT NULL,
    cart    TEXT NOT NULL,
    serial  TEXT NOT NULL,
    key     TEXT NOT NULL,
    issued  INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, cart, serial)
) STRICT;

-- A number that was used twice is there twice: the entry's own hash is part of the key.
CREATE TABLE entries (
    tenant      TEXT NOT NULL,
    cart        TEXT NOT NULL,
    practice    INTEGER NOT NULL CHECK (practice IN (0, 1)),
    incarnation TEXT NOT NULL,
    number      INTEGER NOT NULL CHECK (number >= 0),
    hash        TEXT NOT NULL,
    kind        INTEGER NOT NULL,
    run         TEXT NOT NULL,
    prev        TEXT NOT NULL,
    body        TEXT NOT NULL,
    fork        INTEGER NOT NULL CHECK (fork IN (0, 1)),
    arrived     INTEGER NOT NULL,
    PRIMARY KEY (tenant, cart, practice, incarnation, number, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE heads (
    tenant      TEXT NOT NULL,
    cart        TEXT NOT NULL,
    practice    INTEGER NOT NULL CHECK (practice IN (0, 1)),
    incarnation TEXT NOT NULL,
    number      INTEGER NOT NULL CHECK (number >= 0),
    hash        TEXT NOT NULL,
    signature   BLOB NOT NULL,
    disputed    INTEGER NOT NULL CHECK (disputed IN (0, 1)),
    arrived     INTEGER NOT NULL,
    PRIMARY KEY (tenant, cart, practice, incarnation, number, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE items (
    tenant       TEXT NOT NULL,
    item         TEXT NOT NULL,
    cart         TEXT NOT NULL,
    practice     INTEGER NOT NULL CHECK (practice IN (0, 1)),
    incarnation  TEXT NOT NULL,
    number       INTEGER NOT NULL,
    entry        TEXT NOT NULL, -- hash of the entry it first came with
    encounter    TEXT NOT NULL,
    run          TEXT NOT NULL,
    kind         INTEGER NOT NULL,
    urgent       INTEGER NOT NULL CHECK (urgent IN (0, 1)),
    at           INTEGER NOT NULL,
    arrived      INTEGER NOT NULL,
    verdict      INTEGER NOT NULL,
    reason       TEXT NOT NULL, -- of a refusal, as a code
    plain_sha256 TEXT NOT NULL,
    size         INTEGER NOT NULL, -- of the plaintext
    blob         TEXT NOT NULL,    -- the sealed file, below the store's folder; '' when refused
    meta         TEXT NOT NULL,    -- the JSON part of the body
    PRIMARY KEY (tenant, item)
) STRICT;
CREATE INDEX items_encounter ON items (tenant, encounter, number);
CREATE INDEX items_arrived ON items (tenant, arrived);
CREATE INDEX items_entry ON items (tenant, cart, practice, incarnation, number);

CREATE TABLE receipts (
    store    TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    tenant   TEXT NOT NULL,
    item     TEXT NOT NULL,
    entry    TEXT NOT NULL,
    key      INTEGER NOT NULL, -- which receipt key signed
    verdict  INTEGER NOT NULL,
    receipt  BLOB NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (store, sequence),
    UNIQUE (tenant, item, entry, store),
    FOREIGN KEY (tenant, item) REFERENCES items (tenant, item)
) STRICT;

CREATE TABLE views (
    tenant  TEXT NOT NULL,
    item    TEXT NOT NULL,
    account TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (tenant, item, account, at),
    FOREIGN KEY (tenant, item) REFERENCES items (tenant, item)
) STRICT, WITHOUT ROWID;

CREATE TABLE consults (
    tenant    TEXT NOT NULL,
    id        TEXT NOT NULL,
    cart      TEXT NOT NULL,
    encounter TEXT NOT NULL,
    by        TEXT NOT NULL,
    phase     TEXT NOT NULL,
    since     INTEGER NOT NULL,
    open      INTEGER NOT NULL CHECK (open IN (0, 1)),
    json      TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT;
CREATE INDEX consults_open ON consults (since) WHERE open = 1;

CREATE TABLE claims (
    secret_hash TEXT PRIMARY KEY,
    tenant      TEXT NOT NULL,
    cart        TEXT NOT NULL,
    issued      INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    key         TEXT NOT NULL, -- all zeros: nobody redeemed it yet
    redeemed    INTEGER NOT NULL,
    UNIQUE (tenant, cart)
) STRICT;

CREATE TABLE notices (
    tenant  TEXT NOT NULL,
    account TEXT NOT NULL, -- for whom: one of these two
    cart    TEXT NOT NULL,
    id      TEXT NOT NULL,
    code    TEXT NOT NULL,
    with_   TEXT NOT NULL,
    at      INTEGER NOT NULL,
    seen    INTEGER NOT NULL,
    PRIMARY KEY (tenant, account, cart, id),
    CHECK ((account = '') <> (cart = ''))
) STRICT;
CREATE INDEX notices_unseen ON notices (tenant, account, cart, at) WHERE seen = 0;

CREATE TABLE audit_events (
    tenant TEXT NOT NULL,
    number INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    who    TEXT NOT NULL,
    action TEXT NOT NULL,
    json   TEXT NOT NULL,
    PRIMARY KEY (tenant, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    tenant       TEXT NOT NULL,
    name         TEXT NOT NULL,
    display      TEXT NOT NULL,
    role         TEXT NOT NULL,
    hash         TEXT NOT NULL,
    state        TEXT NOT NULL,
    epoch        INTEGER NOT NULL,
    tries        INTEGER NOT NULL,
    locked_until INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT;

CREATE TABLE sessions (
    hash    TEXT PRIMARY KEY,
    tenant  TEXT NOT NULL,
    name    TEXT NOT NULL,
    epoch   INTEGER NOT NULL,
    started INTEGER NOT NULL,
    seen    INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_expires ON sessions (expires);
