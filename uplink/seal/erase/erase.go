// Package erase keeps secrets from outliving their use in a process's memory.
//
// Parties: uplink/seal derives keys under Do; the agent parses and encodes what names a patient under Do, and calls Now when
// an encounter has closed. Keys: none of its own.
//
// Invariants: in a build with GOEXPERIMENT=runtimesecret (the Makefile's) registers and stack that f used are zero when Do
// returns; what f allocated on the heap is zeroed when the garbage collector finds it unreachable, which Now makes happen at
// once. Not covered, by the runtime's own words: goroutines that f starts, global variables, and what was allocated before f.
// Of that, Now gives whole free pages back to the kernel, which hands them out zeroed (madvise(2), MADV_DONTNEED): so a
// picture's bytes go, while a few bytes beside something still in use may stay. In a build without the experiment Do calls f,
// and small copies stay until their memory is used again.
package erase

import "runtime/debug"

// Now collects garbage and gives free pages back. It takes some tens of milliseconds on a small board: run it beside the work.
// Twice, because pools and finalizers hold on to what they have for one round.
func Now() {
	for range 2 {
		debug.FreeOSMemory() // collects garbage first
	}
}
