-- Who may still seal to which record key (keys.go). Versions are the key list's; 0 is "none" or "not known".

-- +goose Up
CREATE TABLE key_lists (
    version   INTEGER PRIMARY KEY,
    care      INTEGER NOT NULL, -- the newest record epoch in it, for care
    practice  INTEGER NOT NULL, -- and for practice
    installed INTEGER NOT NULL
) STRICT;

-- A destroyed epoch stays here for good: its number is never used again.
CREATE TABLE record_epochs (
    epoch     INTEGER PRIMARY KEY,
    created   INTEGER NOT NULL,
    destroyed INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row for each device key that was ever offered a key list: a cart whose disk was replaced is two devices.
CREATE TABLE key_devices (
    tenant  TEXT NOT NULL,
    cart    TEXT NOT NULL,
    device  TEXT NOT NULL,    -- SHA-256 of the device public key
    first   INTEGER NOT NULL, -- version of the first list it was offered; 0: from before this was written down
    held    INTEGER NOT NULL, -- version it said last that it holds
    held_at INTEGER NOT NULL,
    cleared INTEGER NOT NULL, -- version it held when it said last that nothing waits for a receipt
    back    INTEGER NOT NULL DEFAULT 0, -- times that its version went back: a restored card, or a clone
    PRIMARY KEY (tenant, cart, device)
) STRICT, WITHOUT ROWID;
INSERT INTO key_devices (tenant, cart, device, first, held, held_at, cleared)
    SELECT DISTINCT c.tenant, c.cart, x.key, 0, 0, 0, 0 FROM carts c JOIN certificates x ON x.tenant = c.tenant AND x.cart = c.cart WHERE c.last_seen <> 0;

-- An operator's word that what a cart may still hold under an epoch is given up.
CREATE TABLE key_writeoffs (
    tenant TEXT NOT NULL,
    cart   TEXT NOT NULL,
    device TEXT NOT NULL, -- '': the whole cart, its ledger's gaps too
    epoch  INTEGER NOT NULL, -- this one and those before
    reason TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (tenant, cart, device, epoch)
) STRICT, WITHOUT ROWID;

-- Under which epoch a received item came. Read from the items' files when somebody asks.
CREATE TABLE item_keys (
    tenant   TEXT NOT NULL,
    item     TEXT NOT NULL,
    wrap     TEXT NOT NULL,
    epoch    INTEGER NOT NULL,
    practice INTEGER NOT NULL CHECK (practice IN (0, 1)),
    PRIMARY KEY (tenant, item),
    FOREIGN KEY (tenant, item) REFERENCES items (tenant, item)
) STRICT, WITHOUT ROWID;
CREATE INDEX item_keys_epoch ON item_keys (epoch, tenant, wrap);

-- Data keys that the hub keeps, sealed to a newer epoch than the one they came under (seal.Rewrap).
CREATE TABLE kept_keys (
    tenant   TEXT NOT NULL,
    wrap     TEXT NOT NULL,
    practice INTEGER NOT NULL CHECK (practice IN (0, 1)),
    epoch    INTEGER NOT NULL,
    kem      INTEGER NOT NULL,
    kdf      INTEGER NOT NULL,
    aead     INTEGER NOT NULL,
    enc      BLOB NOT NULL,
    sealed   BLOB NOT NULL,
    PRIMARY KEY (tenant, wrap)
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_keys_epoch ON kept_keys (epoch);
