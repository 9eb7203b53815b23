//go:build !goexperiment.runtimesecret

package erase

// Built says whether this build erases what Do leaves behind.
const Built = false

// Do calls f: this build was made without GOEXPERIMENT=runtimesecret and erases nothing.
func Do(f func()) { f() }
