package main

// outboxChecks are those of outbox.sh, which another program makes (uplink/outbox/cutlab): nothing here may import the outbox.
func outboxChecks() []string {
	return []string{"cut-ext4", "cut-ext4-writeback", "cut-f2fs", "cut-planted", "cut-no-flush", "disk-full", "disk-read-only",
		"disk-io-error", "disk-planted"}
}
