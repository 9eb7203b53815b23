// Package planted names the bugs that `make torture-planted` puts into a build, one at a time, to see that the torture
// finds each of them. No other build has one: without the tag "planted" Is is a constant, and the compiler drops what hangs on it.
package planted

// Bug is one of them.
type Bug string

// The bugs. Each is asked for at the one place where a tired developer could have made it.
const (
	SkippedSync       Bug = "skipped-sync"       // outbox: a batch is called saved before its fdatasync
	RetriedSync       Bug = "retried-sync"       // outbox: a failed fdatasync is called again, and believed
	UnsyncedFolder    Bug = "unsynced-folder"    // outbox: a new file's name is not made durable
	UnverifiedReceipt Bug = "unverified-receipt" // link: a receipt is kept without its signature being checked
	EarlyReceipt      Bug = "early-receipt"      // hub: the receipt goes out before the item is fsynced
	RememberedReceipt Bug = "remembered-receipt" // hub: a receipt is given from memory, whether or not the item is still here
	ReusedNonce       Bug = "reused-nonce"       // seal: the salt is drawn once for all items
	ReusedNumber      Bug = "reused-number"      // outbox: after a failed commit the number goes to another item
	SkippedGrace      Bug = "skipped-grace"      // outbox: erased at the receipt, before grace and backup
	TrustedClock      Bug = "trusted-clock"      // outbox: grace by a clock that nobody vouches for (12 years ahead, say)
	RestoredCard      Bug = "restored-card"      // outbox: a card that is older than the hub's head goes on in the same ledger
	RestoredHub       Bug = "restored-hub"       // hub: a restored store keeps its incarnation
	IgnoredFinal      Bug = "ignored-final-flag" // seal: an item cut short opens
	NoSalvage         Bug = "no-salvage"         // outbox: a segment that fails its check is given up whole
)

// All of them.
func All() []Bug {
	return []Bug{SkippedSync, RetriedSync, UnsyncedFolder, UnverifiedReceipt, EarlyReceipt, RememberedReceipt, ReusedNonce, ReusedNumber,
		SkippedGrace, TrustedClock, RestoredCard, RestoredHub, IgnoredFinal, NoSalvage}
}
