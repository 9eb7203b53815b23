//go:build goexperiment.runtimesecret

package erase

import "runtime/secret"

// Built says whether this build erases what Do leaves behind.
const Built = true

// Do calls f and erases what it left in registers, on its stack and (once collected) on the heap. What is to survive and is no
// secret goes into memory that the caller allocated.
func Do(f func()) { secret.Do(f) }
